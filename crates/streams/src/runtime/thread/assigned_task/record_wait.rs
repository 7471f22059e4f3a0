//! An assigned task that stands before a record that was not begun.

use super::super::super::instance::Instance;
use super::super::interruption::{Place, RecordWait};
use super::{AssignedTask, Lifecycle};
use crate::error::Result;
use crate::offset::Offset;

impl AssignedTask {
    /// It has come to a record that was not begun, and stands before it.
    pub fn came_to_waiting_record(&mut self, offset: Offset, what: String) {
        self.record_wait = Some(RecordWait { offset, what, until: None });
    }

    /// The record at which it stands.
    pub fn record_wait(&self) -> Option<&RecordWait> {
        self.record_wait.as_ref()
    }

    /// The record at which it stands and why, in a sentence, while it runs.
    pub(super) fn shown_wait(&self) -> Option<String> {
        let RecordWait { offset, what, until } = self.record_wait.as_ref()?;
        until.map(|_| format!("task {} waits at offset {offset} of {}: {what}", self.id, self.source))
    }

    /// Begins the wait, now that all before the record is committed: the partition is not fetched
    /// until a wait that grows is over. Where it stands there for longer than the task timeout, the
    /// task is stopped.
    ///
    /// # Errors
    /// [`Error::Bug`]
    pub fn begin_record_wait(&mut self, instance: &Instance) -> Result<()> {
        let Some(RecordWait { offset, what, until: None }) = self.record_wait.clone() else { return Ok(()) };
        let now = instance.now();
        match self.wait_at(Place::Record(offset), &what, now, instance.config.task_timeout) {
            Ok(wait) => {
                self.record_wait = Some(RecordWait { offset, what, until: Some(now + wait) });
                self.stop_fetching();
                if let Some(waits) = self.shown_wait() {
                    tracing::info!("{waits} (the next try comes after {wait:?})");
                }
                Ok(())
            }
            Err(reason) => self.stop(reason, instance),
        }
    }

    /// The record is tried again.
    pub fn end_record_wait(&mut self) {
        self.record_wait = None;
        self.resume_fetching();
    }

    /// Its partition is fetched again, unless something keeps it from that.
    pub(super) fn resume_fetching(&mut self) {
        let is_kept = self.is_paused || self.record_wait.is_some();
        if !is_kept && matches!(self.lifecycle, Lifecycle::Running(_)) {
            self.fetch_state = self.fetch_state.resumed();
        }
    }
}
