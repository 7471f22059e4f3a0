//! Losses of logs and of committed offsets, as brokers report them. Such an answer would move a
//! task away from its last commit, and may be wrong: a coordinator or a leader that has just taken
//! over may not know all yet. So a loss is acted on only when it is reported again, a while later.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::offset::Offset;
use crate::ports::TopicId;
use crate::record::TaskId;

/// The same answer counts as another one after this time.
const APART: Duration = Duration::from_secs(1);
/// An answer of so long ago belongs to an earlier try.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The loss of a log, or of the offset, of a task, in an answer of the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogLoss {
    /// The group has no committed offset for its partition.
    NoOffset,
    /// Its partition ends before this committed offset.
    EndsBefore(Offset),
    /// Its partition begins behind this committed offset.
    BeginsAfter(Offset),
    /// Its topic is not the one with this id, which was committed.
    AnotherTopic(TopicId),
    /// The changelog of its store number `.0` ends before this committed offset.
    ChangelogEndsBefore(usize, Offset),
}

/// The losses that were reported for each task since its last restoration, with their times. None
/// is acted on before it is confirmed.
#[derive(Debug, Default)]
pub(super) struct UnconfirmedLosses(Mutex<BTreeMap<TaskId, (LogLoss, Duration)>>);

impl UnconfirmedLosses {
    /// Whether this loss was reported before, long enough ago to be another answer.
    pub fn is_confirmed(&self, task: TaskId, loss: LogLoss, now: Duration) -> bool {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match found.get(&task) {
            Some((known, at)) if *known == loss && now < *at + FORGOTTEN => now >= *at + APART,
            _ => {
                found.insert(task, (loss, now));
                false
            }
        }
    }

    /// Forgets the loss of a task, which was restored, or about which another answer came.
    pub fn forget(&self, task: TaskId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
    }
}

/// The tasks that were stopped since their log ends before their commit, by the committed offset.
///
/// Such a log grows again, with other records at the offsets that were lost, and a task that went
/// on once the log has its offset again would pass over them. So its stop lasts until the commit is
/// another one, or an operator says that the log is what it was.
#[derive(Debug, Default)]
pub(super) struct TruncatedLogs(Mutex<BTreeMap<TaskId, Offset>>);

impl TruncatedLogs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, Offset>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log of a task ends before this committed offset.
    pub fn note(&self, task: TaskId, committed: Offset) {
        self.lock().insert(task, committed);
    }

    /// Whether the log of a task has ended before this committed offset.
    pub fn is_noted(&self, task: TaskId, committed: Offset) -> bool {
        self.lock().get(&task) == Some(&committed)
    }

    /// A task was restored.
    pub fn forget(&self, task: TaskId) {
        self.lock().remove(&task);
    }

    /// An operator says that the logs are what they were.
    pub fn forget_all(&self) {
        self.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_confirmed_when_it_is_reported_again_a_while_later() {
        let losses = UnconfirmedLosses::default();
        let task = TaskId { subtopology: 0, partition: 3 };
        let again = |loss, millis| losses.is_confirmed(task, loss, Duration::from_millis(millis));
        assert!(!again(LogLoss::NoOffset, 0) && !again(LogLoss::NoOffset, 999));
        assert!(again(LogLoss::NoOffset, 1000));
        assert!(!again(LogLoss::EndsBefore(Offset::FIRST), 3000), "another loss begins anew");
        assert!(!again(LogLoss::NoOffset, 9000));
        assert!(!again(LogLoss::NoOffset, 69_000), "the first one is forgotten");
        losses.forget(task);
        assert!(!again(LogLoss::NoOffset, 70_500));
        assert!(again(LogLoss::NoOffset, 71_500));
    }
}
