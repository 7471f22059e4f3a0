//! The fetch state of each assigned task: whether the consumer fetches the task's partition, and
//! the call that makes the consumer fetch what the tasks need (Kafka's `SubscriptionState` has a
//! fetch state for each partition, too).

use super::assigned_task::AssignedTask;
use super::thread::StreamThread;
use crate::error::Result;
use crate::ports::PartitionStart;
use crate::task::Task;

/// Whether the consumer fetches the partition of a task, or the change of it that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchState {
    /// It is not fetched.
    Unassigned,
    /// To be assigned at the task's next offset.
    ToAssign,
    /// It is fetched, and its records arrive in the task's order.
    Fetching,
    /// To be sought to the task's next offset; records that arrive before that are dropped.
    ToSeek,
    /// To be taken from the consumer, which fetches it no longer then.
    ToUnassign,
}

impl StreamThread {
    /// Brings the consumer in line with the tasks. It is not called between an event of the group
    /// and its answer, since the consumer would take the call for the answer.
    pub(super) fn reconcile_consumer(&mut self) -> Result<()> {
        let of = |tasks: &[AssignedTask], wanted: FetchState| -> Vec<PartitionStart> {
            let due = tasks.iter().filter(|assigned| assigned.fetch_state == wanted);
            due.map(|assigned| PartitionStart {
                partition: assigned.source.clone(),
                offset: assigned.task.as_ref().map_or(PartitionStart::BEGINNING, Task::next_offset),
            })
            .collect()
        };
        let add = of(&self.tasks, FetchState::ToAssign);
        let seek = of(&self.tasks, FetchState::ToSeek);
        let remove = of(&self.tasks, FetchState::ToUnassign);
        if !remove.is_empty() {
            let partitions: Vec<_> = remove.into_iter().map(|start| start.partition).collect();
            self.fetching.unassign(&partitions)?;
            self.set_fetch_state(FetchState::ToUnassign, FetchState::Unassigned);
        }
        if !seek.is_empty() {
            self.fetching.seek(&seek)?;
            self.set_fetch_state(FetchState::ToSeek, FetchState::Fetching);
        }
        if !add.is_empty() {
            self.fetching.assign(&add)?;
            self.set_fetch_state(FetchState::ToAssign, FetchState::Fetching);
        }
        Ok(())
    }

    fn set_fetch_state(&mut self, from: FetchState, to: FetchState) {
        for assigned in self.tasks.iter_mut().filter(|assigned| assigned.fetch_state == from) {
            assigned.fetch_state = to;
            assigned.was_assigned |= to == FetchState::Fetching;
            assigned.end = None;
        }
    }
}
