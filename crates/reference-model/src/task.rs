//! Sections 3 and 5: one task's internal log, in the order that decides, and what stream time makes
//! it forget. Nothing here is kept in order of expiry: after each record every memory is asked
//! whether it is still remembered.

use super::event::{Bad, Event};
use super::outputs::{DeadLetter, Outputs};
use super::read::Entry;
use super::tracked::Tracked;
use super::{Record, Settings, decode};
use std::collections::{BTreeMap, BTreeSet};

/// A record of an internal topic: what one event is to one memory, or a sync request, which is to
/// all.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// The memory and the event there; `None` is a sync request: it changes no memory, and stream
    /// time knows it.
    pub at: Option<(String, Entry)>,
    /// The earlier of the event's time and its source record's, in milliseconds, at least 1.
    pub timestamp_ms: i64,
    /// The record of the events topic, which goes to the dead letters when the event is expired.
    pub source: Record,
}

/// The record timestamp of what an event causes (docs/semantics.md, section 5): the earlier of the
/// event's time and its source record's, in milliseconds and at least 1.
pub fn record_time(event: &Event, source: &Record) -> i64 {
    (event.timestamp_ns / 1_000_000).min(source.timestamp_ms).max(1)
}

/// The records on the internal topics for a record of the events topic: its event at its own memory
/// first, then the absorbs, sorted by id. An event that is mirrored only puts nothing there.
pub fn log_of(source: &Record, settings: &Settings) -> Result<Vec<LogRecord>, Bad> {
    let event = decode(source, settings)?;
    let entry = |absorbed_into: Option<String>| Entry { event: event.clone(), absorbed_into };
    let mut places: Vec<Option<(String, Entry)>> = Vec::new();
    if event.event_type == "memory.sync_request" {
        places.push(None);
    }
    places.extend(event.own_memory().map(|own| Some((own.to_owned(), entry(None)))));
    places.extend(event.absorbed().into_iter().map(|id| Some((id.to_owned(), entry(event.memory_id.clone())))));
    let timestamp_ms = record_time(&event, source);
    Ok(places.into_iter().map(|at| LogRecord { at, timestamp_ms, source: source.clone() }).collect())
}

/// A memory that is not forgotten.
struct Known {
    tracked: Tracked,
    /// Stream time right after the last event that reached the memory, a redelivery too, in
    /// milliseconds.
    reached_ms: i64,
}

/// One task: the memories of its partitions, and the time of its stream.
pub struct Task<'a> {
    settings: &'a Settings,
    memories: BTreeMap<String, Known>,
    /// The greatest record timestamp processed, in milliseconds; 0 before the first.
    stream_time_ms: i64,
}

impl<'a> Task<'a> {
    /// A task that has processed nothing.
    pub fn new(settings: &'a Settings) -> Task<'a> {
        Task { settings, memories: BTreeMap::new(), stream_time_ms: 0 }
    }

    /// The memories that are neither unheard of nor forgotten.
    pub fn known(&self) -> BTreeSet<&str> {
        self.memories.keys().map(String::as_str).collect()
    }

    /// The same, whole.
    pub fn memories(&self) -> impl Iterator<Item = &Tracked> {
        self.memories.values().map(|known| &known.tracked)
    }

    /// Processes the next record of the internal log and says what it emits.
    pub fn process(&mut self, record: &LogRecord) -> Outputs {
        self.stream_time_ms = self.stream_time_ms.max(record.timestamp_ms);
        let mut outputs = Outputs::default();
        if let Some((memory_id, entry)) = &record.at {
            if self.is_expired(memory_id, record.timestamp_ms) {
                outputs.dead_letters.push(DeadLetter::of(&record.source, "expired"));
            } else {
                let fresh = || Known { tracked: Tracked::new(memory_id), reached_ms: 0 };
                let known = self.memories.entry(memory_id.clone()).or_insert_with(fresh);
                outputs = known.tracked.arrive(entry.clone(), record.timestamp_ms, self.settings);
                known.reached_ms = self.stream_time_ms;
            }
        }
        self.forget();
        outputs
    }

    /// Whether a record is too old to be the first of a memory: had the memory been forgotten, it
    /// might be of its past.
    fn is_expired(&self, memory_id: &str, timestamp_ms: i64) -> bool {
        let retention = self.settings.tombstone_retention_ms;
        !self.memories.contains_key(memory_id) && retention.is_some_and(|ms| timestamp_ms + ms <= self.stream_time_ms)
    }

    /// Forgets the memories that are not active and whose last event stream time has passed by the
    /// retention.
    fn forget(&mut self) {
        let settings = self.settings;
        let stream_time_ms = self.stream_time_ms;
        if let Some(retention_ms) = settings.tombstone_retention_ms {
            self.memories.retain(|_, known| {
                known.tracked.memory.read(settings).status == "active"
                    || stream_time_ms < known.last_ms() + retention_ms
            });
        }
    }
}

impl Known {
    /// When the memory had its last event: its `updated_at`, in whole milliseconds. A wrong machine
    /// clock may have put that far ahead of the stream, so that it is no later than stream time was
    /// when the event came.
    fn last_ms(&self) -> i64 {
        let times = self.tracked.memory.entries.iter().map(|entry| entry.event.timestamp_ns / 1_000_000);
        times.max().unwrap_or_default().min(self.reached_ms)
    }
}
