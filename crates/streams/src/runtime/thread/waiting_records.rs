//! Records that were not begun, since they need something of others that is not there yet (the
//! answer of a schema registry, say). Such a record is kept where it is, in its log: what was done
//! before it is committed, its task stops there and goes on after a wait, and nothing is aborted.

use std::time::Duration;

use super::interruption::RecordWait;
use super::parts::Parts;
use crate::record::TaskId;

/// The tasks that came to such a record since the last turn, and those whose wait is over.
pub(super) struct WaitingRecords {
    begun: Vec<TaskId>,
    ended: Vec<TaskId>,
}

impl WaitingRecords {
    /// Those that are due.
    pub fn due(parts: &Parts) -> WaitingRecords {
        let now = parts.instance.now();
        let ids = |is_due: fn(&RecordWait, Duration) -> bool| {
            let due =
                parts.tasks.iter().filter(|assigned| assigned.record_wait().is_some_and(|wait| is_due(wait, now)));
            due.map(|assigned| assigned.id()).collect()
        };
        WaitingRecords {
            begun: ids(|wait, _| wait.until.is_none()),
            ended: ids(|wait, now| wait.until.is_some_and(|until| now >= until)),
        }
    }

    /// Whether what is open is to be committed before: a task has come to a record that waits.
    pub fn need_a_commit(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Applies them, after that commit. Where it failed, the tasks have gone back and come to the
    /// record again.
    ///
    /// # Errors
    /// [`Error::Bug`](crate::error::Error::Bug)
    pub fn apply(self, parts: &mut Parts) -> crate::error::Result<()> {
        let (instance, thread) = (parts.instance.clone(), parts.thread);
        for task in self.begun {
            let Some(assigned) = parts.tasks.find_mut(task) else { continue };
            assigned.begin_record_wait(&instance)?;
            assigned.report(&instance.metrics(), thread, None);
        }
        for task in self.ended {
            let Some(assigned) = parts.tasks.find_mut(task) else { continue };
            assigned.end_record_wait();
        }
        Ok(())
    }
}
