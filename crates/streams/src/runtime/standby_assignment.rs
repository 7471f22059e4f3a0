//! The standby assignment: which tasks an instance keeps standbys of. Each instance computes this
//! independently from the description of the group; identical input produces identical output.
//!
//! For each task the instances other than its owner are ranked by a hash of task and instance
//! (rendezvous hashing); the first N keep its store warm. So a task's standbys change only with its
//! owner, or where an instance comes or goes that is one of them.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ports::GroupMember;
use crate::record::TaskId;
use crate::task::Plan;
use crate::topology_digest::split_client_id;

/// The instance of a member, by its client id (`<application id>-<instance id>-<thread>`, with the
/// digest of its topology behind a dot or without); `None` where that is not of this form.
pub(super) fn instance_of(client_id: &str) -> Option<&str> {
    let (instance, thread) = split_client_id(client_id).0.rsplit_once('-')?;
    let is_thread = !thread.is_empty() && thread.bytes().all(|byte| byte.is_ascii_digit());
    is_thread.then_some(instance)
}

/// The tasks that `own` stands by for, each with its rank: a store whose number of standbys is
/// above it is kept warm.
pub(super) fn assign_standbys<'p>(
    own: &str,
    members: &[GroupMember],
    plans: impl Iterator<Item = &'p Plan>,
) -> BTreeMap<TaskId, u32> {
    let instances: BTreeSet<&str> = members.iter().filter_map(|member| instance_of(&member.client_id)).collect();
    let mut found = BTreeMap::new();
    for plan in plans {
        let most = plan.stores.iter().map(|store| store.options.standby).max().unwrap_or(0);
        for member in members {
            let Some(owner) = instance_of(&member.client_id).filter(|owner| *owner != own && most > 0) else {
                continue;
            };
            for partition in member.partitions.iter().filter(|partition| partition.topic == plan.source) {
                let task = TaskId { subtopology: plan.subtopology, partition: partition.partition };
                let rank = rank(own, owner, task, &instances).filter(|rank| *rank < most);
                found.extend(rank.map(|rank| (task, rank)));
            }
        }
    }
    found
}

/// The rank of an instance among those that could keep a standby of a task; `None` where it is none
/// of them.
fn rank(own: &str, owner: &str, task: TaskId, instances: &BTreeSet<&str>) -> Option<u32> {
    let seed = (u64::from(task.subtopology) << 32) | u64::from(task.partition.unsigned_abs());
    let weight = |instance: &str| (xxh3_64_with_seed(instance.as_bytes(), seed), instance.to_owned());
    instances.get(own)?;
    let mine = weight(own);
    let above = instances.iter().filter(|other| **other != owner && weight(other) > mine);
    u32::try_from(above.count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TopicPartition;
    use crate::task::Sizes;
    use crate::topology::{StoreOptions, Topology};

    const NAMES: [&str; 4] = ["app-a", "app-b", "app-c", "app-d"];
    const PARTITIONS: i32 = 60;

    fn plans(standby: u32) -> Vec<std::sync::Arc<Plan>> {
        struct Nothing;
        impl crate::processor::Processor for Nothing {
            fn process(
                &mut self,
                _record: &crate::record::Record<'_>,
                _ctx: &mut dyn crate::processor::ProcessorContext<'_>,
            ) -> Result<(), crate::processor::ProcessorError> {
                Ok(())
            }
        }
        let topology = Topology::builder()
            .source("in", "in")
            .process("p", ["in"], || Box::new(Nothing))
            .store("s", ["p"])
            .configure_store("s", StoreOptions { standby, ..StoreOptions::default() });
        Plan::all(&topology.build().unwrap(), "app", &Sizes::default())
    }

    /// Partitions dealt out among members of these instances, of two threads each.
    fn group(instances: &[&str]) -> Vec<GroupMember> {
        let threads = instances.iter().flat_map(|instance| [format!("{instance}-0"), format!("{instance}-1")]);
        let mut members: Vec<GroupMember> =
            threads.map(|client_id| GroupMember { client_id, partitions: Vec::new() }).collect();
        let count = members.len();
        for partition in 0..PARTITIONS {
            members[partition as usize % count].partitions.push(TopicPartition::new("in", partition));
        }
        members
    }

    fn all(members: &[GroupMember], instances: &[&str], standby: u32) -> Vec<BTreeMap<TaskId, u32>> {
        let plans = plans(standby);
        instances.iter().map(|own| assign_standbys(own, members, plans.iter().map(|plan| &**plan))).collect()
    }

    #[test]
    fn each_task_has_as_many_standbys_as_asked_for_and_none_is_its_owner() {
        let members = group(&NAMES);
        for standby in 0..5 {
            let found = all(&members, &NAMES, standby);
            for partition in 0..PARTITIONS {
                let task = TaskId { subtopology: 0, partition };
                let mut ranks: Vec<u32> = found.iter().filter_map(|of| of.get(&task)).copied().collect();
                ranks.sort_unstable();
                assert_eq!(ranks, (0..standby.min(3)).collect::<Vec<_>>());
                let owner = (partition as usize % 8) / 2;
                assert!(!found[owner].contains_key(&task), "its owner needs none");
            }
        }
    }

    #[test]
    fn the_work_is_spread_and_little_moves_when_one_goes() {
        let members = group(&NAMES);
        let before = all(&members, &NAMES, 1);
        assert!(before.iter().all(|of| of.len() > 4), "{:?}", before.iter().map(BTreeMap::len).collect::<Vec<_>>());
        // The last one leaves, and nobody else's tasks move to another owner.
        let left: Vec<GroupMember> = members[..6].to_vec();
        for (was, is) in before.iter().zip(all(&left, &NAMES[..3], 1)) {
            let lost = was.keys().filter(|task| (task.partition as usize % 8) < 6 && !is.contains_key(task)).count();
            assert_eq!(lost, 0, "a standby of a task whose owner stayed stays");
        }
    }

    #[test]
    fn an_instance_that_is_no_member_has_no_standbys() {
        let plans = plans(1);
        let plans = || plans.iter().map(|plan| &**plan);
        assert!(assign_standbys("app-x", &group(&NAMES), plans()).is_empty());
        assert!(assign_standbys("app-a", &group(&["app-a"]), plans()).is_empty());
        assert!(assign_standbys("app-a", &[], plans()).is_empty());
        assert_eq!(instance_of("app-with-dashes-1a2b-12"), Some("app-with-dashes-1a2b"));
        assert_eq!(instance_of("app-with-dashes-1a2b-12.0123456789abcdef"), Some("app-with-dashes-1a2b"));
        assert_eq!((instance_of("rdkafka"), instance_of("app-b-"), instance_of("app-b-x")), (None, None, None));
    }
}
