//! The history of a memory: its pages, and the states that a token of users sees.

use node::ports::SnapshotRecord;
use serde_json::{Value, json};

use crate::memories::SNAPSHOTS;
use crate::site::{Answer, Site};

/// Applies a resolved memory of this user, with this content and metadata.
fn apply(site: &Site, n: i64, user: &str, content: &str, metadata: &Value) {
    let memory = json!({
        "conflicted_fields": [], "content": content, "created_at": "2026-01-01T00:00:00Z", "event_ids": [format!("e{n}")],
        "memory_id": "m", "metadata": metadata, "status": "active", "updated_at": "2026-01-02T00:00:00Z",
        "user_id": user, "vector_clock": {"other": n}, "version": n,
    });
    let record = SnapshotRecord { offset: n, memory_id: "m".to_owned(), value: memory.to_string().into_bytes() };
    site.node.journal().apply(SNAPSHOTS, 0, &[record], n + 1).unwrap();
}

fn numbers(answer: &Answer) -> Vec<u64> {
    answer.json()["states"].as_array().unwrap().iter().map(|state| state["number"].as_u64().unwrap()).collect()
}

#[test]
fn a_history_comes_in_pages_with_the_events_on_the_first() {
    let site = Site::open();
    for n in 1..=5 {
        apply(&site, n, "u", &format!("c{n}"), &json!({"n": n}));
    }
    let written = site.ask("PATCH", "/v1/memories/m", &[], r#"{"content": "mine"}"#).of(200);
    let first = site.get("/v1/memories/m/history?limit=2").of(200);
    assert_eq!((numbers(&first), &first.json()["complete"]), (vec![5, 4], &json!(true)));
    let event = &first.json()["events"][0];
    assert_eq!((&event["event_id"], &event["seen_state"]), (&written.json()["event"]["event_id"], &json!(5)));
    assert_eq!(first.json()["states"][0]["superseded"], json!(["e4"]));
    let second = site.get(&format!("/v1/memories/m/history?limit=2&cursor={}", first.text("/next"))).of(200);
    assert_eq!((numbers(&second), &second.json()["events"]), (vec![3, 2], &json!([])));
    let last = site.get(&format!("/v1/memories/m/history?limit=2&cursor={}", second.text("/next"))).of(200);
    assert_eq!((numbers(&last), last.json().get("next")), (vec![1], None));
    assert_eq!(numbers(&site.get("/v1/memories/m/history").of(200)), [5, 4, 3, 2, 1]);

    // One that is known by own events alone has no state yet.
    let path = site.create("{}").header("location").unwrap().to_owned();
    let own = site.get(&format!("{path}/history")).of(200).json();
    assert_eq!((&own["states"], own["events"].as_array().unwrap().len()), (&json!([]), 1));
    site.get("/v1/memories/unknown/history").of(404);
    for query in ["?limit=0", "?limit=101", "?cursor=x", "?cursor=", "?user_id=u"] {
        assert_eq!(site.get(&format!("/v1/memories/m/history{query}")).of(400).text("/code"), "HS8060", "{query}");
    }
}

#[test]
fn a_token_of_users_sees_what_the_memory_was_while_it_was_theirs() {
    let site = Site::with_tokens(&[("ann", Some(&["u-ann"])), ("bob", Some(&["u-bob"])), ("all", None)]);
    apply(&site, 1, "u-ann", "of ann", &json!({"a": 1}));
    apply(&site, 2, "u-ann", "more of ann", &json!({"a": 1, "b": 2}));
    apply(&site, 3, "u-bob", "of bob", &json!({"secret-of-bob": 3}));
    apply(&site, 4, "u-bob", "more of bob", &json!({"secret-of-bob": 4}));
    let ask = |token: &str| site.ask_as(token, "GET", "/v1/memories/m/history", &[], "");
    ask("ann").of(404);
    let bob = ask("bob").of(200);
    assert_eq!((numbers(&bob), &bob.json()["complete"]), (vec![4, 3], &json!(false)));
    assert!(!bob.body.contains("ann") && !bob.body.contains("metadata.a") && !bob.body.contains("\"e2\""), "{bob:?}");
    assert_eq!(bob.json()["states"][0]["superseded"], json!(["e3"]));

    apply(&site, 5, "u-ann", "again of ann", &json!({"c": 1}));
    ask("bob").of(404);
    let ann = ask("ann").of(200);
    assert_eq!((numbers(&ann), &ann.json()["complete"]), (vec![5, 2, 1], &json!(true)));
    assert!(!ann.body.contains("bob") && !ann.body.contains("\"e4\""), "{ann:?}");
    let state = &ann.json()["states"][0];
    assert_eq!(["entered", "follows", "superseded"].map(|name| state.get(name)), [None; 3]);
    assert_eq!(numbers(&ask("all").of(200)), [5, 4, 3, 2, 1]);
}
