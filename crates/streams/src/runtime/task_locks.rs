//! The locks of tasks within a process: a thread locks a task before it restores it, and releases
//! the lock after it closed the task. A thread that cannot have the lock waits for it; its other
//! tasks go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::record::TaskId;

/// The lock of each task of the process.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskLocks {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    locks: Mutex<Locks>,
    /// Notified when a thread requests a lock that another holds.
    requested: Condvar,
}

#[derive(Debug, Default)]
struct Locks {
    /// The thread that holds the lock of a task, and the number of the lock.
    holders: BTreeMap<TaskId, (usize, u64)>,
    /// Tasks that a thread asked for in vain: a standby lets go of them.
    requested: BTreeSet<TaskId>,
    epoch: u64,
}

/// In the place of a thread's number: a standby.
const STANDBY: usize = usize::MAX;

/// The lock of a task; dropping it releases it.
#[derive(Debug)]
pub(super) struct TaskLock {
    task_locks: TaskLocks,
    task: TaskId,
    epoch: u64,
}

impl TaskLocks {
    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.shared.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks a task for a stream thread. If the lock is held, it counts as requested until its
    /// holder releases it.
    pub fn try_lock(&self, task: TaskId, thread: usize) -> Option<TaskLock> {
        let mut locks = self.locks();
        if locks.holders.contains_key(&task) {
            locks.requested.insert(task);
            self.shared.requested.notify_all();
            return None;
        }
        Some(self.transition_to(&mut locks, task, thread))
    }

    /// Locks a task for a standby, unless the lock is held.
    pub fn try_lock_standby(&self, task: TaskId) -> Option<TaskLock> {
        let mut locks = self.locks();
        let is_free = !locks.holders.contains_key(&task);
        is_free.then(|| self.transition_to(&mut locks, task, STANDBY))
    }

    fn transition_to(&self, locks: &mut Locks, task: TaskId, thread: usize) -> TaskLock {
        locks.epoch += 1;
        let epoch = locks.epoch;
        locks.holders.insert(task, (thread, epoch));
        TaskLock { task_locks: self.clone(), task, epoch }
    }

    /// Whether a thread waits for a task.
    pub fn is_requested(&self, task: TaskId) -> bool {
        self.locks().requested.contains(&task)
    }

    /// Whether a thread waits for a task that a standby has.
    pub fn is_standby_requested(&self) -> bool {
        self.locks().is_standby_requested()
    }

    /// Waits until a thread waits for a task that a standby has, at most so long.
    pub fn wait_for_request(&self, limit: Duration) {
        let nobody = |locks: &mut Locks| !locks.is_standby_requested();
        drop(self.shared.requested.wait_timeout_while(self.locks(), limit, nobody));
    }
}

impl Locks {
    fn is_standby_requested(&self) -> bool {
        self.requested.iter().any(|task| self.holders.get(task).is_some_and(|(thread, _)| *thread == STANDBY))
    }
}

impl Drop for TaskLock {
    fn drop(&mut self) {
        let mut locks = self.task_locks.locks();
        if locks.holders.get(&self.task).is_some_and(|(_, epoch)| *epoch == self.epoch) {
            locks.holders.remove(&self.task);
            locks.requested.remove(&self.task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_one_owner_until_it_is_released() {
        let task_locks = TaskLocks::default();
        let task = TaskId { subtopology: 0, partition: 1 };
        let first = task_locks.try_lock(task, 0).unwrap();
        assert!(task_locks.try_lock(task, 1).is_none(), "also not twice by one thread");
        assert!(task_locks.try_lock(TaskId { partition: 2, ..task }, 1).is_some());
        assert!(
            task_locks.is_requested(task)
                && task_locks.try_lock_standby(task).is_none()
                && !task_locks.is_standby_requested()
        );
        drop(first);
        assert!(!task_locks.is_requested(task) && task_locks.try_lock(task, 1).is_some());
    }

    #[test]
    fn a_standby_is_notified_when_its_task_is_requested() {
        let task_locks = TaskLocks::default();
        let task = TaskId { subtopology: 0, partition: 1 };
        let standby = task_locks.try_lock_standby(task).unwrap();
        let (waiting, (send, told)) = (task_locks.clone(), std::sync::mpsc::channel());
        let thread = std::thread::spawn(move || {
            waiting.wait_for_request(Duration::from_secs(3600));
            send.send(waiting.is_requested(task)).unwrap();
        });
        assert!(task_locks.try_lock(task, 0).is_none());
        assert!(told.recv().unwrap());
        thread.join().unwrap();
        drop(standby);
        assert!(task_locks.try_lock(task, 0).is_some() && !task_locks.is_standby_requested());
    }
}
