//! The task assignment: which member of the group gets which partition, and the task that reads it.
//! The leader of the group decides it for all.
//!
//! As Kafka Streams does since KIP-441, it prefers instances on whose disk a task's state lies,
//! while all members have the same number of partitions, give or take one. An owner keeps a task
//! whose state its instance has. A task whose owner does not have its state goes to an instance
//! that has it, so that nobody restores what is there already; tasks without state make room for
//! that. It is a pure function: the same members with the same claims get the same assignment, in
//! whatever order they are listed.
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
    assignment.keep_state();
    assignment.add_by_state();
    assignment.keep_rest();
    assignment.add_rest();
    assignment.of_members
}

/// An assignment in the making.
struct Assignment<'m> {
    members: &'m [JoinedMember],
    partitions: &'m BTreeSet<TopicPartition>,
    of_members: Vec<BTreeSet<TopicPartition>>,
    assigned: BTreeSet<TopicPartition>,
    /// Partitions that every member may have.
    least: usize,
    /// Members that may have one more.
    extra: usize,
    /// The partitions that each member has and may keep.
    owned: Vec<Vec<&'m TopicPartition>>,
    /// The copies of a task's state: the most caught-up one first.
    copies: BTreeMap<&'m TopicPartition, Vec<Copy<'m>>>,
}

/// A task's state on the disk of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Copy<'m> {
    offsets: Reverse<u64>,
    instance: &'m str,
}

impl<'m> Assignment<'m> {
    fn new(members: &'m [JoinedMember], partitions: &'m BTreeSet<TopicPartition>) -> Assignment<'m> {
        Assignment {
            members,
            partitions,
            of_members: vec![BTreeSet::new(); members.len()],
            assigned: BTreeSet::new(),
            least: partitions.len() / members.len(),
            extra: partitions.len() % members.len(),
            owned: owned(members, partitions),
            copies: copies(members, partitions),
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
    fn least_loaded(&self, is_candidate: impl Fn(usize) -> bool, topic: &str) -> Option<usize> {
        let load = |member: &usize| {
            let of_member = &self.of_members[*member];
            let of_topic = of_member.iter().filter(|partition| *partition.topic == *topic).count();
            (of_member.len(), of_topic, &self.members[*member].id)
        };
        let members = (0..self.members.len()).filter(|member| self.members[*member].topics.contains(topic));
        members.filter(|member| is_candidate(*member)).min_by_key(load)
    }

    fn copies_of(&self, partition: &TopicPartition) -> &[Copy<'m>] {
        self.copies.get(partition).map_or(&[], Vec::as_slice)
    }

    /// The instances that have the state of a task: at least nine tenths of what the most caught-up
    /// copy has.
    fn holders(&self, partition: &TopicPartition) -> impl Iterator<Item = &'m str> {
        let copies = self.copies_of(partition);
        let most = copies.first().map_or(0, |copy| copy.offsets.0);
        copies.iter().filter(move |copy| copy.offsets.0 >= most - most / 10).map(|copy| copy.instance)
    }

    fn has_state(&self, member: usize, partition: &TopicPartition) -> bool {
        self.holders(partition).any(|instance| *instance == *self.members[member].data.instance)
    }

    /// Each member keeps tasks whose state its instance has, up to its share. One that has more
    /// than its share has to let go of some: of those whose state other instances have as well,
    /// down to an even share of all tasks with state.
    ///
    /// An assignment that is within the shares is kept, so a group comes to rest: what it has put
    /// where the state is stays there.
    fn keep_state(&mut self) {
        let even_share = self.copies.len().div_ceil(self.members.len());
        let share = self.least + usize::from(self.extra > 0);
        let mut owners: Vec<(usize, Vec<(bool, &'m TopicPartition)>)> = (0..self.members.len())
            .map(|owner| {
                let instance = &*self.members[owner].data.instance;
                let is_elsewhere = |partition| self.holders(partition).any(|holder| holder != instance);
                let with_state = self.owned[owner].iter().filter(|partition| self.has_state(owner, partition));
                let mut keep: Vec<_> = with_state.map(|partition| (is_elsewhere(partition), *partition)).collect();
                keep.sort_unstable();
                (owner, keep)
            })
            .collect();
        // Who could let go of something that another instance has comes last, and so has to.
        owners.sort_unstable_by_key(|(owner, keep)| {
            let can_let_go = keep.iter().any(|(is_elsewhere, _)| *is_elsewhere);
            (Reverse(keep.len()), can_let_go, &self.members[*owner].id)
        });
        for (owner, keep) in owners {
            let is_over = self.owned[owner].len() > share;
            for (is_elsewhere, partition) in keep {
                let is_let_go = is_over && is_elsewhere && self.of_members[owner].len() >= even_share;
                if !is_let_go && self.has_room(owner) {
                    self.assign(owner, partition);
                }
            }
        }
    }

    /// A task that nobody keeps goes to an instance that has its state, where one has room. A task
    /// with few copies chooses before one with many.
    fn add_by_state(&mut self) {
        let mut free: Vec<(usize, &'m TopicPartition)> = (self.copies.keys())
            .filter(|partition| !self.assigned.contains(**partition))
            .map(|partition| (self.holders(partition).count(), *partition))
            .collect();
        free.sort_unstable();
        for (_, partition) in free {
            let is_holder = |member: usize| self.has_room(member) && self.has_state(member, partition);
            if let Some(member) = self.least_loaded(is_holder, &partition.topic) {
                self.assign(member, partition);
            }
        }
    }

    /// Each member keeps what else it owns, up to its share: first tasks with state.
    fn keep_rest(&mut self) {
        let mut owners: Vec<usize> = (0..self.members.len()).collect();
        owners.sort_unstable_by_key(|owner| (Reverse(self.owned[*owner].len()), &self.members[*owner].id));
        for owner in owners {
            let rest = self.owned[owner].iter().filter(|partition| !self.assigned.contains(**partition));
            let mut rest: Vec<&'m TopicPartition> = rest.copied().collect();
            rest.sort_unstable_by_key(|partition| (self.copies_of(partition).is_empty(), *partition));
            for partition in rest {
                if self.has_room(owner) {
                    self.assign(owner, partition);
                }
            }
        }
    }

    /// The rest goes to those that have some of the state, and then to those that have the least.
    fn add_rest(&mut self) {
        let partitions = self.partitions.iter();
        let rest: Vec<&'m TopicPartition> =
            partitions.filter(|partition| !self.assigned.contains(*partition)).collect();
        for partition in rest {
            let of_copy = |copy: &Copy<'_>| {
                let is_there = |member: usize| *self.members[member].data.instance == *copy.instance;
                self.least_loaded(|member| self.has_room(member) && is_there(member), &partition.topic)
            };
            let holder = self.copies_of(partition).iter().find_map(of_copy);
            if let Some(member) = holder.or_else(|| self.least_loaded(|_| true, &partition.topic)) {
                self.assign(member, partition);
            }
        }
    }
}

/// The partitions that each member has and may keep: of two that claim a partition the one keeps it
/// that was assigned it last.
fn owned<'m>(members: &[JoinedMember], partitions: &'m BTreeSet<TopicPartition>) -> Vec<Vec<&'m TopicPartition>> {
    let mut owned = vec![Vec::new(); members.len()];
    for partition in partitions {
        let claims = members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.owned.contains(partition) && member.topics.contains(&*partition.topic));
        if let Some((owner, _)) = claims.max_by_key(|(_, member)| (member.generation, Reverse(&member.id))) {
            owned[owner].push(partition);
        }
    }
    owned
}

/// The copies of each task's state, the most caught-up one first.
fn copies<'m>(
    members: &'m [JoinedMember],
    partitions: &'m BTreeSet<TopicPartition>,
) -> BTreeMap<&'m TopicPartition, Vec<Copy<'m>>> {
    let mut by_instance: BTreeMap<(&'m TopicPartition, &'m str), u64> = BTreeMap::new();
    for member in members {
        for (partition, offsets) in &member.data.on_disk {
            if let Some(partition) = partitions.get(partition) {
                let copy = by_instance.entry((partition, &member.data.instance)).or_default();
                *copy = (*copy).max(*offsets);
            }
        }
    }
    let mut copies: BTreeMap<&TopicPartition, Vec<Copy<'_>>> = BTreeMap::new();
    for ((partition, instance), offsets) in by_instance {
        copies.entry(partition).or_default().push(Copy { offsets: Reverse(offsets), instance });
    }
    copies.values_mut().for_each(|copies| copies.sort_unstable());
    copies
}

#[cfg(test)]
mod tests;
