//! The state of a simulated consumer, as its client library keeps it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::process_state::ProcessId;
use crate::error::Error;
use crate::ports::GroupEvent;
use crate::record::TopicPartition;
use crate::task_assignment::{MemberData, StateOnDisk};

/// How the client stands to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberState {
    /// It has not subscribed.
    Outside,
    /// It is to join.
    Joins,
    /// It has joined, and waits for its assignment.
    Waits,
    Member,
    /// It has let go of everything and is to leave.
    Leaves,
    Left,
}

/// How far a partition was read.
#[derive(Clone, Debug)]
pub(super) struct FetchPosition {
    pub next: i64,
    pub is_held: bool,
    /// The end that was told last.
    pub told_end: Option<i64>,
    /// The high watermark, as the last fetch answered it.
    pub known_end: i64,
}

/// A consumer.
#[derive(Debug)]
pub(super) struct Client {
    pub process: ProcessId,
    pub client_id: String,
    /// The id of its application's instance.
    pub instance_id: String,
    /// The notes of its disk, where it tells the group's leader of them.
    pub state_on_disk: Option<StateOnDisk>,
    /// Its `group.instance.id`, if it is a static member.
    pub instance: Option<String>,
    pub topics: Vec<String>,
    pub standing: MemberState,
    pub member: Option<String>,
    pub generation: i32,
    /// The partitions that events have told, and that were not taken back.
    pub owned: BTreeSet<TopicPartition>,
    pub events: VecDeque<GroupEvent>,
    pub unanswered: Option<GroupEvent>,
    pub positions: BTreeMap<TopicPartition, FetchPosition>,
    /// It joins again once all events are answered.
    pub is_to_rejoin: bool,
    pub is_leaving: bool,
    /// It leaves only to join again, and whether it has subscribed for that already.
    pub rejoin: Option<bool>,
    pub last_heard: Duration,
    pub last_poll: Duration,
    /// It has failed for good.
    pub has_failed: bool,
    /// An error for the next poll.
    pub failed: Option<Error>,
}

impl Client {
    /// The data that it sends to the group's leader, as text.
    pub fn member_data(&self) -> Option<String> {
        let on_disk = self.state_on_disk.as_ref()?.snapshot();
        Some(MemberData { instance: self.instance_id.clone(), on_disk }.encode())
    }

    pub fn is_settled(&self) -> bool {
        self.events.is_empty() && self.unanswered.is_none()
    }

    /// Another member has joined with the same `group.instance.id`, so this one has failed for
    /// good.
    pub fn fence(&mut self) {
        self.lose();
        self.has_failed = true;
    }

    /// The membership is lost.
    pub fn lose(&mut self) {
        self.member = None;
        self.generation = -1;
        self.is_to_rejoin = false;
        self.events.clear();
        // An event that was handed out is answered first.
        let told = match &self.unanswered {
            Some(GroupEvent::Revoked(gone) | GroupEvent::Lost(gone)) => gone.clone(),
            _ => Vec::new(),
        };
        let lost: Vec<TopicPartition> =
            self.owned.iter().filter(|partition| !told.contains(partition)).cloned().collect();
        if !lost.is_empty() {
            self.events.push_back(GroupEvent::Lost(lost));
        }
        self.standing = if self.is_leaving { MemberState::Leaves } else { MemberState::Joins };
    }

    /// Lets go of everything, and then leaves the group.
    pub fn leave(&mut self) {
        self.is_leaving = true;
        self.is_to_rejoin = false;
        // What was not told yet is not told any more.
        self.events.retain(|event| !matches!(event, GroupEvent::Assigned(_)));
        let told: Vec<TopicPartition> = self
            .events
            .iter()
            .flat_map(|event| match event {
                GroupEvent::Revoked(gone) | GroupEvent::Lost(gone) => gone.clone(),
                GroupEvent::Assigned(_) => Vec::new(),
            })
            .collect();
        let rest: Vec<TopicPartition> =
            self.owned.iter().filter(|partition| !told.contains(partition)).cloned().collect();
        if !rest.is_empty() {
            self.events.push_back(match self.member {
                Some(_) => GroupEvent::Revoked(rest),
                None => GroupEvent::Lost(rest),
            });
        }
        self.standing = MemberState::Leaves;
    }

    /// Takes an assignment: tells what goes, then what comes.
    pub fn take(&mut self, generation: i32, assigned: &BTreeSet<TopicPartition>) {
        self.generation = generation;
        self.standing = MemberState::Member;
        let gone: Vec<TopicPartition> = self.owned.difference(assigned).cloned().collect();
        let came: Vec<TopicPartition> = assigned.difference(&self.owned).cloned().collect();
        if !gone.is_empty() {
            self.is_to_rejoin = true;
            self.events.push_back(GroupEvent::Revoked(gone));
        }
        self.events.push_back(GroupEvent::Assigned(came));
    }
}
