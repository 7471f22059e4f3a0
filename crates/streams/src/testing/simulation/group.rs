//! The simulated group coordinator: members, generations, the cooperative protocol (KIP-429) with a
//! sticky assignment, static members (KIP-345), session and rebalance timeouts.
//!
//! JoinGroup and SyncGroup are one exchange here, since nothing of an application lies between
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ports::GroupMember;
use crate::record::TopicPartition;

/// A member, as the coordinator knows it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub client_id: String,
    topics: Vec<String>,
    /// The partitions that it had when it joined last.
    owned: BTreeSet<TopicPartition>,
    pub assigned: BTreeSet<TopicPartition>,
    /// It has joined the round that is under way, or the last one.
    has_joined: bool,
    last_heard: Duration,
}

/// Answer to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heartbeat {
    Fine,
    /// The member is to join again.
    Rebalance,
    /// The coordinator does not know the member, or its generation.
    Unknown,
}

/// The coordinator of the one group.
#[derive(Debug, Default)]
pub(super) struct GroupCoordinator {
    pub generation: i32,
    pub members: BTreeMap<String, Member>,
    /// Until when a round waits for members.
    round_ends: Option<Duration>,
    next_member: u64,
}

/// A partition is assigned to a member that is not more loaded than this above the others.
fn quota(partitions: usize, members: usize) -> usize {
    partitions.div_ceil(members.max(1))
}

impl GroupCoordinator {
    /// A member joins, or joins again.
    pub fn join(
        &mut self,
        member: Option<&str>,
        client_id: &str,
        topics: &[String],
        owned: &BTreeSet<TopicPartition>,
        now: Duration,
        rebalance_timeout: Duration,
    ) -> Option<String> {
        let id = match member {
            Some(id) if self.members.contains_key(id) => id.to_owned(),
            Some(_) => return None,
            None => {
                self.next_member += 1;
                format!("{client_id}-member-{}", self.next_member)
            }
        };
        let known = self.members.remove(&id);
        let assigned = known.map(|member| member.assigned).unwrap_or_default();
        let member = Member {
            client_id: client_id.to_owned(),
            topics: topics.to_vec(),
            owned: owned.clone(),
            assigned,
            has_joined: true,
            last_heard: now,
        };
        if self.round_ends.is_none() {
            self.begin_round(now, rebalance_timeout);
        }
        self.members.insert(id.clone(), member);
        Some(id)
    }

    fn begin_round(&mut self, now: Duration, rebalance_timeout: Duration) {
        self.round_ends = Some(now + rebalance_timeout);
        self.members.values_mut().for_each(|member| member.has_joined = false);
    }

    pub fn heartbeat(&mut self, member: &str, generation: i32, now: Duration) -> Heartbeat {
        let under_way = self.round_ends.is_some();
        let current = self.generation;
        match self.members.get_mut(member) {
            None => Heartbeat::Unknown,
            Some(member) => {
                member.last_heard = now;
                if under_way {
                    Heartbeat::Rebalance
                } else if generation != current {
                    Heartbeat::Unknown
                } else {
                    Heartbeat::Fine
                }
            }
        }
    }

    pub fn leave(&mut self, member: &str, now: Duration, rebalance_timeout: Duration) {
        if self.members.remove(member).is_some() && self.round_ends.is_none() && !self.members.is_empty() {
            self.begin_round(now, rebalance_timeout);
        }
    }

    /// The assignment of a member whose round is over.
    pub fn assignment(&self, member: &str) -> Option<(i32, BTreeSet<TopicPartition>)> {
        if self.round_ends.is_some() {
            return None;
        }
        self.members.get(member).map(|member| (self.generation, member.assigned.clone()))
    }

    /// Whether a commit of offsets by this member is taken: `Err` with whether the member is
    /// unknown, or only its generation.
    pub fn admits(&self, member: &str, generation: i32) -> Result<(), Heartbeat> {
        match self.members.get(member) {
            None => Err(Heartbeat::Unknown),
            Some(_) if generation != self.generation => Err(Heartbeat::Rebalance),
            Some(_) => Ok(()),
        }
    }

    pub fn described(&self) -> Option<Vec<GroupMember>> {
        if self.round_ends.is_some() {
            return None;
        }
        let member = |member: &Member| GroupMember {
            client_id: member.client_id.clone(),
            partitions: member.assigned.iter().cloned().collect(),
        };
        Some(self.members.values().map(member).collect())
    }

    pub fn expire(&mut self, now: Duration, session_timeout: Duration, rebalance_timeout: Duration) -> Vec<String> {
        // Who has joined waits for the coordinator's answer, and is not expected to be heard of.
        let waits = self.round_ends.is_some();
        let is_gone = |member: &Member| now > member.last_heard + session_timeout && !(waits && member.has_joined);
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| is_gone(member)).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.members.remove(id);
        }
        if !gone.is_empty() && self.round_ends.is_none() {
            self.begin_round(now, rebalance_timeout);
        }
        gone
    }

    /// Ends the round once all have joined, or its time is over; whether it did.
    pub fn end_round(&mut self, now: Duration, counts: &BTreeMap<String, i32>) -> bool {
        let Some(ends) = self.round_ends else { return false };
        if now < ends && self.members.values().any(|member| !member.has_joined) {
            return false;
        }
        self.members.retain(|_, member| member.has_joined);
        self.round_ends = None;
        self.generation += 1;
        for member in self.members.values_mut() {
            member.last_heard = now;
            member.assigned.clear();
        }
        self.assign(counts);
        true
    }

    /// The sticky assignment. What a member has above its quota goes to nobody in this round: the
    /// member is to let go of it first, and joins again then.
    fn assign(&mut self, counts: &BTreeMap<String, i32>) {
        let topics: BTreeSet<&String> = self.members.values().flat_map(|member| &member.topics).collect();
        let all: Vec<TopicPartition> = topics
            .into_iter()
            .flat_map(|topic| {
                let count = counts.get(topic).copied().unwrap_or(0);
                (0..count).map(move |partition| TopicPartition::new(topic.as_str(), partition))
            })
            .collect();
        if self.members.is_empty() {
            return;
        }
        let (members, partitions) = (self.members.len(), all.len());
        let most = quota(partitions, members);
        // So many members may have the quota, the others have one less.
        let mut full = if partitions.is_multiple_of(members) { members } else { partitions % members };
        let mut claimed: BTreeMap<TopicPartition, usize> = BTreeMap::new();
        for member in self.members.values() {
            for partition in &member.owned {
                *claimed.entry(partition.clone()).or_default() += 1;
            }
        }
        for member in self.members.values_mut() {
            let limit = if full > 0 { most } else { most - 1 };
            // What two members believe to have belongs to neither.
            let mine = member.owned.iter().filter(|partition| claimed[*partition] == 1 && all.contains(partition));
            member.assigned = mine.take(limit).cloned().collect();
            if member.assigned.len() == most {
                full = full.saturating_sub(1);
            }
        }
        for partition in &all {
            if claimed.contains_key(partition) {
                continue;
            }
            let least = self.members.values_mut().min_by_key(|member| member.assigned.len());
            if let Some(member) = least {
                member.assigned.insert(partition.clone());
            }
        }
    }
}
