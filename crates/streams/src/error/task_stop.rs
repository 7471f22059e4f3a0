//! A task that is stopped alone, and the ways out, which only an operator can choose.

use std::fmt;

use crate::record::TaskId;

/// The reason why one task is stopped while the others go on, and the ways out.
///
/// Kafka Streams has no such state: there a task that cannot be restored ends its thread or its
/// application. The task is tried again by itself, so a way out that mends the cause needs no
/// restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStop {
    /// The task.
    pub task: TaskId,
    /// The code of the reason (docs/operations.md).
    pub code: &'static str,
    /// The reason: a description of what happened.
    pub what: String,
    /// The ways out, those first that lose nothing.
    pub ways_out: Vec<WayOut>,
}

/// A way out for a task that is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// The action that an operator takes, as an order.
    pub action: String,
    /// The loss that comes with it; `None` where nothing is lost.
    pub loss: Option<String>,
}

impl WayOut {
    /// A way out that loses nothing.
    pub fn safe(action: impl Into<String>) -> WayOut {
        WayOut { action: action.into(), loss: None }
    }

    /// A way out with a loss.
    pub fn with_loss(action: impl Into<String>, loss: impl Into<String>) -> WayOut {
        WayOut { action: action.into(), loss: Some(loss.into()) }
    }

    /// Whether nothing is lost by it.
    pub fn is_safe(&self) -> bool {
        self.loss.is_none()
    }
}

impl fmt::Display for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.loss {
            None => write!(f, "{} (safe: nothing is lost)", self.action),
            Some(loss) => write!(f, "{} ({loss})", self.action),
        }
    }
}

impl TaskStop {
    /// A reason with its ways out, which are put into their order.
    pub fn new(task: TaskId, code: &'static str, what: impl Into<String>, ways_out: Vec<WayOut>) -> TaskStop {
        let mut ways_out = ways_out;
        ways_out.sort_by_key(|way| !way.is_safe());
        TaskStop { task, code, what: what.into(), ways_out }
    }

    /// A task in a state that cannot be.
    pub fn of_bug(task: TaskId, what: &str) -> TaskStop {
        let ways_out = vec![WayOut::safe("report this bug of helixstream, and start this instance again")];
        TaskStop::new(task, "HS9000", what, ways_out)
    }
}

impl fmt::Display for TaskStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} is stopped, and the other tasks go on: {}. Ways out: ", self.task, self.what)?;
        for (at, way) in self.ways_out.iter().enumerate() {
            write!(f, "{}{way}", if at == 0 { "" } else { "; or " })?;
        }
        write!(f, " [{}]", self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safe_way_out_comes_first_and_each_other_one_says_its_loss() {
        let task = TaskId { subtopology: 1, partition: 7 };
        let ways = vec![WayOut::with_loss("delete the group", "all state is lost"), WayOut::safe("bring it back")];
        let stop = TaskStop::new(task, "HS3010", "the changelog ends", ways);
        assert_eq!(
            stop.to_string(),
            "task 1_7 is stopped, and the other tasks go on: the changelog ends. Ways out: bring it back (safe: nothing is lost); or delete the group \
             (all state is lost) [HS3010]"
        );
    }
}
