//! Restores one store from its changelog, up to the very record that the checkpoint names (Kafka
//! Streams' `ChangelogReader`).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use super::restoration::TaskRestoration;
use crate::error::{Error, Result};
use crate::planted::PlantedBug;
use crate::ports::{PartitionStart, Put, StoreBatch, TaskStore};
use crate::record::{RecordBatch, TaskId, TopicPartition};
use crate::store::checkpoint::Position;
use crate::store::checkpoint::{Checkpoint, NO_STREAM_TIME};
use crate::store::{Checksum, entry_hash};

/// Bytes of changelog that are written to the store as one batch, about.
pub(super) const BATCH_BYTES: usize = 4 << 20;
pub(super) const POLL: Duration = Duration::from_millis(200);

/// Restores a store: reads the changelog's records after `after` into it. `checksum` is that of
/// what it holds already, where known.
///
/// The goal is the record that the commit names, or the end of the partition past it where
/// compaction took that record. An end before it is no goal: the last stable offset lags the commit
/// (KAFKA-10167).
///
/// Answers what is wrong when the restored content has not the committed checksum.
///
/// # Errors
/// The changelog or the store cannot be read or written, or nothing came for the task timeout.
pub(super) fn restore_store(
    restoration: &TaskRestoration,
    db: &mut dyn TaskStore,
    store: usize,
    checkpoint: &Checkpoint,
    after: i64,
    checksum: Option<Checksum>,
) -> Result<Option<String>> {
    let goal = checkpoint.stores[store];
    let mut progress = RestoreProgress::new(restoration.id, store, after, goal.changelog_offset, checksum);
    if progress.at < progress.goal {
        db.begin_bulk_load()?;
        let read = read_changelog(restoration, db, &mut progress, after);
        db.end_bulk_load()?;
        read?;
    }
    let found = match progress.checksum {
        Some(sum) => sum,
        None => checksum_of(db, store)?,
    };
    if found != goal.checksum && !PlantedBug::ChecksumNotCompared.is_planted() {
        return Ok(Some(format!("its checksum is {found:x}, the committed one {:x}", goal.checksum)));
    }
    let position = Position::at(checkpoint, &goal).encode();
    db.apply(&StoreBatch { puts: Vec::new(), positions: vec![(store, &position)] })?;
    Ok(None)
}

/// How far the restore of a store has come along its changelog.
pub(super) struct RestoreProgress {
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

impl RestoreProgress {
    pub fn new(task: TaskId, store: usize, at: i64, goal: i64, checksum: Option<Checksum>) -> RestoreProgress {
        RestoreProgress { task, store, at, goal, checksum, latest_ms: NO_STREAM_TIME }
    }
}

pub(super) fn read_changelog(
    restoration: &TaskRestoration,
    db: &mut dyn TaskStore,
    progress: &mut RestoreProgress,
    after: i64,
) -> Result<()> {
    let instance = &restoration.instance;
    let changelog =
        TopicPartition::new(restoration.plan.stores[progress.store].changelog.clone(), restoration.id.partition);
    let skipped = i64::from(PlantedBug::RestoreSkipsFirst.is_planted());
    let start = if after + skipped < 0 { PartitionStart::BEGINNING } else { after + 1 + skipped };
    let mut reader = instance.ports.restore.open(&changelog, start)?;
    let mut batch = RecordBatch::new();
    let mut restored = 0;
    let of = (progress.goal - after).max(0) as u64;
    let mut moved_at = instance.now();
    let mut stands_still = false;
    restoration.report_progress(0, 0, of);
    let early = i64::from(PlantedBug::RestoreEndsEarly.is_planted());
    while progress.at < progress.goal - early {
        restoration.check_cancelled()?;
        batch.clear();
        if stands_still {
            // Behind a pending transaction, for as long as that takes.
            restoration.call_blocking(|| reader.poll(BATCH_BYTES, POLL, &mut batch))?;
        } else {
            reader.poll(BATCH_BYTES, POLL, &mut batch)?;
        }
        let now = instance.now();
        stands_still = batch.is_empty();
        if batch.is_empty() && batch.ends().is_empty() {
            if now > moved_at + instance.config.task_timeout {
                return Err(Error::Retry(format!(
                    "nothing comes from changelog {changelog}, at offset {} of {}",
                    progress.at, progress.goal
                )));
            }
            continue;
        }
        moved_at = now;
        let new = batch.len() as u64;
        restored += new;
        let end = batch.ends().iter().map(|end| end.offset).max().unwrap_or(-1);
        apply_batch(db, progress, &batch, end)?;
        if PlantedBug::StableEndEndsRestore.is_planted() && !batch.ends().is_empty() {
            break;
        }
        restoration.report_progress(new, restored, of);
    }
    tracing::info!(task = %restoration.id, %changelog, records = restored, "store restored from its changelog");
    Ok(())
}

/// Writes the last value of each key in the batch, up to the goal, and the position that it brings
/// the store to.
pub(super) fn apply_batch(
    db: &mut dyn TaskStore,
    progress: &mut RestoreProgress,
    batch: &RecordBatch,
    end: i64,
) -> Result<()> {
    let mut last: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
    for read in batch.iter() {
        progress.at = progress.at.max(read.origin.offset.min(progress.goal));
        if read.origin.offset <= progress.goal {
            progress.latest_ms = progress.latest_ms.max(read.record.timestamp_ms);
            // The empty key is the position's place and is never written to a changelog.
            let key = read.record.key.filter(|key| !key.is_empty());
            let key = key.ok_or_else(|| {
                Error::Fatal(format!(
                    "a record of a changelog of task {} has no key, so another program writes to that topic: stop it, and delete the group and its \
                     internal topics to begin anew [HS3012]",
                    progress.task
                ))
            })?;
            let is_standby = progress.goal == i64::MAX;
            let leaves_out = match is_standby {
                true => PlantedBug::StandbyWithoutDeletes.is_planted(),
                false => PlantedBug::RestoreWithoutDeletes.is_planted(),
            };
            if leaves_out && read.record.value.is_none() {
                continue;
            }
            last.insert(key, read.record.value);
        }
    }
    if end > progress.goal {
        progress.at = progress.goal;
    }
    if let Some(sum) = &mut progress.checksum {
        *sum = checksum_after(*sum, db, progress.store, &last)?;
    }
    let puts = last.iter().map(|(key, value)| Put { store: progress.store, key, value: *value }).collect();
    let position = Position::restoring(progress.at, progress.checksum).encode();
    db.apply(&StoreBatch { puts, positions: vec![(progress.store, &position)] })
}

/// The checksum after the writes: old entries out, new ones in.
fn checksum_after(
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
pub(super) fn checksum_of(db: &dyn TaskStore, store: usize) -> Result<Checksum> {
    let mut sum: Checksum = 0;
    db.scan(store, b"", &mut |key, value| {
        sum = sum.wrapping_add(entry_hash(key, value));
        ControlFlow::Continue(())
    })?;
    Ok(sum)
}
