//! Entities and relationships by their ids, and memories in conflict.

use node::ports::SnapshotRecord;
use serde_json::{Value, json};

use crate::memories::SNAPSHOTS;
use crate::site::Site;

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|part| part["id"].as_str().unwrap()).collect()
}

#[test]
fn entities_and_relationships_are_written_by_their_ids() {
    let site = Site::open();
    let body = r#"{"memory_id": "m", "content": "c", "entities": [{"id": "e1", "name": "tea"}]}"#;
    site.create(body);
    let list = |kind: &str| site.get(&format!("/v1/memories/m/{kind}")).of(200);
    assert_eq!(list("relationships").json()["relationships"], json!([]));
    let created =
        site.ask("PUT", "/v1/memories/m/entities/a%2Fb%20%C3%BC", &[], r#"{"name": "cup", "confidence": 0.5}"#).of(201);
    assert_eq!(ids(&created.json()["memory"]["entities"]), ["a/b ü", "e1"]);
    // The members that a part lacks are gone, and other parts and fields stay.
    let updated = site.ask("PUT", "/v1/memories/m/entities/e1", &[], r#"{"id": "e1", "type": "drink"}"#).of(200);
    let listed = list("entities");
    assert_eq!(listed.json()["entities"][1], json!({"id": "e1", "type": "drink"}));
    assert_eq!((listed.text("/clock"), updated.text("/memory/content")), (updated.text("/clock"), "c".to_owned()));
    assert_eq!(listed.header("etag").unwrap(), format!("\"{}\"", listed.text("/clock")));

    let path = "/v1/memories/m/relationships/r1";
    site.ask("PUT", path, &[], r#"{"from_entity": "e1", "to_entity": "a/b ü", "type": "in", "strength": 1}"#).of(201);
    site.ask("PUT", "/v1/memories/m/relationships/r2", &[], "{}").of(201);
    assert_eq!(ids(&list("relationships").json()["relationships"]), ["r1", "r2"]);
    let cleared = site.ask("DELETE", path, &[], "").of(200);
    assert_eq!(ids(&cleared.json()["memory"]["relationships"]), ["r2"]);
    assert_eq!(site.ask("DELETE", path, &[], "").of(404).text("/code"), "HS8085");
    site.ask("DELETE", "/v1/memories/m/relationships/r2", &[], "").of(200);
    assert_eq!(list("relationships").json()["relationships"], json!([]));
    let events = site.get("/v1/memories/m/events").of(200).json();
    let types: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|e| e["event_type"].as_str().unwrap()).collect();
    let expected = [
        "memory.created",
        "entity.created",
        "entity.updated",
        "relationship.created",
        "relationship.created",
        "relationship.deleted",
        "relationship.deleted",
    ];
    assert_eq!(types, expected);
}

#[test]
fn a_write_of_a_part_says_what_it_has_seen_and_can_be_repeated() {
    let site = Site::open();
    let clock = site.create(r#"{"memory_id": "m"}"#).text("/clock");
    let path = "/v1/memories/m/relationships/r";
    let key = |key: &'static str| [("if-match", clock.clone()), ("idempotency-key", key.to_owned())];
    let send = |method: &str, headers: &[(&str, String)], body: &str| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        site.ask(method, path, &headers, body)
    };
    let first = send("PUT", &key("put"), "{}").of(201);
    assert_eq!(first.json()["assumed"], false);
    let again = send("PUT", &key("put"), "{}").of(201);
    assert_eq!(
        (again.json()["repeated"].clone(), again.text("/event/event_id")),
        (json!(true), first.text("/event/event_id"))
    );
    let stale = send("PUT", &key("other"), "{}").of(409);
    assert_eq!(stale.text("/code"), "HS8068");
    let delete = [("if-match", stale.text("/clock")), ("idempotency-key", "delete".to_owned())];
    let deleted = send("DELETE", &delete, "").of(200);
    assert_eq!(send("DELETE", &delete, "").of(200).text("/event/event_id"), deleted.text("/event/event_id"));
    // A session has seen what its last answer has shown.
    let session = [("x-session-id", "s".to_owned())];
    send("PUT", &session, "{}").of(201);
    site.ask("PATCH", "/v1/memories/m", &[], r#"{"content": "later"}"#).of(200);
    send("PUT", &session, r#"{"type": "x"}"#).of(409);
}

#[test]
fn a_wrong_part_is_refused() {
    let site = Site::open();
    site.create(r#"{"memory_id": "m"}"#);
    site.create(r#"{"memory_id": "gone"}"#);
    site.ask("DELETE", "/v1/memories/gone", &[], "").of(200);
    for (method, path, body, status, code) in [
        ("PUT", "m/entities/e", "[]", 400, "HS8063"),
        ("PUT", "m/entities/e", "{", 400, "HS8063"),
        ("PUT", "m/entities/%ff", "{}", 400, "HS8060"),
        ("PUT", "m/entities/e?force=true", "{}", 400, "HS8060"),
        ("GET", "m/entities?limit=1", "", 400, "HS8060"),
        ("PUT", "m/entities/e", r#"{"id": "other"}"#, 422, "HS8070"),
        ("PUT", "m/entities/e", r#"{"id": null}"#, 422, "HS8070"),
        ("PUT", "m/entities/e", r#"{"confidence": "high"}"#, 422, "HS8070"),
        ("PUT", "m/relationships/r", r#"{"strength": []}"#, 422, "HS8070"),
        ("DELETE", "m/entities/e", "", 405, "HS8062"),
        ("GET", "m/entities/e", "", 405, "HS8062"),
        ("GET", "unknown/entities", "", 404, "HS8066"),
        ("PUT", "unknown/relationships/r", "{}", 404, "HS8066"),
        ("DELETE", "unknown/relationships/r", "", 404, "HS8066"),
        ("GET", "gone/relationships", "", 410, "HS8067"),
        ("PUT", "gone/entities/e", "{}", 410, "HS8067"),
        ("DELETE", "gone/relationships/r", "", 410, "HS8067"),
    ] {
        let answer = site.ask(method, &format!("/v1/memories/{path}"), &[], body);
        assert_eq!(
            (answer.status, answer.text("/code").as_str()),
            (status, code),
            "{method} {path} {body}: {answer:?}"
        );
    }
    assert_eq!(site.get("/v1/sync/status").text("/counter"), "3");
}

/// A resolved memory with fields in conflict.
fn follow_conflict(site: &Site, offset: i64, id: &str, user: &str, paths: &[&str]) {
    let memory = json!({
        "conflicted_fields": paths, "content": "c", "created_at": "2026-01-01T00:00:00Z", "event_ids": ["e"], "memory_id": id,
        "status": "active", "updated_at": "2026-01-01T00:00:00Z", "user_id": user, "vector_clock": {"other": offset + 1},
        "version": offset + 1,
    });
    let record = SnapshotRecord { offset, memory_id: id.to_owned(), value: memory.to_string().into_bytes() };
    site.node.journal().apply(SNAPSHOTS, 0, &[record], offset + 1).unwrap();
}

#[test]
fn memories_in_conflict_are_listed_until_somebody_decides() {
    let site = Site::with_tokens(&[("ann", Some(&["u-ann"])), ("all", None)]);
    for (offset, (id, user, paths)) in (0..).zip([
        ("a", "u-ann", &["content", "metadata.mood"][..]),
        ("b", "u-bob", &["content"]),
        ("c", "u-ann", &[]),
        ("d", "u-ann", &["tags"]),
    ]) {
        follow_conflict(&site, offset, id, user, paths);
    }
    let list = |token: &str, query: &str| site.ask_as(token, "GET", &format!("/v1/conflicts{query}"), &[], "");
    let found = |token: &str, query: &str| -> Vec<String> {
        let page = list(token, query).of(200).json();
        let memories = page["memories"].as_array().unwrap();
        memories.iter().map(|found| found["memory"]["memory_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found("all", ""), ["a", "b", "d"]);
    let counted = || site.ask_as("all", "GET", "/v1/sync/status", &[], "").of(200).json()["conflicted"].clone();
    assert_eq!(counted(), json!(3));
    assert_eq!(found("all", "?user_id=u-bob"), ["b"]);
    assert_eq!((found("all", "?session_id=s"), found("ann", "")), (vec![], vec!["a".to_owned(), "d".to_owned()]));
    assert_eq!(list("ann", "?user_id=u-bob").of(403).text("/code"), "HS8073");
    assert_eq!(list("all", "?include_inactive=true").of(400).text("/code"), "HS8060");
    let first = list("all", "?limit=2").of(200);
    assert_eq!(first.json()["memories"][0]["memory"]["conflicted_fields"], json!(["content", "metadata.mood"]));
    assert_eq!(found("all", &format!("?cursor={}", first.text("/next"))), ["d"]);
    // A write that has seen both decides, as soon as the node accepts it.
    site.ask_as("all", "PATCH", "/v1/memories/d", &[], r#"{"tags": ["decided"]}"#).of(200);
    assert_eq!((found("all", ""), counted()), (vec!["a".to_owned(), "b".to_owned()], json!(2)));
}
