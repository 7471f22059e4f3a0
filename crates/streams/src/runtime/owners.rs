//! One owner a task in a process: taken before restore, released after close. A new owner waits; the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::record::TaskId;

/// Who owns which task.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Told when a task is wanted.
    wanted: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    /// The owning thread, and which ownership it is.
    owners: BTreeMap<TaskId, (usize, u64)>,
    /// Tasks that a thread asked for in vain: a standby lets go of them.
    wanted: BTreeSet<TaskId>,
    epoch: u64,
}

/// In the place of a thread's number: a standby.
const STANDBY: usize = usize::MAX;

/// Ownership of a task; dropping it releases the task.
#[derive(Debug)]
pub(super) struct Ownership {
    owners: Owners,
    task: TaskId,
    epoch: u64,
}

impl Owners {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a task for a stream thread. One that is owned is wanted from then on, until its owner lets go.
    pub fn take(&self, task: TaskId, thread: usize) -> Option<Ownership> {
        let mut table = self.table();
        if table.owners.contains_key(&task) {
            table.wanted.insert(task);
            self.shared.wanted.notify_all();
            return None;
        }
        Some(self.transition_to(&mut table, task, thread))
    }

    /// Takes a task for a standby, unless it is owned.
    pub fn stand_by(&self, task: TaskId) -> Option<Ownership> {
        let mut table = self.table();
        let is_free = !table.owners.contains_key(&task);
        is_free.then(|| self.transition_to(&mut table, task, STANDBY))
    }

    fn transition_to(&self, table: &mut Table, task: TaskId, thread: usize) -> Ownership {
        table.epoch += 1;
        let epoch = table.epoch;
        table.owners.insert(task, (thread, epoch));
        Ownership { owners: self.clone(), task, epoch }
    }

    /// Whether a thread waits for a task.
    pub fn is_wanted(&self, task: TaskId) -> bool {
        self.table().wanted.contains(&task)
    }

    /// Whether a thread waits for a task that a standby has.
    pub fn is_standby_wanted(&self) -> bool {
        self.table().is_standby_wanted()
    }

    /// Waits until a thread waits for a task that a standby has, at most so long.
    pub fn wait(&self, limit: Duration) {
        let nobody = |table: &mut Table| !table.is_standby_wanted();
        drop(self.shared.wanted.wait_timeout_while(self.table(), limit, nobody));
    }
}

impl Table {
    fn is_standby_wanted(&self) -> bool {
        self.wanted.iter().any(|task| self.owners.get(task).is_some_and(|(thread, _)| *thread == STANDBY))
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        let mut table = self.owners.table();
        if table.owners.get(&self.task).is_some_and(|(_, epoch)| *epoch == self.epoch) {
            table.owners.remove(&self.task);
            table.wanted.remove(&self.task);
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
        assert!(owners.is_wanted(task) && owners.stand_by(task).is_none() && !owners.is_standby_wanted());
        drop(first);
        assert!(!owners.is_wanted(task) && owners.take(task, 1).is_some());
    }

    #[test]
    fn a_standby_is_told_that_its_task_is_wanted() {
        let (owners, task) = (Owners::default(), TaskId { subtopology: 0, partition: 1 });
        let standby = owners.stand_by(task).unwrap();
        let (waiting, (send, told)) = (owners.clone(), std::sync::mpsc::channel());
        let thread = std::thread::spawn(move || {
            waiting.wait(Duration::from_secs(3600));
            send.send(waiting.is_wanted(task)).unwrap();
        });
        assert!(owners.take(task, 0).is_none());
        assert!(told.recv().unwrap());
        thread.join().unwrap();
        drop(standby);
        assert!(owners.take(task, 0).is_some() && !owners.is_standby_wanted());
    }
}
