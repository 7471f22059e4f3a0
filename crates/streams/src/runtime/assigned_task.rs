//! An assigned task of a thread: its state, what the consumer knows of its partition, and the
//! restoration that is under way for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::backoff::Backoff;
use super::fetch_state::FetchState;
use super::hanging_transaction::HangingTransaction;
use super::metrics::{Metrics, TaskStatus};
use super::restoration::RestorationResult;
use super::task_locks::TaskLock;
use crate::error::{Error, Result};
use crate::record::{TaskId, TopicPartition};
use crate::task::state::TaskState;
use crate::task::{Plan, Task};

/// The restoration of a task, under way in another thread.
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
pub(super) const BACKGROUND_STEP: i64 = i64::MAX;

/// A task that cannot get past a record, since something that it needs of others is not available
/// yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockedTask {
    pub offset: i64,
    pub since: Duration,
    /// The waits between the attempts.
    pub backoff: Backoff,
}

/// An assigned task. Its fields are dropped in their order: first the work under way, then the
/// store, then the ownership.
pub(super) struct AssignedTask {
    pub id: TaskId,
    pub source: TopicPartition,
    pub plan: Arc<Plan>,
    state: TaskState,
    pub fetch_state: FetchState,
    /// Whether the consumer was ever given the partition.
    pub was_assigned: bool,
    pub restoration: Option<PendingRestoration>,
    pub task: Option<Task>,
    pub lock: Option<TaskLock>,
    /// Its store is to be deleted before it is restored.
    pub rebuild: bool,
    /// It is not restored again before this time.
    pub retry_at: Duration,
    /// The waits between the tries.
    pub backoff: Backoff,
    /// Since when its restoration has failed.
    pub failing_since: Option<Duration>,
    /// The record that it cannot get past.
    pub blocked: Option<BlockedTask>,
    /// It is to be closed at the next abort, and restored once its back-off is over.
    pub is_backing_off: bool,
    /// The end of the partition that was last reached.
    pub end: Option<i64>,
    /// The last record seen.
    pub last_seen: i64,
    /// Hanging transaction behind the end that was reached, if there is one.
    pub hanging: Option<HangingTransaction>,
}

impl AssignedTask {
    pub fn new(id: TaskId, source: TopicPartition, plan: Arc<Plan>) -> AssignedTask {
        AssignedTask {
            id,
            source,
            plan,
            state: TaskState::Created,
            fetch_state: FetchState::Unassigned,
            was_assigned: false,
            restoration: None,
            task: None,
            lock: None,
            rebuild: false,
            retry_at: Duration::ZERO,
            backoff: Backoff::default(),
            failing_since: None,
            blocked: None,
            is_backing_off: false,
            end: None,
            last_seen: -1,
            hanging: None,
        }
    }

    pub fn state(&self) -> TaskState {
        self.state
    }

    /// Changes the state to one that may follow.
    pub fn transition_to(&mut self, next: TaskState) -> Result<()> {
        if !self.state.allows(next) {
            return Err(Error::Bug(format!("task {} went from state {} to {next}", self.id, self.state)));
        }
        tracing::debug!(task = %self.id, from = %self.state, to = %next, "the task changed its state");
        self.state = next;
        Ok(())
    }

    /// The task, if its partition is fetched in its order.
    pub fn running(&mut self) -> Option<&mut Task> {
        if self.fetch_state == FetchState::Fetching { self.task.as_mut() } else { None }
    }

    /// Closes the task without a write; it is to be restored again.
    pub fn close_dirty(&mut self, rebuild: bool) -> Result<()> {
        self.restoration = None;
        self.task = None;
        self.lock = None;
        self.rebuild |= rebuild;
        self.is_backing_off = false;
        self.fetch_state = match self.fetch_state {
            FetchState::Unassigned | FetchState::ToAssign => FetchState::Unassigned,
            FetchState::Fetching | FetchState::ToSeek | FetchState::ToUnassign => FetchState::ToUnassign,
        };
        if self.state != TaskState::Created {
            self.transition_to(TaskState::Created)?;
        }
        Ok(())
    }

    /// Records behind: none at a committed end, else (also before an end was ever reached) up to
    /// the last record known of, since a marker may lie ahead; then at least one.
    fn lag(&self, high: Option<i64>) -> u64 {
        let committed = self.task.as_ref().map_or(0, |task| task.last_checkpoint().next_offset).max(0);
        let known = high.unwrap_or(0).max(self.last_seen + 1).max(self.end.unwrap_or(0));
        if self.task.is_some() && self.end.is_some() && committed >= known {
            return 0;
        }
        (known - committed).max(1) as u64
    }

    /// Reports the state and the lag of the task to the metrics.
    pub fn report(&self, metrics: &Metrics, thread: usize, high: Option<i64>) {
        let committed = self.task.as_ref().map_or(-1, |task| task.last_checkpoint().next_offset);
        let state = self.state;
        let source = self.source.clone();
        let lag = self.lag(high);
        metrics.set_task(self.id, TaskStatus { thread, state, source, committed, lag, restored: (0, 0) });
    }
}
