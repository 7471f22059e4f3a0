//! One owner a task in a process: taken before restore, released after close. A new owner waits; the others go on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::streams::record::TaskId;

/// Who owns which task.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    /// The owning thread, and which ownership it is.
    owners: BTreeMap<TaskId, (usize, u64)>,
    epoch: u64,
}

/// Ownership of a task; dropping it releases the task.
#[derive(Debug)]
pub(super) struct Ownership {
    owners: Owners,
    task: TaskId,
    epoch: u64,
}

impl Owners {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a task, unless it is owned.
    pub fn take(&self, task: TaskId, thread: usize) -> Option<Ownership> {
        let mut table = self.table();
        if table.owners.contains_key(&task) {
            return None;
        }
        table.epoch += 1;
        let epoch = table.epoch;
        table.owners.insert(task, (thread, epoch));
        Some(Ownership { owners: self.clone(), task, epoch })
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        let mut table = self.owners.table();
        if table.owners.get(&self.task).is_some_and(|(_, epoch)| *epoch == self.epoch) {
            table.owners.remove(&self.task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_one_owner_until_it_is_released() {
        let (owners, task) = (Owners::default(), TaskId { subtopology: 0, partition: 1 });
        let first = owners.take(task, 0).unwrap();
        assert!(owners.take(task, 1).is_none(), "also not twice by one thread");
        assert!(owners.take(TaskId { partition: 2, ..task }, 1).is_some());
        drop(first);
        assert!(owners.take(task, 1).is_some());
    }
}
