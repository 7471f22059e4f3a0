//! Restores one store from its changelog, up to the very record that the checkpoint names.

use std::time::Duration;

use super::changelog_follower::{ChangelogFollower, RestoreProgress, checksum_of, offset_behind};
use super::task_restoration::TaskRestoration;
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::planted::PlantedBug;
use crate::ports::{StoreBatch, TaskStore};
use crate::record::RecordBatch;
use crate::store::Checksum;
use crate::store::checkpoint::{Checkpoint, Position};
use crate::stream_time::StreamTime;

/// Bytes of changelog that are written to the store as one batch, about.
pub(super) const BATCH_BYTES: usize = 4 << 20;
/// How long a poll of a changelog waits.
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
    after: Option<Offset>,
    checksum: Option<Checksum>,
) -> Result<Option<String>> {
    let goal = checkpoint.stores[store];
    let mut progress = RestoreProgress {
        task: restoration.id,
        store,
        at: after,
        goal: goal.changelog_offset,
        checksum,
        stream_time: StreamTime::NONE,
    };
    if progress.at < progress.goal {
        progress = follow_to_goal(restoration, db, progress)?;
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

/// Brings a store to the goal of its progress, in bulk.
///
/// # Errors
/// As for [`restore_store`].
pub(super) fn follow_to_goal(
    restoration: &TaskRestoration,
    db: &mut dyn TaskStore,
    progress: RestoreProgress,
) -> Result<RestoreProgress> {
    db.begin_bulk_load()?;
    let followed = follow(restoration, db, progress);
    db.end_bulk_load()?;
    followed
}

fn follow(restoration: &TaskRestoration, db: &mut dyn TaskStore, progress: RestoreProgress) -> Result<RestoreProgress> {
    let instance = &restoration.instance;
    let changelog = restoration.changelog(progress.store);
    let of = offset_behind(progress.goal).since(offset_behind(progress.at));
    let is_done = |progress: &RestoreProgress| match PlantedBug::RestoreEndsEarly.is_planted() {
        true => Some(offset_behind(progress.at)) >= offset_behind(progress.goal).previous(),
        false => progress.at >= progress.goal,
    };
    let mut follower = ChangelogFollower::open(&*instance.ports.restore, &changelog, progress)?;
    let mut batch = RecordBatch::new();
    let mut restored = 0;
    let mut moved_at = instance.now();
    let mut stands_still = false;
    restoration.report_progress(0, 0, of);
    while !is_done(follower.progress()) {
        restoration.check_cancelled()?;
        batch.clear();
        if stands_still {
            // Behind a pending transaction, for as long as that takes.
            restoration.call_blocking(|| follower.poll(BATCH_BYTES, POLL, &mut batch))?;
        } else {
            follower.poll(BATCH_BYTES, POLL, &mut batch)?;
        }
        let now = instance.now();
        stands_still = batch.is_empty();
        if batch.is_empty() && batch.ends().is_empty() {
            if now > moved_at + instance.config.task_timeout {
                return Err(Error::Retry(format!(
                    "nothing comes from changelog {changelog}, at offset {} of {}",
                    offset_behind(follower.progress().at),
                    offset_behind(follower.progress().goal)
                )));
            }
            continue;
        }
        moved_at = now;
        let new = batch.len() as u64;
        restored += new;
        follower.write(db, &batch)?;
        if PlantedBug::StableEndEndsRestore.is_planted() && !batch.ends().is_empty() {
            break;
        }
        restoration.report_progress(new, restored, of);
    }
    tracing::info!(task = %restoration.id, %changelog, records = restored, "store restored from its changelog");
    Ok(follower.into_progress())
}
