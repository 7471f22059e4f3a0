//! User snapshots that are brought back over what a node has.

use std::collections::BTreeSet;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use futures::executor::block_on;
use helixstream_node::ports::{Journal, SnapshotRecord};
use helixstream_node::restore::{RestoreError, Restored, SnapshotFault};
use helixstream_node::{Node, NodeSettings, Subscription};
use memory::event::{Limits, decode};
use memory::users::{Heading, Snapshot};

use crate::{accept, apply, open, resolved, shown, update};

/// A snapshot of the user `u` with these memories.
fn snapshot(mut memories: Vec<SnapshotRecord>) -> Vec<u8> {
    memories.sort_by(|a, b| a.memory_id.cmp(&b.memory_id));
    let heading = Heading { application_id: "app", user: "u", timestamp: 1_800_000_000_000_000_000 };
    let members = memories.iter().map(|one| (one.memory_id.as_str(), &one.value[..]));
    Snapshot::new(heading, members).unwrap().parts(|_| true).remove(0)
}

fn restore(node: &Node, snapshot: Vec<u8>) -> Result<Restored, RestoreError> {
    block_on(node.restore(snapshot, Box::new(())))
}

fn of_u(id: &str, content: &str, clock: &str) -> SnapshotRecord {
    resolved(id, "u", content, clock, "")
}

/// The users that the waiting sync requests name, as JSON; `None`: all memories.
fn asked(node: &Node) -> Vec<Option<String>> {
    let user = |value: &[u8]| {
        let event = decode(Some(value), 1, &Limits::default()).unwrap();
        event.writes.first().map(|write| String::from_utf8(write.value.clone()).unwrap())
    };
    node.journal().unsent_requests().unwrap().iter().map(|request| user(&request.value)).collect()
}

fn has(node: &Node, id: &str, content: &str) -> bool {
    shown(node, id).contains(&format!("\"content\":\"{content}\""))
}

#[test]
fn what_is_newer_stays_and_the_stream_is_asked_for_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    apply(&node, 0, 5, of_u("older", "5", r#"{"a":5}"#));
    apply(&node, 0, 6, of_u("newer", "6", r#"{"a":6,"b":1}"#));
    apply(&node, 0, 7, of_u("same", "7", r#"{"a":7}"#));
    apply(&node, 0, 8, of_u("apart", "8", r#"{"a":8,"b":1}"#));
    apply(&node, 0, 9, resolved("moved", "v", "9", r#"{"a":9}"#, ""));
    accept(&node, update("own", r#"{"content":"mine"}"#));
    let memories = vec![
        of_u("older", "s", r#"{"a":6}"#),
        of_u("newer", "s", r#"{"a":6}"#),
        of_u("same", "s", r#"{"a":7}"#),
        of_u("apart", "s", r#"{"a":9}"#),
        of_u("moved", "s", r#"{"a":3}"#),
        of_u("new", "s", r#"{"a":1}"#),
        resolved("own", "u", "s", r#"{"a":1}"#, "\"content\""),
    ];
    let done = restore(&node, snapshot(memories)).unwrap();
    assert_eq!((done.memories, done.restored, done.not_subscribed), (7, 3, 0));
    let expected =
        [("older", "s"), ("newer", "6"), ("same", "7"), ("apart", "8"), ("moved", "9"), ("new", "s"), ("own", "mine")];
    for (id, content) in expected {
        assert!(has(&node, id, content), "{id}: {}", shown(&node, id));
    }
    assert!(block_on(node.read("own", None)).unwrap().unwrap().is_pending, "its own write lies over it");
    assert_eq!((asked(&node), done.request.repeated), (vec![Some("\"u\"".to_owned())], false));
    drop(node);

    // Again after a start: it changes nothing, and the request that waits is enough.
    let node = open(folder.path());
    let done = restore(&node, snapshot(vec![of_u("older", "s", r#"{"a":6}"#)])).unwrap();
    assert_eq!((done.restored, done.request.repeated), (0, true));
}

#[test]
fn records_that_are_read_later_are_compared_by_their_clocks() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    apply(&node, 0, 1, of_u("m", "1", r#"{"a":1}"#));
    restore(&node, snapshot(vec![of_u("m", "s", r#"{"a":5}"#), of_u("n", "s", r#"{"a":5}"#)])).unwrap();
    // The follower is behind the snapshot.
    apply(&node, 0, 2, of_u("m", "2", r#"{"a":2}"#));
    apply(&node, 1, 2, of_u("n", "2", r#"{"a":2}"#));
    assert!(has(&node, "m", "s") && has(&node, "n", "s"));
    apply(&node, 0, 3, of_u("m", "3", r#"{"a":6}"#));
    apply(&node, 1, 3, of_u("n", "3", r#"{"a":5}"#));
    assert!(has(&node, "m", "3") && has(&node, "n", "3"));
    // From here on it stands in a partition again.
    apply(&node, 0, 4, of_u("m", "4", r#"{"a":6}"#));
    assert!(has(&node, "m", "4"));
}

/// A share of a limit, which sends the name of the thread that drops it.
struct Share(Sender<Option<String>>);

impl Drop for Share {
    fn drop(&mut self) {
        let _ = self.0.send(std::thread::current().name().map(str::to_owned));
    }
}

#[test]
fn the_share_of_a_snapshot_is_held_until_it_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let (sender, dropped) = channel();
    let text = snapshot(vec![of_u("m", "s", r#"{"a":5}"#)]);
    block_on(node.restore(text, Box::new(Share(sender)))).unwrap();
    assert_eq!(dropped.try_recv().unwrap().as_deref(), Some("node-restore"));
}

#[test]
fn a_large_snapshot_takes_several_transactions_and_its_one_request_is_sent_after_the_last() {
    static JOURNAL: OnceLock<Weak<dyn Journal>> = OnceLock::new();
    static SENDABLE: Mutex<Vec<bool>> = Mutex::new(Vec::new());
    fn observe_step(step: &str) {
        if let (Some(journal), "accept.committed") = (JOURNAL.get().and_then(Weak::upgrade), step) {
            SENDABLE.lock().unwrap().push(journal.wait_for_unpublished(Duration::ZERO).unwrap());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
    let node = Node::open(NodeSettings { observe_step, ..settings }).unwrap();
    assert!(JOURNAL.set(Arc::downgrade(&node.journal())).is_ok());
    let memories = (0..600).map(|n| of_u(&format!("m{n:03}"), "s", r#"{"a":1}"#)).collect();
    let done = restore(&node, snapshot(memories)).unwrap();
    assert_eq!((done.memories, done.restored, done.request.repeated), (600, 600, false));
    assert_eq!(*SENDABLE.lock().unwrap(), [false; 3], "no request is sent before the last chunk");
    assert_eq!(asked(&node), [Some("\"u\"".to_owned())]);
    assert!(has(&node, "m000", "s") && has(&node, "m599", "s"));
}

#[test]
fn a_later_chunk_with_an_unknown_memory_asks_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
    let subscription = Subscription::Selected { users: BTreeSet::from(["u".to_owned()]), sessions: BTreeSet::new() };
    let node = Node::open(NodeSettings { subscription, ..settings }).unwrap();
    let known = (0..256).map(|n| of_u(&format!("m{n:03}"), "1", r#"{"a":1}"#)).collect::<Vec<_>>();
    node.journal().apply("snapshots", 0, &known, 1).unwrap();
    let memories = (0..257).map(|n| of_u(&format!("m{n:03}"), "s", r#"{"a":2}"#)).collect();
    let done = restore(&node, snapshot(memories)).unwrap();
    assert_eq!((done.restored, done.request.user_id), (257, None));
    assert_eq!(asked(&node), [Some("\"u\"".to_owned()), None]);
}

#[test]
fn a_node_with_a_subscription_leaves_the_rest_out_and_asks_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let set = |name: &str| BTreeSet::from([name.to_owned()]);
    let of = |users: BTreeSet<String>| {
        let settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
        let subscription = Subscription::Selected { users, sessions: BTreeSet::new() };
        Node::open(NodeSettings { subscription, ..settings }).unwrap()
    };
    let node = of(set("v"));
    let done = restore(&node, snapshot(vec![of_u("m", "s", r#"{"a":5}"#)])).unwrap();
    assert_eq!((done.restored, done.not_subscribed), (0, 1));
    assert_eq!(block_on(node.read("m", None)).unwrap(), None);
    drop(node);
    // It may have read that the memory has gone to another user, and forgotten it.
    let node = of(set("u"));
    restore(&node, snapshot(vec![of_u("m", "s", r#"{"a":5}"#)])).unwrap();
    assert!(has(&node, "m", "s"));
    assert_eq!(asked(&node), [Some("\"u\"".to_owned()), None]);
}

#[test]
fn nothing_of_a_snapshot_that_is_not_whole_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let text = String::from_utf8(snapshot(vec![of_u("m", "s", r#"{"a":5}"#), of_u("n", "s", r#"{"a":5}"#)])).unwrap();
    let damaged = text.replacen(r#""content":"s""#, r#""content":7"#, 2);
    let result = restore(&node, damaged.into_bytes());
    assert!(matches!(result, Err(RestoreError::Snapshot(SnapshotFault::Damaged(_)))), "{result:?}");
    assert_eq!((block_on(node.status()).unwrap().memories, asked(&node)), (0, Vec::new()));
}
