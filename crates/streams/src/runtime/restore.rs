//! Restoring one store from its changelog, up to the very record that the commit names.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use super::take::Take;
use crate::error::{Error, Result};
use crate::ports::{PartitionStart, Put, StoreBatch, TaskStore};
use crate::record::{RecordBatch, TaskId, TopicPartition};
use crate::store::cut::Position;
use crate::store::{Checksum, entry_hash};
use crate::task::{Cut, NO_STREAM_TIME};

/// Bytes of changelog that are written to the store as one batch, about.
pub(super) const BATCH_BYTES: usize = 4 << 20;
pub(super) const POLL: Duration = Duration::from_millis(200);

/// Restores a store: reads the changelog's records after `after` into it. `checksum` is that of what it holds already, where known.
///
/// The goal is the record that the commit names, or the end of the partition past it where compaction took that record. An end before it is no
/// goal: the last stable offset lags the commit (KAFKA-10167).
///
/// Answers what is wrong when the restored content has not the committed checksum.
///
/// # Errors
/// The changelog or the store cannot be read or written, or nothing came for the task timeout.
pub(super) fn restore(
    take: &Take,
    db: &mut dyn TaskStore,
    store: usize,
    cut: &Cut,
    after: i64,
    checksum: Option<Checksum>,
) -> Result<Option<String>> {
    let goal = cut.stores[store];
    let mut work = Work::new(take.id, store, after, goal.changelog_offset, checksum);
    if work.at < work.goal {
        db.restoring(true)?;
        let read = read_changelog(take, db, &mut work, after);
        db.restoring(false)?;
        read?;
    }
    let found = match work.checksum {
        Some(sum) => sum,
        None => sum_of(db, store)?,
    };
    if found != goal.checksum {
        return Ok(Some(format!("its checksum is {found:x}, the committed one {:x}", goal.checksum)));
    }
    let position = Position::at(cut, &goal).encode();
    db.apply(&StoreBatch { puts: Vec::new(), positions: vec![(store, &position)] })?;
    Ok(None)
}

/// A store that is brought along its changelog.
pub(super) struct Work {
    pub task: TaskId,
    pub store: usize,
    /// The last changelog offset in the store.
    pub at: i64,
    /// The last one that it is to have.
    pub goal: i64,
    /// The checksum of what it holds, where it is known.
    pub checksum: Option<Checksum>,
    /// The greatest timestamp among the records that were read; -1 before the first one.
    pub latest_ms: i64,
}

impl Work {
    pub fn new(task: TaskId, store: usize, at: i64, goal: i64, checksum: Option<Checksum>) -> Work {
        Work { task, store, at, goal, checksum, latest_ms: NO_STREAM_TIME }
    }
}

pub(super) fn read_changelog(take: &Take, db: &mut dyn TaskStore, work: &mut Work, after: i64) -> Result<()> {
    let instance = &take.instance;
    let changelog = TopicPartition::new(take.plan.stores[work.store].changelog.clone(), take.id.partition);
    let start = if after < 0 { PartitionStart::BEGINNING } else { after + 1 };
    let mut reader = instance.ports.restore.open(&changelog, start)?;
    let mut batch = RecordBatch::new();
    let (mut restored, of) = (0, (work.goal - after).max(0) as u64);
    let (mut moved_at, mut stands_still) = (instance.now(), false);
    take.progress(0, 0, of);
    while work.at < work.goal {
        take.check_cancelled()?;
        batch.clear();
        if stands_still {
            // Behind a pending transaction, for as long as that takes.
            take.waiting(|| reader.poll(BATCH_BYTES, POLL, &mut batch))?;
        } else {
            reader.poll(BATCH_BYTES, POLL, &mut batch)?;
        }
        let now = instance.now();
        stands_still = batch.is_empty();
        if batch.is_empty() && batch.ends().is_empty() {
            if now > moved_at + instance.config.task_timeout {
                return Err(Error::Retry(format!(
                    "nothing comes from changelog {changelog}, at offset {} of {}",
                    work.at, work.goal
                )));
            }
            continue;
        }
        moved_at = now;
        let new = batch.len() as u64;
        restored += new;
        let end = batch.ends().iter().map(|end| end.offset).max().unwrap_or(-1);
        apply(db, work, &batch, end)?;
        take.progress(new, restored, of);
    }
    tracing::info!(task = %take.id, %changelog, records = restored, "restored");
    Ok(())
}

/// Writes the last value of each key in the batch, up to the goal, and the position that it brings the store to.
pub(super) fn apply(db: &mut dyn TaskStore, work: &mut Work, batch: &RecordBatch, end: i64) -> Result<()> {
    let mut last: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
    for read in batch.iter() {
        work.at = work.at.max(read.origin.offset.min(work.goal));
        if read.origin.offset <= work.goal {
            work.latest_ms = work.latest_ms.max(read.record.timestamp_ms);
            // The empty key is the position's place and is never written to a changelog.
            let key = read.record.key.filter(|key| !key.is_empty());
            let key = key.ok_or_else(|| {
                Error::Fatal(format!(
                    "a changelog record of task {} has no key: another program writes to it",
                    work.task
                ))
            })?;
            last.insert(key, read.record.value);
        }
    }
    if end > work.goal {
        work.at = work.goal;
    }
    if let Some(sum) = &mut work.checksum {
        *sum = changed(*sum, db, work.store, &last)?;
    }
    let puts = last.iter().map(|(key, value)| Put { store: work.store, key, value: *value }).collect();
    let position = Position::restoring(work.at, work.checksum).encode();
    db.apply(&StoreBatch { puts, positions: vec![(work.store, &position)] })
}

/// The checksum after the writes: old entries out, new ones in.
fn changed(
    sum: Checksum,
    db: &dyn TaskStore,
    store: usize,
    writes: &BTreeMap<&[u8], Option<&[u8]>>,
) -> Result<Checksum> {
    let keys: Vec<&[u8]> = writes.keys().copied().collect();
    let old = db.multi_get(store, &keys)?;
    let changes = writes.iter().zip(&old).map(|((key, new), old)| {
        let hash = |value: Option<&[u8]>| value.map_or(0, |value| entry_hash(key, value));
        hash(*new).wrapping_sub(hash(old.as_deref()))
    });
    Ok(changes.fold(sum, Checksum::wrapping_add))
}

/// The checksum of all that a store holds.
pub(super) fn sum_of(db: &dyn TaskStore, store: usize) -> Result<Checksum> {
    let mut sum: Checksum = 0;
    db.scan(store, b"", &mut |key, value| {
        sum = sum.wrapping_add(entry_hash(key, value));
        ControlFlow::Continue(())
    })?;
    Ok(sum)
}
