//! The grace before a restoration: a young instance waits for others that may have the state of its
//! tasks on their disks, and never for ever.

use super::*;
use crate::ports::StoreEngine;
use crate::record::TaskId;
use crate::store::checkpoint::decode_metadata;
use crate::task::state::TaskState;
use crate::task_assignment::StateOnDisk;

const HERE: TaskId = TaskId { subtopology: 1, partition: 0 };
const ELSEWHERE: TaskId = TaskId { subtopology: 1, partition: 1 };
const LINES: [&str; 6] = ["a b", "a c d", "b a", "e f g", "a !", "g a"];
const WORDS: usize = 12;
/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// The world as a process finds it at its start.
fn process(world: &World, restore_grace: Duration) -> World {
    let mut world = world.clone();
    world.config.state_on_disk = Some(StateOnDisk::default());
    world.config.restore_grace = restore_grace;
    world
}

/// All is stopped, and the state of one task is on another machine's disk.
fn stopped() -> World {
    let world = World::new();
    world.publish(&LINES);
    let mut running = process(&world, FOR_EVER).start_all();
    running.finish();
    assert_eq!(running.instance.metrics().restored_records(), 0);
    running.stop();
    for partition in 0..PARTITIONS {
        assert!(!world.broker.read(CHANGELOG, partition).is_empty(), "both tasks have state");
    }
    world.stores.destroy(ELSEWHERE).unwrap();
    world
}

fn state(running: &Running, task: TaskId) -> Option<TaskState> {
    running.instance.metrics().tasks().get(&task).map(|status| status.state)
}

#[test]
fn a_first_start_waits_for_nobody() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = process(&world, FOR_EVER).start_all();
    running.finish();
    // Nor does what is closed and opened again, whose state has grown since the start.
    running.event(GroupEvent::Lost(all_partitions()));
    running.event(GroupEvent::Assigned(all_partitions()));
    world.publish(&["h i j k l", "m n o p q"]);
    running.finish();
    running.stop();
    world.assert_exactly_once(WORDS + 10);
}

#[test]
fn what_is_not_on_the_disk_waits_until_the_grace_is_over() {
    let world = stopped();
    let grace = Duration::from_secs(1);
    let mut running = process(&world, grace).start_all();
    let begun = running.instance.now();
    running.turns_until("the task whose state is here", |running| state(running, HERE) == Some(TaskState::Running));
    running.turns(20);
    assert!(running.instance.now() < begun + grace / 2, "it is still young");
    assert_eq!(state(&running, ELSEWHERE), Some(TaskState::Created));
    assert_eq!(running.instance.metrics().restored_records(), 0);
    running.turns_until("the other task", |running| state(running, ELSEWHERE) == Some(TaskState::Running));
    assert!(running.instance.now() + Duration::from_millis(200) > begun + grace, "it has waited");
    assert!(running.instance.metrics().restored_records() > 0);
    running.finish();
    running.stop();
    world.assert_exactly_once(WORDS);
}

#[test]
fn what_another_instance_takes_meanwhile_is_not_restored() {
    let world = stopped();
    let mut running = process(&world, FOR_EVER).start_all();
    running.turns_until("the task whose state is here", |running| state(running, HERE) == Some(TaskState::Running));
    running.turns(20);
    running.event(GroupEvent::Revoked(vec![TopicPartition::new(REPARTITION, ELSEWHERE.partition)]));
    running.turns_until("the revocation", |running| state(running, ELSEWHERE).is_none());
    running.finish();
    assert_eq!(running.instance.metrics().restored_records(), 0);
    running.stop();
}

/// It is none of the instances that were stopped together.
#[test]
fn an_instance_with_an_empty_disk_waits_for_nobody() {
    let world = stopped();
    let mut other = World { stores: MemoryStores::new(), ..process(&world, FOR_EVER) }.start_all();
    other.finish();
    assert!(other.instance.metrics().restored_records() > 0);
    other.stop();
    world.assert_exactly_once(WORDS);
}

/// A copy that is far behind is as good as none; one that lacks a little is gone on with.
#[test]
fn a_copy_that_lacks_a_tail_does_not_wait() {
    let world = process(&stopped(), FOR_EVER);
    let notes = world.config.state_on_disk.clone().unwrap();
    let instance = Instance::new(&topology(), world.config.clone(), 1, world.ports()).unwrap();
    let committed = world.broker.lock().committed[&TopicPartition::new(REPARTITION, 0)].clone();
    let decoded = decode_metadata(committed.offset, &committed.metadata, &["counts"]);
    let mut checkpoint = decoded.unwrap().unwrap();
    checkpoint.stores[0].changelog_offset = Some(super::broker::offset(99));
    let plan = instance.plans.iter().find(|plan| *plan.source == *REPARTITION).unwrap();
    let source = TopicPartition::new(REPARTITION, 0);
    let waits = |offsets: u64| {
        notes.set(source.clone(), offsets);
        instance.awaits_state(HERE, plan, &checkpoint).is_some()
    };
    assert_eq!([0, 89, 90, 100].map(waits), [true, true, false, false]);
}
