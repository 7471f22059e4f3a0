//! Answers that would move a task away from its last commit. One such answer may be wrong: a
//! coordinator or a leader that has just taken over may not know all yet. So it is acted on only
//! when it comes again, a while later.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ports::TopicId;
use crate::record::TaskId;

/// The same answer counts as another one after this time.
const APART: Duration = Duration::from_secs(1);
/// An answer so long ago belongs to an earlier try.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// An answer of the brokers about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The group has no committed offset for its partition.
    NoOffset,
    /// Its partition ends before this committed offset.
    EndsBefore(i64),
    /// Its topic is not the one with this id, which was committed.
    AnotherTopic(TopicId),
    /// The changelog of its store number `.0` ends before this committed offset.
    ChangelogEndsBefore(usize, i64),
}

/// Answers about each task with their times, since its last restoration. None is acted on before it
/// is confirmed.
#[derive(Debug, Default)]
pub(super) struct UnconfirmedFindings(Mutex<BTreeMap<TaskId, (Finding, Duration)>>);

impl UnconfirmedFindings {
    /// Whether this was found of the task before, long enough ago to be another answer.
    pub fn is_confirmed(&self, task: TaskId, finding: Finding, now: Duration) -> bool {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match found.get(&task) {
            Some((known, at)) if *known == finding && now < *at + FORGOTTEN => now >= *at + APART,
            _ => {
                found.insert(task, (finding, now));
                false
            }
        }
    }

    /// Forgets what was found: the task was taken, or another answer came.
    pub fn forget(&self, task: TaskId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_counts_when_it_comes_again_a_while_later() {
        let findings = UnconfirmedFindings::default();
        let task = TaskId { subtopology: 0, partition: 3 };
        let again = |finding, millis| findings.is_confirmed(task, finding, Duration::from_millis(millis));
        assert!(!again(Finding::NoOffset, 0) && !again(Finding::NoOffset, 999));
        assert!(again(Finding::NoOffset, 1000));
        assert!(!again(Finding::EndsBefore(7), 3000), "another finding begins anew");
        assert!(!again(Finding::NoOffset, 9000));
        assert!(!again(Finding::NoOffset, 69_000), "the first one is forgotten");
        findings.forget(task);
        assert!(!again(Finding::NoOffset, 70_500));
        assert!(again(Finding::NoOffset, 71_500));
    }
}
