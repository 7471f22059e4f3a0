//! Sync requests: what they ask for, and that they are kept until they are sent.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::executor::block_on;
use helixstream_node::ports::SyncRequest;
use helixstream_node::sync::{LEAST_PAUSE, SyncError, SyncRequested};
use helixstream_node::{Node, NodeSettings};
use memory::event::{EventKind, Limits, decode};

use crate::open;

/// The wall clock of a test, in nanoseconds since 1970.
static CLOCK: AtomicU64 = AtomicU64::new(1_800_000_000_000_000_000);

fn request(node: &Node, user: Option<&str>) -> Result<SyncRequested, SyncError> {
    block_on(node.request_sync(user.map(str::to_owned)))
}

fn waiting(node: &Node) -> Vec<SyncRequest> {
    node.journal().unsent_requests().unwrap()
}

#[test]
fn a_request_has_no_clock_and_is_kept_until_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let of_user = request(&node, Some("u")).unwrap();
    let of_all = request(&node, None).unwrap();
    let again = request(&node, Some("u")).unwrap();
    assert_eq!((again.repeated, &again.event_id), (true, &of_user.event_id), "one that waits is enough");
    assert_ne!(of_all.event_id, of_user.event_id);
    let before = waiting(&node);
    drop(node);

    let node = open(folder.path());
    assert_eq!(waiting(&node), before, "the same bytes after a start");
    assert_eq!(block_on(node.status()).unwrap().sync_requests, 2);
    assert!(node.journal().wait_for_unpublished(LEAST_PAUSE).unwrap());
    let events: Vec<_> =
        before.iter().map(|one| decode(Some(&one.value), one.timestamp_ms, &Limits::default()).unwrap()).collect();
    let users: Vec<_> = events.iter().map(|event| event.writes.first().map(|write| write.value.clone())).collect();
    assert_eq!(users, [Some(b"\"u\"".to_vec()), None]);
    for event in &events {
        assert_eq!((&event.kind, event.tells_clock), (&EventKind::SyncRequest, false), "{event:?}");
        assert_eq!(event.node_id, Some(node.journal().identity().unwrap().actor.to_string()));
    }
    node.journal().mark_requests_sent(&[of_user.event_id]).unwrap();
    node.journal().mark_request_failed(&of_all.event_id, "too large").unwrap();
    assert_eq!((waiting(&node), block_on(node.status()).unwrap().sync_requests), (Vec::new(), 0));
    let status = block_on(node.status()).unwrap();
    assert_eq!((status.counter, status.outbox_depth), (0, 0), "a request is no write");
}

#[test]
fn the_same_memories_are_not_asked_for_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
    let node = Node::open(NodeSettings { wall_clock: || CLOCK.load(Ordering::SeqCst), ..settings }).unwrap();
    let sent = request(&node, Some("u")).unwrap();
    node.journal().mark_requests_sent(&[sent.event_id]).unwrap();
    assert_eq!(request(&node, Some("u")), Err(SyncError::TooSoon));
    assert!(request(&node, Some("v")).is_ok() && request(&node, None).is_ok());
    CLOCK.fetch_add(LEAST_PAUSE.as_nanos() as u64, Ordering::SeqCst);
    assert!(request(&node, Some("u")).is_ok());
}

#[test]
fn a_node_that_has_lost_records_asks_for_all_memories() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    for partition in 0..3 {
        node.journal().begin_again("snapshots", partition, 7).unwrap();
        assert_eq!(node.journal().position("snapshots", partition).unwrap(), Some(7));
    }
    let [one] = &waiting(&node)[..] else { panic!("one request is enough for all partitions") };
    let event = decode(Some(&one.value), 1, &Limits::default()).unwrap();
    assert!(event.writes.is_empty() && !event.tells_clock, "{event:?}");
    // It is the node's own, so no pause is needed before the next.
    node.journal().mark_requests_sent(std::slice::from_ref(&one.event_id)).unwrap();
    node.journal().begin_again("snapshots", 0, 9).unwrap();
    assert_eq!(waiting(&node).len(), 1);
}
