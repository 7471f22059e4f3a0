//! Snapshots of users: taken from one node, restored on another one.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::memories::{SNAPSHOTS, follow};
use crate::site::Site;
use node::ports::SnapshotRecord;

/// Applies a resolved memory of this user with these members beside the usual ones.
fn apply(site: &Site, offset: i64, id: &str, user: &str, members: &Value) {
    let mut memory = json!({
        "conflicted_fields": [], "created_at": "2026-01-01T00:00:00Z", "event_ids": [format!("e{offset}")], "memory_id": id,
        "status": "active", "updated_at": "2026-01-02T00:00:00Z", "user_id": user,
        "vector_clock": {(format!("actor{}", offset % 3)): offset}, "version": offset,
    });
    memory.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let record = SnapshotRecord { offset, memory_id: id.to_owned(), value: memory.to_string().into_bytes() };
    site.node.journal().apply(SNAPSHOTS, 0, &[record], offset + 1).unwrap();
}

/// Holds a snapshot, or each of its parts, against the schema of the topic.
#[track_caller]
fn check_form(snapshot: &Value) {
    let file = testkit::repo_path("schemas/user-snapshot.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let parts = snapshot.as_array().map_or(std::slice::from_ref(snapshot), Vec::as_slice);
    for part in parts {
        let errors: Vec<String> = validator.iter_errors(part).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[test]
fn a_snapshot_of_one_node_is_restored_on_another_one() {
    let site = Site::open();
    apply(&site, 1, "a", "u/ü 17", &json!({"content": "tea", "entities": [{"id": "x", "name": "cup"}]}));
    apply(&site, 2, "b", "u/ü 17", &json!({"tags": ["t"], "embedding": [0.5, -1.25], "metadata": {"k": [1, null]}}));
    apply(&site, 3, "of-other", "v", &json!({"content": "secret"}));
    apply(
        &site,
        4,
        "none",
        "u/ü 17",
        &json!({"relationships": [{"id": "r", "strength": 1}], "conflicted_fields": ["content"]}),
    );
    follow(&site, 5, "gone", "u/ü 17", "deleted", "");
    // Own writes that are not resolved: none of them is in the snapshot.
    let moved = site.ask("PATCH", "/v1/memories/a", &[], r#"{"user_id": "v", "content": "pending"}"#).of(200);
    assert_eq!(moved.json()["pending"], true);
    site.ask("DELETE", "/v1/memories/b", &[], "").of(200);
    site.ask("PATCH", "/v1/memories/of-other", &[], r#"{"user_id": "u/ü 17"}"#).of(200);
    site.create(r#"{"memory_id": "new", "user_id": "u/ü 17"}"#);

    let path = "/v1/users/u%2F%C3%BC%2017/snapshot";
    let taken = site.get(path).of(200);
    let snapshot = taken.json();
    check_form(&snapshot);
    let ids: Vec<&str> =
        snapshot["memories"].as_array().unwrap().iter().map(|one| one["memory_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "b", "none"]);
    assert_eq!(snapshot["vector_clock"], json!({"actor1": 4, "actor2": 2}));
    assert_eq!((&snapshot["entities"][0]["id"], &snapshot["relationships"][0]["id"]), (&json!("x"), &json!("r")));
    assert!(snapshot["node_id"].as_str().unwrap().starts_with("n1."));
    assert!(!taken.body.contains("pending") && !taken.body.contains("secret"));
    assert_eq!(site.get(path).json()["memories"], snapshot["memories"], "taking one changes nothing");

    let other = Site::open();
    let restored = other.ask("POST", "/v1/restore", &[], &taken.body).of(200);
    assert_eq!((restored.text("/memories"), restored.text("/restored")), ("3".to_owned(), "3".to_owned()));
    for memory in snapshot["memories"].as_array().unwrap() {
        let id = memory["memory_id"].as_str().unwrap();
        assert_eq!(other.get(&format!("/v1/memories/{id}")).of(200).json()["memory"], *memory);
    }
    let again = other.get(path).of(200);
    assert_eq!(again.json()["memories"], snapshot["memories"]);

    let nobody = site.get("/v1/users/nobody/snapshot").of(200).json();
    check_form(&nobody);
    assert_eq!((&nobody["memories"], &nobody["vector_clock"]), (&json!([]), &json!({})));
    assert_eq!(site.get("/v1/users/%ff/snapshot").of(400).text("/code"), "HS8060");
    assert_eq!(site.get(&format!("{path}?part=1")).of(400).text("/code"), "HS8060");
}

#[test]
fn a_large_snapshot_has_parts_that_are_restored_together_and_one_that_is_too_large_is_refused() {
    let site = Site::open();
    let text = "x".repeat(3 << 20);
    for n in 0..6 {
        apply(&site, n + 1, &format!("m{n}"), "u", &json!({"content": text}));
    }
    let taken = site.get("/v1/users/u/snapshot").of(200);
    let parts = taken.json();
    check_form(&parts);
    assert_eq!(parts.as_array().unwrap().len(), 2);
    let other = Site::open();
    assert_eq!(other.ask("POST", "/v1/restore", &[], &taken.body).of(200).text("/restored"), "6");

    // What counts is what a restore would read: members of memories that stand in the snapshot once
    // more.
    let names: Vec<Value> = (0..12).map(|n| json!({"id": n.to_string(), "name": text})).collect();
    apply(&site, 7, "entities", "u", &json!({"entities": names[..5]}));
    apply(&site, 8, "more-entities", "u", &json!({"entities": names[5..10]}));
    assert_eq!(site.get("/v1/users/u/snapshot").of(422).text("/code"), "HS8092");
    apply(&site, 9, "last-entities", "u", &json!({"entities": names[..8]}));
    assert_eq!(site.get("/v1/users/u/snapshot").of(422).text("/code"), "HS8092");
}

#[test]
fn a_client_that_reads_its_snapshot_slowly_is_in_the_way_of_nobody() {
    let site = Site::open();
    let text = "x".repeat(12 << 20);
    for n in 0..4 {
        apply(&site, n + 1, &format!("m{n}"), "slow", &json!({"content": text}));
        apply(&site, n + 11, &format!("n{n}"), "quick", &json!({"content": text}));
    }
    // Both together have more than the 64 MiB that are in memory at a time, and none is read whole
    // by the buffers of its connection.
    let mut slow = site.connect();
    slow.write_all(b"GET /v1/users/slow/snapshot HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = vec![0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");
    let quick = site.get("/v1/users/quick/snapshot").of(200);
    assert!(quick.json().as_array().unwrap().len() > 1 && quick.body.len() > 48 << 20);
    // The other one had no harm of it.
    slow.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains(&format!("content-length: {}", body.len())), "{head}");
    let parts: Value = serde_json::from_str(body).unwrap();
    let ids = parts.as_array().unwrap().iter().flat_map(|part| part["memories"].as_array().unwrap());
    assert_eq!(ids.map(|memory| memory["memory_id"].as_str().unwrap()).collect::<Vec<_>>(), ["m0", "m1", "m2", "m3"]);
}

#[test]
fn a_token_reads_a_few_snapshots_at_a_time() {
    let site = Site::with_tokens(&[("one", Some(&["u"])), ("more-of-one", Some(&["u"])), ("all", None)]);
    apply(&site, 1, "m", "u", &json!({"content": "x".repeat(12 << 20)}));
    let begin = |token: &str| {
        let mut reader = site.connect();
        let bearer = site.bearer(token);
        let head = format!("GET /v1/users/u/snapshot HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer}\r\n\r\n");
        reader.write_all(head.as_bytes()).unwrap();
        let mut start = [0; 12];
        reader.read_exact(&mut start).unwrap();
        (String::from_utf8_lossy(&start[9..]).into_owned(), reader)
    };
    let of_one = ["one", "more-of-one", "one", "more-of-one"].map(begin);
    assert!(of_one.iter().all(|(status, _)| status == "200"));
    assert_eq!(begin("one").0, "503");
    assert_eq!(begin("all").0, "200");
}

#[test]
fn a_token_of_users_takes_snapshots_of_these_alone() {
    let site = Site::with_tokens(&[("ann", Some(&["u-ann"])), ("all", None)]);
    follow(&site, 1, "m", "u-ann", "active", "of ann");
    follow(&site, 2, "n", "u-bob", "active", "of bob");
    let ask = |token: &str, user: &str| site.ask_as(token, "GET", &format!("/v1/users/{user}/snapshot"), &[], "");
    assert_eq!(ask("ann", "u-ann").of(200).text("/memories/0/memory_id"), "m");
    assert_eq!(ask("ann", "u-bob").of(403).text("/code"), "HS8073");
    assert_eq!(ask("ann", "nobody").of(403).body, ask("ann", "u-bob").of(403).body);
    assert_eq!(ask("all", "u-bob").of(200).text("/memories/0/memory_id"), "n");
}
