//! How a task is restored: its committed offset and the checkpoint in its metadata are read, its
//! stores are opened and brought to just that checkpoint.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::super::executor::Job;
use super::super::log_loss::LogLoss;
use super::super::task_locks::TaskLock;
use super::restore_store::{BATCH_BYTES, POLL, restore_store};
use super::stores::{Holder, check_position, find_store_position, open_stores};
use super::task_restoration::{
    PendingRestoration, RestorationOutcome, RestorationResult, RestoredTask, TaskRestoration,
};
use crate::error::{Error, Result};
use crate::offset::{Offset, StartOffset};
use crate::planted::PlantedBug;
use crate::ports::{Committed, TaskStore};
use crate::record::{RecordBatch, TopicPartition};
use crate::store::checkpoint::{Checkpoint, MetadataError, StoreCheckpoint, TaskOwner, decode_metadata, topic_id_of};
use crate::stream_time::StreamTime;
use crate::topology_digest::Stamp;

/// Makes the job that restores a task, and the handle through which its result arrives.
pub(in crate::runtime) fn restoration_job(
    restoration: TaskRestoration,
    lock: TaskLock,
    rebuild: bool,
) -> (Job, PendingRestoration) {
    let (send, result) = channel();
    let cancel = restoration.cancel.clone();
    let job = Box::new(move || {
        let result = restoration.run(rebuild);
        // The receiver is gone if the task was revoked; dropping the result releases the lock of
        // the task.
        let _ = send.send(RestorationResult { result, lock });
    });
    (job, PendingRestoration { result, cancel })
}

/// How a store's content stands to the checkpoint that it has to be brought to.
enum Gap {
    /// It is there.
    None,
    /// The changelog's records after this offset are missing; with the checksum of what there is,
    /// if that is known.
    Tail { after: Option<Offset>, checksum: Option<u128> },
    /// It cannot be used.
    Unusable(String),
}

impl TaskRestoration {
    fn run(&self, rebuild: bool) -> Result<RestorationOutcome> {
        let admin = &self.instance.ports.admin;
        let agreement = &self.instance.agreement;
        // It may have stood in the queue for long.
        self.check_cancelled()?;
        self.call_blocking(|| agreement.ensure(&**admin, &*self.instance.ports.clock))?;
        // A transaction over the offset is waited for, up to its timeout where its owner is dead.
        let committed = self.call_blocking(|| admin.committed(std::slice::from_ref(&self.source)))?;
        let committed = committed.into_iter().next().flatten();
        self.check_cancelled()?;
        let metadata = committed.as_ref().map(|committed| committed.metadata.as_str());
        self.call_blocking(|| agreement.admit(&**admin, metadata.unwrap_or_default()))?;
        let stamp = agreement.stamp();
        let lacks_stamp = stamp.is_some() && metadata.is_some_and(|metadata| Stamp::find(metadata) != stamp);
        let topic = self.instance.sources.id(&self.source.topic);
        let lacks_topic_id = topic.is_some() && metadata.is_some_and(|metadata| topic_id_of(metadata) != topic);
        let owner = TaskOwner { instance_id: &self.instance.config.instance_id, thread: self.thread };
        // So that whoever takes the task from this thread finds its open transaction, also where
        // this thread dies before the first record of the task is committed.
        let has_other_owner = metadata.is_some_and(|metadata| TaskOwner::find(metadata) != Some(owner));
        if let Some(until) = self.awaits_state(committed.as_ref(), rebuild) {
            return Ok(RestorationOutcome::Postponed { until });
        }
        let restored = self.restore(committed.as_ref(), rebuild);
        let (db, checkpoint) = restored.map_err(|error| self.look_again(committed.as_ref(), error))?;
        // What was skipped or taken over is committed, so that the next start need not be told
        // again.
        let next = checkpoint.next_offset.offset();
        let is_moved = next.is_some() && committed.as_ref().map(|committed| committed.offset) != next;
        let is_known = |committed: &Committed| {
            matches!(decode_metadata(committed.offset, &committed.metadata, &self.plan.store_names()), Ok(Some(_)))
        };
        let lacks_metadata = !self.plan.stores.is_empty() && !committed.as_ref().is_none_or(is_known);
        self.instance.unconfirmed_losses.forget(self.id);
        self.instance.truncated_logs.forget(self.id);
        Ok(RestorationOutcome::Restored(RestoredTask {
            db,
            checkpoint,
            is_uncommitted: lacks_stamp || lacks_topic_id || has_other_owner || is_moved || lacks_metadata,
            topic,
        }))
    }

    /// Until when the task waits for an instance that has its state. One that is to be rebuilt, or
    /// whose commit cannot be read, does not wait.
    fn awaits_state(&self, committed: Option<&Committed>, rebuild: bool) -> Option<Duration> {
        let Committed { offset, metadata } = committed.filter(|_| !rebuild)?;
        let checkpoint = decode_metadata(*offset, metadata, &self.plan.store_names()).ok()??;
        self.instance.awaits_state(self.id, &self.plan, &checkpoint)
    }

    /// The error of a restoration by this commit, after another look at the commit where the error
    /// would end the instance or stop the task. A process that stood still in between may restore
    /// the state before the last one: the task's next owner has committed since, records that the
    /// commit needs were purged or compacted, and nothing is lost.
    fn look_again(&self, committed: Option<&Committed>, error: Error) -> Error {
        let error = match error {
            Error::Fatal(_) | Error::StopTask(_) => error,
            // What is read of a changelog may just have been deleted: it is looked at again.
            Error::OffsetOutOfRange { .. } => return Error::Retry(error.to_string()),
            other => return other,
        };
        let admin = &self.instance.ports.admin;
        match self.call_blocking(|| admin.committed(std::slice::from_ref(&self.source))) {
            Ok(now) if now.first().and_then(Option::as_ref) == committed => error,
            Ok(_) => Error::Retry(format!(
                "{} was committed by another instance while task {} was restored by the commit before, whose records are gone: the task is restored \
                 again, by the last commit",
                self.source, self.id
            )),
            Err(unanswered) => unanswered,
        }
    }

    fn restore(
        &self,
        committed: Option<&Committed>,
        rebuild: bool,
    ) -> Result<(Option<Box<dyn TaskStore>>, Checkpoint)> {
        let names = self.plan.store_names();
        let checkpoint = match committed {
            None => None,
            Some(Committed { offset, metadata }) => match decode_metadata(*offset, metadata, &names) {
                // As for an offset that was set from outside.
                Err(MetadataError::Unreadable(_)) if self.may_reset_to_earliest() => None,
                Err(MetadataError::Unreadable(text)) => return Err(self.metadata_unreadable(&text)),
                decoded => decoded?,
            },
        };
        let checkpoint = checkpoint.map(|mut checkpoint| {
            if PlantedBug::StreamTimeNotRestored.is_planted() {
                checkpoint.stream_time = StreamTime::NONE;
            }
            if let (true, Some(next)) = (PlantedBug::StartsTooLate.is_planted(), checkpoint.next_offset.offset()) {
                checkpoint.next_offset = next.next().into();
            }
            checkpoint
        });
        let topic = committed.and_then(|committed| topic_id_of(&committed.metadata));
        if names.is_empty() {
            if committed.is_none() {
                self.confirm_no_offset()?;
            }
            let next_offset = committed.map_or(StartOffset::Beginning, |committed| committed.offset.into());
            let fresh = Checkpoint { next_offset, stream_time: StreamTime::NONE, stores: Vec::new() };
            return Ok((None, self.move_into_log(checkpoint.unwrap_or(fresh), topic)?));
        }
        let checkpoint = match checkpoint {
            Some(checkpoint) => self.move_into_log(checkpoint, topic)?,
            None if self.may_reset_to_earliest() && self.state_in_changelogs()?.is_some() => {
                if committed.is_none() {
                    self.confirm_no_offset()?;
                }
                let mut db = open_stores(&self.instance, self.id, &self.plan, Holder::Task, true)?;
                let checkpoint = self.adopt_changelogs(db.as_mut(), committed.map(|committed| committed.offset))?;
                return Ok((Some(db), checkpoint));
            }
            None => self.initial_checkpoint(committed)?,
        };
        self.check_changelogs(&checkpoint)?;
        let db = self.restore_stores(&checkpoint, rebuild)?;
        Ok((Some(db), checkpoint))
    }

    /// The checkpoint of a task that has never committed. A coordinator in trouble may answer
    /// "none" too, so it is believed only when there is no state.
    fn initial_checkpoint(&self, committed: Option<&Committed>) -> Result<Checkpoint> {
        if let Some(changelog) = self.state_in_changelogs()? {
            if committed.is_none() {
                self.confirm_no_offset()?;
                if !self.is_confirmed(LogLoss::NoOffset) {
                    return Err(self.no_offset_by_first_answer());
                }
            }
            return Err(self.no_offset_of_state(committed.map(|committed| committed.offset), &changelog));
        }
        if committed.is_none() {
            self.confirm_no_offset()?;
        }
        let next_offset = committed.map_or(StartOffset::Beginning, |committed| committed.offset.into());
        Ok(Checkpoint {
            next_offset,
            stream_time: StreamTime::NONE,
            stores: vec![StoreCheckpoint::EMPTY; self.plan.stores.len()],
        })
    }

    /// Makes sure that the group has no committed offset for the task's partition, after the
    /// coordinator has answered so. A task whose offset is there and is not seen would read its log
    /// once more from the first record.
    ///
    /// The offset counts as gone only where the coordinator's list of all offsets of the group
    /// lacks it too, which is asked for by another client and another request. Where the operator
    /// has named the topic with `--from-earliest-available`, both have to answer so a second time,
    /// a second or more later: the flag may have been left set, so it tells nothing of this very
    /// moment. (Without it, a task whose changelogs hold state never starts without an offset.)
    ///
    /// # Errors
    /// [`Error::Retry`] until it is certain.
    fn confirm_no_offset(&self) -> Result<()> {
        let instance = &self.instance;
        let source = &self.source;
        let all = self.call_blocking(|| instance.ports.admin.all_committed())?;
        if all.iter().any(|(partition, _)| partition == source) {
            instance.unconfirmed_losses.forget(self.id);
            return Err(Error::Retry(format!(
                "the group's coordinator has answered that {source} has no committed offset, and lists one: it is asked again"
            )));
        }
        if self.may_reset_to_earliest() && !self.is_confirmed(LogLoss::NoOffset) {
            return Err(self.no_offset_by_first_answer());
        }
        Ok(())
    }

    fn no_offset_by_first_answer(&self) -> Error {
        Error::Retry(format!(
            "the group has no committed offset for {}, by the first answer: it is asked again before that is believed",
            self.source
        ))
    }

    /// The first changelog of the task that holds a committed record.
    fn state_in_changelogs(&self) -> Result<Option<TopicPartition>> {
        for changelog in self.changelogs() {
            if self.holds_records(&changelog)? {
                return Ok(Some(changelog));
            }
        }
        Ok(None)
    }

    /// Whether a changelog holds a committed record. One whose transactions were all aborted is
    /// empty, though its offsets have moved.
    fn holds_records(&self, changelog: &TopicPartition) -> Result<bool> {
        let ports = &self.instance.ports;
        if ports.admin.log_range(changelog)?.end == Offset::FIRST {
            return Ok(false);
        }
        let mut reader = ports.restore.open(changelog, StartOffset::Beginning)?;
        let deadline = self.instance.now() + self.instance.config.task_timeout;
        let mut batch = RecordBatch::new();
        while self.instance.now() < deadline {
            self.check_cancelled()?;
            reader.poll(BATCH_BYTES, POLL, &mut batch)?;
            if !batch.is_empty() || !batch.ends().is_empty() {
                return Ok(!batch.is_empty());
            }
        }
        Err(Error::Retry(format!("nothing comes from changelog {changelog}")))
    }

    /// The changelogs hold what was committed to them.
    fn check_changelogs(&self, checkpoint: &Checkpoint) -> Result<()> {
        for (at, (changelog, store)) in self.changelogs().zip(&checkpoint.stores).enumerate() {
            let Some(committed) = store.changelog_offset else { continue };
            let range = self.instance.ports.admin.log_range(&changelog)?;
            if committed >= range.end {
                if !self.is_confirmed(LogLoss::ChangelogEndsBefore(at, committed)) {
                    return Err(Error::Retry(format!(
                        "changelog {changelog} ends at offset {}, before the committed {committed}, by the first answer: it is asked again",
                        range.end
                    )));
                }
                return Err(self.changelog_lost_records(&changelog, committed, range));
            }
        }
        Ok(())
    }

    /// The task's stores at the checkpoint: as they lie on disk, with the changelogs' tails, or
    /// built anew.
    fn restore_stores(&self, checkpoint: &Checkpoint, is_rebuild: bool) -> Result<Box<dyn TaskStore>> {
        let mut db = open_stores(&self.instance, self.id, &self.plan, Holder::Task, is_rebuild)?;
        for store in 0..checkpoint.stores.len() {
            self.restore_store(db.as_mut(), store, checkpoint)?;
        }
        Ok(db)
    }

    /// Brings one store to the checkpoint, over again from nothing where what it holds cannot be
    /// believed.
    fn restore_store(&self, db: &mut dyn TaskStore, store: usize, checkpoint: &Checkpoint) -> Result<()> {
        let found = match self.find_gap(db, store, &checkpoint.stores[store])? {
            Gap::None => None,
            Gap::Tail { after, checksum } => restore_store(self, db, store, checkpoint, after, checksum)?,
            Gap::Unusable(what) => Some(what),
        };
        let Some(what) = found else { return Ok(()) };
        let name = &self.plan.stores[store].name;
        tracing::warn!(
            code = "HS3001",
            task = %self.id,
            store = name,
            "the local store is rebuilt from its changelog: {what}"
        );
        self.instance.metrics().add_rebuilt_stores(1);
        if !PlantedBug::RebuildKeepsContent.is_planted() {
            db.clear(store)?;
        }
        match restore_store(self, db, store, checkpoint, None, None)? {
            None => Ok(()),
            Some(what) => Err(self.changelog_changed(store, &what)),
        }
    }

    fn find_gap(&self, db: &dyn TaskStore, store: usize, goal: &StoreCheckpoint) -> Result<Gap> {
        if PlantedBug::MissingPositionTrusted.is_planted() && db.position(store)?.is_none() {
            return Ok(Gap::None);
        }
        let position = match find_store_position(db, self.id, store)? {
            Ok(position) => position,
            Err(damage) => return Ok(Gap::Unusable(damage)),
        };
        let has = position.changelog_offset;
        let needs = goal.changelog_offset;
        if has > needs {
            let shown = |offset: Option<Offset>| offset.map_or("none".to_owned(), |offset| offset.to_string());
            let (has, needs) = (shown(has), shown(needs));
            return Ok(Gap::Unusable(format!("it holds changelog offset {has}, above the committed {needs}")));
        }
        if has == needs && position.checksum.is_some() {
            return Ok(
                match position.checksum == Some(goal.checksum) || PlantedBug::ChecksumNotCompared.is_planted() {
                    true => Gap::None,
                    false => Gap::Unusable("its checksum is not the committed one".to_owned()),
                },
            );
        }
        if let Some(what) = check_position(&self.instance, &self.changelog(store), has)? {
            return Ok(Gap::Unusable(what));
        }
        // An empty store at offset -1 has the checksum 0, but a restore from the beginning is
        // faster when it computes the sum at its end.
        Ok(Gap::Tail { after: has, checksum: has.and(position.checksum) })
    }
}
