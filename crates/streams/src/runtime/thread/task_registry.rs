//! The tasks that are assigned to a stream thread, as Kafka Streams' `Tasks` holds them, and how
//! those that wait are restored.

use std::sync::Arc;
use std::time::Duration;

use super::super::instance::Instance;
use super::super::restoration::{
    RestorationOutcome, RestorationResult, RestoredTask, TaskRestoration, restoration_job,
};
use super::assigned_task::{AssignedTask, RunningTask};
use crate::error::{Error, Result, TaskStop};
use crate::record::{Origin, TaskId, TopicPartition};
use crate::task::Task;

/// The assigned tasks of a thread, in the order of their assignment.
pub(super) struct TaskRegistry {
    instance: Arc<Instance>,
    thread: usize,
    tasks: Vec<AssignedTask>,
}

impl TaskRegistry {
    /// Of a thread that has none yet.
    pub fn new(instance: &Arc<Instance>, thread: usize) -> TaskRegistry {
        TaskRegistry { instance: instance.clone(), thread, tasks: Vec::new() }
    }

    /// All tasks.
    pub fn iter(&self) -> impl Iterator<Item = &AssignedTask> {
        self.tasks.iter()
    }

    /// All tasks, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut AssignedTask> {
        self.tasks.iter_mut()
    }

    /// The tasks whose partitions are fetched in their order.
    pub fn fetched(&mut self) -> impl Iterator<Item = &mut RunningTask> {
        self.tasks.iter_mut().filter_map(AssignedTask::fetched)
    }

    /// Adds the task of a partition that was assigned, unless it is there.
    ///
    /// # Errors
    /// [`Error::Bug`] where the topology has no such task.
    pub fn add(&mut self, partition: TopicPartition) -> Result<()> {
        let Some(plan) = self.instance.plans.iter().find(|plan| plan.source == partition.topic).cloned() else {
            return Err(Error::Bug(format!(
                "partition {partition} was assigned, whose topic this topology does not read"
            )));
        };
        let id = TaskId { subtopology: plan.subtopology, partition: partition.partition };
        if self.tasks.iter().any(|assigned| assigned.id() == id) {
            return Ok(());
        }
        let assigned = AssignedTask::new(id, partition, plan, self.instance.pauses.last_question());
        assigned.report(&self.instance.metrics(), self.thread, None);
        self.tasks.push(assigned);
        Ok(())
    }

    /// The task of this id, if it is assigned.
    pub fn find_mut(&mut self, id: TaskId) -> Option<&mut AssignedTask> {
        self.tasks.iter_mut().find(|assigned| assigned.id() == id)
    }

    /// The task that reads this partition, if it is assigned.
    pub fn find_by_source_mut(&mut self, source: &TopicPartition) -> Option<&mut AssignedTask> {
        self.tasks.iter_mut().find(|assigned| assigned.source() == source)
    }

    /// The task that a record is for, if it is assigned. `hint` is where the last one was found:
    /// the records of a partition come one after the other.
    pub fn find_by_origin_mut(&mut self, origin: &Origin<'_>, hint: &mut usize) -> Option<&mut AssignedTask> {
        let is_of = |assigned: &AssignedTask| {
            let source = assigned.source();
            source.partition == origin.partition && *source.topic == *origin.topic
        };
        if !self.tasks.get(*hint).is_some_and(is_of) {
            *hint = self.tasks.iter().position(is_of)?;
        }
        self.tasks.get_mut(*hint)
    }

    /// Closes the tasks that read these partitions, committed or not. The partitions among them
    /// that the consumer was ever given.
    ///
    /// # Errors
    /// [`Error::Bug`]
    pub fn close(&mut self, sources: &[TopicPartition]) -> Result<Vec<TopicPartition>> {
        let all = std::mem::take(&mut self.tasks).into_iter();
        let (closed, kept) = all.partition(|assigned| sources.contains(assigned.source()));
        self.tasks = kept;
        let closed: Vec<AssignedTask> = closed;
        let given = closed.iter().filter(|assigned| assigned.was_assigned());
        let given = given.map(|assigned| assigned.source().clone()).collect();
        self.drop_tasks(closed)?;
        Ok(given)
    }

    /// Closes all tasks, committed or not.
    ///
    /// # Errors
    /// [`Error::Bug`]
    pub fn close_all(&mut self) -> Result<()> {
        let all = std::mem::take(&mut self.tasks);
        self.drop_tasks(all)
    }

    fn drop_tasks(&self, tasks: Vec<AssignedTask>) -> Result<()> {
        for mut assigned in tasks {
            note_state(&self.instance, &assigned);
            // Until nothing is left of it: another thread of ours may be waiting for it.
            let _lock = assigned.close()?;
            self.instance.ports.stores.drop_in_memory(assigned.id());
            self.instance.metrics().remove_task(assigned.id(), self.thread);
        }
        Ok(())
    }

    /// Whether nothing but records is waited for: no task is being restored or waits for it.
    pub fn are_all_running(&self) -> bool {
        !self.tasks.iter().any(AssignedTask::is_starting)
    }

    /// Whether a task has work that no record brings about.
    ///
    /// # Errors
    /// A store cannot be read.
    pub fn have_background_work(&mut self) -> Result<bool> {
        for running in self.fetched() {
            if running.task.has_background_work()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Memory that uncommitted state takes, about.
    pub fn uncommitted_bytes(&self) -> usize {
        self.tasks.iter().filter_map(AssignedTask::task).map(Task::uncommitted_bytes).sum()
    }

    /// Takes every task back to its last commit.
    pub fn roll_back(&mut self) {
        self.tasks.iter_mut().for_each(AssignedTask::roll_back);
    }

    /// Closes all tasks without a write; they are restored again after a wait.
    ///
    /// # Errors
    /// [`Error::Bug`]
    pub fn restore_all_again(&mut self, wait: Duration) -> Result<()> {
        let at = self.instance.now() + wait;
        for assigned in &mut self.tasks {
            note_state(&self.instance, assigned);
            assigned.close_dirty(false)?;
            assigned.restore_not_before(at);
            assigned.report(&self.instance.metrics(), self.thread, None);
        }
        Ok(())
    }

    /// Closes a task without a write, if it is assigned; it is restored again, from nothing where
    /// its store is not to be believed.
    ///
    /// # Errors
    /// [`Error::Bug`]
    pub fn restore_again(&mut self, task: TaskId, is_rebuild: bool) -> Result<()> {
        let Some(assigned) = self.tasks.iter_mut().find(|assigned| assigned.id() == task) else { return Ok(()) };
        note_state(&self.instance, assigned);
        assigned.close_dirty(is_rebuild)?;
        assigned.report(&self.instance.metrics(), self.thread, None);
        Ok(())
    }

    /// Stops a task alone, if it is assigned.
    ///
    /// # Errors
    /// [`Error::Bug`]
    pub fn stop(&mut self, reason: TaskStop) -> Result<()> {
        let Some(assigned) = self.tasks.iter_mut().find(|assigned| assigned.id() == reason.task) else { return Ok(()) };
        assigned.stop(reason, &self.instance)?;
        assigned.report(&self.instance.metrics(), self.thread, None);
        Ok(())
    }

    /// The tasks that run and read a topic that was deleted and made anew since they were restored.
    pub fn of_recreated_topics(&self) -> Vec<TaskId> {
        let sources = &self.instance.sources;
        if sources.recreations() == 0 {
            return Vec::new();
        }
        let is_another = |assigned: &&AssignedTask| {
            let is = sources.id(&assigned.source().topic);
            assigned.topic().zip(is).is_some_and(|(was, is)| was != is)
        };
        self.tasks.iter().filter(is_another).map(AssignedTask::id).collect()
    }

    /// Has those tasks restored that wait for it, if `can_begin`, and lets those run that were
    /// restored.
    ///
    /// # Errors
    /// [`Error::Fatal`] where one cannot be restored and the instance cannot go on.
    pub fn advance_restorations(&mut self, can_begin: bool) -> Result<()> {
        let now = self.instance.now();
        let requests = self.instance.stopped_task_retries();
        for assigned in &mut self.tasks {
            if !self.instance.pauses.has_answered(assigned.question()) && !assigned.is_to_be_restored(now, requests) {
                continue;
            }
            if let Some(restored) = assigned.restoration_result()? {
                finish_restoration(&self.instance, self.thread, assigned, restored)?;
            } else if can_begin && assigned.is_to_be_restored(now, requests) {
                begin_restoration(&self.instance, self.thread, assigned)?;
            }
        }
        Ok(())
    }
}

/// Notes which state of a task that runs lies on this instance's disk.
pub(super) fn note_state(instance: &Instance, assigned: &AssignedTask) {
    if let Some(task) = assigned.task() {
        instance.note_checkpoint(assigned.id(), assigned.plan(), task.last_checkpoint());
    }
}

fn begin_restoration(instance: &Arc<Instance>, thread: usize, assigned: &mut AssignedTask) -> Result<()> {
    // Another thread of this process still has it; the others go on.
    let Some(lock) = instance.task_locks.try_lock(assigned.id(), thread) else { return Ok(()) };
    assigned.note_try(instance);
    let is_rebuild = assigned.take_rebuild();
    let only_asks = assigned.plan().stores.is_empty();
    let source = assigned.source().clone();
    let restoration = TaskRestoration::new(instance, thread, assigned.id(), assigned.plan().clone(), source);
    let (job, pending) = restoration_job(restoration, lock, is_rebuild);
    assigned.begin_restoration(pending, is_rebuild)?;
    assigned.report(&instance.metrics(), thread, None);
    let executor = &instance.ports.executor;
    if only_asks {
        executor.run_at_once(job)
    } else {
        executor.run(job)
    }
    Ok(())
}

fn finish_restoration(
    instance: &Instance,
    thread: usize,
    assigned: &mut AssignedTask,
    restored: RestorationResult,
) -> Result<()> {
    let RestorationResult { result, lock } = restored;
    let result = match result {
        Ok(RestorationOutcome::Postponed { until }) => {
            assigned.postpone_restoration(until)?;
            assigned.report(&instance.metrics(), thread, None);
            return Ok(());
        }
        Ok(RestorationOutcome::Restored(restored)) => Ok(restored),
        Err(error) => Err(error),
    };
    let ready = result.and_then(|RestoredTask { db, checkpoint, is_uncommitted, topic }| {
        let mut task = Task::new(assigned.plan().clone(), assigned.id(), db, checkpoint)?;
        if is_uncommitted {
            task.commit_anyway();
        }
        Ok((task, topic))
    });
    match ready {
        Ok((task, topic)) => {
            instance.queries.add_active(&task);
            assigned.run(task, topic, lock)?;
            note_state(instance, assigned);
        }
        Err(error @ Error::Fatal(_)) => return Err(error),
        Err(error) => assigned.restoration_failed(error, instance)?,
    }
    assigned.report(&instance.metrics(), thread, None);
    Ok(())
}
