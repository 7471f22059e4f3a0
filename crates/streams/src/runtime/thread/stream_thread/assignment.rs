//! Changes of a stream thread's assignment, and its end.

use std::time::Duration;

use super::super::super::takeover::end_transactions_of_dead_owners;
use super::super::consumer::AssignmentChange;
use super::{Phase, StreamThread};
use crate::error::{Error, Result};
use crate::planted::PlantedBug;

impl StreamThread {
    /// Applies a change of the assignment. The whole transaction is committed first, or aborted
    /// where nothing can be committed any more; then, and only then, the consumer is told.
    pub(super) fn apply_change(&mut self, change: AssignmentChange) -> Result<()> {
        // Who else is there may have changed with it.
        self.parts.instance.agreement.question();
        self.parts.instance.pauses.question();
        let thread = self.parts.thread;
        match change {
            AssignmentChange::Assigned(partitions, reply) => {
                tracing::info!(thread, partitions = partitions.len(), "partitions were assigned to this thread");
                self.commit()?;
                if PlantedBug::EventNotAnswered.is_planted() {
                    self.parts.consumer.leave_unanswered(reply);
                    return Ok(());
                }
                let accepted = self.parts.consumer.accept(reply);
                self.recover(accepted)?;
                end_transactions_of_dead_owners(&self.parts.instance, thread, &partitions);
                partitions.into_iter().try_for_each(|partition| self.parts.tasks.add(partition))?;
                self.parts.metrics().set_joined();
                self.parts.metrics().set_out(false);
                Ok(())
            }
            AssignmentChange::Revoked(partitions, reply) => {
                tracing::info!(thread, partitions = partitions.len(), "partitions were revoked from this thread");
                if !PlantedBug::RevokeWithoutCommit.is_planted() {
                    self.commit()?;
                }
                if PlantedBug::LostRevoke.is_planted() {
                    return self.parts.consumer.release(reply, &partitions);
                }
                let given = self.parts.tasks.close(&partitions)?;
                let released = self.parts.consumer.release(reply, &given);
                self.recover(released)
            }
            AssignmentChange::Lost(partitions, reply) => {
                tracing::info!(
                    thread,
                    partitions = partitions.len(),
                    "partitions were lost: this thread is no longer a member of its group"
                );
                self.parts.instance.metrics().add_lost_partitions(partitions.len());
                self.recover(Err(Error::Aborted("partitions were lost".to_owned())))?;
                if PlantedBug::LostTasksKept.is_planted() {
                    return self.parts.consumer.release(reply, &partitions);
                }
                let given = self.parts.tasks.close(&partitions)?;
                let released = self.parts.consumer.release(reply, &given);
                self.recover(released)
            }
        }
    }

    /// Leaves the group and subscribes anew in the next turn, so that the group assigns the
    /// partitions that nobody owns. What this thread has is revoked with the next polls.
    pub(super) fn rejoin(&mut self) -> Result<()> {
        match self.parts.consumer.leave() {
            Ok(()) => {
                self.phase = Phase::New;
                Ok(())
            }
            failed => self.recover(failed),
        }
    }

    /// Commits what is done and leaves the group; the last revoke is served by the turns that
    /// follow.
    pub(super) fn begin_leaving(&mut self) -> Result<()> {
        self.commit()?;
        let instance = &self.parts.instance;
        let deadline = instance.now() + instance.config.stop_timeout;
        // From here on nothing is processed: what is still fetched comes again to the next owner.
        self.parts.tasks.iter_mut().for_each(|assigned| assigned.stop_fetching());
        // A static member whose client is closed stays in the group for its session, since it is
        // thought to come back. A thread that is removed does not.
        let departs = instance.config.has_static_members && instance.is_thread_leaving(self.parts.thread);
        let left = match departs {
            true => {
                self.phase = Phase::Departing { deadline };
                self.parts.consumer.leave()
            }
            false => {
                self.phase = Phase::Leaving { deadline };
                self.parts.consumer.unsubscribe()
            }
        };
        self.recover(left)
    }

    /// Closes the client of a thread that has left its group, or could not in time.
    pub(super) fn close_once_departed(&mut self, deadline: Duration) -> Result<()> {
        let is_out = self.parts.tasks.iter().next().is_none() && !self.parts.consumer.is_member();
        if !is_out && self.parts.instance.now() <= deadline {
            return Ok(());
        }
        self.phase = Phase::Leaving { deadline: self.parts.instance.now() + self.parts.instance.config.stop_timeout };
        let left = self.parts.consumer.unsubscribe();
        self.recover(left)
    }

    pub(super) fn finish_leaving(&mut self) {
        if !self.parts.consumer.has_left() {
            tracing::warn!(
                code = "HS1005",
                thread = self.parts.thread,
                "the consumer group was not left in time; the group's coordinator removes this member after the session timeout"
            );
        }
        self.parts.metrics().set_out(true);
        self.close();
    }

    /// Closes everything without a further commit: aborts what is open, drops the tasks. For the
    /// end, good or bad.
    pub fn close(&mut self) {
        self.parts.producer.close();
        if let Err(error) = self.parts.tasks.close_all() {
            tracing::error!(
                code = "HS9000",
                thread = self.parts.thread,
                "the tasks of this stream thread were not closed: {error}"
            );
        }
        if matches!(self.phase, Phase::Running | Phase::Departing { .. }) {
            self.parts.consumer.leave_quickly(&self.parts.instance);
        }
        self.phase = Phase::Stopped;
    }
}
