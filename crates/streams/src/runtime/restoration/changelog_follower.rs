//! Follows the changelog of a store: reads its records and writes them to the store, with the
//! position that each batch brings it to. A restoration follows it up to the very record that the
//! checkpoint names (Kafka Streams' `ChangelogReader`), a standby for as long as it is one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use super::stops::foreign_record;
use crate::error::Result;
use crate::offset::{Offset, StartOffset};
use crate::planted::PlantedBug;
use crate::ports::{Put, RestoreClient, RestoreReader, StoreBatch, TaskStore};
use crate::record::{RecordBatch, TaskId, TopicPartition};
use crate::store::checkpoint::Position;
use crate::store::{Checksum, entry_hash};
use crate::stream_time::StreamTime;
use crate::task::offset_of;

/// How far a store has come along its changelog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runtime) struct RestoreProgress {
    pub task: TaskId,
    /// The number of the store among those of its task.
    pub store: usize,
    /// The last changelog offset in the store, if it has any.
    pub at: Option<Offset>,
    /// The last one that it is to have; none for a standby, which follows without an end.
    pub goal: Option<Offset>,
    /// The checksum of what it holds, where it is known.
    pub checksum: Option<Checksum>,
    /// Stream time after the records that were read.
    pub stream_time: StreamTime,
}

impl RestoreProgress {
    /// The next record to read.
    fn start(&self) -> StartOffset {
        match self.at {
            _ if self.goal.is_some() && PlantedBug::RestoreSkipsFirst.is_planted() => {
                StartOffset::At(offset_behind(self.at).next())
            }
            None => StartOffset::Beginning,
            Some(at) => StartOffset::At(at.next()),
        }
    }
}

/// The offset behind the last one that a store has; the first, where it has none.
pub(in crate::runtime) fn offset_behind(at: Option<Offset>) -> Offset {
    at.map_or(Offset::FIRST, Offset::next)
}

/// A store that follows its changelog.
pub(in crate::runtime) struct ChangelogFollower {
    progress: RestoreProgress,
    reader: Box<dyn RestoreReader>,
}

impl ChangelogFollower {
    /// Begins to read behind what the store has.
    ///
    /// # Errors
    /// The changelog cannot be read.
    pub fn open(
        client: &dyn RestoreClient,
        changelog: &TopicPartition,
        progress: RestoreProgress,
    ) -> Result<ChangelogFollower> {
        let reader = client.open(changelog, progress.start())?;
        Ok(ChangelogFollower { progress, reader })
    }

    /// How far it has come.
    pub fn progress(&self) -> &RestoreProgress {
        &self.progress
    }

    /// How far it has come, at its end.
    pub fn into_progress(self) -> RestoreProgress {
        self.progress
    }

    /// Reads a batch of so many bytes, about, and waits so long at most for it. `batch` is empty
    /// before; it is to be written by [`ChangelogFollower::write`].
    ///
    /// # Errors
    /// The changelog cannot be read.
    pub fn poll(&mut self, bytes: usize, wait: Duration, batch: &mut RecordBatch) -> Result<()> {
        self.reader.poll(bytes, wait, batch)
    }

    /// Writes the last value of each key in the batch, up to the goal, and the position that it
    /// brings the store to. The end of the changelog that was reached, if one was.
    ///
    /// # Errors
    /// The store cannot be read or written, or the changelog has a record of somebody else.
    pub fn write(&mut self, db: &mut dyn TaskStore, batch: &RecordBatch) -> Result<Option<Offset>> {
        let end = batch.ends().iter().map(|end| end.offset).max();
        let progress = &mut self.progress;
        let mut last: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
        for read in batch.iter() {
            let offset = offset_of(&read)?;
            let is_up_to_goal = progress.goal.is_none_or(|goal| offset <= goal);
            progress.at = progress.at.max(if is_up_to_goal { Some(offset) } else { progress.goal });
            if !is_up_to_goal {
                continue;
            }
            progress.stream_time = progress.stream_time.after(read.record.timestamp_ms);
            // The empty key is the position's place and is never written to a changelog.
            let key = read.record.key.filter(|key| !key.is_empty());
            let key = key.ok_or_else(|| foreign_record(progress.task))?;
            let leaves_out = match progress.goal {
                None => PlantedBug::StandbyWithoutDeletes.is_planted(),
                Some(_) => PlantedBug::RestoreWithoutDeletes.is_planted(),
            };
            if !(leaves_out && read.record.value.is_none()) {
                last.insert(key, read.record.value);
            }
        }
        if progress.goal.is_some() && end > progress.goal {
            // Past the record that the goal names: compaction took it.
            progress.at = progress.goal;
        }
        if let Some(sum) = &mut progress.checksum {
            *sum = checksum_after(*sum, db, progress.store, &last)?;
        }
        let puts = last.iter().map(|(key, value)| Put { store: progress.store, key, value: *value }).collect();
        let position = Position::restoring(progress.at, progress.checksum).encode();
        if progress.goal.is_none() && PlantedBug::TornStandbyRead.is_planted() {
            db.apply(&StoreBatch { puts: Vec::new(), positions: vec![(progress.store, &position)] })?;
        }
        db.apply(&StoreBatch { puts, positions: vec![(progress.store, &position)] })?;
        Ok(end)
    }
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
///
/// # Errors
/// The store cannot be read.
pub(in crate::runtime) fn checksum_of(db: &dyn TaskStore, store: usize) -> Result<Checksum> {
    let mut sum: Checksum = 0;
    db.scan(store, b"", &mut |key, value| {
        sum = sum.wrapping_add(entry_hash(key, value));
        ControlFlow::Continue(())
    })?;
    Ok(sum)
}
