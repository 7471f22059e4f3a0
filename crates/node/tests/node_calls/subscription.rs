//! Subscriptions by user and by session, and what a change of them between two starts fetches.

use std::collections::BTreeSet;
use std::path::Path;

use futures::executor::block_on;
use helixstream_node::ports::SnapshotRecord;
use helixstream_node::{Node, NodeSettings, Subscription};
use memory::event::{Limits, decode};

use crate::{accept, apply, resolved, update};

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn selected(users: &[&str], sessions: &[&str]) -> Subscription {
    Subscription::Selected { users: set(users), sessions: set(sessions) }
}

fn open(folder: &Path, subscription: Subscription) -> Node {
    let settings = NodeSettings::new(folder, "agent".parse().unwrap());
    Node::open(NodeSettings { subscription, ..settings }).unwrap()
}

/// A resolved memory in a session, at a counter of the actor `a`.
fn in_session(id: &str, user: &str, session: &str, counter: u64) -> SnapshotRecord {
    let record = resolved(id, user, "1", &format!("{{\"a\":{counter}}}"), "");
    let text = String::from_utf8(record.value).unwrap();
    let text = text.replace("\"status\"", &format!("\"session_id\":\"{session}\",\"status\""));
    SnapshotRecord { value: text.into_bytes(), ..record }
}

fn deleted(id: &str, user: &str, counter: u64) -> SnapshotRecord {
    let value = format!(
        "{{\"created_at\":\"2026-01-01T00:00:00Z\",\"event_ids\":[\"e\"],\"memory_id\":\"{id}\",\"status\":\"deleted\",\
        \"updated_at\":\"2026-01-02T00:00:00Z\",\"user_id\":\"{user}\",\"vector_clock\":{{\"a\":{counter}}},\"version\":7}}"
    );
    SnapshotRecord { offset: 0, memory_id: id.to_owned(), value: value.into_bytes() }
}

fn is_known(node: &Node, id: &str) -> bool {
    block_on(node.read(id, None)).unwrap().is_some()
}

/// The users that the waiting sync requests name, as JSON; `None`: all memories.
fn asked(node: &Node) -> Vec<Option<String>> {
    let user = |value: &[u8]| {
        let event = decode(Some(value), 1, &Limits::default()).unwrap();
        event.writes.first().map(|write| String::from_utf8(write.value.clone()).unwrap())
    };
    node.journal().unsent_requests().unwrap().iter().map(|request| user(&request.value)).collect()
}

#[test]
fn a_node_keeps_the_sessions_that_it_subscribes_to() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path(), selected(&["u"], &["s"]));
    apply(&node, 0, 1, in_session("m", "v", "s", 1));
    apply(&node, 0, 2, in_session("n", "v", "t", 2));
    apply(&node, 0, 3, in_session("o", "u", "t", 3));
    apply(&node, 0, 4, in_session("p", "v", "s", 4));
    assert_eq!(["m", "n", "o", "p"].map(|id| is_known(&node, id)), [true, false, true, true]);
    apply(&node, 0, 5, in_session("m", "v", "t", 5));
    assert!(!is_known(&node, "m"), "it belongs to another session now");
    // A deleted memory says no session.
    apply(&node, 0, 6, deleted("p", "v", 6));
    apply(&node, 0, 7, deleted("n", "v", 7));
    assert_eq!(["n", "p"].map(|id| is_known(&node, id)), [false, true]);
}

#[test]
fn a_change_of_the_subscription_fetches_what_is_new_and_forgets_what_is_not_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path(), selected(&["u", "w"], &[]));
    apply(&node, 0, 1, in_session("m", "u", "s", 1));
    apply(&node, 0, 2, in_session("n", "w", "s", 2));
    apply(&node, 0, 3, in_session("o", "v", "s", 3));
    accept(&node, update("own", r#"{"content":"1","user_id":"x"}"#));
    assert_eq!(["m", "n", "o", "own"].map(|id| is_known(&node, id)), [true, true, false, true]);
    assert_eq!(asked(&node), [], "a new node reads from the beginning");
    drop(node);

    let node = open(folder.path(), selected(&["u", "v"], &[]));
    assert_eq!(asked(&node), [Some("\"v\"".to_owned())]);
    assert_eq!(["m", "n", "own"].map(|id| is_known(&node, id)), [true, false, true]);
    drop(node);
    // The request that waits is kept, and is enough.
    let node = open(folder.path(), selected(&["u", "v"], &[]));
    assert_eq!(asked(&node), [Some("\"v\"".to_owned())]);
    drop(node);
    let node = open(folder.path(), selected(&["u", "v"], &["s"]));
    assert_eq!(asked(&node), [Some("\"v\"".to_owned()), None], "no request is for a session");
    drop(node);
    let node = open(folder.path(), Subscription::All);
    assert_eq!(asked(&node).len(), 2, "the request for all waits already");
    let ids: Vec<String> =
        node.journal().unsent_requests().unwrap().into_iter().map(|request| request.event_id).collect();
    node.journal().mark_requests_sent(&ids).unwrap();
    drop(node);
    let node = open(folder.path(), selected(&["u"], &[]));
    assert_eq!(asked(&node), [], "less is asked for than before");
    drop(node);
    let node = open(folder.path(), Subscription::All);
    assert_eq!(asked(&node), [None]);
}
