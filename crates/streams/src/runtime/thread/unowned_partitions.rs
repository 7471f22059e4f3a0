//! Partitions that nobody owns though the group is stable, and what ends that.
//!
//! With the cooperative protocol (KIP-429) a partition moves in two rebalances: its owner is told
//! in the first to let go of it, and joins again for the second. An owner that is a static member
//! (KIP-345), ends between the two and comes back within its session timeout, gets its assignment
//! without a rebalance and knows of no second one: so the partition belongs to nobody, until
//! something else has the group rebalance. A consumer has no call for that (Kafka's Java client
//! has `enforceRebalance`, KIP-568; librdkafka has none), but one that leaves and joins again
//! causes it. The member that has least does so, since what it has may move.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use super::super::config::transactional_id;
use super::parts::Parts;
use crate::error::Result;
use crate::planted::PlantedBug;
use crate::ports::GroupMember;
use crate::record::TopicPartition;
use crate::topology_digest::split_client_id;

/// The looks of a thread at who owns what.
#[derive(Default)]
pub(super) struct UnownedPartitionsCheck {
    /// The answer of the look that is under way in another thread.
    under_way: Option<Receiver<Result<Option<Vec<GroupMember>>>>>,
    /// When the next one is due.
    next: Duration,
    /// The members at the last look, where partitions had no owner then.
    last: Option<Vec<GroupMember>>,
}

impl UnownedPartitionsCheck {
    /// Begins a look when it is time, and takes in what came of the last one. Whether this thread
    /// is to leave the group and to join it again, which is logged. Waits for nothing.
    pub fn look(&mut self, parts: &Parts) -> bool {
        let instance = &parts.instance;
        if !instance.config.has_static_members || PlantedBug::UnownedPartitionsLeft.is_planted() {
            return false;
        }
        let now = instance.now();
        let Some(under_way) = &self.under_way else {
            if now >= self.next {
                self.next = now + instance.config.check_interval;
                let (send, answer) = channel();
                self.under_way = Some(answer);
                let admin = instance.ports.admin.clone();
                // The thread may have ended meanwhile.
                instance.ports.executor.run_at_once(Box::new(move || _ = send.send(admin.group_members())));
            }
            return false;
        };
        let answer = match under_way.try_recv() {
            Err(TryRecvError::Empty) => return false,
            Ok(Ok(answer)) => answer,
            // The check of the source topics asks the same coordinator, and says when that fails.
            Err(TryRecvError::Disconnected) | Ok(Err(_)) => None,
        };
        self.under_way = None;
        let own = transactional_id(&instance.config.application_id, &instance.config.instance_id, parts.thread);
        let unowned = self.decide(answer, &instance.sources.partitions(), &own);
        if unowned.is_empty() {
            return false;
        }
        let partitions: Vec<String> = unowned.iter().map(ToString::to_string).collect();
        tracing::info!(
            thread = parts.thread,
            "nobody owns {} partitions though the group is stable ({}), as it happens where a static member restarts during a rebalance: \
             this thread, which has the fewest partitions, leaves the group and joins it again, so that they are assigned",
            partitions.len(),
            partitions.join(", ")
        );
        true
    }

    /// The partitions for whose sake this thread is to join again, by an answer; `None` is a group
    /// that is being settled.
    fn decide(
        &mut self,
        answer: Option<Vec<GroupMember>>,
        sources: &[TopicPartition],
        own: &str,
    ) -> BTreeSet<TopicPartition> {
        let before = self.last.take();
        let Some(members) = answer else { return BTreeSet::new() };
        let owned: BTreeSet<&TopicPartition> = members.iter().flat_map(|member| &member.partitions).collect();
        let unowned: BTreeSet<TopicPartition> =
            sources.iter().filter(|partition| !owned.contains(partition)).cloned().collect();
        if unowned.is_empty() {
            return unowned;
        }
        // Partitions that are on their way look the same, but not for long.
        let has_lasted = before.as_ref() == Some(&members);
        let least = members.iter().min_by_key(|member| (member.partitions.len(), &member.client_id));
        let is_ours = least.is_some_and(|member| split_client_id(&member.client_id).0 == own);
        if has_lasted && is_ours {
            return unowned;
        }
        self.last = Some(members);
        BTreeSet::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("lines", partition)
    }

    fn members(owned: [&[i32]; 3]) -> Option<Vec<GroupMember>> {
        let client =
            |number: usize| if number == 1 { "app-b-0.0011223344556677" } else { ["app-a-0", "", "app-c-0"][number] };
        let member = |(number, owned): (usize, &&[i32])| GroupMember {
            client_id: client(number).to_owned(),
            partitions: owned.iter().map(|partition| at(*partition)).collect(),
        };
        Some(owned.iter().enumerate().map(member).collect())
    }

    fn decisions(answers: &[Option<Vec<GroupMember>>], own: &str) -> Vec<Vec<i32>> {
        let sources: Vec<TopicPartition> = (0..4).map(at).collect();
        let mut check = UnownedPartitionsCheck::default();
        let mut decide = |answer: &Option<Vec<GroupMember>>| {
            check.decide(answer.clone(), &sources, own).iter().map(|unowned| unowned.partition).collect()
        };
        answers.iter().map(&mut decide).collect()
    }

    #[test]
    fn the_member_that_has_least_joins_again_where_partitions_stay_without_an_owner() {
        let answers = [members([&[0, 1], &[2], &[]]), members([&[0, 1], &[2], &[]])];
        assert_eq!(decisions(&answers, "app-c-0"), [vec![], vec![3]]);
        assert!(decisions(&answers, "app-a-0").iter().all(Vec::is_empty));
        // Of several that have least, the first by name.
        let answers = [members([&[0, 1], &[2], &[3]]), members([&[0], &[2], &[3]]), members([&[0], &[2], &[3]])];
        assert_eq!(decisions(&answers, "app-a-0"), [vec![], vec![], vec![1]]);
        assert!(decisions(&answers, "app-b-0").iter().all(Vec::is_empty));
        // A digest of the topology behind the id is no part of it.
        let answers = [members([&[0, 1], &[], &[3]]), members([&[0, 1], &[], &[3]])];
        assert_eq!(decisions(&answers, "app-b-0"), [vec![], vec![2]]);
    }

    #[test]
    fn nobody_joins_again_for_partitions_that_are_on_their_way() {
        let whole = members([&[0, 1], &[2], &[3]]);
        let moving = members([&[0], &[2], &[3]]);
        let other = members([&[0, 1], &[2], &[]]);
        let answers = [moving.clone(), whole, moving.clone(), None, moving, other];
        for own in ["app-a-0", "app-b-0", "app-c-0"] {
            assert!(decisions(&answers, own).iter().all(Vec::is_empty), "{own}");
        }
    }
}
