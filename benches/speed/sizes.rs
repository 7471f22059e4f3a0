//! Measures the cost of one small event at a memory that already holds 10, 1,000 or 100,000 live
//! writes: time, rows read, bytes written.

use std::time::{Duration, Instant};

use memory::event::wire::{EventRef, Source};
use memory::settings::ResolverSettings;
use memory::state::digest;
use memory::step::step;
use memory::view::ResolutionContext;

use super::apply::{Store, apply_one, spread};
use super::measure::Watch;
use super::table::{Row, thousands};

/// How often the one event is let in, at least, and for how long; the state is not written, so each
/// time is the same.
const LEAST_ROUNDS: usize = 101;
const LEAST_TIME: Duration = Duration::from_millis(200);
const MEMORY: &str = "mem-bench";
/// Fewer events than these are few.
const FEW: u64 = 10_000;

/// Writers of the memory's content.
#[derive(Clone, Copy)]
enum Writers {
    /// One after the other: each has seen all.
    Chain,
    /// Eight nodes, none of which has seen another.
    Eight,
    /// Each write by a node of its own, none of which has seen another: as many maximal events.
    Apart,
}

/// A row for each size and kind of writers. With few events, as in a sample of the bench, the
/// largest memories are left out: it takes seconds to build each.
///
/// # Errors
/// The state could not be read: a defect.
pub fn run(events: u64, settings: &ResolverSettings) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (writers, name, sizes) in [
        (Writers::Chain, "a chain of writers", &[10, 1_000, 100_000][..]),
        (Writers::Eight, "8 concurrent writers", &[10, 1_000, 100_000]),
        // So many maximal events lie in the head, which each event reads: no memory of 100,000 is
        // built this way.
        (Writers::Apart, "all writers concurrent", &[10, 1_000]),
    ] {
        for &size in sizes.iter().filter(|size| **size <= 1_000 || events >= FEW) {
            rows.push(one(writers, name, size, settings)?);
        }
    }
    Ok(rows)
}

fn one(writers: Writers, name: &str, size: usize, settings: &ResolverSettings) -> anyhow::Result<Row> {
    let names: Vec<String> = (0..size).map(|i| format!("node-{i:06}")).collect();
    let node = |i: usize| match writers {
        Writers::Chain => 0,
        Writers::Eight => i % 8,
        Writers::Apart => i,
    };
    let mut store = Store::default();
    for i in 0..size {
        let path = format!("metadata.key-{i:06}");
        let writes = [(path.as_str(), &b"\"some value of thirty bytes or so\""[..])];
        let event = event(i, &names[node(i).min(size - 1)], &writes);
        let (puts, _) = apply_one(&store, MEMORY, &event, settings)?;
        store.write(puts);
    }
    let path = format!("metadata.key-{:06}", size / 2);
    let writes = [(path.as_str(), &b"true"[..])];
    let small = event(size, &names[node(size) % size], &writes);
    store.take_counts();
    let mut apply = Vec::new();
    let mut state = Vec::new();
    let mut puts = Vec::new();
    let watch = Watch::thread()?;
    let start = Instant::now();
    while apply.len() < LEAST_ROUNDS || start.elapsed() < LEAST_TIME {
        let begun = Instant::now();
        let (written, nanos) = apply_one(&store, MEMORY, &small, settings)?;
        state.push(begun.elapsed().as_nanos() as u64);
        apply.push(nanos);
        puts = written;
    }
    let spent = watch.read()?;
    let (rows_read, bytes_read) = store.take_counts();
    let begun = Instant::now();
    step(&store, MEMORY, &small, &ResolutionContext { settings, custom: None })?;
    let step_us = begun.elapsed().as_nanos() as f64 / 1000.0;
    let written: usize = puts.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
    let what = format!("apply at {} live writes, {name}", thousands(size as u64));
    let rounds = apply.len() as u64;
    Ok(Row::new(what, rounds, spent)
        .note(format!("open, apply, close {}", spread(&mut state)))
        .note(format!("apply alone {}", spread(&mut apply)))
        .note(format!("reads {} rows, {} bytes", rows_read / rounds, thousands(bytes_read / rounds)))
        .note(format!("writes {} rows, {} bytes", puts.len(), thousands(written as u64)))
        .note(format!("with the resolved memory written out {step_us:.0} µs")))
}

/// The `i`-th event: it has seen the earlier ones of its own node.
fn event<'a>(i: usize, node: &'a str, writes: &[(&'a str, &'a [u8])]) -> EventRef<'a> {
    EventRef {
        event_id: "evt-bench",
        timestamp: 1_000_000_000 + i as u64,
        node_id: Some(node),
        importance: None,
        version: i as u64 + 1,
        clock: vec![(node, i as u64 + 1)],
        digest: digest(&i.to_le_bytes()),
        is_delete: false,
        absorb_into: None,
        source: Source { topic: "helixagent.memory.events", partition: 0, offset: i as i64 },
        source_timestamp_ms: 1_000 + i as i64,
        writes: writes.to_vec(),
    }
}
