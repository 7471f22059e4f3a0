//! The domain alone, on one thread and rows in a hash map: decoding, `apply`, and the whole step
//! from an event to what is emitted.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Instant;

use anyhow::Context as _;
use memory::event::wire::{self, EventRef, Source};
use memory::event::{self, Limits};
use memory::settings::ResolverSettings;
use memory::state::{Arena, Loader, Memory, ReadFailure, RowPut, Rows, StateError};
use memory::step::step;
use memory::view::ResolutionContext;

use super::generator::Generated;
use super::measure::Watch;
use super::table::{Row, thousands};

/// A store of rows that counts what is read.
#[derive(Default)]
pub struct Store {
    rows: HashMap<Vec<u8>, Vec<u8>>,
    rows_read: Cell<u64>,
    bytes_read: Cell<u64>,
}

impl Rows for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        let row = self.rows.get(key).cloned();
        self.rows_read.set(self.rows_read.get() + 1);
        self.bytes_read.set(self.bytes_read.get() + row.as_ref().map_or(0, Vec::len) as u64);
        Ok(row)
    }
}

impl Store {
    /// Writes rows; says how many bytes that were, keys too.
    pub fn write(&mut self, puts: Vec<RowPut>) -> u64 {
        let mut bytes = 0;
        for (key, value) in puts {
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        bytes as u64
    }

    /// Rows and bytes read since the last call.
    pub fn take_counts(&self) -> (u64, u64) {
        (self.rows_read.take(), self.bytes_read.take())
    }
}

/// An internal event and the memory that it is for.
struct Routed {
    memory: String,
    event: Vec<u8>,
}

/// Runs `input` through decoding, the state and the whole step; a row for each.
///
/// # Errors
/// The generator's own input was refused, or the state could not be read: a defect.
pub fn run(input: &[Generated], settings: &ResolverSettings) -> anyhow::Result<Vec<Row>> {
    let watch = Watch::thread()?;
    let events = decode(input)?;
    let decoded = watch.read()?;
    let records = input.len() as u64;
    let bytes: usize = events.iter().map(|routed| routed.event.len()).sum();
    let read: usize = input.iter().map(|record| record.value.len()).sum();
    let decode_row = Row::new("decode: envelope to internal event", records, decoded).note(format!(
        "{} bytes in, {} out in the mean",
        read / input.len().max(1),
        bytes / events.len().max(1)
    ));
    let apply_row = apply_all(&events, settings)?;
    let step_row = step_all(&events, settings)?;
    Ok(vec![decode_row, apply_row, step_row])
}

fn decode(input: &[Generated]) -> anyhow::Result<Vec<Routed>> {
    let limits = Limits::default();
    let mut events = Vec::with_capacity(input.len());
    for (offset, record) in (0..).zip(input) {
        let event = event::decode(Some(&record.value), record.timestamp_ms, &limits)
            .map_err(|bad| anyhow::anyhow!("decode record {offset}: {}", bad.message))?;
        let mut bytes = Vec::with_capacity(record.value.len());
        let source = Source { topic: "helixagent.memory.events", partition: 0, offset };
        wire::encode(&event, &source, record.timestamp_ms, None, &mut bytes);
        let memory = event.target().context("route an event: it names no memory")?.to_owned();
        events.push(Routed { memory, event: bytes });
    }
    Ok(events)
}

/// `Memory::apply` with the reading and writing of rows that it needs, and nothing resolved.
fn apply_all(events: &[Routed], settings: &ResolverSettings) -> anyhow::Result<Row> {
    let mut store = Store::default();
    let mut nanos = Vec::with_capacity(events.len());
    let mut written = 0;
    let watch = Watch::thread()?;
    for routed in events {
        let event = wire::decode(&routed.event)?;
        let (puts, apply_ns) = apply_one(&store, &routed.memory, &event, settings)?;
        nanos.push(apply_ns);
        written += store.write(puts);
    }
    let spent = watch.read()?;
    let (rows, read) = store.take_counts();
    let count = events.len().max(1) as u64;
    Ok(Row::new("state: open, apply, close; nothing resolved", count, spent)
        .note(format!("apply alone {}", spread(&mut nanos)))
        .note(format!("an event reads {:.2} rows, {} bytes", rows as f64 / count as f64, thousands(read / count)))
        .note(format!("writes {} bytes", thousands(written / count))))
}

/// Lets one event in; gives the rows to write, and the nanoseconds that `apply` took without
/// opening and closing.
pub fn apply_one(
    store: &Store,
    memory: &str,
    event: &EventRef<'_>,
    settings: &ResolverSettings,
) -> Result<(Vec<RowPut>, u64), StateError> {
    let arena = Arena::new();
    let mut state = Memory::open(Loader::new(store, &arena, memory))?;
    let begun = Instant::now();
    let applied = state.apply(event, settings)?;
    let nanos = begun.elapsed().as_nanos() as u64;
    let puts = if applied.changed { state.close()? } else { Vec::new() };
    Ok((puts, nanos))
}

/// Everything that an event sets off: state, resolved memory, conflict records.
fn step_all(events: &[Routed], settings: &ResolverSettings) -> anyhow::Result<Row> {
    let context = ResolutionContext { settings, custom: None };
    let mut store = Store::default();
    let mut snapshots = 0_u64;
    let mut conflicts = 0_u64;
    let mut emitted = 0;
    let mut written = 0;
    let watch = Watch::thread()?;
    for routed in events {
        let event = wire::decode(&routed.event)?;
        let outcome = step(&store, &routed.memory, &event, &context)?;
        if let Some(resolved) = &outcome.resolved {
            snapshots += 1;
            emitted += resolved.json.len() as u64;
        }
        conflicts += outcome.conflicts.len() as u64;
        written += store.write(outcome.puts);
    }
    let spent = watch.read()?;
    let count = events.len().max(1) as u64;
    let row = Row::new("step: state, resolved memory, conflict records", count, spent)
        .note(format!("{} resolved memories of {} bytes", thousands(snapshots), thousands(emitted / snapshots.max(1))))
        .note(format!("{} conflict records", thousands(conflicts)))
        .note(format!("writes {} bytes an event", thousands(written / count)));
    Ok(Row { snapshots: Some(snapshots), ..row })
}

/// Median and 99th percentile of times in nanoseconds, as text in microseconds.
pub fn spread(nanos: &mut [u64]) -> String {
    nanos.sort_unstable();
    let at = |permille: usize| nanos.get(nanos.len() * permille / 1000).map_or(0.0, |ns| *ns as f64 / 1000.0);
    format!("p50 {:.2} µs, p99 {:.2} µs", at(500), at(990))
}
