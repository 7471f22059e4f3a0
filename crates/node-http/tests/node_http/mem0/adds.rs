//! Which adds are the same memory.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{add, id, texts};
use crate::memories::follow;
use crate::site::Site;

#[test]
fn the_same_add_is_the_same_memory() {
    let site = Site::open();
    let scopes = [
        json!({}),
        json!({"user_id": "u"}),
        json!({"user_id": "v"}),
        json!({"session_id": "s"}),
        json!({"user_id": "u", "session_id": "s"}),
        json!({"metadata": {"category": "c"}}),
        json!({"metadata": {"category": ["c"]}}),
        json!({"agent_id": "a"}),
        json!({"app_id": "a"}),
    ];
    let first: Vec<String> = scopes.iter().map(|scope| id(&add(&site, "text", scope.clone()))).collect();
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), scopes.len());
    for (scope, first) in scopes.iter().zip(&first) {
        let again = add(&site, "text", scope.clone());
        assert_eq!((id(&again), &again["event"], &again["event_id"]), (first.clone(), &json!("NONE"), &Value::Null));
    }
    assert_eq!(site.get("/v1/sync/status").text("/counter"), scopes.len().to_string());
    // Mem0 calls the session a run, and another node computes the same ids.
    let other = Site::open();
    assert_eq!(id(&add(&other, "text", json!({"run_id": "s"}))), first[3]);
}

#[test]
fn the_same_add_with_other_metadata_writes_what_is_new_of_them() {
    let site = Site::open();
    let added = add(&site, "text", json!({"metadata": {"a": 1, "b": 2}}));
    let again = add(&site, "text", json!({"metadata": {"b": 3, "c": 4, "d": null}}));
    assert_eq!((id(&again), &again["event"]), (id(&added), &json!("UPDATE")));
    let events = site.get(&format!("/v1/memories/{}/events", id(&added))).json();
    assert_eq!(events["events"][1]["fields"], json!(["metadata"]));
    let shown = site.mem0("", "GET", &format!("/v1/memories/{}/", id(&added)), "").json();
    assert_eq!(shown["metadata"], json!({"a": 1, "b": 3, "c": 4}));
}

#[test]
fn an_add_after_a_delete_is_the_same_memory_and_has_seen_the_delete() {
    let site = Site::open();
    let added = add(&site, "text", json!({"user_id": "u", "metadata": {"k": 1}}));
    let path = format!("/v1/memories/{}/", id(&added));
    site.mem0("", "DELETE", &path, "").of(200);
    let again = add(&site, "text", json!({"user_id": "u"}));
    assert_eq!((id(&again), &again["event"]), (id(&added), &json!("ADD")));
    let shown = site.mem0("", "GET", &path, "").of(200).json();
    assert_eq!((&shown["memory"], &shown["metadata"]), (&json!("text"), &json!({})));
    // The delete of another node, which this one has followed, is seen as well.
    let elsewhere = id(&add(&Site::open(), "elsewhere", json!({"user_id": "u"})));
    follow(&site, 7, &elsewhere, "u", "deleted", "");
    assert_eq!(id(&add(&site, "elsewhere", json!({"user_id": "u"}))), elsewhere);
    let events = site.get(&format!("/v1/memories/{elsewhere}/events")).of(200).json();
    assert_eq!(events["events"][0]["vector_clock"]["other"], 8);
    let own = site.get(&format!("/v1/memories/{elsewhere}")).of(200).json();
    assert!(own["memory"].get("conflicted_fields").is_none_or(|fields| fields == &json!([])), "{own}");
}

#[test]
fn an_add_after_the_text_was_changed_makes_a_new_memory() {
    let site = Site::open();
    let first = id(&add(&site, "text", json!({})));
    let change = |id: &str| {
        site.mem0("", "PUT", &format!("/v1/memories/{id}/"), r#"{"text": "changed"}"#).of(200);
    };
    change(&first);
    let second = add(&site, "text", json!({}));
    assert_eq!((id(&second) != first, &second["event"]), (true, &json!("ADD")));
    assert_eq!(id(&add(&site, "text", json!({}))), id(&second));
    change(&id(&second));
    let third = id(&add(&site, "text", json!({})));
    assert_eq!(BTreeSet::from([first.clone(), id(&second), third.clone()]).len(), 3);
    assert_eq!(texts(&site.mem0("", "GET", "/v1/memories/", "").json()), ["changed", "changed", "text"]);
    // A changed memory that is deleted is free again: the text is that of no other memory.
    site.mem0("", "DELETE", &format!("/v1/memories/{first}/"), "").of(200);
    site.mem0("", "DELETE", &format!("/v1/memories/{third}/"), "").of(200);
    assert_eq!(id(&add(&site, "text", json!({}))), first);
    // So is one that another memory has absorbed not.
    let absorbing = site.create(r#"{"content": "both"}"#).text("/memory/memory_id");
    let merge = json!({"merged_from": [first]}).to_string();
    site.ask("POST", &format!("/v1/memories/{absorbing}/merge"), &[], &merge).of(200);
    assert_ne!(id(&add(&site, "text", json!({}))), first);
}

#[test]
fn an_add_after_the_memory_was_moved_to_another_user_makes_a_new_memory() {
    let site = Site::open();
    let moved = id(&add(&site, "text", json!({"user_id": "u"})));
    site.ask("PATCH", &format!("/v1/memories/{moved}"), &[], r#"{"user_id": "v"}"#).of(200);
    assert_ne!(id(&add(&site, "text", json!({"user_id": "u"}))), moved);
    let listed = site.mem0("", "GET", "/v1/memories/?user_id=u", "").json();
    assert_eq!(texts(&listed), ["text"]);
}

#[test]
fn of_many_equal_adds_at_a_time_one_makes_the_memory() {
    let site = Site::open();
    let added: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..30).map(|_| scope.spawn(|| add(&site, "text", json!({"user_id": "u"})))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(added.iter().map(id).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(added.iter().filter(|item| item["event"] == "ADD").count(), 1);
    assert_eq!(site.get("/v1/sync/status").text("/counter"), "1");
}

#[test]
fn each_message_is_a_memory_as_it_is() {
    let site = Site::open();
    let messages = json!([
        {"role": "user", "content": "  I like tea\n"}, {"role": "assistant", "content": "Noted: \"tea\""}, {"role": "system", "content": "ü"},
    ]);
    let body = json!({"messages": messages, "filters": {"user_id": "u"}, "infer": true, "custom_instructions": "x"})
        .to_string();
    let added = site.mem0("", "POST", "/mem0/v3/memories/add/", &body).of(200).json();
    let listed = site.mem0("", "GET", "/v1/memories/?user_id=u", "").json();
    for (message, item) in messages.as_array().unwrap().iter().zip(added["results"].as_array().unwrap()) {
        let memory = listed.as_array().unwrap().iter().find(|memory| memory["id"] == item["id"]).unwrap();
        assert_eq!((&memory["memory"], &memory["role"]), (&message["content"], &message["role"]));
    }
}
