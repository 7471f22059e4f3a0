//! The history of a memory in Mem0's API: the states that the node has applied, and its own events
//! that no state has.

use node::ports::SnapshotRecord;
use serde_json::{Value, json};

use crate::memories::SNAPSHOTS;
use crate::site::{Answer, Site};

/// A resolved state: its status, its content, the actor that has written it, and the events of its
/// frontier.
struct State<'s> {
    status: &'s str,
    content: &'s str,
    clock: Value,
    event_ids: &'s [&'s str],
}

/// Applies a state of the memory `m`; its offset is its version.
fn apply(site: &Site, n: i64, state: &State<'_>, user: &str) {
    let mut memory = json!({
        "created_at": "2026-01-01T00:00:00Z", "event_ids": state.event_ids, "memory_id": "m", "status": state.status,
        "updated_at": format!("2026-01-02T00:00:00.{n:03}Z"), "user_id": user, "vector_clock": state.clock, "version": n,
    });
    if state.status == "active" {
        memory["content"] = json!(state.content);
    }
    let record = SnapshotRecord { offset: n, memory_id: "m".to_owned(), value: memory.to_string().into_bytes() };
    site.node.journal().apply(SNAPSHOTS, 0, &[record], n + 1).unwrap();
}

fn active(site: &Site, n: i64, content: &str, clock: Value, event_ids: &[&str]) {
    apply(site, n, &State { status: "active", content, clock, event_ids }, "u");
}

fn read(site: &Site) -> Answer {
    site.mem0("", "GET", "/v1/memories/m/history/", "").of(200)
}

/// These members of each entry, with null for what is absent.
fn members<const N: usize>(answer: &Answer, names: [&str; N]) -> Vec<[Value; N]> {
    answer.json().as_array().unwrap().iter().map(|entry| names.map(|name| entry[name].clone())).collect()
}

const TEXTS: [&str; 3] = ["event", "old_memory", "new_memory"];

#[test]
fn a_history_has_the_changes_of_other_nodes_and_own_ones_before_they_are_resolved() {
    let site = Site::open();
    active(&site, 1, "a", json!({"x": 1}), &["e1"]);
    active(&site, 2, "b", json!({"x": 1, "y": 1}), &["e2"]);
    // A concurrent write that has lost changes nothing that is shown.
    active(&site, 3, "b", json!({"x": 2, "y": 1}), &["e2", "e3"]);
    // Two events of two nodes between two states: who has written what is not known.
    active(&site, 4, "c", json!({"x": 3, "y": 2}), &["e5"]);
    apply(&site, 5, &State { status: "deleted", content: "", clock: json!({"x": 4, "y": 2}), event_ids: &["e6"] }, "u");
    active(&site, 6, "d", json!({"x": 4, "y": 2, "z": 9}), &["e7"]);
    let expected = [
        json!(["e1", "x", "ADD", null, "a", "2026-01-02T00:00:00.001Z"]),
        json!(["e2", "y", "UPDATE", "a", "b", "2026-01-02T00:00:00.002Z"]),
        json!(["e5", null, "UPDATE", "b", "c", "2026-01-02T00:00:00.004Z"]),
        json!(["e6", "x", "DELETE", "c", null, "2026-01-02T00:00:00.005Z"]),
        json!(["e7", "z", "ADD", null, "d", "2026-01-02T00:00:00.006Z"]),
    ];
    let names = ["id", "actor_id", "event", "old_memory", "new_memory", "created_at"];
    let history = read(&site);
    assert_eq!(members(&history, names).map_to_json(), expected);
    assert_eq!(history.header("x-truncated"), None);

    // Own writes lie behind, until a state has them; then they are that state, with the same id.
    let update = site.mem0("", "PUT", "/v1/memories/m/", r#"{"text": "mine"}"#).of(200);
    assert_eq!(update.json()["memory"], "mine");
    let own = site.get("/v1/memories/m/events").of(200).json()["events"][0].clone();
    let (own_id, actor) = (own["event_id"].as_str().unwrap(), own["node_id"].as_str().unwrap());
    let pending = members(&read(&site), ["id", "actor_id", "event", "old_memory", "new_memory"]);
    assert_eq!(pending[5], [json!(own_id), json!(actor), json!("UPDATE"), json!("d"), json!("mine")]);
    site.node.journal().mark_published(1).unwrap();
    active(&site, 7, "mine", json!({"x": 4, "y": 2, "z": 9, actor: 1}), &[own_id]);
    assert_eq!(members(&read(&site), ["id", "actor_id", "event", "old_memory", "new_memory"]), pending);
}

trait MapToJson {
    fn map_to_json(self) -> Vec<Value>;
}

impl<const N: usize> MapToJson for Vec<[Value; N]> {
    fn map_to_json(self) -> Vec<Value> {
        self.into_iter().map(|row| Value::Array(row.into())).collect()
    }
}

#[test]
fn a_text_that_is_not_kept_is_null_and_the_answer_says_so() {
    let site = Site::open();
    let long = "x".repeat(5000);
    active(&site, 1, "a", json!({"x": 1}), &["e1"]);
    active(&site, 2, &long, json!({"x": 2}), &["e2"]);
    // The present text is known, whatever its length.
    let history = read(&site);
    assert_eq!(members(&history, TEXTS)[1], [json!("UPDATE"), json!("a"), json!(long)]);
    assert_eq!(history.header("x-truncated"), None);
    active(&site, 3, "c", json!({"x": 3}), &["e3"]);
    let history = read(&site);
    let expected = [json!("UPDATE"), json!("a"), Value::Null];
    assert_eq!(members(&history, TEXTS)[1..], [expected, [json!("UPDATE"), Value::Null, json!("c")]]);
    assert_eq!(history.header("x-truncated"), Some("true"));
}

#[test]
fn where_the_oldest_states_are_gone_the_answer_says_so_and_claims_no_text_of_theirs() {
    let site = Site::open();
    for n in 1..=104 {
        active(&site, n, if n < 103 { "first" } else { "second" }, json!({"x": n}), &["e"]);
    }
    let history = read(&site);
    // The states before the 103rd have the same text, and the oldest that is kept does not say
    // which: it is the one that the 103rd has replaced, which nobody knows any more.
    assert_eq!(members(&history, TEXTS), [[json!("UPDATE"), Value::Null, json!("second")]]);
    assert_eq!(history.header("x-truncated"), Some("true"));
}

#[test]
fn a_node_that_keeps_no_states_answers_from_its_own_events_and_says_that_more_may_have_been() {
    let site = Site::with(crate::site::Options { kept_states: 0, ..Default::default() });
    active(&site, 1, "a", json!({"x": 1}), &["e1"]);
    assert_eq!((read(&site).json(), read(&site).header("x-truncated")), (json!([]), Some("true")));
    site.mem0("", "PUT", "/v1/memories/m/", r#"{"text": "mine"}"#).of(200);
    let history = read(&site);
    assert_eq!(members(&history, TEXTS), [[json!("UPDATE"), Value::Null, json!("mine")]]);
    assert_eq!(history.header("x-truncated"), Some("true"));
}
