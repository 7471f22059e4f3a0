//! What must hold behind a history: by what each caller had seen, which no clock and no node has
//! told, and by the reference model.

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use reference_model::event::{self as model_event, Event as ModelEvent};
use reference_model::{Record, Settings, read};

use super::world::{Published, SeenIds, changed_by, is_before, is_less};
use super::{History, MEMORIES};

impl History {
    /// All that a caller had seen of a memory, also through what it had seen of it.
    pub fn all_seen(&self, event_id: &str, memory_id: &str) -> SeenIds {
        self.written[event_id].seen.get(memory_id).map_or_else(SeenIds::new, |seen| self.with_past(memory_id, seen))
    }

    /// Events to a memory, and all that their writers had seen of it and that the events tell.
    pub fn with_past(&self, memory_id: &str, events: &SeenIds) -> SeenIds {
        let mut found = SeenIds::new();
        let mut open: Vec<String> = events.iter().cloned().collect();
        while let Some(id) = open.pop() {
            if found.insert(id.clone()) {
                match self.written[&id].is_absorb {
                    true => open.extend(self.told_by_absorb(&id, memory_id)),
                    false => open.extend(self.written[&id].seen.get(memory_id).into_iter().flatten().cloned()),
                }
            }
        }
        found
    }

    pub fn check(&self) {
        self.check_actors();
        let published: BTreeSet<&str> = self.kafka.events.iter().map(|one| one.event.event_id.as_str()).collect();
        for (id, written) in &self.written {
            let is_there = published.contains(id.as_str()) || self.lost.contains(id);
            assert!(is_there, "the write {id} to {} is missing", written.memory_id);
        }
        assert!(published.iter().all(|id| self.written.contains_key(*id)), "an event that nobody was answered");
        self.check_causality();
        self.check_views();
        self.check_histories();
    }

    /// No actor has used a counter for two events.
    fn check_actors(&self) {
        let mut counters: BTreeMap<(&str, u64), &[u8]> = BTreeMap::new();
        for one in &self.kafka.events {
            let (actor, counter) = (one.actor(), one.counter());
            let other = counters.insert((actor, counter), &one.value);
            assert!(other.is_none_or(|other| other == one.value), "{actor} has used {counter} for two events");
        }
    }

    /// A write swallows nothing that its caller had not seen, and versions go with clocks. Where no
    /// folder was copied or rolled back, it contends with nothing that its caller had seen.
    fn check_causality(&self) {
        for memory_id in MEMORIES {
            self.check_causality_of(memory_id);
        }
    }

    fn check_causality_of(&self, memory_id: &str) {
        let changing = || self.kafka.events.iter().filter(|one| changed_by(&one.event, memory_id));
        for later in changing() {
            let seen = self.all_seen(&later.event.event_id, memory_id);
            let is_absorb = self.written[&later.event.event_id].is_absorb;
            for earlier in changing() {
                let (a, b) = (&earlier.event, &later.event);
                assert!(
                    !is_less(&a.clock, &b.clock) || a.version <= b.version,
                    "the version of {b:?} is below that of {a:?}"
                );
                if a.event_id == b.event_id {
                    continue;
                }
                assert!(!is_before(a, b) || seen.contains(&a.event_id), "{b:?} swallows {a:?}");
                let is_known = self.kind.has_copies || is_absorb || !seen.contains(&a.event_id) || is_before(a, b);
                assert!(is_known, "{b:?} contends with {a:?}, which its caller had seen");
            }
        }
    }

    /// Nothing is pending, and each node shows, byte for byte, what the reference model makes of
    /// the events. By what the callers had seen, in the place of their clocks, it makes the same:
    /// the same fields in conflict, and no others.
    fn check_views(&self) {
        let settings = Settings::default();
        let events: Vec<ModelEvent> = self.kafka.events.iter().map(|one| decode(one, &settings)).collect();
        for memory_id in MEMORIES {
            let expected = read::resolved(memory_id, &events, &settings);
            for folder in &self.folders {
                let shown = block_on(folder.node.read(memory_id, None)).unwrap();
                assert!(!shown.as_ref().is_some_and(|shown| shown.is_pending));
                assert_eq!(shown.map(|shown| String::from_utf8(shown.json).unwrap()), expected);
            }
            if !self.kind.has_copies {
                let by_seen: Vec<ModelEvent> = events.iter().map(|event| self.by_seen(event, memory_id)).collect();
                let by_seen = read::resolved(memory_id, &by_seen, &settings);
                assert_eq!(by_seen.as_deref().map(without_clock), expected.as_deref().map(without_clock));
            }
        }
    }

    /// The event with a clock that says what its caller had seen of a memory, and nothing else:
    /// each event counts as the only one of an actor. An event that absorbs says less than that.
    fn by_seen(&self, event: &ModelEvent, memory_id: &str) -> ModelEvent {
        let seen = match self.written[&event.event_id].is_absorb {
            true => self.told_by_absorb(&event.event_id, memory_id),
            false => self.all_seen(&event.event_id, memory_id),
        };
        let mut clock: BTreeMap<String, u64> = seen.into_iter().map(|id| (id, 1)).collect();
        clock.insert(event.event_id.clone(), 1);
        ModelEvent { clock, version: 1, ..event.clone() }
    }
}

fn decode(published: &Published, settings: &Settings) -> ModelEvent {
    let (value, timestamp_ms) = (Some(published.value.clone()), published.timestamp_ms);
    let record = Record { value, timestamp_ms, ..Record::default() };
    model_event::decode(&record, settings).expect("a node publishes good events")
}

/// A resolved memory as text without the members that are made of clocks alone.
fn without_clock(memory: &str) -> Vec<(String, String)> {
    let document = json::parse(memory.as_bytes()).unwrap();
    let members = document.root().sorted_members().filter(|(name, _)| !["vector_clock", "version"].contains(name));
    members.map(|(name, value)| (name.to_owned(), String::from_utf8(value.canonical()).unwrap())).collect()
}
