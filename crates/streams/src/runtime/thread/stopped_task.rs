//! A task that is stopped alone: its store is closed, its lock is free and its partition is not
//! fetched, so nothing is committed for it and nothing of its log is purged. It stays assigned, and
//! is tried again now and then, so that it goes on by itself once its cause is mended.

use std::sync::Arc;
use std::time::Duration;

use super::super::backoff::Backoff;
use super::super::metrics::StoppedTaskStatus;
use crate::error::TaskStop;

/// The next try waits for at least so many times as long as the last one took: a store that is
/// rebuilt in vain is not rebuilt without end.
const WAIT_FACTOR: u32 = 4;

/// Why a task is stopped, since when, and when it is tried again.
pub(super) struct StoppedTask {
    status: Arc<StoppedTaskStatus>,
    next_try: Duration,
    backoff: Backoff,
    /// When the last try began.
    tried_at: Option<Duration>,
    /// How often an operator had asked for another try before.
    known_requests: u64,
}

impl StoppedTask {
    /// A task that is stopped now, which is logged.
    pub fn new(reason: TaskStop, now: Duration, known_requests: u64) -> StoppedTask {
        log(&reason);
        let mut backoff = Backoff::of_stopped_task();
        let next_try = now + backoff.next();
        let status = Arc::new(StoppedTaskStatus { since: now, reason });
        StoppedTask { status, next_try, backoff, tried_at: None, known_requests }
    }

    /// The last try has come to the same end, or has found another reason, which is logged.
    #[must_use]
    pub fn stopped_again(self, reason: TaskStop, now: Duration, known_requests: u64) -> StoppedTask {
        if reason.code == self.status.reason.code {
            tracing::debug!(task = %reason.task, code = reason.code, "the task stays stopped: {}", reason.what);
        } else {
            log(&reason);
        }
        let mut backoff = self.backoff;
        let took = self.tried_at.map_or(Duration::ZERO, |began| now.saturating_sub(began));
        let next_try = now + backoff.next().max(took * WAIT_FACTOR);
        let status = Arc::new(StoppedTaskStatus { since: self.status.since, reason });
        StoppedTask { status, next_try, backoff, tried_at: None, known_requests }
    }

    /// The last try found nothing out, and is made again after this wait.
    pub fn try_again_after(&mut self, now: Duration, wait: Duration) {
        self.next_try = now + wait;
    }

    /// Whether it is to be tried, by the clock or by a request.
    pub fn is_due(&self, now: Duration, requests: u64) -> bool {
        now >= self.next_try || requests != self.known_requests
    }

    /// A try begins.
    pub fn try_begins(&mut self, now: Duration, known_requests: u64) {
        (self.tried_at, self.known_requests) = (Some(now), known_requests);
    }

    /// It goes on.
    pub fn goes_on(&self) {
        let TaskStop { task, code, .. } = &self.status.reason;
        tracing::info!(%task, code, "the task, which was stopped, runs again");
    }

    /// As it is shown.
    pub fn status(&self) -> &Arc<StoppedTaskStatus> {
        &self.status
    }
}

fn log(reason: &TaskStop) {
    tracing::error!(code = reason.code, task = %reason.task, "{reason}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TaskId;

    const TASK: TaskId = TaskId { subtopology: 1, partition: 4 };

    fn reason(code: &'static str) -> TaskStop {
        TaskStop::new(TASK, code, "why", Vec::new())
    }

    #[test]
    fn tries_come_after_a_wait_that_grows_and_at_a_request() {
        let second = Duration::from_secs;
        let mut stopped = StoppedTask::new(reason("HS1017"), second(10), 0);
        assert!(!stopped.is_due(second(10), 0) && stopped.is_due(second(11), 0));
        assert!(stopped.is_due(second(10), 1), "somebody has asked for it");
        stopped.try_begins(second(11), 1);
        stopped = stopped.stopped_again(reason("HS1017"), second(11), 1);
        assert!(!stopped.is_due(second(12), 1) && stopped.is_due(second(13), 1));
        // A try that takes long is followed by a long wait.
        stopped.try_begins(second(20), 1);
        stopped = stopped.stopped_again(reason("HS3011"), second(120), 1);
        assert!(!stopped.is_due(second(519), 1) && stopped.is_due(second(520), 1));
        assert_eq!((stopped.status().since, stopped.status().reason.code), (second(10), "HS3011"));
    }
}
