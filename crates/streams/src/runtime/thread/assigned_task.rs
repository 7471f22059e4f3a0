//! An assigned task of a thread: where it stands, and what the consumer knows of its partition.

mod record_wait;
mod stopping;

use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use super::super::backoff::Backoff;
use super::super::metrics::{Metrics, TaskStatus};
use super::super::restoration::{PendingRestoration, RestorationResult};
use super::super::task_locks::TaskLock;
use super::fetch_state::FetchState;
use super::interruption::{Place, RecordWait};
use super::stopped_task::StoppedTask;
use crate::error::{Error, Result};
use crate::offset::{Offset, StartOffset};
use crate::planted::PlantedBug;
use crate::ports::TopicId;
use crate::record::{TaskId, TopicPartition};
use crate::task::state::TaskState;
use crate::task::{Plan, Task};

/// Where an assigned task stands. Dropping it ends what it holds.
enum Lifecycle {
    /// It waits for its lock, for the thread's producer, or for the next try.
    Created,
    /// Its stores are being restored in another thread.
    Restoring {
        pending: PendingRestoration,
        /// They were deleted before.
        is_rebuild: bool,
        /// It is the try of a task that was stopped.
        stopped: Option<Box<StoppedTask>>,
    },
    /// It is restored.
    Running(Box<RunningTask>),
    /// It is stopped, while the other tasks go on.
    Stopped(Box<StoppedTask>),
    /// It is no longer ours.
    Closed,
}

/// A task that is restored. Its fields are dropped in their order: the store before the ownership.
pub(super) struct RunningTask {
    pub task: Task,
    /// The end of the partition that was last reached.
    end: Option<Offset>,
    /// The id of the topic that it reads, as it was known when it was restored.
    topic: Option<TopicId>,
    lock: TaskLock,
}

/// An open transaction that a task cannot read past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HangingTransaction {
    /// The first offset of the open transaction.
    pub from: Offset,
    /// Since when it stands there.
    pub since: Duration,
    /// Whether it was reported.
    pub is_reported: bool,
}

/// A task that cannot get past a place, since something that it needs of others is not available
/// yet.
struct BlockedTask {
    place: Place,
    since: Duration,
    /// The waits between the attempts.
    backoff: Backoff,
    /// It was to be stopped for it.
    has_timed_out: bool,
    /// It was stopped for it, and runs to try it again.
    stopped: Option<Box<StoppedTask>>,
}

/// How a task is restored the next time.
#[derive(Default)]
struct NextRestoration {
    /// Its store is to be deleted before.
    is_rebuild: bool,
    /// Not before this time.
    at: Duration,
    /// The waits between the tries.
    backoff: Backoff,
    /// Since when restorations have failed.
    failing_since: Option<Duration>,
}

/// An assigned task.
pub(super) struct AssignedTask {
    id: TaskId,
    source: TopicPartition,
    plan: Arc<Plan>,
    lifecycle: Lifecycle,
    fetch_state: FetchState,
    /// Whether the consumer was ever given the partition.
    was_assigned: bool,
    /// It begins only when this question, what is paused, is answered.
    question: u64,
    /// It is paused: its partition is not fetched.
    is_paused: bool,
    /// One past the last record seen, or the last commit that it went back to.
    seen: Offset,
    next_restoration: NextRestoration,
    blocked: Option<BlockedTask>,
    /// The record that it has not begun, and that waits.
    record_wait: Option<RecordWait>,
    /// Hanging transaction behind the end that was reached, if there is one.
    hanging: Option<HangingTransaction>,
}

impl Lifecycle {
    fn state(&self) -> TaskState {
        match self {
            Lifecycle::Created => TaskState::Created,
            Lifecycle::Restoring { is_rebuild: false, .. } => TaskState::Restoring,
            Lifecycle::Restoring { is_rebuild: true, .. } => TaskState::Rebuilding,
            Lifecycle::Running(_) => TaskState::Running,
            Lifecycle::Stopped(_) => TaskState::Stopped,
            Lifecycle::Closed => TaskState::Closed,
        }
    }
}

impl RunningTask {
    /// The next offset, where it is the end of the partition that was last reached.
    pub fn end_that_is_next(&self) -> Option<Offset> {
        self.end.filter(|end| self.task.next_offset() == StartOffset::At(*end))
    }

    /// All records below the end of the partition were processed.
    fn reached_end(&mut self, offset: Offset) {
        self.task.skip_to(offset);
        self.end = Some(offset);
    }
}

impl AssignedTask {
    /// A task that was just assigned, and begins only when a question is answered
    /// ([`Pauses::question`](super::super::pauses)).
    pub fn new(id: TaskId, source: TopicPartition, plan: Arc<Plan>, question: u64) -> AssignedTask {
        AssignedTask {
            id,
            source,
            plan,
            lifecycle: Lifecycle::Created,
            fetch_state: FetchState::Unassigned,
            was_assigned: false,
            question,
            is_paused: false,
            seen: Offset::FIRST,
            next_restoration: NextRestoration::default(),
            blocked: None,
            record_wait: None,
            hanging: None,
        }
    }

    /// The question that is to be answered before it begins.
    pub fn question(&self) -> u64 {
        self.question
    }

    /// Which task it is.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The partition that it reads.
    pub fn source(&self) -> &TopicPartition {
        &self.source
    }

    /// Its sub-topology.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Its state, as it is shown.
    pub fn state(&self) -> TaskState {
        self.lifecycle.state()
    }

    /// Changes where it stands to what may follow; what it held before.
    fn transition_to(&mut self, next: Lifecycle) -> Result<Lifecycle> {
        let (from, to) = (self.state(), next.state());
        if !from.allows(to) {
            return Err(Error::Bug(format!("task {} went from state {from} to {to}", self.id)));
        }
        tracing::debug!(task = %self.id, %from, %to, "the task changed its state");
        Ok(std::mem::replace(&mut self.lifecycle, next))
    }

    /// Whether it waits for its restoration, and the wait between tries is over. `requests` counts
    /// how often another try of stopped tasks was asked for.
    pub fn is_to_be_restored(&self, now: Duration, requests: u64) -> bool {
        let is_due = match &self.lifecycle {
            Lifecycle::Created => true,
            Lifecycle::Stopped(stopped) => stopped.is_due(now, requests),
            _ => false,
        };
        is_due && now >= self.next_restoration.at
    }

    /// Whether it is not running yet, so that something is about to happen to it.
    pub fn is_starting(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Created | Lifecycle::Restoring { .. })
    }

    /// Whether its store is to be deleted before the restoration that begins now.
    pub fn take_rebuild(&mut self) -> bool {
        std::mem::take(&mut self.next_restoration.is_rebuild)
    }

    /// Its restoration begins.
    ///
    /// # Errors
    /// [`Error::Bug`] where it does not wait for one.
    pub fn begin_restoration(&mut self, pending: PendingRestoration, is_rebuild: bool) -> Result<()> {
        let before = self.transition_to(Lifecycle::Restoring { pending, is_rebuild, stopped: None })?;
        if let (Lifecycle::Stopped(was), Lifecycle::Restoring { stopped, .. }) = (before, &mut self.lifecycle) {
            *stopped = Some(was);
        }
        Ok(())
    }

    /// The result of its restoration, if it is there.
    ///
    /// # Errors
    /// [`Error::Bug`] where there will be none.
    pub fn restoration_result(&self) -> Result<Option<RestorationResult>> {
        let Lifecycle::Restoring { pending, .. } = &self.lifecycle else { return Ok(None) };
        match pending.result.try_recv() {
            Ok(result) => Ok(Some(result)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                Err(Error::Bug(format!("the restoration of task {} ended without a result", self.id)))
            }
        }
    }

    /// It is restored, and its partition is to be fetched.
    ///
    /// # Errors
    /// [`Error::Bug`] where it was not being restored.
    pub fn run(&mut self, task: Task, topic: Option<TopicId>, lock: TaskLock) -> Result<()> {
        let before = self.transition_to(Lifecycle::Running(Box::new(RunningTask { task, end: None, topic, lock })))?;
        self.record_wait = None;
        self.fetch_state = if self.is_paused { FetchState::Unassigned } else { FetchState::ToAssign };
        self.next_restoration = NextRestoration::default();
        if let Lifecycle::Restoring { stopped: Some(stopped), .. } = before {
            match &mut self.blocked {
                // It goes on only once it is past the place for which it was stopped.
                Some(blocked) if blocked.has_timed_out => blocked.stopped = Some(stopped),
                _ => stopped.goes_on(),
            }
        }
        Ok(())
    }

    /// The task, where it is restored.
    pub fn task(&self) -> Option<&Task> {
        match &self.lifecycle {
            Lifecycle::Running(running) => Some(&running.task),
            _ => None,
        }
    }

    /// The task, where it is restored, to be changed.
    pub fn task_mut(&mut self) -> Option<&mut Task> {
        match &mut self.lifecycle {
            Lifecycle::Running(running) => Some(&mut running.task),
            _ => None,
        }
    }

    /// The task, where its partition is fetched in its order.
    pub fn fetched(&mut self) -> Option<&mut RunningTask> {
        match &mut self.lifecycle {
            Lifecycle::Running(running) if self.fetch_state == FetchState::Fetching => Some(running),
            _ => None,
        }
    }

    /// As [`AssignedTask::fetched`], for a record that just came; none behind a record that waits.
    /// A planted bug takes any.
    pub fn receiving(&mut self) -> Option<&mut RunningTask> {
        match &mut self.lifecycle {
            _ if self.record_wait.is_some() && !PlantedBug::WaitingRecordSkipped.is_planted() => None,
            Lifecycle::Running(running)
                if self.fetch_state == FetchState::Fetching || PlantedBug::StaleRecordsProcessed.is_planted() =>
            {
                Some(running)
            }
            _ => None,
        }
    }

    /// It got past a record, or made a step of its background work: it is blocked there no longer.
    pub fn passed(&mut self, place: Place) {
        let is_past = |blocked: &BlockedTask| match (blocked.place, place) {
            (Place::Record(at), Place::Record(passed)) => at <= passed,
            (Place::BackgroundWork, Place::BackgroundWork) => true,
            _ => false,
        };
        if self.blocked.as_ref().is_some_and(is_past)
            && let Some(BlockedTask { stopped: Some(stopped), .. }) = self.blocked.take()
        {
            stopped.goes_on();
        }
        if let Place::Record(offset) = place {
            self.seen = offset.next();
        }
    }

    /// All records below the end of its partition were processed, and what is there can be read.
    pub fn reached_end(&mut self, offset: Offset) {
        // Behind a record that waits nothing was processed.
        let Some(running) = self.receiving() else { return };
        running.reached_end(offset);
        let seen = self.seen;
        self.passed(Place::Record(offset));
        self.seen = seen;
    }

    /// Its restoration has done nothing, and is begun again at this time.
    ///
    /// # Errors
    /// [`Error::Bug`] where it was not being restored.
    pub fn postpone_restoration(&mut self, until: Duration) -> Result<()> {
        tracing::info!(
            task = %self.id,
            "the task's state is not on this instance's disk: the task waits until restore_grace is over, since an instance that has the state may be about to join"
        );
        self.restore_not_before(until);
        self.close_dirty(false)
    }

    /// It is not restored before this time.
    pub fn restore_not_before(&mut self, at: Duration) {
        self.next_restoration.at = at;
    }

    /// Closes the task without a write; it is to be restored again.
    ///
    /// # Errors
    /// [`Error::Bug`] where it is closed for good.
    pub fn close_dirty(&mut self, is_rebuild: bool) -> Result<()> {
        self.next_restoration.is_rebuild |= is_rebuild;
        self.record_wait = None;
        self.fetch_state = self.fetch_state.stopped();
        let next = match &mut self.lifecycle {
            Lifecycle::Created | Lifecycle::Stopped(_) => return Ok(()),
            Lifecycle::Restoring { stopped, .. } => stopped.take().map_or(Lifecycle::Created, Lifecycle::Stopped),
            _ => Lifecycle::Created,
        };
        self.transition_to(next).map(drop)
    }

    /// Closes the task for good. The lock of a task that was restored comes back, to be released
    /// once nothing of the task is left.
    ///
    /// # Errors
    /// [`Error::Bug`] where it is closed already.
    pub fn close(&mut self) -> Result<Option<TaskLock>> {
        match self.transition_to(Lifecycle::Closed)? {
            Lifecycle::Running(running) => {
                let RunningTask { lock, .. } = *running;
                Ok(Some(lock))
            }
            _ => Ok(None),
        }
    }

    /// Takes the task back to its last commit, to be read again from there.
    pub fn roll_back(&mut self) {
        let Lifecycle::Running(running) = &mut self.lifecycle else { return };
        running.task.rollback();
        if self.fetch_state == FetchState::Fetching && !PlantedBug::NoSeekAfterAbort.is_planted() {
            self.fetch_state = FetchState::ToSeek;
        }
        self.seen = running.task.last_checkpoint().next_offset.offset().unwrap_or_default();
        running.end = None;
        // What it comes to before is done again first; one whose wait has begun has committed that.
        self.record_wait.take_if(|wait| wait.until.is_none());
    }

    /// Whether the consumer fetches its partition, or the change of it that is due.
    pub fn fetch_state(&self) -> FetchState {
        self.fetch_state
    }

    /// The consumer has made the change that was due.
    pub fn set_fetch_state(&mut self, state: FetchState) {
        self.fetch_state = state;
        self.was_assigned |= state == FetchState::Fetching;
        if let Lifecycle::Running(running) = &mut self.lifecycle {
            running.end = None;
        }
    }

    /// Its partition is to be fetched no longer.
    pub fn stop_fetching(&mut self) {
        self.fetch_state = self.fetch_state.stopped();
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// It is paused from now on, or no longer. What it did was committed or rolled back before.
    pub fn set_paused(&mut self, is_paused: bool) {
        if self.is_paused == is_paused {
            return;
        }
        self.is_paused = is_paused;
        if is_paused {
            self.stop_fetching();
        } else {
            self.resume_fetching();
        }
    }

    /// The id of the topic that it reads, as it was known when it was restored.
    pub fn topic(&self) -> Option<TopicId> {
        match &self.lifecycle {
            Lifecycle::Running(running) => running.topic,
            _ => None,
        }
    }

    /// The offset that it last committed, or was restored at.
    pub fn committed(&self) -> Option<Offset> {
        self.task()?.last_checkpoint().next_offset.offset()
    }

    /// Whether the consumer was ever given its partition.
    pub fn was_assigned(&self) -> bool {
        self.was_assigned
    }

    /// Whether the end of its partition was reached, and nothing came since.
    pub fn has_reached_end(&self) -> bool {
        matches!(&self.lifecycle, Lifecycle::Running(running) if running.end.is_some())
    }

    /// Records behind: none at a committed end, else (also before an end was ever reached) up to
    /// the last record known of, since a marker may lie ahead; then at least one.
    fn lag(&self, high: Option<Offset>) -> u64 {
        let (committed, end) = match &self.lifecycle {
            Lifecycle::Running(running) => (running.task.last_checkpoint().next_offset.offset(), running.end),
            _ => (None, None),
        };
        let committed = committed.unwrap_or_default();
        let known = high.unwrap_or_default().max(self.seen).max(end.unwrap_or_default());
        if end.is_some() && committed >= known {
            return 0;
        }
        known.since(committed).max(1)
    }

    /// Reports the state and the lag of the task to the metrics. `high` is one past the last offset
    /// of its log, where that is known. Of a task that is stopped they keep what was known of its
    /// place in its log.
    pub fn report(&self, metrics: &Metrics, thread: usize, high: Option<Offset>) {
        let stopped = self.stop_status().cloned();
        let waits = self.shown_wait();
        if self.is_stopped() {
            let is_paused = self.is_paused;
            return metrics.change_task(self.id, thread, |status| {
                (status.state, status.is_paused, status.stopped) = (TaskState::Stopped, is_paused, stopped);
                status.waits = None;
            });
        }
        let committed = self.committed();
        let source = self.source.clone();
        let (state, is_paused, lag) = (self.state(), self.is_paused, self.lag(high));
        let status = TaskStatus { thread, state, is_paused, stopped, waits, source, committed, lag, restored: (0, 0) };
        metrics.set_task(self.id, status);
    }

    /// The hanging transaction in its way.
    pub fn hanging(&self) -> Option<HangingTransaction> {
        self.hanging
    }

    /// There is a hanging transaction in its way, or none any more.
    pub fn set_hanging(&mut self, hanging: Option<HangingTransaction>) {
        self.hanging = hanging;
    }
}
