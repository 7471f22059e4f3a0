//! The simulated group coordinator: members, generations, the cooperative protocol (KIP-429) with a
//! sticky assignment or, where all members tell of their disks, by where state lies, static members
//! (KIP-345), session and rebalance timeouts.
//!
//! JoinGroup and SyncGroup are one exchange here, since nothing of an application lies between
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ports::GroupMember;
use crate::record::TopicPartition;
use crate::task_assignment::{JoinedMember, MemberData, assign_tasks};

/// A member, as the coordinator knows it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub client_id: String,
    /// Its `group.instance.id`, if it is a static member.
    instance: Option<String>,
    topics: Vec<String>,
    /// The partitions that it had when it joined last.
    owned: BTreeSet<TopicPartition>,
    /// The generation in which it was assigned them; -1 where it is not known.
    generation: i32,
    /// Data for the group's leader, as text.
    data: Option<String>,
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
    /// Another member has joined with the same `group.instance.id`.
    Fenced,
}

/// A request to join the group.
#[derive(Clone, Debug)]
pub(super) struct Join<'a> {
    /// The member's id, where it has one.
    pub member: Option<&'a str>,
    pub client_id: &'a str,
    /// Its `group.instance.id`, if it is a static member.
    pub instance: Option<&'a str>,
    pub topics: &'a [String],
    /// The partitions that it has.
    pub owned: &'a BTreeSet<TopicPartition>,
    /// The generation in which it was assigned them; -1 where it is not known.
    pub generation: i32,
    /// Data for the group's leader, as text.
    pub data: Option<String>,
}

/// The coordinator of the one group.
///
/// As Kafka's, it lets a static member come back without a rebalance also where the member was to
/// let go of partitions and to join again, so that they could go to others: after a restart the
/// member knows nothing of it, and they belong to nobody until the next rebalance, which a member
/// causes that leaves and joins again.
#[derive(Debug, Default)]
pub(super) struct GroupCoordinator {
    pub generation: i32,
    pub members: BTreeMap<String, Member>,
    /// Ids of static members in whose place another one has joined.
    fenced: BTreeSet<String>,
    /// Until when a round waits for members.
    round_ends: Option<Duration>,
    next_member: u64,
}

/// A partition is assigned to a member that is not more loaded than this above the others.
fn quota(partitions: usize, members: usize) -> usize {
    partitions.div_ceil(members.max(1))
}

impl GroupCoordinator {
    /// A member joins, or joins again; its id. A static member that comes back takes the place of
    /// its former self, whose id is fenced, and has its assignment back without a rebalance
    /// (KIP-345).
    ///
    /// # Errors
    /// The member is not known, or fenced.
    pub fn join(&mut self, join: Join<'_>, now: Duration, rebalance_timeout: Duration) -> Result<String, Heartbeat> {
        let is_former = |member: &Member| join.instance.is_some() && member.instance.as_deref() == join.instance;
        let (id, former) = match join.member {
            Some(id) if self.members.contains_key(id) => (id.to_owned(), id.to_owned()),
            Some(id) => return Err(self.absent(id)),
            None => {
                self.next_member += 1;
                let id = format!("{}-member-{}", join.client_id, self.next_member);
                let former = self.members.iter().find(|(_, member)| is_former(member)).map(|(id, _)| id.clone());
                (id.clone(), former.unwrap_or(id))
            }
        };
        let known = self.members.remove(&former);
        let comes_back = former != id;
        if comes_back {
            self.fenced.insert(former);
        }
        let is_as_before = known.as_ref().is_some_and(|member| member.topics == join.topics);
        let member = Member {
            client_id: join.client_id.to_owned(),
            instance: join.instance.map(str::to_owned),
            topics: join.topics.to_vec(),
            owned: join.owned.clone(),
            generation: join.generation,
            data: join.data,
            assigned: known.map(|member| member.assigned).unwrap_or_default(),
            has_joined: true,
            last_heard: now,
        };
        if self.round_ends.is_none() && !(comes_back && is_as_before) {
            self.begin_round(now, rebalance_timeout);
        }
        self.members.insert(id.clone(), member);
        Ok(id)
    }

    /// The answer to a member that is not in the group.
    fn absent(&self, member: &str) -> Heartbeat {
        if self.fenced.contains(member) { Heartbeat::Fenced } else { Heartbeat::Unknown }
    }

    fn begin_round(&mut self, now: Duration, rebalance_timeout: Duration) {
        self.round_ends = Some(now + rebalance_timeout);
        self.members.values_mut().for_each(|member| member.has_joined = false);
    }

    pub fn heartbeat(&mut self, member: &str, generation: i32, now: Duration) -> Heartbeat {
        let under_way = self.round_ends.is_some();
        let current = self.generation;
        let absent = self.absent(member);
        match self.members.get_mut(member) {
            None => absent,
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

    /// The assignment of a member whose round is over; `None` while it is not.
    ///
    /// # Errors
    /// The member is not in the group any more.
    pub fn assignment(&self, member: &str) -> Result<Option<(i32, BTreeSet<TopicPartition>)>, Heartbeat> {
        let found = self.members.get(member).ok_or_else(|| self.absent(member))?;
        Ok(self.round_ends.is_none().then(|| (self.generation, found.assigned.clone())))
    }

    /// Whether a commit of offsets by this member is taken: `Err` with whether the member is
    /// unknown or fenced, or only its generation is unknown.
    pub fn admits(&self, member: &str, generation: i32) -> Result<(), Heartbeat> {
        match self.members.get(member) {
            None => Err(self.absent(member)),
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
        // A static member stays until its session is over.
        self.members.retain(|_, member| member.has_joined || member.instance.is_some());
        self.round_ends = None;
        self.generation += 1;
        for member in self.members.values_mut() {
            if member.has_joined {
                member.last_heard = now;
            }
            member.assigned.clear();
        }
        self.assign(counts);
        true
    }

    /// The members, as the leader sees them, where all of them tell of their disks.
    fn state_aware_members(&self) -> Option<Vec<JoinedMember>> {
        let joined = |(id, member): (&String, &Member)| {
            let data = member.data.as_ref()?;
            Some(JoinedMember {
                id: id.clone(),
                data: MemberData::decode(data).unwrap_or_default(),
                topics: member.topics.iter().cloned().collect(),
                owned: member.owned.clone(),
                generation: member.generation,
            })
        };
        self.members.iter().map(joined).collect()
    }

    /// The assignment by where state lies. What another member has, or believes to have, goes to
    /// nobody in this round.
    fn assign_by_state(&mut self, joined: &[JoinedMember], all: &BTreeSet<TopicPartition>) {
        for (at, goal) in assign_tasks(joined, all).into_iter().enumerate() {
            let others = || joined.iter().enumerate().filter(|(other, _)| *other != at);
            let is_free = |partition: &TopicPartition| !others().any(|(_, other)| other.owned.contains(partition));
            let assigned = goal.into_iter().filter(is_free).collect();
            if let Some(member) = self.members.get_mut(&joined[at].id) {
                member.assigned = assigned;
            }
        }
    }

    /// Assigns by where state lies, or by the sticky assignment: what a member has above its quota
    /// goes to nobody in this round then. The member is to let go of it first, and joins again.
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
        if let Some(joined) = self.state_aware_members() {
            return self.assign_by_state(&joined, &all.into_iter().collect());
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
