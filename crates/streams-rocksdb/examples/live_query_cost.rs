//! Measures what readers of a store cost its task: the rate of a writer that works as a task does
//! (reads each key, then writes a batch with its position), alone and beside readers.
//!
//! From the root of the repository, since so RocksDB is compiled with the features of the program:
//! `cargo run -p helixstream -p helixstream-streams-rocksdb --example live_query_cost -- [BATCHES]`

// The crate has this name everywhere else.
extern crate helixstream_streams_rocksdb as streams_rocksdb;

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use streams::ports::{Put, SnapshotSource, StoreBatch, StoreEngine, TaskStore};
use streams::record::TaskId;
use streams::store::memory::MemoryStores;
use streams_rocksdb::{RocksStores, StoreMemory};

const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };
const KEYS: u64 = 100_000;
const BATCH: u64 = 1_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The readers beside the writer.
#[derive(Clone, Copy, Debug)]
enum Readers {
    None,
    /// One that takes a snapshot for each key that it reads.
    Keys,
    /// One that reads the whole store, again and again.
    Scans,
}

/// A key, spread over the store by a multiplication.
fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key-0000--------";
    key[8..].copy_from_slice(&(number % KEYS).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key
}

fn write_batch(db: &mut dyn TaskStore, first: u64) -> streams::error::Result<()> {
    let value = [first as u8; 100];
    let mut keys: Vec<[u8; 16]> = (first..first + BATCH).map(|number| key(number.wrapping_mul(7919))).collect();
    for key in &keys {
        let _ = db.get(0, key)?.map(|value| value.len());
    }
    keys.sort_unstable();
    keys.dedup();
    let puts = keys.iter().map(|key| Put { store: 0, key, value: Some(&value) }).collect();
    let position = first.to_be_bytes();
    db.apply(&StoreBatch { puts, positions: vec![(0, &position)] })
}

fn read(source: &dyn SnapshotSource, readers: Readers, number: u64) -> Result<u64, streams::ports::ReadError> {
    let snapshot = source.take()?;
    if matches!(readers, Readers::Keys) {
        return Ok(snapshot.get(0, &key(number.wrapping_mul(31)))?.map_or(0, |_| 1));
    }
    let (mut next, mut rows) = (Some(Vec::new()), 0);
    while let Some(start) = next {
        let chunk = snapshot.entries(0, &start, None)?;
        rows += chunk.entries.len() as u64;
        next = chunk.next;
    }
    Ok(rows)
}

fn measure(engine: &dyn StoreEngine, name: &str, batches: u64, readers: Readers) -> Outcome<()> {
    let mut db = engine.open(TASK, &["s"])?;
    for first in (0..KEYS).step_by(BATCH as usize) {
        write_batch(&mut *db, first)?;
    }
    let source = db.snapshots();
    let (is_over, rows) = (AtomicBool::new(false), AtomicU64::new(0));
    let seconds = std::thread::scope(|scope| -> Outcome<f64> {
        if !matches!(readers, Readers::None) {
            scope.spawn(|| {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed)
                    && let Ok(found) = read(&*source, readers, number)
                {
                    rows.fetch_add(found, Ordering::Relaxed);
                    number += 1;
                }
            });
        }
        let started = Instant::now();
        let written = (0..batches).try_for_each(|batch| write_batch(&mut *db, KEYS + batch * BATCH));
        let seconds = started.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        written?;
        Ok(seconds)
    })?;
    let (written, read) = ((batches * BATCH) as f64 / seconds, rows.load(Ordering::Relaxed) as f64 / seconds);
    println!(
        "{name}, readers: {readers:?}: {written:.0} keys read and written a second; the reader: {read:.0} rows a second"
    );
    drop(db);
    Ok(engine.destroy(TASK)?)
}

fn main() -> Outcome<()> {
    let batches = std::env::args().nth(1).map_or(Ok(1_000), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("live-queries-{}", std::process::id()));
    let rocks = RocksStores::new(&folder, &StoreMemory::default())?;
    for readers in [Readers::None, Readers::Keys, Readers::Scans] {
        measure(&MemoryStores::new(), "in memory", batches, readers)?;
        measure(&rocks, "RocksDB", batches, readers)?;
    }
    Ok(std::fs::remove_dir_all(&folder)?)
}
