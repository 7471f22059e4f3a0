//! The last day of a memory in Mem0's API, and `expires_at` of our own.

use serde_json::{Value, json};

use super::{add, id, texts};
use crate::site::Site;

fn read(site: &Site, id: &str) -> Value {
    site.mem0("", "GET", &format!("/v1/memories/{id}/"), "").of(200).json()
}

#[test]
fn a_date_is_the_last_day_before_the_time_at_which_the_node_deletes_the_memory() {
    let site = Site::open();
    let first = id(&add(&site, "is in Lisbon", json!({"expiration_date": "2040-02-29"})));
    let expires_at = |id: &str| {
        let memory = site.get(&format!("/v1/memories/{id}")).of(200).json();
        memory["memory"]["metadata"]["helixagent.expires_at"].clone()
    };
    assert_eq!(expires_at(&first), "2040-03-01T00:00:00Z");
    assert_eq!(read(&site, &first)["expiration_date"], "2040-02-29");
    // The same add is the same memory: another date is written, none is none.
    let again = add(&site, "is in Lisbon", json!({"expiration_date": "2040-03-31"}));
    assert_eq!((id(&again), &again["event"]), (first.clone(), &json!("UPDATE")));
    assert_eq!(add(&site, "is in Lisbon", json!({"expiration_date": "2040-03-31"}))["event"], "NONE");
    assert_eq!(add(&site, "is in Lisbon", json!({"expiration_date": null}))["event"], "NONE");
    assert_eq!(read(&site, &first)["expiration_date"], "2040-03-31");
    for (date, expected) in [(json!("2041-01-01"), json!("2041-01-01")), (Value::Null, Value::Null)] {
        let body = json!({"expiration_date": date}).to_string();
        let updated = site.mem0("", "PUT", &format!("/v1/memories/{first}/"), &body).of(200).json();
        assert_eq!((&updated["expiration_date"], &updated["memory"]), (&expected, &json!("is in Lisbon")));
    }
    assert_eq!(expires_at(&first), Value::Null);
    // A time of our own interface within a day: the day before is the last one as a whole.
    let body = r#"{"expires_at": "2040-05-02T12:00:00Z"}"#;
    site.ask("PATCH", &format!("/v1/memories/{first}"), &[], body).of(200);
    assert_eq!(read(&site, &first)["expiration_date"], "2040-05-01");
}

#[test]
fn a_memory_whose_last_day_is_over_is_hidden_until_it_is_deleted_unless_a_request_shows_it() {
    let site = Site::open();
    add(&site, "tea for ever", json!({"user_id": "u"}));
    let over = id(&add(&site, "tea until then", json!({"user_id": "u", "expiration_date": "2020-01-01"})));
    let all = ["tea for ever", "tea until then"];
    let ask = |path: &str, body: Value| {
        let answer = site.mem0("", "POST", path, &body.to_string()).of(200).json();
        texts(answer.get("results").unwrap_or(&answer))
    };
    let listed = site.mem0("", "GET", "/v1/memories/?user_id=u", "").of(200).json();
    assert_eq!(texts(&listed), all[..1]);
    for (shows, expected) in [(json!(null), &all[..1]), (json!(false), &all[..1]), (json!(true), &all[..])] {
        assert_eq!(ask("/mem0/v3/memories/", json!({"filters": {"user_id": "u"}, "show_expired": shows})), expected);
        let search = json!({"query": "tea", "filters": {"user_id": "u"}, "show_expired": shows});
        assert_eq!(ask("/mem0/v3/memories/search/", search.clone()), expected);
        assert_eq!(ask("/v1/memories/search/", search), expected);
    }
    // By its id it is there, as in Mem0.
    assert_eq!(read(&site, &over)["expiration_date"], "2020-01-01");
    // Who adds it again wants to have it: it would be deleted otherwise.
    let again = add(&site, "tea until then", json!({"user_id": "u"}));
    assert_eq!((id(&again), &again["event"]), (over.clone(), &json!("UPDATE")));
    assert_eq!(read(&site, &over)["expiration_date"], Value::Null);
}
