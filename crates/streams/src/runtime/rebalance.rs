//! Rebalances: assigned, revoked and lost partitions, and leaving the group at the end.

use super::assigned_task::AssignedTask;
use super::fetch_state::FetchState;
use super::thread::{Phase, StreamThread};
use crate::error::{Error, Result};
use crate::planted::PlantedBug;
use crate::ports::GroupEvent;
use crate::record::{TaskId, TopicPartition};
use crate::task::state::TaskState;

impl StreamThread {
    /// Answers an event. The whole transaction is committed first, or aborted where nothing can be
    /// committed any more; then, and only then, the consumer is told.
    pub(super) fn answer(&mut self, event: GroupEvent) -> Result<()> {
        // Who else is there may have changed with it.
        self.instance.agreement.question();
        match event {
            GroupEvent::Assigned(partitions) => {
                tracing::info!(
                    thread = self.index,
                    partitions = partitions.len(),
                    "partitions were assigned to this thread"
                );
                self.commit_for_event()?;
                self.unanswered = None;
                if PlantedBug::EventNotAnswered.is_planted() {
                    return Ok(());
                }
                let assigned = self.fetching.assign(&[]);
                self.recover(assigned)?;
                partitions.into_iter().try_for_each(|partition| self.add_task(partition))?;
                self.metrics().set_joined();
                self.metrics().set_out(false);
                Ok(())
            }
            GroupEvent::Revoked(partitions) => {
                tracing::info!(
                    thread = self.index,
                    partitions = partitions.len(),
                    "partitions were revoked from this thread"
                );
                if !PlantedBug::RevokeWithoutCommit.is_planted() {
                    self.commit_for_event()?;
                }
                if PlantedBug::LostRevoke.is_planted() {
                    self.unanswered = None;
                    return self.fetching.unassign(&partitions);
                }
                self.remove_tasks(&partitions)
            }
            GroupEvent::Lost(partitions) => {
                tracing::info!(
                    thread = self.index,
                    partitions = partitions.len(),
                    "partitions were lost: this thread is no longer a member of its group"
                );
                self.instance.metrics().add_lost_partitions(partitions.len());
                self.recover(Err(Error::Aborted("partitions were lost".to_owned())))?;
                if PlantedBug::LostTasksKept.is_planted() {
                    self.unanswered = None;
                    return self.fetching.unassign(&partitions);
                }
                self.remove_tasks(&partitions)
            }
        }
    }

    fn commit_for_event(&mut self) -> Result<()> {
        let committed = self.commit();
        self.recover(committed)
    }

    fn add_task(&mut self, partition: TopicPartition) -> Result<()> {
        let Some(plan) = self.instance.plans.iter().find(|plan| plan.source == partition.topic).cloned() else {
            return Err(Error::Bug(format!(
                "partition {partition} was assigned, whose topic this topology does not read"
            )));
        };
        let id = TaskId { subtopology: plan.subtopology, partition: partition.partition };
        if self.tasks.contains(id) {
            return Ok(());
        }
        let assigned = AssignedTask::new(id, partition, plan);
        assigned.report(&self.instance.metrics(), self.index, None);
        self.tasks.add(assigned);
        Ok(())
    }

    /// Closes tasks, committed or not, and hands their partitions back: only those that were ever
    /// given to the consumer.
    fn remove_tasks(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let gone = self.tasks.remove(partitions);
        let added: Vec<TopicPartition> =
            gone.iter().filter(|assigned| assigned.was_assigned).map(|assigned| assigned.source.clone()).collect();
        self.close_tasks(gone)?;
        self.unanswered = None;
        let unassigned = self.fetching.unassign(&added);
        self.recover(unassigned)
    }

    fn close_tasks(&self, tasks: Vec<AssignedTask>) -> Result<()> {
        for mut assigned in tasks {
            assigned.transition_to(TaskState::Closed)?;
            // Before the ownership ends: another thread of ours may be waiting for it.
            assigned.task = None;
            self.instance.ports.stores.drop_in_memory(assigned.id);
            self.instance.metrics().remove_task(assigned.id, self.index);
        }
        Ok(())
    }

    /// Commits what is done and leaves the group; the last revoke is served by the turns that
    /// follow.
    pub(super) fn begin_leaving(&mut self) -> Result<()> {
        self.commit_for_event()?;
        let deadline = self.instance.now() + self.instance.config.stop_timeout;
        self.phase = Phase::Leaving { deadline };
        // From here on nothing is processed: what is still fetched comes again to the next owner.
        for assigned in self.tasks.iter_mut() {
            assigned.fetch_state = match assigned.fetch_state {
                FetchState::Unassigned | FetchState::ToAssign => FetchState::Unassigned,
                FetchState::Fetching | FetchState::ToSeek | FetchState::ToUnassign => FetchState::ToUnassign,
            };
        }
        let left = self.membership.unsubscribe();
        self.recover(left)
    }

    pub(super) fn finish_leaving(&mut self) {
        if !self.membership.left() {
            tracing::warn!(
                code = "HS1005",
                thread = self.index,
                "the consumer group was not left in time; the group's coordinator removes this member after the session timeout"
            );
        }
        self.metrics().set_out(true);
        self.close();
    }

    /// Closes everything without a further commit: aborts what is open, drops the tasks. For the
    /// end, good or bad.
    pub fn close(&mut self) {
        if self.in_transaction
            && let Some(producer) = &mut self.collector.producer
            && producer.fatal_error().is_none()
            && let Err(error) = producer.abort(self.instance.config.call_timeout)
        {
            tracing::debug!("could not abort the last transaction, which the broker ends at its timeout: {error}");
        }
        self.in_transaction = false;
        let tasks = self.tasks.remove_all();
        if let Err(error) = self.close_tasks(tasks) {
            tracing::error!(
                code = "HS9000",
                thread = self.index,
                "the tasks of this stream thread were not closed: {error}"
            );
        }
        if self.phase != Phase::Stopped && !matches!(self.phase, Phase::Leaving { .. } | Phase::New) {
            self.leave_quickly();
        }
        self.phase = Phase::Stopped;
    }

    /// Leaves the group after a failure, so that others take over at once. Each event is answered
    /// by giving everything back.
    fn leave_quickly(&mut self) {
        let deadline = self.instance.now() + self.instance.config.stop_timeout;
        // The event that the failure came in the midst of: the group is not left before its answer.
        let unanswered = self.unanswered.take();
        if self.give_back(unanswered).is_err() || self.membership.unsubscribe().is_err() {
            return;
        }
        let mut batch = crate::record::RecordBatch::new();
        while !self.membership.left() && self.instance.now() < deadline {
            batch.clear();
            let polled = self.fetching.poll(1, 1, std::time::Duration::from_millis(50), &mut batch);
            let event = self.membership.event();
            let answered = self.give_back(event);
            if polled.is_err() && answered.is_err() {
                return;
            }
        }
    }

    /// Answers an event by taking nothing and keeping nothing.
    fn give_back(&mut self, event: Option<GroupEvent>) -> Result<()> {
        match event {
            Some(GroupEvent::Assigned(_)) => self.fetching.assign(&[]),
            Some(GroupEvent::Revoked(partitions) | GroupEvent::Lost(partitions)) => self.fetching.unassign(&partitions),
            None => Ok(()),
        }
    }
}
