//! How an assigned task is stopped, and tried again.

use std::sync::Arc;
use std::time::Duration;

use super::super::super::backoff::Backoff;
use super::super::super::instance::Instance;
use super::super::super::metrics::StoppedTaskStatus;
use super::super::interruption::Place;
use super::super::stopped_task::StoppedTask;
use super::{AssignedTask, BlockedTask, Lifecycle, NextRestoration};
use crate::error::{Error, Result, TaskStop, WayOut};
use crate::record::TaskId;

impl AssignedTask {
    /// Whether it is stopped, while the other tasks go on.
    pub fn is_stopped(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Stopped(_))
    }

    /// Why it was stopped, until it goes on; also while it is tried again.
    pub fn stop_status(&self) -> Option<&Arc<StoppedTaskStatus>> {
        let stopped = match &self.lifecycle {
            Lifecycle::Stopped(stopped) => Some(stopped),
            Lifecycle::Restoring { stopped, .. } => stopped.as_ref(),
            _ => None,
        };
        stopped.or_else(|| self.blocked.as_ref()?.stopped.as_ref()).map(|stopped| stopped.status())
    }

    /// Notes the try of a task that is stopped, which begins now.
    pub fn note_try(&mut self, instance: &Instance) {
        if let Lifecycle::Stopped(stopped) = &mut self.lifecycle {
            stopped.try_begins(instance.now(), instance.stopped_task_retries());
        }
    }

    /// Its restoration has failed, and is to be tried again after a wait that grows. Where only an
    /// operator can mend it, or it has failed for longer than the task timeout, the task is
    /// stopped.
    ///
    /// # Errors
    /// [`Error::Bug`]
    pub fn restoration_failed(&mut self, error: Error, instance: &Instance) -> Result<()> {
        let is_rebuild = matches!(error, Error::Corrupted { .. });
        let what = match error {
            Error::StopTask(reason) => return self.stop(*reason, instance),
            Error::Bug(what) => return self.stop(TaskStop::of_bug(self.id, &what), instance),
            other => other.to_string(),
        };
        let now = instance.now();
        let since = *self.next_restoration.failing_since.get_or_insert(now);
        let is_try = matches!(&self.lifecycle, Lifecycle::Restoring { stopped: Some(_), .. });
        if !is_try && now.saturating_sub(since) > instance.config.task_timeout {
            let what = format!("it could not be restored within task_timeout ({what})");
            return self.stop(not_in_time(self.id, what), instance);
        }
        // A rebalance that goes on meanwhile is in order; a task that is not taken for long keeps
        // the instance from being ready.
        match is_try {
            true => tracing::debug!(task = %self.id, "the try of a stopped task failed and is retried: {what}"),
            false => tracing::info!(task = %self.id, "task restoration failed and is retried: {what}"),
        }
        let wait = self.next_restoration.backoff.next();
        self.next_restoration.at = now + wait;
        self.close_dirty(is_rebuild)?;
        if let Lifecycle::Stopped(stopped) = &mut self.lifecycle {
            stopped.try_again_after(now, wait);
        }
        Ok(())
    }

    /// The task is stopped: it is closed without a write, its partition is not fetched, and it is
    /// tried again now and then.
    ///
    /// # Errors
    /// [`Error::Bug`] where it is closed for good.
    pub fn stop(&mut self, reason: TaskStop, instance: &Instance) -> Result<()> {
        let tried = match &mut self.lifecycle {
            Lifecycle::Restoring { stopped, .. } => stopped.take(),
            _ => None,
        };
        let before = tried.or_else(|| self.blocked.as_mut()?.stopped.take());
        let (now, requests) = (instance.now(), instance.stopped_task_retries());
        let stopped = match before {
            Some(before) => before.stopped_again(reason, now, requests),
            None => StoppedTask::new(reason, now, requests),
        };
        let is_rebuild = self.next_restoration.is_rebuild;
        self.next_restoration = NextRestoration { is_rebuild, ..NextRestoration::default() };
        self.record_wait = None;
        self.stop_fetching();
        self.transition_to(Lifecycle::Stopped(Box::new(stopped))).map(drop)
    }

    /// It cannot get past a place yet: it is restored again from its last commit after a wait that
    /// grows. The wait, or the reason why it is to be stopped: it stands there for longer than the
    /// task timeout.
    pub fn wait_at(
        &mut self,
        place: Place,
        what: &str,
        now: Duration,
        task_timeout: Duration,
    ) -> std::result::Result<Duration, TaskStop> {
        let new =
            || BlockedTask { place, since: now, backoff: Backoff::default(), has_timed_out: false, stopped: None };
        let blocked = self.blocked.get_or_insert_with(new);
        if now.saturating_sub(blocked.since) > task_timeout {
            blocked.has_timed_out = true;
            return Err(not_in_time(self.id, format!("it could not process {place} within task_timeout ({what})")));
        }
        let wait = blocked.backoff.next();
        self.next_restoration.at = now + wait;
        Ok(wait)
    }
}

/// A task that made no progress for longer than the task timeout.
fn not_in_time(task: TaskId, what: String) -> TaskStop {
    let way = WayOut::safe(
        "mend the cause in brackets: the task is tried again at least once a minute and goes on by itself",
    );
    TaskStop::new(task, "HS1023", what, vec![way])
}
