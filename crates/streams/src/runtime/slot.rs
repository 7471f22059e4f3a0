//! An assigned task of a thread: its state, what the consumer knows of its partition, and the work under way for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::backoff::Backoff;
use super::hidden::Hidden;
use super::metrics::{Metrics, TaskStatus};
use super::owners::Ownership;
use super::restoration::RestorationResult;
use crate::error::{Error, Result};
use crate::record::{TaskId, TopicPartition};
use crate::task::state::TaskState;
use crate::task::{Plan, Task};

/// What has to be done at the consumer for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    /// It is not fetched.
    Off,
    /// To be assigned at the task's next offset.
    Add,
    /// It is fetched, and comes in the task's order.
    On,
    /// To be sought to the task's next offset; what comes before that is dropped.
    Seek,
    /// To be held back.
    Remove,
}

/// The taking of a task, under way in another thread.
pub(super) struct PendingRestoration {
    pub result: Receiver<RestorationResult>,
    pub cancel: Arc<AtomicBool>,
}

impl Drop for PendingRestoration {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

/// In the place of an offset: a task is stuck in work of its own, and at no record.
pub(super) const WORK: i64 = i64::MAX;

/// A record that what a task needs of others is not there for yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stuck {
    pub offset: i64,
    pub since: Duration,
    /// The rests between the tries.
    pub backoff: Backoff,
}

/// An assigned task. Its fields are dropped in their order: first the work under way, then the store, then the ownership.
pub(super) struct Slot {
    pub id: TaskId,
    pub source: TopicPartition,
    pub plan: Arc<Plan>,
    state: TaskState,
    pub fetch: Fetch,
    /// Whether the consumer was ever given the partition.
    pub was_added: bool,
    pub restoration: Option<PendingRestoration>,
    pub task: Option<Task>,
    pub ownership: Option<Ownership>,
    /// Its store is to be thrown away before it is taken.
    pub rebuild: bool,
    /// Not taken again before.
    pub retry_at: Duration,
    /// The waits between the tries.
    pub backoff: Backoff,
    /// Since when it cannot be taken.
    pub failing_since: Option<Duration>,
    /// The record that it cannot get past.
    pub stuck: Option<Stuck>,
    /// It is to be given up at the next abort, and to rest until it is taken again.
    pub rests: bool,
    /// The end of the partition that was last reached.
    pub end: Option<i64>,
    /// The last record seen.
    pub last_seen: i64,
    /// What lies behind the end that was reached.
    pub hidden: Option<Hidden>,
}

impl Slot {
    pub fn new(id: TaskId, source: TopicPartition, plan: Arc<Plan>) -> Slot {
        Slot {
            id,
            source,
            plan,
            state: TaskState::Created,
            fetch: Fetch::Off,
            was_added: false,
            restoration: None,
            task: None,
            ownership: None,
            rebuild: false,
            retry_at: Duration::ZERO,
            backoff: Backoff::default(),
            failing_since: None,
            stuck: None,
            rests: false,
            end: None,
            last_seen: -1,
            hidden: None,
        }
    }

    pub fn state(&self) -> TaskState {
        self.state
    }

    /// Goes over to a state that may follow.
    pub fn enter(&mut self, next: TaskState) -> Result<()> {
        if !self.state.allows(next) {
            return Err(Error::Fatal(format!(
                "task {} went from {} to {next}: this is a bug, please report it",
                self.id, self.state
            )));
        }
        tracing::debug!(task = %self.id, from = %self.state, to = %next, "task state");
        self.state = next;
        Ok(())
    }

    /// The task, if its partition is fetched in its order.
    pub fn running(&mut self) -> Option<&mut Task> {
        if self.fetch == Fetch::On { self.task.as_mut() } else { None }
    }

    /// Gives the task up without a write; it is to be taken again.
    pub fn release(&mut self, rebuild: bool) -> Result<()> {
        self.restoration = None;
        self.task = None;
        self.ownership = None;
        self.rebuild |= rebuild;
        self.rests = false;
        self.fetch = match self.fetch {
            Fetch::Off | Fetch::Add => Fetch::Off,
            Fetch::On | Fetch::Seek | Fetch::Remove => Fetch::Remove,
        };
        if self.state != TaskState::Created {
            self.enter(TaskState::Created)?;
        }
        Ok(())
    }

    /// Records behind: none at a committed end, else (also before an end was ever reached) up to the last record known of, since a marker may
    /// lie ahead; then at least one.
    fn lag(&self, high: Option<i64>) -> u64 {
        let committed = self.task.as_ref().map_or(0, |task| task.last_commit().next_offset).max(0);
        let known = high.unwrap_or(0).max(self.last_seen + 1).max(self.end.unwrap_or(0));
        if self.task.is_some() && self.end.is_some() && committed >= known {
            return 0;
        }
        (known - committed).max(1) as u64
    }

    /// Tells where the task stands.
    pub fn report(&self, metrics: &Metrics, thread: usize, high: Option<i64>) {
        let committed = self.task.as_ref().map_or(-1, |task| task.last_commit().next_offset);
        let (state, source, lag) = (self.state, self.source.clone(), self.lag(high));
        metrics.set_task(self.id, TaskStatus { thread, state, source, committed, lag, restored: (0, 0) });
    }
}
