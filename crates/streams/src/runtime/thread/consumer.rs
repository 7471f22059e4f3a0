//! The consumer of a stream thread: its membership of the group and its fetching, which one client
//! serves.
//!
//! A change of the assignment comes with a poll, and the client waits for exactly one reply to it.
//! So the change carries its reply, which has to be handed back: a change that is forgotten does
//! not compile without a warning, and one cannot be answered twice.

use std::time::Duration;

use super::super::instance::Instance;
use super::assigned_task::AssignedTask;
use super::fetch_state::FetchState;
use super::task_registry::TaskRegistry;
use crate::error::Result;
use crate::offset::{Offset, StartOffset};
use crate::ports::{Fetching, GroupEvent, GroupMetadata, Membership, PartitionStart};
use crate::record::{RecordBatch, TopicPartition};
use crate::task::Task;

/// How long a poll waits at a time for the group to be left after a failure.
const LEAVE_POLL: Duration = Duration::from_millis(50);

/// A change of the assignment, with the reply that is owed to it.
#[derive(Debug)]
pub(super) enum AssignmentChange {
    /// These partitions came.
    Assigned(Vec<TopicPartition>, AssignReply),
    /// These partitions go, and may still be committed.
    Revoked(Vec<TopicPartition>, UnassignReply),
    /// These partitions are gone, and nothing can be committed.
    Lost(Vec<TopicPartition>, UnassignReply),
}

/// The reply that is owed to an assignment; [`ThreadConsumer::accept`] takes it.
#[derive(Debug)]
#[must_use = "the client waits for it"]
pub(super) struct AssignReply(());

/// The reply that is owed to partitions that go; [`ThreadConsumer::release`] takes it.
#[derive(Debug)]
#[must_use = "the client waits for it"]
pub(super) struct UnassignReply(());

/// The outcome of a poll.
#[must_use = "it may carry a change of the assignment, which has to be answered"]
pub(super) struct Polled {
    /// The records that came, also before a failure. None of a partition that was lost with it:
    /// where partitions were lost there is none at all, and the others' come again after the abort.
    pub records: RecordBatch,
    /// Whether the poll failed.
    pub result: Result<()>,
    /// The change that came with it.
    pub change: Option<AssignmentChange>,
}

/// How much a poll takes, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct PollLimits {
    pub records: usize,
    /// About.
    pub bytes: usize,
    /// For a first record.
    pub wait: Duration,
}

/// The consumer of a stream thread.
pub(super) struct ThreadConsumer {
    membership: Box<dyn Membership>,
    fetching: Box<dyn Fetching>,
    /// The event that the client waits to be answered.
    unanswered: Option<GroupEvent>,
    /// An empty batch, whose memory is used again.
    spare: RecordBatch,
    /// Since when polling fails.
    failing_since: Option<Duration>,
    /// It has failed for good.
    is_lost: bool,
}

impl ThreadConsumer {
    /// A consumer that has not joined the group.
    pub fn new(membership: Box<dyn Membership>, fetching: Box<dyn Fetching>) -> ThreadConsumer {
        ThreadConsumer {
            membership,
            fetching,
            unanswered: None,
            spare: RecordBatch::new(),
            failing_since: None,
            is_lost: false,
        }
    }

    /// Joins the group for these topics; the assignment comes with a poll.
    ///
    /// # Errors
    /// By remedy.
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        self.membership.subscribe(topics)
    }

    /// Polls once.
    pub fn poll(&mut self, limits: PollLimits) -> Polled {
        let mut records = std::mem::take(&mut self.spare);
        records.clear();
        let result = self.fetching.poll(limits.records, limits.bytes, limits.wait, &mut records);
        let event = self.membership.event();
        self.unanswered.clone_from(&event);
        let change = event.map(|event| match event {
            GroupEvent::Assigned(partitions) => AssignmentChange::Assigned(partitions, AssignReply(())),
            GroupEvent::Revoked(partitions) => AssignmentChange::Revoked(partitions, UnassignReply(())),
            GroupEvent::Lost(partitions) => AssignmentChange::Lost(partitions, UnassignReply(())),
        });
        if matches!(change, Some(AssignmentChange::Lost(..))) {
            records.clear();
        }
        Polled { records, result, change }
    }

    /// Gives the memory of records back that were processed.
    pub fn recycle(&mut self, records: RecordBatch) {
        self.spare = records;
    }

    /// Replies to an assignment. The partitions are given to the client one by one, when their
    /// tasks are restored.
    ///
    /// # Errors
    /// By remedy.
    pub fn accept(&mut self, _reply: AssignReply) -> Result<()> {
        self.unanswered = None;
        self.fetching.assign(&[])
    }

    /// Replies to partitions that go, by taking from the client those that it was given.
    ///
    /// # Errors
    /// By remedy.
    pub fn release(&mut self, _reply: UnassignReply, partitions: &[TopicPartition]) -> Result<()> {
        self.unanswered = None;
        self.fetching.unassign(partitions)
    }

    /// Replies nothing: a planted bug.
    pub fn leave_unanswered(&mut self, _reply: AssignReply) {
        self.unanswered = None;
    }

    /// Brings the client in line with the tasks. It is not called between a change of the
    /// assignment and its reply, since the client would take the call for the reply.
    ///
    /// # Errors
    /// By remedy. What was not done stays due.
    pub fn fetch_for(&mut self, tasks: &mut TaskRegistry) -> Result<()> {
        let due = |tasks: &TaskRegistry, state: FetchState| -> Vec<PartitionStart> {
            let due = tasks.iter().filter(|assigned| assigned.fetch_state() == state);
            due.map(|assigned| PartitionStart {
                partition: assigned.source().clone(),
                offset: assigned.task().map_or(StartOffset::Beginning, Task::next_offset),
            })
            .collect()
        };
        let add = due(tasks, FetchState::ToAssign);
        let seek = due(tasks, FetchState::ToSeek);
        let remove = due(tasks, FetchState::ToUnassign);
        if !remove.is_empty() {
            let partitions: Vec<_> = remove.into_iter().map(|start| start.partition).collect();
            self.fetching.unassign(&partitions)?;
            set_all(tasks, FetchState::ToUnassign, FetchState::Unassigned);
        }
        if !seek.is_empty() {
            self.fetching.seek(&seek)?;
            set_all(tasks, FetchState::ToSeek, FetchState::Fetching);
        }
        if !add.is_empty() {
            self.fetching.assign(&add)?;
            set_all(tasks, FetchState::ToAssign, FetchState::Fetching);
        }
        Ok(())
    }

    /// One past the last offset of a partition's log, as last heard of.
    pub fn end_offset(&self, partition: &TopicPartition) -> Option<Offset> {
        self.fetching.end_offset(partition)
    }

    /// Has the client look at the topics, of which one has grown.
    ///
    /// # Errors
    /// By remedy.
    pub fn refresh_topics(&mut self) -> Result<()> {
        self.membership.refresh()
    }

    /// The membership as it is now.
    ///
    /// # Errors
    /// By remedy.
    pub fn group_metadata(&mut self) -> Result<GroupMetadata> {
        self.membership.metadata()
    }

    /// Whether the group has this member, as far as the client knows.
    pub fn is_member(&mut self) -> bool {
        self.membership.metadata().is_ok_and(|group| group.generation >= 0)
    }

    /// Since when polls have failed, with this one; they go on for as long as the task timeout
    /// allows.
    pub fn failing_since(&mut self, now: Duration) -> Duration {
        *self.failing_since.get_or_insert(now)
    }

    /// A poll went well, and so did what came with it.
    pub fn succeeded(&mut self) {
        self.failing_since = None;
    }

    /// Notes that it has failed for good; whether that is news.
    pub fn note_loss(&mut self) -> bool {
        !std::mem::replace(&mut self.is_lost, true)
    }

    /// Whether it has failed for good.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Leaves the group, as a static member too, so that it rebalances; it may be joined anew with
    /// [`ThreadConsumer::subscribe`]. The revocation comes with the polls that follow.
    ///
    /// # Errors
    /// By remedy.
    pub fn leave(&mut self) -> Result<()> {
        self.membership.leave()
    }

    /// Leaves the group; the last revocation comes with the polls that follow.
    ///
    /// # Errors
    /// By remedy.
    pub fn unsubscribe(&mut self) -> Result<()> {
        self.membership.unsubscribe()
    }

    /// Whether the group is left and all was unassigned.
    pub fn has_left(&self) -> bool {
        self.membership.left()
    }

    /// Leaves the group after a failure, so that others take over at once. Each event is answered
    /// by giving everything back, that first which the failure came in the midst of.
    pub fn leave_quickly(&mut self, instance: &Instance) {
        let deadline = instance.now() + instance.config.stop_timeout;
        let unanswered = self.unanswered.take();
        if self.give_back(unanswered).is_err() || self.membership.unsubscribe().is_err() {
            return;
        }
        let mut batch = RecordBatch::new();
        while !self.membership.left() && instance.now() < deadline {
            batch.clear();
            let polled = self.fetching.poll(1, 1, LEAVE_POLL, &mut batch);
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

fn set_all(tasks: &mut TaskRegistry, from: FetchState, to: FetchState) {
    let changed = tasks.iter_mut().filter(|assigned: &&mut AssignedTask| assigned.fetch_state() == from);
    changed.for_each(|assigned| assigned.set_fetch_state(to));
}
