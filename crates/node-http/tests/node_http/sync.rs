//! Requests for memories that a node may have missed, within the users of a token.

use memory::event::{Limits, decode};
use memory::users::{Heading, Snapshot};
use serde_json::json;

use crate::site::Site;

/// The users that the requests which wait at the node ask for, as JSON; `None`: all.
fn users(site: &Site) -> Vec<Option<String>> {
    let requests = site.node.journal().unsent_requests().unwrap();
    let user = |value: &[u8]| {
        let event = decode(Some(value), 1, &Limits::default()).unwrap();
        event.writes.first().map(|write| String::from_utf8(write.value.clone()).unwrap())
    };
    requests.iter().map(|request| user(&request.value)).collect()
}

#[test]
fn a_request_is_accepted_once_and_refused_where_it_was_just_sent() {
    let site = Site::open();
    let force = |query: &str| site.ask("POST", &format!("/v1/sync/force{query}"), &[], "");
    let first = force("?user_id=u-17").of(202);
    assert_eq!((first.text("/repeated"), first.text("/user_id")), ("false".to_owned(), "u-17".to_owned()));
    let second = force("?user_id=u-17").of(202);
    assert_eq!((second.text("/repeated"), second.text("/request_id")), ("true".to_owned(), first.text("/request_id")));
    assert_eq!(force("").of(202).json().get("user_id"), None);
    assert_eq!(users(&site), [Some("\"u-17\"".to_owned()), None]);
    assert_eq!(site.get("/v1/sync/status").text("/sync_requests"), "2");
    site.node.journal().mark_requests_sent(&[first.text("/request_id")]).unwrap();
    let refused = force("?user_id=u-17").of(429);
    assert_eq!((refused.text("/code"), refused.header("retry-after")), ("HS8090".to_owned(), Some("10")));
    for query in ["?user_id=", "?user=u-17", "?user_id=a&user_id=b"] {
        assert_eq!(force(query).of(400).text("/code"), "HS8060", "{query}");
    }
}

#[test]
fn a_token_that_is_bound_to_users_asks_for_theirs_alone() {
    let tokens: &[(&str, Option<&[&str]>)] = &[("ann", Some(&["u-ann"])), ("both", Some(&["u-ann", "u-bob"]))];
    let site = Site::with_tokens(tokens);
    let force = |token: &str, query: &str| site.ask_as(token, "POST", &format!("/v1/sync/force{query}"), &[], "");
    assert_eq!(force("ann", "").of(202).text("/user_id"), "u-ann");
    assert_eq!(force("ann", "?user_id=u-bob").of(403).text("/code"), "HS8073");
    assert_eq!(force("both", "").of(403).text("/code"), "HS8073");
    force("both", "?user_id=u-bob").of(202);
    assert_eq!(users(&site), [Some("\"u-ann\"".to_owned()), Some("\"u-bob\"".to_owned())]);
}

/// A snapshot of a user with these memories, in as many parts as there are memories where they do
/// not fit into one.
fn snapshot(user: &str, ids: &[&str], fits: bool) -> Vec<String> {
    let memory = |id: &&str| {
        let json = json!({
            "conflicted_fields": [], "content": "from a snapshot", "created_at": "2026-01-01T00:00:00Z",
            "event_ids": ["e"], "memory_id": id, "status": "active", "updated_at": "2026-01-02T00:00:00Z",
            "user_id": user, "vector_clock": {"other.node": 7}, "version": 7,
        });
        ((*id).to_owned(), json.to_string().into_bytes())
    };
    let memories: Vec<(String, Vec<u8>)> = ids.iter().map(memory).collect();
    let heading = Heading { application_id: "app", user, timestamp: 1_800_000_000_000_000_000 };
    let snapshot = Snapshot::new(heading, memories.iter().map(|(id, json)| (id.as_str(), &json[..]))).unwrap();
    snapshot.parts(|_| fits).into_iter().map(|part| String::from_utf8(part).unwrap()).collect()
}

#[test]
fn a_snapshot_is_restored_whole_and_in_parts() {
    let site = Site::open();
    let restore = |body: &str| site.ask("POST", "/v1/restore", &[], body);
    let done = restore(&snapshot("u", &["a", "b"], true)[0]).of(200).json();
    assert_eq!((&done["memories"], &done["restored"], &done["user_id"]), (&2.into(), &2.into(), &"u".into()));
    assert_eq!((&done["request"]["user_id"], &done["request"]["repeated"]), (&"u".into(), &false.into()));
    let read = site.get("/v1/memories/a").of(200).json();
    assert_eq!((&read["memory"]["content"], &read["pending"]), (&"from a snapshot".into(), &false.into()));
    let parts = snapshot("u", &["c", "d", "e"], false);
    assert_eq!(restore(&format!("[{}]", parts.join(","))).of(200).text("/restored"), "3");
    assert_eq!(users(&site), [Some("\"u\"".to_owned())]);

    let refused = |body: &str, status: u16| restore(body).of(status).text("/code");
    assert_eq!(refused(&format!("[{},{}]", parts[0], parts[2]), 422), "HS8091", "a part is missing");
    assert_eq!(refused(&format!("[{},{}]", parts[0], snapshot("v", &["x", "y"], false)[1]), 422), "HS8091", "mixed");
    assert_eq!(refused(&parts[0].replace("\"app\"", "7"), 422), "HS8091", "damaged");
    assert_eq!(refused("{", 400), "HS8063");
    let text = [("content-type", "text/plain")];
    assert_eq!(site.ask("POST", "/v1/restore", &text, &parts[0]).of(415).text("/code"), "HS8064");
    assert_eq!(site.ask("POST", "/v1/restore?user_id=u", &[], &parts[0]).of(400).text("/code"), "HS8060");
}

#[test]
fn a_token_that_is_bound_to_users_restores_no_snapshot() {
    let tokens: &[(&str, Option<&[&str]>)] = &[("ann", Some(&["u-ann"])), ("all", None)];
    let site = Site::with_tokens(tokens);
    let of_ann = &snapshot("u-ann", &["m"], true)[0];
    let restore = |token: &str, body: &str| site.ask_as(token, "POST", "/v1/restore", &[], body);
    for body in [of_ann, &snapshot("u-bob", &["m"], true)[0], "{"] {
        assert_eq!(restore("ann", body).of(403).text("/code"), "HS8079");
    }
    assert_eq!(users(&site), []);
    site.ask_as("ann", "GET", "/v1/memories/m", &[], "").of(404);
    restore("all", of_ann).of(200);
    site.ask_as("ann", "PATCH", "/v1/memories/m", &[], r#"{"content": "x"}"#).of(200);
}

#[test]
fn a_restore_that_follows_the_request_of_another_one_at_once_is_refused() {
    let site = Site::open();
    let restore = |id: &str| site.ask("POST", "/v1/restore", &[], &snapshot("u", &[id], true)[0]);
    let first = restore("a").of(200).text("/request/request_id");
    site.node.journal().mark_requests_sent(&[first]).unwrap();
    let refused = restore("b").of(429);
    assert_eq!((refused.text("/code"), refused.header("retry-after")), ("HS8090".to_owned(), Some("10")));
    site.get("/v1/memories/b").of(404);
    assert_eq!(users(&site), []);
}
