//! `apply` alone: what one event costs a memory of 10, 1,000 and 100,000 live writes. The resolved memory is not written out here:
//! only that costs the memory's live size.

use super::table::{Row, Table};
use anyhow::{Context as _, Result};
use helixstream::domain::event::{self, Limits, wire};
use helixstream::domain::settings::Settings;
use helixstream::domain::state::{Arena, Loader, Memory, ReadFailure, Rows};
use std::cell::Cell;
use std::collections::HashMap;
use std::time::Instant;

const LIVE_WRITES: [u64; 3] = [10, 1_000, 100_000];
const EVENTS: u64 = 20_000;
const MEMORY: &str = "mem-bench";

/// Adds a row for each size.
pub fn measure(table: &mut Table) -> Result<()> {
    for live in LIVE_WRITES {
        let mut rows = MemoryRows::default();
        let mut version = 0;
        while version * 10 < live {
            let keys: Vec<u64> = (version * 10..(version + 1) * 10).collect();
            version += 1;
            rows.apply(&update(version, &keys)?)?;
        }
        let events = (1..=EVENTS).map(|n| update(version + n, &[n * 7919 % live])).collect::<Result<Vec<_>>>()?;
        rows.read.set(0);
        rows.written = 0;
        let start = Instant::now();
        for event in &events {
            rows.apply(event)?;
        }
        let wall_s = start.elapsed().as_secs_f64();
        let note = format!("{} bytes read, {} written an event", rows.read.get() / EVENTS, rows.written / EVENTS);
        let step = format!("apply at {} live writes", super::table::thousands(live));
        table.add(Row { step, records: EVENTS, wall_s, cpu_s: wall_s, note, ..Row::default() });
    }
    Ok(())
}

/// An update of some metadata keys by one writer, in its internal form.
fn update(version: u64, keys: &[u64]) -> Result<Vec<u8>> {
    let metadata: serde_json::Map<_, _> =
        keys.iter().map(|key| (format!("key-{key}"), format!("the value of version {version}").into())).collect();
    let json = serde_json::json!({"event_id": format!("evt-{version}"), "event_type": "memory.updated", "memory_id": MEMORY,
        "user_id": "user-1", "node_id": "node-1", "timestamp": "2026-01-01T00:00:00Z", "version": version,
        "vector_clock": {"node-1": version}, "metadata": metadata});
    let event = event::decode(Some(json.to_string().as_bytes()), 0, &Limits::default()).context("decode an event")?;
    let source = wire::Source { topic: "events", partition: 0, offset: 0 };
    let mut bytes = Vec::new();
    wire::encode(&event, &source, 0, None, &mut bytes);
    Ok(bytes)
}

/// A store of rows that counts bytes.
#[derive(Default)]
struct MemoryRows {
    rows: HashMap<Vec<u8>, Vec<u8>>,
    read: Cell<u64>,
    written: u64,
}

impl Rows for MemoryRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        let value = self.rows.get(key).cloned();
        self.read.set(self.read.get() + value.as_ref().map_or(0, Vec::len) as u64);
        Ok(value)
    }
}

impl MemoryRows {
    fn apply(&mut self, event: &[u8]) -> Result<()> {
        let arena = Arena::new();
        let event = wire::decode(event)?;
        let mut memory = Memory::open(Loader::new(self, &arena, MEMORY))?;
        memory.apply(&event, &Settings::default())?;
        let puts = memory.close()?;
        for (key, value) in puts {
            self.written += value.as_ref().map_or(0, Vec::len) as u64;
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        Ok(())
    }
}
