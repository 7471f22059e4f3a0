//! The task assignment: which member of the group gets which partition, and the task that reads it.
//! The leader of the group decides it for all.
//!
//! As Kafka Streams does since KIP-441, it prefers members on whose disk a task's state lies, the
//! most caught-up copy first, while all members have the same number of partitions, give or take
//! one. What a member owns it keeps within that number. It is a pure function: the same members
//! with the same claims get the same assignment, in whatever order they are listed.
//!
//! The assignment is the goal of a rebalance. A partition that goes from one member to another is
//! first revoked from its owner (KIP-429), which the group's protocol sees to.

mod member_data;
mod state_on_disk;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

pub use member_data::MemberData;
pub use state_on_disk::StateOnDisk;

use crate::record::TopicPartition;

/// A member of the group, as it joined: a stream thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinedMember {
    /// The id that the group's coordinator has given it.
    pub id: String,
    /// Data that it has sent to the leader.
    pub data: MemberData,
    /// The topics that it subscribes to.
    pub topics: BTreeSet<String>,
    /// The partitions that it has.
    pub owned: BTreeSet<TopicPartition>,
    /// The generation in which it was assigned them; -1 where it is not known.
    pub generation: i32,
}

/// The assignment of each member, in the order of the members. A partition whose topic nobody
/// subscribes to is assigned to nobody.
pub fn assign_tasks(members: &[JoinedMember], partitions: &BTreeSet<TopicPartition>) -> Vec<BTreeSet<TopicPartition>> {
    if members.is_empty() {
        return Vec::new();
    }
    let mut assignment = Assignment::new(members, partitions);
    assignment.keep_owned(partitions);
    assignment.add_by_state(partitions);
    assignment.add_rest(partitions);
    assignment.of_members
}

/// An assignment in the making.
struct Assignment<'m> {
    members: &'m [JoinedMember],
    of_members: Vec<BTreeSet<TopicPartition>>,
    assigned: BTreeSet<TopicPartition>,
    /// Partitions that every member may have.
    least: usize,
    /// Members that may have one more.
    extra: usize,
    /// The copies of a task's state: the most caught-up one first.
    copies: BTreeMap<TopicPartition, Vec<Copy<'m>>>,
}

/// A task's state on the disk of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Copy<'m> {
    offsets: Reverse<u64>,
    instance: &'m str,
}

impl<'m> Assignment<'m> {
    fn new(members: &'m [JoinedMember], partitions: &BTreeSet<TopicPartition>) -> Assignment<'m> {
        let mut copies: BTreeMap<TopicPartition, BTreeMap<&str, u64>> = BTreeMap::new();
        for member in members {
            for (partition, offsets) in &member.data.on_disk {
                let copy = copies.entry(partition.clone()).or_default().entry(&member.data.instance).or_default();
                *copy = (*copy).max(*offsets);
            }
        }
        let sorted = |copies: BTreeMap<&'m str, u64>| {
            let copy = |(instance, offsets)| Copy { offsets: Reverse(offsets), instance };
            let mut copies: Vec<Copy<'m>> = copies.into_iter().map(copy).collect();
            copies.sort_unstable();
            copies
        };
        Assignment {
            members,
            of_members: vec![BTreeSet::new(); members.len()],
            assigned: BTreeSet::new(),
            least: partitions.len() / members.len(),
            extra: partitions.len() % members.len(),
            copies: copies.into_iter().map(|(partition, copies)| (partition, sorted(copies))).collect(),
        }
    }

    fn assign(&mut self, member: usize, partition: &TopicPartition) {
        if self.of_members[member].len() == self.least {
            self.extra = self.extra.saturating_sub(1);
        }
        self.of_members[member].insert(partition.clone());
        self.assigned.insert(partition.clone());
    }

    fn has_room(&self, member: usize) -> bool {
        let count = self.of_members[member].len();
        count < self.least || (count == self.least && self.extra > 0)
    }

    /// Of several members the one that is to have the next partition of a topic: the least loaded.
    fn least_loaded(&self, members: impl Iterator<Item = usize>, topic: &str) -> Option<usize> {
        let load = |member: &usize| {
            let of_member = &self.of_members[*member];
            let of_topic = of_member.iter().filter(|partition| *partition.topic == *topic).count();
            (of_member.len(), of_topic, &self.members[*member].id)
        };
        members.filter(|member| self.members[*member].topics.contains(topic)).min_by_key(load)
    }

    /// In which order an owner lets go of partitions, the greatest first: of what an instance that
    /// is to get more has a copy of, then of what has no state, and last of state that somebody
    /// would have to restore.
    fn keep_rank(&self, owner: &JoinedMember, partition: &TopicPartition, short: &BTreeSet<&str>) -> (u8, u64) {
        let copies = self.copies.get(partition).map_or(&[][..], Vec::as_slice);
        let is_taker = |copy: &&Copy<'_>| copy.instance != owner.data.instance && short.contains(copy.instance);
        match copies.iter().find(is_taker) {
            Some(other) => (2, other.offsets.0),
            None if copies.is_empty() => (1, 0),
            None => (0, 0),
        }
    }

    /// The instances whose members own less than their share.
    fn short_instances(&self, owned: &[(usize, Vec<&TopicPartition>)]) -> BTreeSet<&'m str> {
        let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
        let share = self.least + usize::from(self.extra > 0);
        for (owner, owned) in owned {
            *missing.entry(&self.members[*owner].data.instance).or_default() += share.saturating_sub(owned.len());
        }
        missing.into_iter().filter(|(_, missing)| *missing > 0).map(|(instance, _)| instance).collect()
    }

    /// Each member keeps what it owns, up to its share.
    fn keep_owned(&mut self, partitions: &BTreeSet<TopicPartition>) {
        let mut owners: BTreeMap<&TopicPartition, (i32, Reverse<&str>, usize)> = BTreeMap::new();
        for (index, member) in self.members.iter().enumerate() {
            let is_valid = |partition: &&TopicPartition| {
                partitions.contains(*partition) && member.topics.contains(&*partition.topic)
            };
            for partition in member.owned.iter().filter(is_valid) {
                // Of two that claim it, the one that was assigned it last.
                let claim = (member.generation, Reverse(&*member.id), index);
                let owner = owners.entry(partition).or_insert(claim);
                *owner = (*owner).max(claim);
            }
        }
        let mut owned: Vec<(usize, Vec<&TopicPartition>)> = (0..self.members.len()).map(|at| (at, vec![])).collect();
        owners.into_iter().for_each(|(partition, (.., owner))| owned[owner].1.push(partition));
        let short = self.short_instances(&owned);
        // Who could let go of something at no cost comes last, and so has to.
        let is_cheap =
            |owner: usize, partition: &TopicPartition| self.keep_rank(&self.members[owner], partition, &short).0 > 1;
        owned.sort_by_cached_key(|(owner, owned)| {
            let is_any_cheap = owned.iter().any(|partition| is_cheap(*owner, partition));
            (Reverse(owned.len()), is_any_cheap, &self.members[*owner].id)
        });
        for (owner, mut owned) in owned {
            owned.sort_by_key(|partition| (self.keep_rank(&self.members[owner], partition, &short), *partition));
            for partition in owned {
                if self.has_room(owner) {
                    self.assign(owner, partition);
                }
            }
        }
    }

    /// A partition that nobody keeps goes to an instance that has its state, where one has room. A
    /// task with few copies chooses before one with many.
    fn add_by_state(&mut self, partitions: &BTreeSet<TopicPartition>) {
        let free = partitions.difference(&self.assigned).filter_map(|partition| {
            let copies = self.copies.get(partition)?;
            Some((copies.len(), partition.clone(), copies.clone()))
        });
        let mut free: Vec<_> = free.collect();
        free.sort_unstable();
        for (_, partition, copies) in free {
            let of_copy = |copy: &Copy<'_>| {
                let is_there = |member: &usize| self.members[*member].data.instance == copy.instance;
                let members = (0..self.members.len()).filter(is_there).filter(|member| self.has_room(*member));
                self.least_loaded(members, &partition.topic)
            };
            if let Some(member) = copies.iter().find_map(of_copy) {
                self.assign(member, &partition);
            }
        }
    }

    /// The rest goes to those that have the least.
    fn add_rest(&mut self, partitions: &BTreeSet<TopicPartition>) {
        let rest: Vec<TopicPartition> = partitions.difference(&self.assigned).cloned().collect();
        for partition in rest {
            if let Some(member) = self.least_loaded(0..self.members.len(), &partition.topic) {
                self.assign(member, &partition);
            }
        }
    }
}

#[cfg(test)]
mod tests;
