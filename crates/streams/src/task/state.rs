//! The states of a task and the legal transitions between them, as a table.

use std::fmt;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Assigned; waits for its lock, for the thread's producer, or for the next try.
    Created,
    /// Its stores are being brought to the committed checkpoint.
    Restoring,
    /// Its partition is fetched and its records are processed.
    Running,
    /// As restoring, but its store was thrown away and is built anew from the changelog.
    Rebuilding,
    /// It cannot be restored or cannot get past a record, and waits for an operator or for the next
    /// try, while the other tasks go on.
    Stopped,
    /// It is no longer ours.
    Closed,
}

/// From each state, those that may follow.
pub const TRANSITIONS: [(TaskState, &[TaskState]); 6] = [
    (TaskState::Created, &[TaskState::Restoring, TaskState::Rebuilding, TaskState::Stopped, TaskState::Closed]),
    (TaskState::Restoring, &[TaskState::Running, TaskState::Created, TaskState::Stopped, TaskState::Closed]),
    (TaskState::Running, &[TaskState::Created, TaskState::Stopped, TaskState::Closed]),
    (TaskState::Rebuilding, &[TaskState::Running, TaskState::Created, TaskState::Stopped, TaskState::Closed]),
    (TaskState::Stopped, &[TaskState::Restoring, TaskState::Rebuilding, TaskState::Closed]),
    (TaskState::Closed, &[]),
];

impl TaskState {
    /// Whether `next` may follow.
    pub fn allows(self, next: TaskState) -> bool {
        TRANSITIONS.iter().any(|(from, to)| *from == self && to.contains(&next))
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskState::Created => "created",
            TaskState::Restoring => "restoring",
            TaskState::Running => "running",
            TaskState::Rebuilding => "rebuilding",
            TaskState::Stopped => "stopped",
            TaskState::Closed => "closed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_closed_and_every_state_can_close() {
        for (from, to) in TRANSITIONS {
            assert_eq!(to.contains(&TaskState::Closed), from != TaskState::Closed, "{from}");
            assert!(!from.allows(from));
        }
        assert!(!TaskState::Created.allows(TaskState::Running), "a task runs only once it is restored");
        assert!(!TaskState::Stopped.allows(TaskState::Running), "also after it was stopped");
    }
}
