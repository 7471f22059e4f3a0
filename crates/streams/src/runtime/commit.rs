//! A commit, as a row of named steps: the order is the protocol. A test can look on, or kill the
//! process, before any of them.

use std::time::Duration;

use super::assigned_task::{AssignedTask, BACKGROUND_STEP};
use super::thread::StreamThread;
use crate::error::{Error, Result};
use crate::planted::PlantedBug;
use crate::ports::{GroupMetadata, OffsetCommit};
use crate::record::{Headers, Record, TopicPartition};
use crate::store::checkpoint::Checkpoint;
use crate::store::checkpoint::{CommitContext, encode_metadata};

/// A step of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Processors write back what they keep.
    Flush,
    /// The last value of each changed key goes to the changelogs, in key order.
    Changelog,
    /// All records are delivered.
    Drain,
    /// The membership is taken, after the last poll that the records came from.
    Membership,
    /// The offsets join the transaction, with the checkpoint of each task.
    Offsets,
    /// The transaction is committed.
    Commit,
    /// Overlay and position go to the stores, one batch a task.
    Store,
    /// All is done.
    Done,
}

/// The order of a commit.
pub const COMMIT_STEPS: [Step; 8] =
    [Step::Flush, Step::Changelog, Step::Drain, Step::Membership, Step::Offsets, Step::Commit, Step::Store, Step::Done];

impl Step {
    /// The step's name.
    pub fn name(self) -> &'static str {
        match self {
            Step::Flush => "flush",
            Step::Changelog => "changelog",
            Step::Drain => "drain",
            Step::Membership => "membership",
            Step::Offsets => "offsets",
            Step::Commit => "commit",
            Step::Store => "store",
            Step::Done => "done",
        }
    }
}

/// Observer that is called before each step of a commit.
pub trait StepObserver: Send + Sync {
    /// `thread` is about to make `step`.
    fn before(&self, thread: usize, step: Step);
}

/// Looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl StepObserver for NoObserver {
    fn before(&self, _thread: usize, _step: Step) {}
}

/// State that one step passes to the next.
#[derive(Default)]
struct CommitInProgress {
    /// The tasks that take part, and the checkpoint of each.
    checkpoints: Vec<(usize, Checkpoint)>,
    /// The changelog partitions that got a record.
    changed: Vec<TopicPartition>,
    group: Option<GroupMetadata>,
}

impl StreamThread {
    /// Commits everything that the thread did since its last commit, if anything.
    ///
    /// # Errors
    /// By remedy. Once the transaction is committed none but [`Error::Fatal`] comes: a store that
    /// then cannot be written is taken anew.
    pub(super) fn commit(&mut self) -> Result<()> {
        let is_dirty = self.tasks.iter_mut().any(|assigned| assigned.running().is_some_and(|task| task.is_dirty()));
        if !is_dirty && !self.in_transaction && !self.has_background_work()? {
            // Not while a task goes back to its last commit: what it has to do again comes only
            // then.
            if self.tasks.iter().all(|assigned| assigned.end.is_some()) {
                self.metrics().is_idle();
            }
            return Ok(());
        }
        let started = self.instance.now();
        let mut progress = CommitInProgress::default();
        for step in COMMIT_STEPS {
            self.instance.ports.observer.before(self.index, step);
            self.run_step(step, &mut progress)?;
        }
        let now = self.instance.now();
        self.last_commit = now;
        self.metrics().committed(now, now.saturating_sub(started));
        Ok(())
    }

    fn run_step(&mut self, step: Step, progress: &mut CommitInProgress) -> Result<()> {
        match step {
            Step::Flush => self.flush_tasks(progress),
            Step::Changelog => self.send_changes(progress),
            Step::Drain if PlantedBug::NoDrain.is_planted() => Ok(()),
            Step::Drain => self.collector.drain(),
            Step::Membership => {
                let mut group = self.membership.metadata()?;
                if PlantedBug::NoGroupMetadata.is_planted() {
                    (group.generation, group.member_id) = (-1, String::new());
                    progress.group = Some(group);
                    return Ok(());
                }
                // A broker does not fence a commit of such a member at all.
                if group.generation < 0 || group.member_id.is_empty() {
                    return Err(Error::Migrated("the thread is no member of its group".to_owned()));
                }
                progress.group = Some(group);
                Ok(())
            }
            Step::Offsets => self.send_offsets(progress),
            Step::Commit if PlantedBug::EarlyLocalWrite.is_planted() => {
                self.write_stores(progress)?;
                self.commit_transaction()
            }
            Step::Commit => self.commit_transaction(),
            Step::Store => self.write_stores(progress),
            Step::Done => Ok(()),
        }
    }

    fn flush_tasks(&mut self, progress: &mut CommitInProgress) -> Result<()> {
        self.begin_transaction()?;
        self.run_background_steps()?;
        for (at, assigned) in self.tasks.iter_mut().enumerate() {
            let Some(task) = assigned.running().filter(|task| task.is_dirty()) else { continue };
            if !PlantedBug::NoFlush.is_planted() {
                task.flush().map_err(as_abort)?;
            }
            let checkpoint = task.last_checkpoint().clone();
            progress.checkpoints.push((at, checkpoint));
        }
        Ok(())
    }

    /// Whether a task has work that no record brings about.
    ///
    /// # Errors
    /// A store cannot be read.
    pub(super) fn has_background_work(&mut self) -> Result<bool> {
        for task in self.tasks.iter_mut().filter_map(AssignedTask::running) {
            if task.has_background_work()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives each task that has work of its own one slice of it.
    fn run_background_steps(&mut self) -> Result<()> {
        for at in 0..self.tasks.len() {
            let assigned = &mut self.tasks[at];
            let Some(task) = assigned.running() else { continue };
            if !task.has_background_work().map_err(as_abort)? {
                continue;
            }
            match task.background_step(&mut self.collector) {
                Ok(()) if assigned.blocked.is_some_and(|blocked| blocked.offset == BACKGROUND_STEP) => {
                    assigned.blocked = None
                }
                Ok(()) => {}
                Err(Error::Retry(what)) => return Err(self.back_off(at, BACKGROUND_STEP, &what)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn send_changes(&mut self, progress: &mut CommitInProgress) -> Result<()> {
        for (at, _) in &progress.checkpoints {
            let assigned = &self.tasks[*at];
            let Some(task) = &assigned.task else { continue };
            for (index, store) in assigned.plan.stores.iter().enumerate() {
                let mut changes = task.changes(index);
                if PlantedBug::ChangelogWithoutDeletes.is_planted() {
                    changes.retain(|change| change.value.is_some());
                }
                if PlantedBug::ChangelogForgotten.is_planted() && index == 0 {
                    changes.clear();
                }
                if !changes.is_empty() {
                    progress.changed.push(TopicPartition::new(store.changelog.clone(), assigned.id.partition));
                }
                for change in changes {
                    let key = Some(change.key);
                    let timestamp_ms = change.timestamp_ms;
                    let record = Record { key, value: change.value, headers: Headers::NONE, timestamp_ms };
                    self.collector.send_change(&store.changelog, assigned.id.partition, &record)?;
                }
            }
        }
        Ok(())
    }

    fn send_offsets(&mut self, progress: &mut CommitInProgress) -> Result<()> {
        let stamp = self.instance.agreement.stamp();
        let producer = self.collector.producer()?;
        if let Some(unknown) = progress.changed.iter().find(|changelog| producer.last_offset(changelog).is_none()) {
            return Err(Error::Aborted(format!("the offset of the last record of changelog {unknown} is not known")));
        }
        let mut offsets = Vec::with_capacity(progress.checkpoints.len());
        for (at, checkpoint) in &mut progress.checkpoints {
            let assigned = &self.tasks[*at];
            let Some(task) = &assigned.task else { continue };
            let producer = self.collector.producer()?;
            let delivered = |index: usize| {
                let changelog = assigned.plan.stores[index].changelog.clone();
                let last = producer.last_offset(&TopicPartition::new(changelog, assigned.id.partition));
                if PlantedBug::MarkerTakenForPosition.is_planted() { last.map(|last| last + 1) } else { last }
            };
            *checkpoint = task.checkpoint(delivered);
            let origin =
                CommitContext { topic: self.instance.sources.id(&assigned.source.topic), stamp: stamp.as_ref() };
            let metadata = encode_metadata(checkpoint, &assigned.plan.store_names(), origin);
            self.instance.check_metadata(assigned.id, &metadata)?;
            if PlantedBug::OneOffsetCommitted.is_planted() && !offsets.is_empty() {
                continue;
            }
            offsets.push(OffsetCommit { partition: assigned.source.clone(), offset: checkpoint.next_offset, metadata });
        }
        let Some(group) = &progress.group else {
            return Err(Error::Migrated("the membership is not known".to_owned()));
        };
        let timeout = self.instance.config.call_timeout;
        let collector = &mut self.collector;
        let result =
            retried(&self.instance, self.renewal, || collector.producer()?.send_offsets(&offsets, group, timeout));
        result.map_err(as_abort)
    }

    fn commit_transaction(&mut self) -> Result<()> {
        let timeout = self.instance.config.call_timeout;
        let collector = &mut self.collector;
        let result = retried(&self.instance, self.renewal, || collector.producer()?.commit(timeout));
        match result {
            Ok(()) => {
                self.in_transaction = false;
                Ok(())
            }
            Err(Error::Retry(_)) if PlantedBug::UnknownOutcomeIsCommitted.is_planted() => {
                self.in_transaction = false;
                Ok(())
            }
            Err(Error::Retry(what)) if PlantedBug::UnknownOutcomeIsAborted.is_planted() => {
                self.in_transaction = false;
                Err(Error::Aborted(what))
            }
            // Its outcome is unknown: only a new producer, and the offsets that the broker then
            // has, can tell.
            Err(Error::Retry(what)) => Err(Error::ProducerLost(what)),
            Err(error) => Err(error),
        }
    }

    /// The transaction is committed: whatever happens to one store, the others are written.
    fn write_stores(&mut self, progress: &mut CommitInProgress) -> Result<()> {
        let mut fatal = None;
        for (at, checkpoint) in progress.checkpoints.drain(..) {
            let assigned = &mut self.tasks[at];
            let Some(task) = &mut assigned.task else { continue };
            self.collector.forget_refusals(assigned.id, checkpoint.next_offset);
            let written = task.apply(checkpoint);
            self.instance.metrics().add(task.counts());
            task.counts().reset();
            match written {
                Ok(()) => {
                    let high = self.fetching.end_offset(&assigned.source);
                    assigned.report(&self.instance.metrics(), self.index, high);
                }
                Err(error) if error.is_fatal() => fatal = Some(error),
                Err(error) => {
                    tracing::warn!(
                        code = "HS3002",
                        task = %assigned.id,
                        "the transaction was committed, but a local store of the task could not be written, so the task is restored \
                         again: {error}"
                    );
                    assigned.close_dirty(matches!(error, Error::Corrupted { .. }))?;
                }
            }
        }
        fatal.map_or(Ok(()), Err)
    }
}

/// A transient error where nothing can be tried again in place: the transaction is aborted and its
/// records come again.
pub(super) fn as_abort(error: Error) -> Error {
    match error {
        Error::Retry(what) => Error::Aborted(what),
        other => other,
    }
}

/// Makes a transactional call until it answers something else than "again", up to the task timeout.
/// Each call waits by itself.
///
/// Once the clients of the thread, which were made in `renewal`, are to be renewed, it is not made
/// again: the brokers may not let them in any more. "Again" means the same then as past the
/// deadline: a commit whose outcome is unknown, or a transaction that is aborted by the new
/// producer's first act.
pub(super) fn retried(
    instance: &super::instance::Instance,
    renewal: u64,
    mut call: impl FnMut() -> Result<()>,
) -> Result<()> {
    let deadline = instance.now() + instance.config.task_timeout.min(RETRY_LIMIT);
    loop {
        match call() {
            Err(Error::Retry(what)) if instance.now() < deadline && instance.renewals() == renewal => {
                tracing::debug!("a transactional call failed and is retried: {what}")
            }
            other => return other,
        }
    }
}

/// Transactional calls are made again for so long; past the transaction's own timeout the broker
/// has ended it.
const RETRY_LIMIT: Duration = Duration::from_secs(30);
