//! State of the consumer for the partition of each assigned task, and its reconciliation with the
//! needs of the tasks.

use super::assigned_task::AssignedTask;
use super::thread::StreamThread;
use crate::error::Result;
use crate::ports::PartitionStart;
use crate::task::Task;

/// State of the consumer for the partition of a task, or the change that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConsumptionState {
    /// It is not fetched.
    Unassigned,
    /// To be assigned at the task's next offset.
    ToAssign,
    /// It is fetched, and comes in the task's order.
    Fetching,
    /// To be sought to the task's next offset; what comes before that is dropped.
    ToSeek,
    /// To be held back.
    ToUnassign,
}

impl StreamThread {
    /// Brings the consumer in line with the tasks. Never between an event and its answer: the
    /// consumer would take it for that.
    pub(super) fn reconcile_consumer(&mut self) -> Result<()> {
        let of = |tasks: &[AssignedTask], wanted: ConsumptionState| -> Vec<PartitionStart> {
            let due = tasks.iter().filter(|assigned| assigned.consumption == wanted);
            due.map(|assigned| PartitionStart {
                partition: assigned.source.clone(),
                offset: assigned.task.as_ref().map_or(PartitionStart::BEGINNING, Task::next_offset),
            })
            .collect()
        };
        let add = of(&self.tasks, ConsumptionState::ToAssign);
        let seek = of(&self.tasks, ConsumptionState::ToSeek);
        let remove = of(&self.tasks, ConsumptionState::ToUnassign);
        if !remove.is_empty() {
            let partitions: Vec<_> = remove.into_iter().map(|start| start.partition).collect();
            self.fetching.unassign(&partitions)?;
            self.set_consumption(ConsumptionState::ToUnassign, ConsumptionState::Unassigned);
        }
        if !seek.is_empty() {
            self.fetching.seek(&seek)?;
            self.set_consumption(ConsumptionState::ToSeek, ConsumptionState::Fetching);
        }
        if !add.is_empty() {
            self.fetching.assign(&add)?;
            self.set_consumption(ConsumptionState::ToAssign, ConsumptionState::Fetching);
        }
        Ok(())
    }

    fn set_consumption(&mut self, from: ConsumptionState, to: ConsumptionState) {
        for assigned in self.tasks.iter_mut().filter(|assigned| assigned.consumption == from) {
            assigned.consumption = to;
            assigned.was_assigned |= to == ConsumptionState::Fetching;
            assigned.end = None;
        }
    }
}
