//! A world in memory around real nodes: what Kafka keeps, and a stream that resolves by the
//! domain's own step, late, out of order and more than once.

use std::collections::{BTreeMap, BTreeSet};

use helixstream_node::ports::Publication;
use memory::clock::Clock;
use memory::event::{Event, Limits, decode, wire};
use memory::settings::ResolverSettings;
use memory::state::{ReadFailure, Rows};
use memory::step;
use memory::view::ResolutionContext;
use testkit::Random;

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
    pub timestamp_ms: i64,
}

impl Published {
    /// The actor that has written it.
    pub fn actor(&self) -> &str {
        self.event.node_id.as_deref().expect("a node names itself")
    }

    /// Its counter.
    pub fn counter(&self) -> u64 {
        let own = self.event.clock.entries().iter().find(|(name, _)| name == self.actor());
        own.expect("an event has a place among those of its actor").1
    }
}

/// An event on its way to the task that has one of its memories.
#[derive(Clone)]
struct Delivery {
    /// Its place among the published events.
    event: usize,
    memory_id: String,
    /// The memory that absorbs this one.
    into: Option<String>,
}

/// What Kafka and the stream keep.
#[derive(Default)]
pub struct Kafka {
    pub events: Vec<Published>,
    pub snapshots: Vec<Snapshot>,
    pub(super) records: BTreeMap<String, Publication>,
    /// The folder that may publish as an actor: the one that came last.
    pub(super) owners: BTreeMap<String, usize>,
    rows: BTreeMap<String, StreamRows>,
    arrived: BTreeMap<String, SeenIds>,
    deliveries: Vec<Delivery>,
}

impl Kafka {
    /// Commits one event, which the stream resolves later.
    pub fn publish(&mut self, value: &[u8], timestamp_ms: i64) {
        let event = decode(Some(value), timestamp_ms, &Limits::default()).expect("a node publishes good events");
        let own = event.memory_id.clone().expect("events of a node name a memory");
        let at = self.events.len();
        let absorbed =
            event.absorbed().map(|id| Delivery { event: at, memory_id: id.to_owned(), into: Some(own.clone()) });
        self.deliveries.extend(absorbed);
        self.deliveries.push(Delivery { event: at, memory_id: own, into: None });
        self.events.push(Published { event, value: value.to_vec(), timestamp_ms });
    }

    /// Resolves one event that waits: any one behind no other of the same actor to the same memory,
    /// since these lie in one partition. Now and then it comes once more.
    pub fn deliver_one(&mut self, random: &mut Random) {
        if self.deliveries.is_empty() {
            return;
        }
        let way = |at: usize| {
            let delivery = &self.deliveries[at];
            (self.events[delivery.event].actor(), delivery.memory_id.as_str())
        };
        let chosen = random.below(self.deliveries.len());
        let first = (0..=chosen).find(|at| way(*at) == way(chosen));
        let first = first.expect("the chosen one is among them");
        let delivery = if random.one_in(6) { self.deliveries[first].clone() } else { self.deliveries.remove(first) };
        self.resolve(&delivery);
    }

    /// Resolves all that waits.
    pub fn deliver_all(&mut self, random: &mut Random) {
        while !self.deliveries.is_empty() {
            self.deliver_one(random);
        }
    }

    fn resolve(&mut self, delivery: &Delivery) {
        let Delivery { event: at, memory_id, into } = delivery;
        let Published { event, timestamp_ms, .. } = &self.events[*at];
        let source = wire::Source { topic: "events", partition: 0, offset: *at as i64 };
        let mut form = Vec::new();
        wire::encode(event, &source, *timestamp_ms, into.as_deref(), &mut form);
        let settings = ResolverSettings::default();
        let context = ResolutionContext { settings: &settings, custom: None };
        let rows = self.rows.entry(memory_id.clone()).or_default();
        let outcome = step::step(rows, memory_id, &wire::decode(&form).unwrap(), &context).unwrap();
        for (key, value) in outcome.puts {
            match value {
                Some(value) => rows.0.insert(key, value),
                None => rows.0.remove(&key),
            };
        }
        let arrived = self.arrived.entry(memory_id.clone()).or_default();
        arrived.insert(event.event_id.clone());
        if let Some(resolved) = outcome.resolved {
            let (memory_id, seen) = (memory_id.clone(), arrived.clone());
            self.snapshots.push(Snapshot { memory_id, value: resolved.json, seen });
        }
    }

    /// The last snapshot of a memory among the first `count` records.
    pub fn snapshot(&self, memory_id: &str, count: usize) -> Option<&Snapshot> {
        self.snapshots[..count].iter().rev().find(|snapshot| snapshot.memory_id == memory_id)
    }
}

/// Whether an event changes a memory: its own, or one that it absorbs.
pub fn changed_by(event: &Event, memory_id: &str) -> bool {
    event.memory_id.as_deref() == Some(memory_id) || event.absorbed().any(|id| id == memory_id)
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
