//! Which tasks have an open database: each at most one in a process.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use streams::record::TaskId;

/// Which tasks' databases are open in this process.
#[derive(Default)]
pub(super) struct OpenTasks(Mutex<HashSet<TaskId>>);

impl OpenTasks {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashSet<TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a task's database is open; ended by dropping it.
pub(super) struct OpenTask {
    tasks: Arc<OpenTasks>,
    task: TaskId,
}

impl OpenTask {
    /// `None` when it is open already.
    pub(super) fn begin(tasks: &Arc<OpenTasks>, task: TaskId) -> Option<OpenTask> {
        tasks.lock().insert(task).then(|| OpenTask { tasks: tasks.clone(), task })
    }
}

impl Drop for OpenTask {
    fn drop(&mut self) {
        self.tasks.lock().remove(&self.task);
    }
}
