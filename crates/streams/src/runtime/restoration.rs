//! How a task is restored: its committed offset and the checkpoint in its metadata are read, its
//! stores are opened and brought to just that checkpoint. Restoration blocks, so it runs as a job
//! (Kafka Streams has its state updater for this).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

use super::assigned_task::PendingRestoration;
use super::changelog_reader;
use super::executor::Job;
use super::instance::Instance;
use super::log_loss::LogLoss;
use super::task_locks::TaskLock;
use crate::error::{Error, Result};
use crate::planted::PlantedBug;
use crate::ports::{Committed, LogRange, PartitionStart, TaskStore};
use crate::record::{RecordBatch, TaskId, TopicPartition};
use crate::store::checkpoint::{Checkpoint, NO_STREAM_TIME};
use crate::store::checkpoint::{Position, StoreCheckpoint, decode_metadata, topic_id_of};
use crate::task::Plan;
use crate::topology_digest::Stamp;

/// A task that was restored, or the error that prevented it. Fields are dropped in their order: the
/// store before the ownership.
pub(super) struct RestorationResult {
    pub result: Result<RestoredTask>,
    pub lock: TaskLock,
}

/// The stores and the checkpoint of a task that was restored.
pub(super) struct RestoredTask {
    pub db: Option<Box<dyn TaskStore>>,
    pub checkpoint: Checkpoint,
    /// Whether it is to be committed at once: the last commit carries another stamp or topic id
    /// than ours would, or lies at another offset.
    pub is_uncommitted: bool,
}

/// The restoration of one task, to be run as a job.
pub(super) struct TaskRestoration {
    pub instance: Arc<Instance>,
    pub thread: usize,
    pub id: TaskId,
    pub plan: Arc<Plan>,
    pub source: TopicPartition,
    pub cancel: Arc<AtomicBool>,
}

/// Makes the job that restores a task, and the handle through which its result arrives.
pub(super) fn restoration_job(
    restoration: TaskRestoration,
    lock: TaskLock,
    rebuild: bool,
) -> (Job, PendingRestoration) {
    let (send, result): (Sender<RestorationResult>, _) = channel();
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
    Tail { after: i64, checksum: Option<u128> },
    /// It cannot be used.
    Unusable(String),
}

impl TaskRestoration {
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::Retry("the task was given up meanwhile".to_owned()));
        }
        Ok(())
    }

    /// Makes a call that may wait for somebody else: the next task need not wait with it.
    pub fn call_blocking<T>(&self, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        if self.plan.stores.is_empty() {
            // It has no place that it could lend: see `StreamThread::start_restoration`.
            return call();
        }
        let mut result = Err(Error::Retry("nothing was asked".to_owned()));
        self.instance.ports.executor.wait(&mut || result = call());
        result
    }

    fn run(&self, rebuild: bool) -> Result<RestoredTask> {
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
        let restored = self.restore(committed.as_ref(), rebuild);
        let (db, checkpoint) = restored.map_err(|error| self.look_again(committed.as_ref(), error))?;
        // What was skipped or taken over is committed, so that the next start need not be told
        // again.
        let is_moved = checkpoint.next_offset >= 0
            && committed.as_ref().map(|committed| committed.offset) != Some(checkpoint.next_offset);
        let has_empty_metadata = !self.plan.stores.is_empty() && metadata == Some("");
        self.instance.unconfirmed_losses.forget(self.id);
        Ok(RestoredTask {
            db,
            checkpoint,
            is_uncommitted: lacks_stamp || lacks_topic_id || is_moved || has_empty_metadata,
        })
    }

    /// The error of a restoration by this commit, after another look at the commit where the error
    /// would end the instance. A process that stood still in between may restore the state before
    /// the last one: the task's next owner has committed since, records that the commit needs were
    /// purged or compacted, and nothing is lost.
    fn look_again(&self, committed: Option<&Committed>, error: Error) -> Error {
        if !matches!(error, Error::Fatal(_)) {
            return error;
        }
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
            Some(Committed { offset, metadata }) => decode_metadata(*offset, metadata, &names)?,
        };
        let checkpoint = checkpoint.map(|mut checkpoint| {
            if PlantedBug::StreamTimeNotRestored.is_planted() {
                checkpoint.stream_time_ms = NO_STREAM_TIME;
            }
            checkpoint.next_offset += i64::from(PlantedBug::StartsTooLate.is_planted());
            checkpoint
        });
        let topic = committed.and_then(|committed| topic_id_of(&committed.metadata));
        if names.is_empty() {
            if committed.is_none() {
                self.confirm_no_offset()?;
            }
            let next_offset = committed.map_or(PartitionStart::BEGINNING, |committed| committed.offset);
            let fresh = Checkpoint { next_offset, stream_time_ms: NO_STREAM_TIME, stores: Vec::new() };
            return Ok((None, self.move_into_log(checkpoint.unwrap_or(fresh), topic)?));
        }
        let checkpoint = match checkpoint {
            Some(checkpoint) => self.move_into_log(checkpoint, topic)?,
            None if self.may_reset_to_earliest() && self.state_in_changelogs()?.is_some() => {
                if committed.is_none() {
                    self.confirm_no_offset()?;
                }
                let mut db = self.open_stores(true)?;
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
            let source = &self.source;
            let app = &self.instance.config.application_id;
            let advice = format!(
                "to keep the state as the changelogs have it, start with --from-earliest-available {}; to begin with nothing, delete the group and \
                 its changelog and repartition topics, or take another --application-id",
                source.topic
            );
            return match committed {
                None => Err(Error::Retry(format!(
                    "group `{app}` has no committed offset for {source}, but changelog {changelog} holds records: the topic was deleted and made \
                     anew, or the group's offsets were deleted or have expired; {advice} [HS1021]"
                ))),
                Some(committed) => Err(Error::Fatal(format!(
                    "offset {} of {source} was set in group `{app}` from outside, so the state that belongs to it is not known, and \
                     changelog {changelog} holds records; {advice} [HS1021]",
                    committed.offset
                ))),
            };
        }
        if committed.is_none() {
            self.confirm_no_offset()?;
        }
        let next_offset = committed.map_or(PartitionStart::BEGINNING, |committed| committed.offset);
        Ok(Checkpoint {
            next_offset,
            stream_time_ms: NO_STREAM_TIME,
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
            return Err(Error::Retry(format!(
                "the group has no committed offset for {source}, by the first answer: it is asked again before that is believed"
            )));
        }
        Ok(())
    }

    /// Whether the brokers have answered so before, a while ago; see [`super::log_loss`].
    pub fn is_confirmed(&self, loss: LogLoss) -> bool {
        self.instance.unconfirmed_losses.is_confirmed(self.id, loss, self.instance.now())
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
        if ports.admin.log_range(changelog)?.end == 0 {
            return Ok(false);
        }
        let mut reader = ports.restore.open(changelog, PartitionStart::BEGINNING)?;
        let deadline = self.instance.now() + self.instance.config.task_timeout;
        let mut batch = RecordBatch::new();
        while self.instance.now() < deadline {
            self.check_cancelled()?;
            reader.poll(changelog_reader::BATCH_BYTES, changelog_reader::POLL, &mut batch)?;
            if !batch.is_empty() || !batch.ends().is_empty() {
                return Ok(!batch.is_empty());
            }
        }
        Err(Error::Retry(format!("nothing comes from changelog {changelog}")))
    }

    pub fn changelogs(&self) -> impl Iterator<Item = TopicPartition> {
        self.plan.stores.iter().map(|store| TopicPartition::new(store.changelog.clone(), self.id.partition))
    }

    /// The changelogs hold what was committed to them.
    fn check_changelogs(&self, checkpoint: &Checkpoint) -> Result<()> {
        for (at, (changelog, store)) in self.changelogs().zip(&checkpoint.stores).enumerate() {
            if store.changelog_offset < 0 {
                continue;
            }
            let range = self.instance.ports.admin.log_range(&changelog)?;
            if store.changelog_offset >= range.end {
                if !self.is_confirmed(LogLoss::ChangelogEndsBefore(at, store.changelog_offset)) {
                    return Err(Error::Retry(format!(
                        "changelog {changelog} ends at offset {}, before the committed {}, by the first answer: it is asked again",
                        range.end, store.changelog_offset
                    )));
                }
                return Err(Error::Fatal(format!(
                    "changelog {changelog} ends at offset {} but state up to offset {} was committed: its records are lost; bring the topic back, \
                     or delete the group and its internal topics to begin anew [HS3010]",
                    range.end, store.changelog_offset
                )));
            }
        }
        Ok(())
    }

    /// The task's stores at the checkpoint: as they lie on disk, with the changelogs' tails, or
    /// built anew.
    fn restore_stores(&self, checkpoint: &Checkpoint, rebuild: bool) -> Result<Box<dyn TaskStore>> {
        let anew = rebuild || is_stale(&self.instance, self.id, &self.plan)?;
        if anew {
            self.add_rebuilt_stores(checkpoint.stores.len());
        }
        let mut db = self.open_stores(anew)?;
        for store in 0..checkpoint.stores.len() {
            self.restore_store(db.as_mut(), store, checkpoint)?;
        }
        Ok(db)
    }

    /// The task's stores as they lie on disk, or new ones.
    fn open_stores(&self, anew: bool) -> Result<Box<dyn TaskStore>> {
        let stores = &self.instance.ports.stores;
        if anew {
            stores.destroy(self.id)?;
        }
        match stores.open(self.id, &self.plan.store_names()) {
            Err(Error::Corrupted { what, .. }) => {
                tracing::warn!(
                    code = "HS3001",
                    task = %self.id,
                    "a local store of the task cannot be opened and is rebuilt from its changelog: {what}"
                );
                self.add_rebuilt_stores(self.plan.stores.len());
                stores.destroy(self.id)?;
                stores.open(self.id, &self.plan.store_names())
            }
            other => other,
        }
    }

    /// Brings one store to the checkpoint, over again from nothing where what it holds cannot be
    /// believed.
    fn restore_store(&self, db: &mut dyn TaskStore, store: usize, checkpoint: &Checkpoint) -> Result<()> {
        let found = match self.find_gap(db, store, &checkpoint.stores[store])? {
            Gap::None => None,
            Gap::Tail { after, checksum } => {
                changelog_reader::restore_store(self, db, store, checkpoint, after, checksum)?
            }
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
        self.add_rebuilt_stores(1);
        if !PlantedBug::RebuildKeepsContent.is_planted() {
            db.clear(store)?;
        }
        match changelog_reader::restore_store(self, db, store, checkpoint, -1, None)? {
            None => Ok(()),
            Some(what) => Err(Error::Fatal(format!(
                "store `{name}` of task {}, rebuilt from its changelog, is not what was committed: {what}; the changelog was changed from outside. \
                 Delete the group and its internal topics to begin anew [HS3011]",
                self.id
            ))),
        }
    }

    fn find_gap(&self, db: &dyn TaskStore, store: usize, goal: &StoreCheckpoint) -> Result<Gap> {
        let bytes = db.position(store)?;
        let position = match bytes.as_deref().map(|bytes| Position::decode(self.id, bytes)).transpose() {
            Err(Error::Corrupted { what, .. }) => return Ok(Gap::Unusable(what)),
            other => other?.unwrap_or(Position::restoring(-1, Some(0))),
        };
        if bytes.is_none() && PlantedBug::MissingPositionTrusted.is_planted() {
            return Ok(Gap::None);
        }
        let has = position.changelog_offset;
        let needs = goal.changelog_offset;
        if has > needs {
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
        let changelog = TopicPartition::new(self.plan.stores[store].changelog.clone(), self.id.partition);
        if let Some(what) = check_position(&self.instance, &changelog, has)? {
            return Ok(Gap::Unusable(what));
        }
        // An empty store at offset -1 has the checksum 0, but a restore from the beginning is
        // faster when it computes the sum at its end.
        Ok(Gap::Tail { after: has, checksum: if has < 0 { None } else { position.checksum } })
    }

    fn add_rebuilt_stores(&self, stores: usize) {
        self.instance.metrics().add_rebuilt_stores(stores);
    }

    /// Tells how far a restore is: `new` more records, `restored` in all.
    pub fn report_progress(&self, new: u64, restored: u64, of: u64) {
        let metrics = self.instance.metrics();
        metrics.restored(new);
        metrics.change_task(self.id, self.thread, |status| status.restored = (restored, of));
    }
}

/// Error for a position at which the changelog does not continue.
pub(super) fn check_position(instance: &Instance, changelog: &TopicPartition, position: i64) -> Result<Option<String>> {
    if position < 0 {
        return Ok(None);
    }
    let LogRange { start, end } = instance.ports.admin.log_range(changelog)?;
    let is_outside = position + 1 < start || position >= end;
    Ok(is_outside.then(|| format!("its position {position} lies outside the changelog ({start} to {end})")))
}

/// Whether a task's store was away for so long that the changelog may have forgotten deletes since.
pub(super) fn is_stale(instance: &Instance, task: TaskId, plan: &Plan) -> Result<bool> {
    let Some(idle) = instance.ports.stores.idle_time(task)? else { return Ok(false) };
    let Some(memory) = instance.changelog_memory_of(plan) else { return Ok(false) };
    if idle > memory {
        tracing::warn!(
            code = "HS3003",
            %task,
            "the local stores of the task were not used for {} s and are rebuilt from their changelogs, which may have compacted deletes away \
             since (delete.retention.ms)",
            idle.as_secs()
        );
    }
    Ok(idle > memory)
}
