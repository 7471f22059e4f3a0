//! The restoration of one task: what it knows and reports while it runs, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::super::instance::Instance;
use super::super::log_loss::LogLoss;
use super::super::task_locks::TaskLock;
use crate::error::{Error, Result};
use crate::ports::{TaskStore, TopicId};
use crate::record::{TaskId, TopicPartition};
use crate::store::checkpoint::Checkpoint;
use crate::task::Plan;

/// The outcome of a restoration, or the error that prevented it. Fields are dropped in their order:
/// the store before the ownership.
pub(in crate::runtime) struct RestorationResult {
    pub result: Result<RestorationOutcome>,
    pub lock: TaskLock,
}

/// The outcome of a restoration that has not failed.
pub(in crate::runtime) enum RestorationOutcome {
    /// The task can run.
    Restored(RestoredTask),
    /// Nothing was done: the task's state may be on the disk of an instance that is about to join.
    Postponed {
        /// It is restored at this time, if nobody has joined who takes it.
        until: Duration,
    },
}

/// The stores and the checkpoint of a task that was restored.
pub(in crate::runtime) struct RestoredTask {
    pub db: Option<Box<dyn TaskStore>>,
    pub checkpoint: Checkpoint,
    /// Whether it is to be committed at once: the last commit carries another stamp, topic id or
    /// owner than ours would, or lies at another offset.
    pub is_uncommitted: bool,
    /// The id of the topic that it reads, as it was known when the restoration began.
    pub topic: Option<TopicId>,
}

/// The restoration of a task, under way in another thread. Dropping it gives the task up.
pub(in crate::runtime) struct PendingRestoration {
    pub result: Receiver<RestorationResult>,
    pub cancel: Arc<AtomicBool>,
}

impl Drop for PendingRestoration {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

/// The restoration of one task, to be run as a job.
pub(in crate::runtime) struct TaskRestoration {
    pub instance: Arc<Instance>,
    pub thread: usize,
    pub id: TaskId,
    pub plan: Arc<Plan>,
    pub source: TopicPartition,
    pub cancel: Arc<AtomicBool>,
}

impl TaskRestoration {
    /// Of a task that was assigned to a thread.
    pub fn new(
        instance: &Arc<Instance>,
        thread: usize,
        id: TaskId,
        plan: Arc<Plan>,
        source: TopicPartition,
    ) -> TaskRestoration {
        TaskRestoration { instance: instance.clone(), thread, id, plan, source, cancel: Arc::default() }
    }

    /// Whether the task was given up meanwhile.
    ///
    /// # Errors
    /// It was.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::Retry("the task was given up meanwhile".to_owned()));
        }
        Ok(())
    }

    /// Makes a call that may wait for somebody else: the next task need not wait with it.
    ///
    /// # Errors
    /// Those of the call.
    pub fn call_blocking<T>(&self, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        if self.plan.stores.is_empty() {
            // It has no place that it could lend: it runs at once, beside those that have one.
            return call();
        }
        let mut result = Err(Error::Retry("nothing was asked".to_owned()));
        self.instance.ports.executor.wait(&mut || result = call());
        result
    }

    /// Whether the brokers have answered so before, a while ago; see
    /// [`log_loss`](super::super::log_loss).
    pub fn is_confirmed(&self, loss: LogLoss) -> bool {
        self.instance.unconfirmed_losses.is_confirmed(self.id, loss, self.instance.now())
    }

    /// The changelog of a store.
    pub fn changelog(&self, store: usize) -> TopicPartition {
        TopicPartition::new(self.plan.stores[store].changelog.clone(), self.id.partition)
    }

    /// The changelogs of the task's stores, in their order.
    pub fn changelogs(&self) -> impl Iterator<Item = TopicPartition> {
        (0..self.plan.stores.len()).map(|store| self.changelog(store))
    }

    /// Whether the operator has said that what is gone of the task's log is to be skipped.
    pub fn may_reset_to_earliest(&self) -> bool {
        self.instance.is_earliest_accepted(&self.source.topic)
    }

    /// Tells how far a restore is: `new` more records, `restored` in all.
    pub fn report_progress(&self, new: u64, restored: u64, of: u64) {
        let metrics = self.instance.metrics();
        metrics.restored(new);
        metrics.change_task(self.id, self.thread, |status| status.restored = (restored, of));
    }
}
