//! The tasks that are assigned to a stream thread, as Kafka Streams' `Tasks` holds them.

use std::ops::{Deref, DerefMut};

use super::assigned_task::AssignedTask;
use crate::record::{TaskId, TopicPartition};

/// The assigned tasks of a thread, in the order of their assignment. It is read and changed as a
/// slice; only an assignment and a revocation add and remove tasks.
#[derive(Default)]
pub(super) struct TaskRegistry(Vec<AssignedTask>);

impl TaskRegistry {
    /// Adds a task that has been assigned.
    pub fn add(&mut self, assigned: AssignedTask) {
        self.0.push(assigned);
    }

    /// Whether the task is assigned.
    pub fn contains(&self, id: TaskId) -> bool {
        self.0.iter().any(|assigned| assigned.id == id)
    }

    /// The task of this id, if it is assigned.
    pub fn find_mut(&mut self, id: TaskId) -> Option<&mut AssignedTask> {
        self.0.iter_mut().find(|assigned| assigned.id == id)
    }

    /// The task that reads this partition, if it is assigned.
    pub fn find_by_source_mut(&mut self, source: &TopicPartition) -> Option<&mut AssignedTask> {
        self.0.iter_mut().find(|assigned| assigned.source == *source)
    }

    /// Removes the tasks that read these partitions, and returns them.
    pub fn remove(&mut self, sources: &[TopicPartition]) -> Vec<AssignedTask> {
        let all = std::mem::take(&mut self.0).into_iter();
        let (removed, kept) = all.partition(|assigned| sources.contains(&assigned.source));
        self.0 = kept;
        removed
    }

    /// Removes all tasks, and returns them.
    pub fn remove_all(&mut self) -> Vec<AssignedTask> {
        std::mem::take(&mut self.0)
    }
}

impl Deref for TaskRegistry {
    type Target = [AssignedTask];

    fn deref(&self) -> &[AssignedTask] {
        &self.0
    }
}

impl DerefMut for TaskRegistry {
    fn deref_mut(&mut self) -> &mut [AssignedTask] {
        &mut self.0
    }
}
