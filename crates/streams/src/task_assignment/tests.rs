//! The assignment's rules, each as a property of random groups, and what a cold start comes to.

use proptest::prelude::*;

use super::*;

const TOPICS: [&str; 3] = ["events", "app-by-memory", "app-by-user"];

fn partitions(each: i32) -> BTreeSet<TopicPartition> {
    let of_topic = |topic: &&str| {
        let topic = (*topic).to_owned();
        (0..each).map(move |partition| TopicPartition::new(topic.as_str(), partition)).collect::<Vec<_>>()
    };
    TOPICS.iter().flat_map(of_topic).collect()
}

/// Threads of instances that have nothing, two each.
fn threads(instances: usize) -> Vec<JoinedMember> {
    let thread = |at: usize| JoinedMember {
        id: format!("i{}-{}", at / 2, at % 2),
        data: MemberData { instance: format!("i{}", at / 2), ..MemberData::default() },
        topics: TOPICS.iter().map(|topic| (*topic).to_owned()).collect(),
        owned: BTreeSet::new(),
        generation: -1,
    };
    (0..instances * 2).map(thread).collect()
}

/// The next round after an assignment: nobody has what it was to let go of, and what it is to have
/// it has only where nobody had it before, as the cooperative protocol does it.
fn next_round(members: &[JoinedMember], assignment: &[BTreeSet<TopicPartition>]) -> Vec<JoinedMember> {
    let had: BTreeSet<&TopicPartition> = members.iter().flat_map(|member| &member.owned).collect();
    let follow = |(member, assigned): (&JoinedMember, &BTreeSet<TopicPartition>)| {
        let gets = |partition: &&TopicPartition| member.owned.contains(*partition) || !had.contains(*partition);
        JoinedMember { owned: assigned.iter().filter(gets).cloned().collect(), generation: 1, ..member.clone() }
    };
    members.iter().zip(assignment).map(follow).collect()
}

/// Rounds until nothing moves: at most four, two for most groups.
fn settle(mut members: Vec<JoinedMember>, partitions: &BTreeSet<TopicPartition>) -> Vec<JoinedMember> {
    for _ in 0..4 {
        let assignment = assign_tasks(&members, partitions);
        members = next_round(&members, &assignment);
    }
    members
}

fn owned(members: &[JoinedMember]) -> Vec<BTreeSet<TopicPartition>> {
    members.iter().map(|member| member.owned.clone()).collect()
}

/// All instances stop, each with the state of its tasks (those of `events` have none).
fn stop(members: &[JoinedMember]) -> Vec<JoinedMember> {
    let mut on_disk: BTreeMap<&str, BTreeMap<TopicPartition, u64>> = BTreeMap::new();
    for member in members {
        let stateful = member.owned.iter().filter(|partition| &*partition.topic != "events");
        on_disk.entry(&member.data.instance).or_default().extend(stateful.map(|partition| (partition.clone(), 100)));
    }
    let stopped = |member: &JoinedMember| {
        let instance = member.data.instance.clone();
        let on_disk = on_disk[&*instance].clone();
        JoinedMember {
            data: MemberData { instance, on_disk },
            owned: BTreeSet::new(),
            generation: -1,
            ..member.clone()
        }
    };
    members.iter().map(stopped).collect()
}

/// Owned partitions of which their owner's instance has no copy, though somebody has.
fn misplaced(members: &[JoinedMember]) -> usize {
    let copies: BTreeSet<&TopicPartition> = members.iter().flat_map(|member| member.data.on_disk.keys()).collect();
    let of_member = |member: &JoinedMember| {
        let is_elsewhere =
            |partition: &&TopicPartition| copies.contains(partition) && !member.data.on_disk.contains_key(*partition);
        member.owned.iter().filter(is_elsewhere).count()
    };
    members.iter().map(of_member).sum()
}

#[test]
fn a_cold_start_of_all_moves_no_state() {
    let all = partitions(12);
    let stopped = stop(&settle(threads(3), &all));
    assert_eq!(stopped.iter().map(|member| member.data.on_disk.len()).sum::<usize>(), 2 * 24);
    assert_eq!(misplaced(&settle(stopped, &all)), 0);
}

/// The first to start owns everything for a while, and keeps of it what is within its share.
#[test]
fn who_starts_later_gets_nothing_but_its_own_state_back() {
    let all = partitions(12);
    let stopped = stop(&settle(threads(3), &all));
    let mut started: Vec<JoinedMember> = Vec::new();
    for (at, instance) in stopped.chunks(2).rev().enumerate() {
        started.extend_from_slice(instance);
        started = settle(started, &all);
        if at > 0 {
            assert_eq!(misplaced(&started[at * 2..]), 0, "after {at} others");
        }
        // Each has a copy now of what it has had for a while.
        for instance in started.chunks_mut(2) {
            let owned = instance.iter().flat_map(|member| member.owned.clone()).collect::<Vec<_>>();
            let stateful = owned.into_iter().filter(|partition| &*partition.topic != "events");
            let on_disk: Vec<_> = stateful.map(|partition| (partition, 100)).collect();
            instance.iter_mut().for_each(|member| member.data.on_disk.extend(on_disk.clone()));
        }
    }
}

/// The first to start owns everything for a while and waits with what is elsewhere.
#[test]
fn after_starts_one_by_one_all_state_is_where_it_was() {
    let all = partitions(12);
    let stopped = stop(&settle(threads(3), &all));
    let mut started: Vec<JoinedMember> = Vec::new();
    for instance in stopped.chunks(2).rev() {
        started.extend_from_slice(instance);
        started = settle(started, &all);
    }
    assert_eq!(misplaced(&started), 0);
    let counts = started.iter().map(|member| member.owned.len());
    assert_eq!(counts.collect::<Vec<_>>(), [6; 6]);
}

#[test]
fn the_most_caught_up_copy_is_taken() {
    let mut members = threads(3);
    let task = TopicPartition::new("app-by-user", 0);
    for (at, offsets) in [(0, 50), (2, 200), (4, 100)] {
        members[at].data.on_disk.insert(task.clone(), offsets);
    }
    let assignment = assign_tasks(&members, &partitions(12));
    assert!(assignment[2].contains(&task) || assignment[3].contains(&task));
    // Its instance is gone: the next best.
    let left: Vec<JoinedMember> = members.iter().filter(|member| member.data.instance != "i1").cloned().collect();
    let assignment = assign_tasks(&left, &partitions(12));
    assert!(assignment[2].contains(&task) || assignment[3].contains(&task));
}

#[test]
fn of_two_owners_the_one_of_the_later_generation_keeps_it() {
    let mut members = threads(1);
    let task = TopicPartition::new("events", 0);
    for (at, generation) in [(0, 7), (1, 6)] {
        members[at].generation = generation;
        members[at].owned.insert(task.clone());
    }
    assert!(assign_tasks(&members, &partitions(1))[0].contains(&task));
    (members[0].generation, members[1].generation) = (6, 7);
    assert!(assign_tasks(&members, &partitions(1))[1].contains(&task));
}

#[test]
fn a_topic_goes_only_to_those_who_subscribe_to_it() {
    let mut members = threads(2);
    for member in &mut members[..2] {
        member.topics.remove("events");
    }
    let assignment = assign_tasks(&members, &partitions(12));
    let is_of_events = |partition: &TopicPartition| &*partition.topic == "events";
    assert!(!assignment[..2].iter().flatten().any(is_of_events));
    assert_eq!(assignment.iter().map(BTreeSet::len).sum::<usize>(), 36);
    members.iter_mut().for_each(|member| _ = member.topics.remove("events"));
    assert!(!assign_tasks(&members, &partitions(12)).iter().flatten().any(is_of_events));
    assert!(assign_tasks(&[], &partitions(12)).is_empty());
}

/// The offsets that a copy has reached: none, half, as good as all, all.
const OFFSETS: [u64; 6] = [0, 0, 0, 50, 95, 100];

/// Whether a member's instance has the state of a task: nobody else has much more of it.
fn has_state(members: &[JoinedMember], member: &JoinedMember, partition: &TopicPartition) -> bool {
    let most = members.iter().filter_map(|member| member.data.on_disk.get(partition)).max();
    most.is_some_and(|most| member.data.on_disk.get(partition).is_some_and(|offsets| offsets * 10 >= most * 9))
}

/// A group in any state: instances, partitions of each topic, and for each partition who owns it
/// and which instances have a copy of its state, at what offsets.
fn any_group() -> impl Strategy<Value = (Vec<JoinedMember>, BTreeSet<TopicPartition>)> {
    (1..6_usize, 0..14_i32).prop_flat_map(|(instances, each)| {
        let claims = (proptest::option::of(0..instances * 2), proptest::collection::vec(0..OFFSETS.len(), instances));
        proptest::collection::vec(claims, TOPICS.len() * each as usize).prop_map(move |claims| {
            let (mut members, all) = (threads(instances), partitions(each));
            for (partition, (owner, copies)) in all.iter().zip(claims) {
                if let Some(owner) = owner {
                    members[owner].owned.insert(partition.clone());
                }
                for member in &mut members {
                    let instance: usize = member.data.instance[1..].parse().unwrap();
                    let offsets = OFFSETS[copies[instance]];
                    if &*partition.topic != "events" && offsets > 0 {
                        member.data.on_disk.insert(partition.clone(), offsets);
                    }
                }
            }
            (members, all)
        })
    })
}

proptest! {
    #[test]
    fn everything_is_assigned_once_and_evenly((members, all) in any_group()) {
        let assignment = assign_tasks(&members, &all);
        let found: Vec<&TopicPartition> = assignment.iter().flatten().collect();
        prop_assert_eq!(found.len(), all.len());
        prop_assert_eq!(found.into_iter().cloned().collect::<BTreeSet<_>>(), all);
        let counts = || assignment.iter().map(BTreeSet::len);
        prop_assert!(counts().max().unwrap() - counts().min().unwrap() <= 1);
    }

    #[test]
    fn an_owner_that_has_the_state_loses_it_to_others_that_have_it_or_for_its_share((members, all) in any_group()) {
        let assignment = assign_tasks(&members, &all);
        let share = all.len() / members.len();
        for (member, assigned) in members.iter().zip(&assignment) {
            for partition in member.owned.difference(assigned).filter(|partition| has_state(&members, member, partition)) {
                let taker = assignment.iter().position(|of_other| of_other.contains(partition)).unwrap();
                let is_full = assigned.len() >= share && assigned.iter().all(|kept| has_state(&members, member, kept));
                prop_assert!(is_full || has_state(&members, &members[taker], partition), "{partition} is lost");
            }
        }
    }

    /// Not even where its owner has begun to restore it.
    #[test]
    fn nobody_restores_what_an_instance_has_that_could_take_it((members, all) in any_group()) {
        let assignment = assign_tasks(&members, &all);
        let share = all.len() / members.len();
        for (member, assigned) in members.iter().zip(&assignment) {
            for partition in assigned.iter().filter(|partition| !has_state(&members, member, partition)) {
                for (other, of_other) in members.iter().zip(&assignment).filter(|(other, _)| has_state(&members, other, partition)) {
                    let is_full = of_other.len() >= share && of_other.iter().all(|kept| has_state(&members, other, kept));
                    prop_assert!(is_full, "{} could have {partition}, which {} has to restore", other.id, member.id);
                }
            }
        }
    }

    #[test]
    fn without_state_an_owner_loses_nothing_within_its_share((mut members, all) in any_group()) {
        members.iter_mut().for_each(|member| member.data.on_disk.clear());
        let assignment = assign_tasks(&members, &all);
        let share = all.len() / members.len();
        for (member, assigned) in members.iter().zip(&assignment) {
            let lost = member.owned.difference(assigned).count();
            prop_assert!(lost == 0 || assigned.is_subset(&member.owned), "it lost {} and got others", lost);
            prop_assert!(lost == 0 || assigned.len() >= share);
        }
    }

    #[test]
    fn who_has_the_state_gets_the_task_while_it_has_room((members, all) in any_group()) {
        let assignment = assign_tasks(&members, &all);
        let share = all.len() / members.len();
        for (member, assigned) in members.iter().zip(&assignment) {
            for partition in assigned.difference(&member.owned) {
                let mine = member.data.on_disk.get(partition).copied().unwrap_or(0);
                // Whoever has a better copy has its share.
                let has_better = |other: &JoinedMember| other.data.on_disk.get(partition).is_some_and(|copy| copy * 9 > mine * 10);
                for (other, of_other) in members.iter().zip(&assignment).filter(|(other, _)| has_better(other)) {
                    prop_assert!(of_other.len() >= share, "{} has a better copy of {partition}", other.id);
                }
            }
        }
    }

    #[test]
    fn nothing_moves_once_it_has_settled((members, all) in any_group()) {
        let settled = settle(members, &all);
        prop_assert_eq!(assign_tasks(&settled, &all), owned(&settled));
    }

    #[test]
    fn the_order_of_the_members_does_not_matter((members, all) in any_group(), turn in 0..10_usize) {
        let mut turned = members.clone();
        turned.rotate_left(turn % members.len());
        let mut assignment = assign_tasks(&turned, &all);
        assignment.rotate_right(turn % members.len());
        prop_assert_eq!(assign_tasks(&members, &all), assignment);
    }
}
