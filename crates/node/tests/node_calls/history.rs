//! The history of a memory: resolved states and own events.

use std::collections::BTreeSet;
use std::path::Path;

use futures::executor::block_on;
use helixstream_node::history::MemoryHistory;
use helixstream_node::ports::SnapshotRecord;
use helixstream_node::write::{Fields, MemoryWrite, WriteKind};
use helixstream_node::{Node, NodeSettings, Subscription};
use memory::users::{Heading, Snapshot};
use serde_json::{Value, json};

use crate::{accept, apply, open, update};

/// A resolved memory of the user `u` with these members instead of the usual ones.
fn state(members: &Value) -> SnapshotRecord {
    let mut memory = json!({
        "conflicted_fields": [], "created_at": "2026-01-01T00:00:00Z", "event_ids": ["e1"], "memory_id": "m",
        "status": "active", "updated_at": "2026-01-02T00:00:00Z", "user_id": "u", "vector_clock": {"a": 1}, "version": 1,
    });
    memory.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    SnapshotRecord { offset: 0, memory_id: "m".to_owned(), value: memory.to_string().into_bytes() }
}

fn history(node: &Node) -> MemoryHistory {
    block_on(node.history("m")).unwrap()
}

/// The states of `m`, each without the time at which it was applied.
fn states(node: &Node) -> Vec<Value> {
    let read = |json: &[u8]| {
        let mut state: Value = serde_json::from_slice(json).unwrap();
        assert!(state.as_object_mut().unwrap().remove("applied_at").is_some());
        state
    };
    history(node).states.iter().map(|state| read(&state.json)).collect()
}

fn with(folder: &Path, change: impl FnOnce(&mut NodeSettings)) -> Node {
    let mut settings = NodeSettings::new(folder, "agent".parse().unwrap());
    change(&mut settings);
    Node::open(settings).unwrap()
}

#[test]
fn each_state_has_its_differences_and_what_it_supersedes() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let first = json!({"content": "tea", "metadata": {"k": 1, "old": 2}});
    apply(&node, 0, 1, state(&first));
    // The answer to a sync request says the same once more.
    apply(&node, 0, 2, state(&first));
    let second = json!({
        "content": "x".repeat(5000), "metadata": {"k": [1]}, "conflicted_fields": ["content"], "event_ids": ["e2", "e3"],
        "vector_clock": {"a": 2, "b": 1}, "version": 3, "updated_at": "2026-01-03T00:00:00Z",
    });
    apply(&node, 0, 3, state(&second));
    let deleted = json!({
        "status": "deleted", "event_ids": ["e2", "e4"], "vector_clock": {"a": 2, "b": 2}, "version": 4,
        "updated_at": "2026-01-03T00:00:00Z",
    });
    apply(&node, 0, 4, state(&deleted));
    drop(node);

    let node = open(folder.path());
    let expected = json!([
        {
            "changed": [
                {"path": "content", "value": "tea"}, {"path": "metadata.k", "value": 1},
                {"path": "metadata.old", "value": 2}, {"path": "user_id", "value": "u"},
            ],
            "conflicted_fields": [], "entered": ["e1"], "event_ids": ["e1"], "source": "stream", "status": "active",
            "updated_at": "2026-01-02T00:00:00Z", "user_id": "u", "vector_clock": {"a": 1}, "version": 1,
        },
        {
            "changed": [
                {"bytes": 5002, "path": "content"}, {"path": "metadata.k", "value": [1]},
                {"path": "metadata.old", "removed": true},
            ],
            "conflicted_fields": ["content"], "entered": ["e2", "e3"], "event_ids": ["e2", "e3"], "follows": true,
            "source": "stream", "status": "active", "superseded": ["e1"], "updated_at": "2026-01-03T00:00:00Z",
            "user_id": "u", "vector_clock": {"a": 2, "b": 1}, "version": 3,
        },
        {
            "changed": [], "conflicted_fields": [], "entered": ["e4"], "event_ids": ["e2", "e4"], "follows": true,
            "source": "stream", "status": "deleted", "superseded": ["e3"], "updated_at": "2026-01-03T00:00:00Z",
            "user_id": "u", "vector_clock": {"a": 2, "b": 2}, "version": 4,
        },
    ]);
    assert_eq!(Value::from(states(&node)), expected);
    let first: Vec<bool> = history(&node).states.iter().map(|state| state.is_first).collect();
    assert_eq!(first, [true, false, false]);
}

#[test]
fn nothing_is_superseded_where_a_state_may_hold_fewer_events_than_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let before = json!({"event_ids": ["e1"], "vector_clock": {"a": 5}, "version": 5});
    apply(&node, 0, 1, state(&before));
    for (at, (name, value)) in [
        ("vector_clock", json!({"a": 4, "b": 9})),
        ("version", json!(4)),
        ("created_at", json!("2026-01-01T00:00:01Z")),
        ("updated_at", json!("2026-01-01T23:00:00Z")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut after = json!({"event_ids": ["e2"], "vector_clock": {"a": 6}, "version": 6});
        after[name] = value;
        apply(&node, 0, 2 * at as i64 + 2, state(&after));
        apply(&node, 0, 2 * at as i64 + 3, state(&before));
        let states = states(&node);
        let last = &states[states.len() - 2];
        assert_eq!((&last["follows"], last.get("superseded")), (&json!(false), None), "{name}: {last}");
    }

    // A client may restore what no stream has resolved.
    let restored = state(&json!({"event_ids": ["e7"], "vector_clock": {"a": 7}, "version": 7, "content": "restored"}));
    let heading = Heading { application_id: "app", user: "u", timestamp: 1_800_000_000_000_000_000 };
    let snapshot = Snapshot::new(heading, [("m", &restored.value[..])]).unwrap().parts(|_| true).remove(0);
    assert_eq!(block_on(node.restore(snapshot, Box::new(()))).unwrap().restored, 1);
    apply(&node, 0, 20, state(&json!({"event_ids": ["e8"], "vector_clock": {"a": 8}, "version": 8})));
    let states = states(&node);
    let [.., restored, after] = &states[..] else { panic!("{states:?}") };
    assert_eq!((&restored["source"], &restored["follows"]), (&json!("restore"), &json!(false)));
    assert_eq!((&after["source"], &after["follows"]), (&json!("stream"), &json!(false)));
}

/// The id of an event, what it supersedes, the state that it has seen, and the one that has it.
type PlacedEvent<'e> = (&'e str, &'e [String], Option<u64>, Option<u64>);

#[test]
fn own_events_have_their_places_among_the_states() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let other = json!({"vector_clock": {"a": 1}, "version": 1});
    apply(&node, 0, 1, state(&other));
    let first = accept(&node, update("m", r#"{"content":"1"}"#));
    let second = accept(&node, update("m", r#"{"content":"2"}"#));
    let failed = accept(&node, update("m", r#"{"content":"3"}"#));
    node.journal().mark_failed(failed.counter, "the record is too large").unwrap();
    let actor = first.actor.to_string();
    let with_first = json!({
        "event_ids": [first.event_id], "vector_clock": {"a": 1, (actor.as_str()): 1}, "version": first.version,
    });
    apply(&node, 0, 2, state(&with_first));
    let third = accept(&node, MemoryWrite::new("m", WriteKind::Delete, Fields::new()));

    let history = history(&node);
    let places: Vec<PlacedEvent<'_>> = history
        .events
        .iter()
        .map(|one| (one.event.event_id.as_str(), &one.supersedes[..], one.seen_state, one.in_state))
        .collect();
    let ids = [first.event_id, second.event_id, third.event_id];
    let expected: [PlacedEvent<'_>; 4] = [
        (&ids[0], &[], Some(1), Some(2)),
        (&ids[1], &ids[0..1], Some(2), None),
        (&failed.event_id, &[], None, None),
        (&ids[2], &ids[1..2], Some(2), None),
    ];
    assert_eq!(places, expected);
    assert!(history.has_all_events);
    assert_eq!(block_on(node.history("unknown")).unwrap(), MemoryHistory { has_all_events: true, ..<_>::default() });

    for n in 0..40 {
        accept(&node, update("m", &format!("{{\"content\":\"{n}\"}}")));
    }
    let history = block_on(node.history("m")).unwrap();
    assert_eq!((history.events.len(), history.has_all_events), (32, false));
}

/// Version and clock of the `n`th state of a memory.
fn nth(n: i64, memory_id: &str, content: &str) -> SnapshotRecord {
    let record = state(&json!({"memory_id": memory_id, "content": content, "vector_clock": {"a": n}, "version": n}));
    SnapshotRecord { memory_id: memory_id.to_owned(), ..record }
}

#[test]
fn a_history_has_limits_for_its_states_and_for_their_bytes() {
    let numbers = |node: &Node, id: &str| -> Vec<u64> {
        block_on(node.history(id)).unwrap().states.iter().map(|state| state.number).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let node = with(folder.path(), |settings| settings.kept_states = 3);
    for n in 1..=5 {
        apply(&node, 0, n, nth(n, "m", &n.to_string()));
    }
    assert_eq!(numbers(&node, "m"), [3, 4, 5]);
    assert!(history(&node).states.iter().all(|state| !state.is_first));
    drop(node);

    // Each state is about 1500 bytes.
    let content = |n: i64| format!("{n}{}", "x".repeat(1000));
    let node = with(folder.path(), |settings| settings.kept_state_bytes = 4000);
    for n in 6..=9 {
        apply(&node, 0, n, nth(n, "m", &content(n)));
    }
    assert_eq!(numbers(&node, "m"), [8, 9]);
    drop(node);
    let node = with(folder.path(), |settings| settings.kept_state_bytes = 1);
    apply(&node, 0, 10, nth(10, "m", &content(10)));
    assert_eq!(numbers(&node, "m"), [10], "the last one stays");
    drop(node);

    // The oldest of all memories go, however many each of them has.
    let node = with(folder.path(), |settings| settings.kept_history_bytes = 10_000);
    for n in 11..=30 {
        apply(&node, 0, n, nth(n, &format!("m{}", n % 5), &content(n)));
    }
    assert_eq!(numbers(&node, "m"), [0_u64; 0]);
    let kept: usize = (0..5).map(|n| numbers(&node, &format!("m{n}")).len()).sum();
    assert!((5..=8).contains(&kept), "{kept}");
    assert_eq!(numbers(&node, "m0").last(), Some(&4));
}

#[test]
fn what_a_state_keeps_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let metadata: serde_json::Map<String, Value> =
        (0..500).map(|n| (format!("k{n:03}"), json!("v".repeat(300)))).collect();
    let clock: serde_json::Map<String, Value> = (0..3000).map(|n| (format!("actor-{n}"), json!(n + 1))).collect();
    let ids: Vec<String> = (0..3000).map(|n| format!("event-{n:05}")).collect();
    let members = json!({
        "content": "x".repeat(1 << 20), "metadata": metadata, "vector_clock": clock, "event_ids": ids,
        "conflicted_fields": metadata.keys().map(|key| format!("metadata.{key}")).collect::<Vec<_>>(),
    });
    apply(&node, 0, 1, state(&json!({"event_ids": ["a"], "vector_clock": {"actor-1": 1}})));
    apply(&node, 0, 2, state(&members));
    let kept = history(&node).states.pop().unwrap();
    assert!(kept.json.len() < 96 << 10, "{}", kept.json.len());
    let state: Value = serde_json::from_slice(&kept.json).unwrap();
    assert_eq!(state["cut"], json!(["changed", "entered", "event_ids", "vector_clock"]));
    assert_eq!(
        (&state["follows"], state.get("superseded")),
        (&json!(true), None),
        "one that is left out may supersede"
    );
    let values: BTreeSet<bool> =
        state["changed"].as_array().unwrap().iter().map(|field| field.get("value").is_some()).collect();
    assert_eq!(values, BTreeSet::from([false, true]));
}

#[test]
fn a_memory_that_is_no_longer_kept_has_no_history() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    apply(&node, 0, 1, state(&json!({"content": "tea"})));
    drop(node);
    let users = BTreeSet::from(["v".to_owned()]);
    let subscription = Subscription::Selected { users, sessions: BTreeSet::new() };
    let node = with(folder.path(), |settings| settings.subscription = subscription);
    assert!(history(&node).states.is_empty());
    drop(node);
    let node = with(folder.path(), |settings| settings.kept_states = 0);
    apply(&node, 0, 2, state(&json!({"content": "milk"})));
    assert!(history(&node).states.is_empty());
}
