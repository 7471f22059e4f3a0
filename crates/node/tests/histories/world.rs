//! A world in memory around real nodes: what Kafka keeps, a stream that resolves by the domain's
//! own step, and folders that are copied and rolled back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::executor::block_on;
use helixstream_node::ports::{Agreement, Journal, Publication, SnapshotRecord, chain_digest};
use helixstream_node::settings::StaleWrites;
use helixstream_node::shown::EventState;
use helixstream_node::{Node, NodeSettings};
use memory::clock::Clock;
use memory::event::{Event, Limits, decode, wire};
use memory::settings::ResolverSettings;
use memory::state::{ReadFailure, Rows};
use memory::step;
use memory::view::ResolutionContext;

pub const TOPIC: &str = "helixagent.memory.snapshots";

/// Ids of events that a reader has seen.
pub type SeenIds = BTreeSet<String>;

#[derive(Default)]
struct StreamRows(BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows for StreamRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        Ok(self.0.get(key).cloned())
    }
}

/// A record of the snapshots topic, and the events that it has seen.
pub struct Snapshot {
    pub memory_id: String,
    pub value: Vec<u8>,
    pub seen: SeenIds,
}

/// An event on the events topic.
pub struct Published {
    pub event: Event,
    pub value: Vec<u8>,
}

/// What Kafka and the stream keep.
#[derive(Default)]
pub struct Kafka {
    pub events: Vec<Published>,
    pub snapshots: Vec<Snapshot>,
    records: BTreeMap<String, Publication>,
    /// The folder that may publish as an actor: the one that came last.
    owners: BTreeMap<String, usize>,
    rows: BTreeMap<String, StreamRows>,
    arrived: BTreeMap<String, SeenIds>,
}

impl Kafka {
    /// Commits one event, which the stream resolves at once.
    fn publish(&mut self, value: &[u8], timestamp_ms: i64) {
        let event = decode(Some(value), timestamp_ms, &Limits::default()).expect("a node publishes good events");
        let own = event.memory_id.clone().expect("events of a node name a memory");
        let absorbed: Vec<String> = event.absorbed().map(str::to_owned).collect();
        for (memory_id, into) in
            [(own.clone(), None)].into_iter().chain(absorbed.into_iter().map(|id| (id, Some(own.as_str()))))
        {
            self.resolve(&event, timestamp_ms, &memory_id, into);
        }
        self.events.push(Published { event, value: value.to_vec() });
    }

    fn resolve(&mut self, event: &Event, timestamp_ms: i64, memory_id: &str, into: Option<&str>) {
        let source = wire::Source { topic: "events", partition: 0, offset: self.events.len() as i64 };
        let mut form = Vec::new();
        wire::encode(event, &source, timestamp_ms, into, &mut form);
        let settings = ResolverSettings::default();
        let context = ResolutionContext { settings: &settings, custom: None };
        let rows = self.rows.entry(memory_id.to_owned()).or_default();
        let outcome = step::step(rows, memory_id, &wire::decode(&form).unwrap(), &context).unwrap();
        for (key, value) in outcome.puts {
            match value {
                Some(value) => rows.0.insert(key, value),
                None => rows.0.remove(&key),
            };
        }
        let arrived = self.arrived.entry(memory_id.to_owned()).or_default();
        arrived.insert(event.event_id.clone());
        if let Some(resolved) = outcome.resolved {
            let (memory_id, seen) = (memory_id.to_owned(), arrived.clone());
            self.snapshots.push(Snapshot { memory_id, value: resolved.json, seen });
        }
    }

    /// The last snapshot of a memory among the first `count` records.
    pub fn snapshot(&self, memory_id: &str, count: usize) -> Option<&Snapshot> {
        self.snapshots[..count].iter().rev().find(|snapshot| snapshot.memory_id == memory_id)
    }
}

/// A folder with an open node.
pub struct Folder {
    pub name: String,
    pub path: PathBuf,
    pub node: Node,
    journal: Arc<dyn Journal>,
    is_connected: bool,
    options: Options,
}

/// The settings of a folder's node.
#[derive(Clone, Copy)]
pub struct Options {
    pub clock: fn() -> u64,
    pub stale_writes: StaleWrites,
}

impl Folder {
    pub fn open(path: &Path, name: &str, options: Options) -> Folder {
        let mut settings = NodeSettings::new(path, name.parse().unwrap());
        settings.wall_clock = options.clock;
        settings.stale_writes = options.stale_writes;
        let node = Node::open(settings).expect("the node opens");
        let journal = node.journal();
        let name = name.to_owned();
        Folder { name, path: path.to_owned(), node, journal, is_connected: false, options }
    }

    pub fn restart(&mut self) {
        self.node.stop();
        let (path, name, options) = (self.path.clone(), self.name.clone(), self.options);
        *self = Folder::open(&path, &name, options);
    }

    /// A copy of the folder while its node is open, as `cp -r` makes it between two writes.
    pub fn copy_to(&self, path: &Path) {
        std::fs::create_dir_all(path).unwrap();
        for file in ["node.db", "node.db-wal"] {
            if self.path.join(file).exists() {
                std::fs::copy(self.path.join(file), path.join(file)).unwrap();
            }
        }
    }

    /// Puts a copy back in the place of the folder.
    pub fn roll_back(&mut self, copy: &Path) {
        self.node.stop();
        for file in ["node.db", "node.db-wal", "node.db-shm"] {
            let _ = std::fs::remove_file(self.path.join(file));
            if copy.join(file).exists() {
                std::fs::copy(copy.join(file), self.path.join(file)).unwrap();
            }
        }
        let (path, name, options) = (self.path.clone(), self.name.clone(), self.options);
        *self = Folder::open(&path, &name, options);
    }

    pub fn status(&self) -> helixstream_node::shown::NodeStatus {
        block_on(self.node.status()).unwrap()
    }

    fn connect(&mut self, kafka: &mut Kafka, id: usize) {
        while !self.is_connected {
            let actor = self.journal.identity().unwrap().actor.to_string();
            kafka.owners.insert(actor.clone(), id);
            let agreement =
                kafka.records.get(&actor).map_or(Agreement::Agrees, |found| self.journal.reconcile(*found).unwrap());
            match agreement {
                Agreement::Agrees => self.is_connected = true,
                Agreement::Differs => drop(self.journal.begin_incarnation("the folder was rolled back").unwrap()),
            }
        }
    }

    /// What the publisher does: one transaction of at most so many events. With `is_killed` the
    /// process dies between the commit and the mark.
    pub fn publish(&mut self, kafka: &mut Kafka, id: usize, max_records: usize, is_killed: bool) {
        self.connect(kafka, id);
        let identity = self.journal.identity().unwrap();
        let actor = identity.actor.to_string();
        if kafka.owners.get(&actor) != Some(&id) {
            self.is_connected = false;
            if let Some(found) = kafka.records.get(&actor) {
                // Whether the last transaction was committed.
                self.journal.reconcile(*found).unwrap();
            }
            self.journal.begin_incarnation("another process has fenced this one").unwrap();
            return self.publish(kafka, id, max_records, is_killed);
        }
        let events = self.journal.unpublished(max_records, 1 << 20).unwrap();
        let Some(last) = events.last() else { return };
        let chain = events.iter().fold(identity.chain, |chain, event| chain_digest(chain, &event.value));
        for event in &events {
            kafka.publish(&event.value, event.timestamp_ms);
        }
        kafka.records.insert(actor, Publication { counter: last.counter, chain });
        if is_killed {
            self.restart();
        } else {
            let marked = self.journal.mark_published(last.counter).unwrap();
            assert_eq!(marked, Publication { counter: last.counter, chain });
        }
    }

    /// A broker refuses the first waiting event for ever. Only a publisher that knows what was
    /// committed asks a broker. Returns the event.
    pub fn fail_first(&mut self, kafka: &Kafka, id: usize) -> Option<String> {
        let actor = self.journal.identity().unwrap().actor.to_string();
        if !self.is_connected || kafka.owners.get(&actor) != Some(&id) {
            return None;
        }
        let event = self.journal.unpublished(1, 1).unwrap().into_iter().next()?;
        self.journal.mark_failed(event.counter, "the record is too large").unwrap();
        Some(String::from_utf8(event.value).unwrap())
    }

    pub fn position(&self) -> usize {
        self.journal.position(TOPIC, 0).unwrap().unwrap_or(0) as usize
    }

    /// What the follower does.
    pub fn follow(&self, kafka: &Kafka, max_records: usize) {
        let from = self.position();
        let to = kafka.snapshots.len().min(from + max_records);
        let record = |at: usize| {
            let snapshot = &kafka.snapshots[at];
            SnapshotRecord { offset: at as i64, memory_id: snapshot.memory_id.clone(), value: snapshot.value.clone() }
        };
        let records: Vec<SnapshotRecord> = (from..to).map(record).collect();
        self.journal.apply(TOPIC, 0, &records, to as i64).unwrap();
    }

    /// The events that a reader of this node has seen of a memory: those of the last snapshot, and
    /// those that lie over it. One that has failed lies over nothing.
    pub fn seen_ids(&self, kafka: &Kafka, memory_id: &str) -> SeenIds {
        let mut seen =
            kafka.snapshot(memory_id, self.position()).map(|snapshot| snapshot.seen.clone()).unwrap_or_default();
        for event in block_on(self.node.events_of(memory_id)).unwrap() {
            if !event.is_resolved && !matches!(event.state, EventState::Failed(_)) {
                seen.insert(event.event_id);
            }
        }
        seen
    }
}

/// Whether `a` happened before `b` (docs/semantics.md, section 2).
pub fn is_before(a: &Event, b: &Event) -> bool {
    is_less(&a.clock, &b.clock) && a.version <= b.version
}

/// Whether every entry of `a` is at most that of `b`, and they differ.
pub fn is_less(a: &Clock, b: &Clock) -> bool {
    let entry = |clock: &Clock, name: &str| clock.entries().iter().find(|(n, _)| n == name).map_or(0, |(_, c)| *c);
    a != b && a.entries().iter().all(|(name, counter)| *counter <= entry(b, name))
}
