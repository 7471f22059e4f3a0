//! The real domain over rows in a map, run as the topology runs it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use memory::event::wire::{self, Source};
use memory::event::{EventKind, Limits, decode};
use memory::settings::ResolverSettings;
use memory::state::{Arena, Layout, Loader, ReadFailure, Rows, memory_of_head};
use memory::step::{read, step_within};
use memory::strategy::CustomResolver;
use memory::view::ResolutionContext;

/// Rows of all memories.
#[derive(Debug, Default, PartialEq)]
pub struct Map(BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows for Map {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        Ok(self.0.get(key).cloned())
    }
}

impl FromIterator<(Vec<u8>, Vec<u8>)> for Map {
    fn from_iter<T: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(rows: T) -> Map {
        Map(rows.into_iter().collect())
    }
}

impl Map {
    /// All rows, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.0.iter()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes of the longest row.
    pub fn widest(&self) -> usize {
        self.0.values().map(Vec::len).max().unwrap_or(0)
    }

    /// How many rows a memory's own state does not lead to: what was read while everything was
    /// read, against what is there.
    pub fn unreachable(&self) -> usize {
        let read = RefCell::new(BTreeSet::new());
        let recorder = Recorder { map: self, read: &read };
        let settings = ResolverSettings::default();
        for memory in self.0.keys().filter_map(|key| memory_of_head(key)) {
            let context = ResolutionContext { settings: &settings, custom: None };
            memory_operators::inspect::memory(&recorder, memory, &context).expect("reads");
        }
        self.0.len() - read.borrow().len()
    }
}

struct Recorder<'a> {
    map: &'a Map,
    read: &'a RefCell<BTreeSet<Vec<u8>>>,
}

impl Rows for Recorder<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        let value = self.map.get(key)?;
        if value.is_some() {
            self.read.borrow_mut().insert(key.to_vec());
        }
        Ok(value)
    }
}

/// The model's settings as ours.
pub fn settings(of: &reference_model::Settings) -> ResolverSettings {
    let strategy = |s: &reference_model::Strategy| s.name().parse().expect("a strategy");
    ResolverSettings {
        strategy: strategy(&of.strategy),
        overrides: of.overrides.iter().map(|(path, s)| (path.clone(), strategy(s))).collect(),
        delete_policy: match of.delete_policy {
            reference_model::DeletePolicy::UpdateWins => "update_wins".parse().expect("a policy"),
            reference_model::DeletePolicy::DeleteWins => "delete_wins".parse().expect("a policy"),
        },
        trust_clocks: of.trust_clocks,
        unclocked: match of.unclocked {
            reference_model::Unclocked::ByTime => "by_time".parse().expect("a rule"),
            reference_model::Unclocked::Concurrent => "concurrent".parse().expect("a rule"),
        },
        max_clock_skew_ns: of.max_clock_skew_ns,
        max_contenders: of.max_contenders,
        application_id: of.application_id.clone(),
        tombstone_retention_ns: None,
    }
}

/// What a stream came to.
#[derive(Default)]
pub struct Run {
    pub rows: Map,
    /// Key, value, timestamp in milliseconds, in order of emission.
    pub snapshots: Vec<(String, String, i64)>,
    pub conflicts: Vec<(String, String, i64)>,
    /// Class, partition and offset of the source record.
    pub dead_letters: Vec<(String, i32, i64)>,
}

impl Run {
    /// The resolved memory as it stands.
    pub fn resolved(&self, memory: &str, settings: &ResolverSettings) -> Option<String> {
        let resolved = read(&self.rows, memory, &ResolutionContext { settings, custom: None }).expect("reads");
        resolved.map(|r| String::from_utf8(r.json).expect("is UTF-8"))
    }
}

/// Runs records in order, the event at its own memory first, then at those that it absorbs.
pub fn run(records: &[reference_model::Record], settings: &reference_model::Settings) -> Run {
    run_in(records, settings, Layout::default())
}

/// The same, with rows cut as `layout` says.
pub fn run_in(records: &[reference_model::Record], settings: &reference_model::Settings, layout: Layout) -> Run {
    run_with(records, settings, layout, None)
}

/// The same, with a custom resolver.
pub fn run_with(
    records: &[reference_model::Record],
    settings: &reference_model::Settings,
    layout: Layout,
    custom: Option<&dyn CustomResolver>,
) -> Run {
    let limits = Limits { max_clock_entries: settings.max_clock_entries, max_value_bytes: settings.max_value_bytes };
    let ours = self::settings(settings);
    let context = ResolutionContext { settings: &ours, custom };
    let mut run = Run::default();
    for record in records {
        let event = match decode(record.value.as_deref(), record.timestamp_ms, &limits) {
            Ok(event) => event,
            Err(bad) => {
                run.dead_letters.push((bad.class.as_str().to_owned(), record.partition, record.offset));
                continue;
            }
        };
        let Some(memory) = &event.memory_id else { continue };
        if matches!(event.kind, EventKind::Other(_) | EventKind::SyncRequest) {
            continue;
        }
        let mut at: Vec<(&str, Option<&str>)> = vec![(memory, None)];
        if event.kind == EventKind::Merged {
            let absorbed = event.merged_from.iter().filter(|id| !id.is_empty() && *id != memory);
            at.extend(absorbed.map(|id| (id.as_str(), Some(memory.as_str()))));
        }
        let source = Source { topic: &record.topic, partition: record.partition, offset: record.offset };
        let time = ((event.timestamp / 1_000_000) as i64).min(record.timestamp_ms).max(1);
        for (memory, absorb_into) in at {
            let mut bytes = Vec::new();
            wire::encode(&event, &source, record.timestamp_ms, absorb_into, &mut bytes);
            one(&mut run, memory, &bytes, time, &context, layout);
        }
    }
    run
}

fn one(run: &mut Run, memory: &str, event: &[u8], time: i64, context: &ResolutionContext<'_>, layout: Layout) {
    let event = wire::decode(event).expect("reads its own form");
    let arena = Arena::new();
    let loader = Loader::new(&run.rows, &arena, memory).with_layout(layout);
    let outcome = step_within(loader, &event, context).expect("steps");
    for (key, value) in outcome.puts {
        match value {
            Some(value) => run.rows.0.insert(key, value),
            None => run.rows.0.remove(&key),
        };
    }
    let text = |json: Vec<u8>| String::from_utf8(json).expect("is UTF-8");
    if let Some(resolved) = outcome.resolved {
        run.snapshots.push((memory.to_owned(), text(resolved.json), time));
    }
    for conflict in outcome.conflicts {
        run.conflicts.push((memory.to_owned(), text(conflict.json), time));
    }
}
