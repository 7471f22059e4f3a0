//! Deletes at the time at which a memory expires, against what other nodes do meanwhile.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures::executor::block_on;
use helixstream_node::actor::{Actor, Incarnation};
use helixstream_node::expiry::{ExpiryTerms, GRACE, TURN};
use helixstream_node::ports::SnapshotRecord;
use helixstream_node::shown::MemoryStatus;
use helixstream_node::write::{Accepted, Fields, MemoryWrite, WriteKind};
use helixstream_node::{Node, NodeSettings};
use memory::event::{Event, EventKind, Limits, decode, wire};
use memory::settings::ResolverSettings;
use memory::state::{ReadFailure, Rows};
use memory::step;
use memory::view::ResolutionContext;

/// 2100-01-01 and 2200-01-01 in nanoseconds since 1970.
const EXPIRES: u64 = 4_102_444_800_000_000_000;
const EXPIRES_LATER: u64 = 7_258_118_400_000_000_000;
const DUE: u64 = EXPIRES + GRACE.as_nanos() as u64;
const FOR_EVER: u64 = u64::MAX >> 1;

/// The stream's rows of the one memory.
#[derive(Default)]
struct RowsOfMemory(BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows for RowsOfMemory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        Ok(self.0.get(key).cloned())
    }
}

/// TwoNodes nodes that show a memory which `a` has written and which expires, and the stream that
/// resolves what they publish.
struct TwoNodes {
    a: Node,
    b: Node,
    created: Accepted,
    rows: RowsOfMemory,
    events: Vec<Event>,
    resolved: Vec<Vec<u8>>,
    conflicts: usize,
}

fn open(root: &Path, name: &str) -> Node {
    Node::open(NodeSettings::new(root.join(name), name.parse().unwrap())).unwrap()
}

fn write(node: &Node, kind: WriteKind, json: &str) -> Accepted {
    let fields = Fields::from_json(json.as_bytes()).unwrap();
    block_on(node.write(MemoryWrite::new("m", kind, fields))).unwrap()
}

impl TwoNodes {
    fn new(root: &Path) -> TwoNodes {
        let (a, b) = (open(root, "a"), open(root, "b"));
        let fields = r#"{"content":"short-lived","user_id":"u","expires_at":"2100-01-01T00:00:00Z"}"#;
        let created = write(&a, WriteKind::Create, fields);
        let (events, resolved) = (Vec::new(), Vec::new());
        let mut two = TwoNodes { a, b, created, rows: RowsOfMemory::default(), events, resolved, conflicts: 0 };
        two.settle();
        two
    }

    /// All that waits is published, resolved and followed.
    fn settle(&mut self) {
        for node in [self.a.clone(), self.b.clone()] {
            for event in node.journal().unpublished(100, 1 << 20).unwrap() {
                self.resolve(&event.value, event.timestamp_ms);
                node.journal().mark_published(event.counter).unwrap();
            }
        }
        let record = |(at, value): (usize, &Vec<u8>)| SnapshotRecord {
            offset: at as i64,
            memory_id: "m".to_owned(),
            value: value.clone(),
        };
        let records: Vec<SnapshotRecord> = self.resolved.iter().enumerate().map(record).collect();
        for node in [&self.a, &self.b] {
            node.journal().apply("snapshots", 0, &records, records.len() as i64).unwrap();
        }
    }

    fn resolve(&mut self, value: &[u8], timestamp_ms: i64) {
        let event = decode(Some(value), timestamp_ms, &Limits::default()).expect("a node publishes good events");
        let source = wire::Source { topic: "events", partition: 0, offset: self.events.len() as i64 };
        let mut form = Vec::new();
        wire::encode(&event, &source, timestamp_ms, None, &mut form);
        let settings = ResolverSettings::default();
        let context = ResolutionContext { settings: &settings, custom: None };
        let outcome = step::step(&self.rows, "m", &wire::decode(&form).unwrap(), &context).unwrap();
        for (key, value) in outcome.puts {
            match value {
                Some(value) => self.rows.0.insert(key, value),
                None => self.rows.0.remove(&key),
            };
        }
        self.resolved.extend(outcome.resolved.map(|resolved| resolved.json));
        self.conflicts += outcome.conflicts.len();
        self.events.push(event);
    }

    /// The memory as the stream has resolved it, which both nodes show.
    fn shown(&self) -> (MemoryStatus, String) {
        let expected = self.resolved.last().unwrap();
        let shown = [&self.a, &self.b].map(|node| block_on(node.read("m", None)).unwrap().unwrap());
        assert!(shown.iter().all(|shown| !shown.is_pending && shown.json == *expected));
        (shown[0].status, String::from_utf8(expected.clone()).unwrap())
    }

    fn actor(&self) -> Actor {
        self.created.actor.actor.clone()
    }
}

/// The terms of a node that sees these others, at a time.
fn terms(now_ns: u64, present: &[Actor], rank: u32) -> ExpiryTerms {
    ExpiryTerms { now_ns, present: present.iter().cloned().collect::<BTreeSet<_>>(), rank }
}

fn expire(node: &Node, terms: &ExpiryTerms) -> u64 {
    block_on(node.expire(terms)).unwrap()
}

#[test]
fn the_node_that_has_set_the_time_deletes_the_memory_as_it_has_seen_it() {
    let root = tempfile::tempdir().unwrap();
    let mut two = TwoNodes::new(root.path());
    assert_eq!(expire(&two.a, &terms(DUE - 1, &[], 0)), 0);
    assert_eq!(expire(&two.b, &terms(DUE, &[two.actor()], 0)), 0, "a is there and does it");
    assert_eq!(expire(&two.a, &terms(DUE, &[], 7)), 1);
    assert_eq!(expire(&two.a, &terms(DUE, &[], 7)), 0);
    // The delete is accepted as any write: a kill after it loses nothing.
    two.a.stop();
    two.a = open(root.path(), "a");
    assert_eq!(expire(&two.a, &terms(DUE, &[], 0)), 0);
    two.settle();
    let delete = two.events.last().unwrap();
    assert_eq!(delete.kind, EventKind::Deleted);
    assert!(delete.timestamp == EXPIRES && delete.version >= two.created.version, "{delete:?}");
    assert_eq!(delete.clock.entries(), [(two.actor().to_string(), 2)]);
    assert_eq!(two.shown().0, MemoryStatus::Deleted);
    assert_eq!(two.events.len(), 2);
}

#[test]
fn an_extension_that_the_node_has_seen_is_kept_to() {
    let root = tempfile::tempdir().unwrap();
    let mut two = TwoNodes::new(root.path());
    write(&two.b, WriteKind::Update, r#"{"expires_at":"2200-01-01T00:00:00Z"}"#);
    two.settle();
    let b = block_on(two.b.status()).unwrap().actor;
    for node in [&two.a, &two.b] {
        assert_eq!(expire(node, &terms(DUE, &[], 0)), 0);
    }
    // b has set the time now.
    let due = EXPIRES_LATER + GRACE.as_nanos() as u64;
    assert_eq!(expire(&two.a, &terms(due, std::slice::from_ref(&b), 0)), 0);
    // A memory whose time was cleared does not expire, nor one that was replaced without a time.
    write(&two.a, WriteKind::Update, r#"{"expires_at":null}"#);
    assert_eq!(expire(&two.a, &terms(FOR_EVER, &[], 0)), 0);
    two.settle();
    assert_eq!(expire(&two.b, &terms(FOR_EVER, &[], 0)), 0);
    write(&two.a, WriteKind::Update, r#"{"expires_at":"2100-01-01T00:00:00Z"}"#);
    write(&two.a, WriteKind::Replace, r#"{"content":"for ever"}"#);
    assert_eq!(expire(&two.a, &terms(FOR_EVER, &[], 0)), 0);
    two.settle();
    let (status, json) = two.shown();
    assert!(status == MemoryStatus::Active && !json.contains("helixagent.expires"), "{json}");
}

#[test]
fn an_extension_that_races_with_the_delete_stands_with_what_it_writes_again() {
    for (kind, has_content) in [(WriteKind::Update, false), (WriteKind::Replace, true)] {
        let root = tempfile::tempdir().unwrap();
        let mut two = TwoNodes::new(root.path());
        let fields = r#"{"content":"short-lived","expires_at":"2200-01-01T00:00:00Z"}"#;
        let fields = if has_content { fields } else { r#"{"expires_at":"2200-01-01T00:00:00Z"}"# };
        write(&two.b, kind, fields);
        assert_eq!(expire(&two.a, &terms(DUE, &[], 0)), 1);
        two.settle();
        let (status, json) = two.shown();
        assert_eq!(status, MemoryStatus::Active);
        assert!(json.contains(r#""helixagent.expires_at":"2200-01-01T00:00:00Z""#), "{json}");
        assert_eq!(json.contains("short-lived"), has_content, "{json}");
        assert!(json.contains(r#""user_id":"u""#), "no delete drops a user: {json}");
        assert!(json.contains(r#""conflicted_fields":[]"#), "{json}");
    }
}

#[test]
fn another_node_deletes_in_its_turn_where_the_setter_is_absent_and_two_deletes_are_no_conflict() {
    let root = tempfile::tempdir().unwrap();
    let mut two = TwoNodes::new(root.path());
    // It looked while a was there, and looks again half a minute later.
    assert_eq!(expire(&two.b, &terms(DUE, &[two.actor()], 0)), 0);
    assert_eq!(expire(&two.b, &terms(DUE, &[], 0)), 0);
    let turn = DUE + TURN.as_nanos() as u64;
    assert_eq!(expire(&two.b, &terms(turn - 1, &[], 1)), 0);
    assert_eq!(expire(&two.b, &terms(turn, &[], 1)), 1);
    assert_eq!(expire(&two.a, &terms(DUE, &[], 0)), 1);
    two.settle();
    assert_eq!(two.shown().0, MemoryStatus::Deleted);
    assert_eq!(two.events.len(), 3);
    assert_eq!((two.conflicts, expire(&two.b, &terms(FOR_EVER, &[], 0))), (0, 0));
}

#[test]
fn a_new_incarnation_goes_on_with_what_the_former_one_has_set() {
    let root = tempfile::tempdir().unwrap();
    let two = TwoNodes::new(root.path());
    let former = two.actor();
    two.a.journal().begin_incarnation(&Incarnation::random(), "a test").unwrap();
    assert_eq!(expire(&two.a, &terms(DUE, &[former], 9)), 1);
}

#[test]
fn a_delete_that_is_refused_after_it_was_written_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let two = TwoNodes::new(root.path());
    // A memory of a few bytes, which grows by its delete: it then has an event more, and the name
    // of the node in its clock.
    let setter = format!(r#","helixagent.expires_by":"{}""#, two.actor());
    let small = two.shown().1.replace(r#""content":"short-lived","#, "").replace(&setter, "");
    let small = small.replace(&format!("{:?}", two.created.event_id), "");
    assert!(!small.contains("short-lived") && !small.contains("expires_by"), "{small}");
    let settings = NodeSettings::new(root.path().join("c"), "c".repeat(64).parse().unwrap());
    let node = Node::open(NodeSettings { max_memory_bytes: 1, ..settings }).unwrap();
    let record = SnapshotRecord { offset: 0, memory_id: "m".to_owned(), value: small.clone().into_bytes() };
    node.journal().apply("snapshots", 0, &[record], 1).unwrap();
    assert_eq!(expire(&node, &terms(FOR_EVER, &[], 0)), 0);
    let status = block_on(node.status()).unwrap();
    assert_eq!((status.counter, status.outbox_depth, status.pending), (0, 0, 0));
    let shown = block_on(node.read("m", None)).unwrap().unwrap();
    assert_eq!((shown.status, String::from_utf8(shown.json).unwrap()), (MemoryStatus::Active, small));
    assert!(block_on(node.events_of("m")).unwrap().is_empty());
}
