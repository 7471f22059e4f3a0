//! Parts of a topology that are paused and resumed while everything else goes on.

use super::*;
use crate::error::Error;
use crate::offset::Offset;
use crate::task::state::TaskState;

const LINES: [&str; 6] = ["a b", "a c d", "b a", "e f g", "a !", "g a"];
const WORDS: usize = 12;

fn part(topic: &str, partition: i32) -> TaskScope {
    TaskScope::Partition(TopicPartition::new(topic, partition))
}

impl Running {
    fn paused(&self) -> usize {
        self.instance
            .metrics()
            .tasks()
            .values()
            .filter(|task| task.is_paused && task.state == TaskState::Running)
            .count()
    }

    /// The committed offsets, by partition.
    fn committed(&self) -> Vec<(TopicPartition, Option<Offset>)> {
        let tasks = self.instance.metrics().tasks();
        tasks.values().map(|task| (task.source.clone(), task.committed)).collect()
    }
}

#[test]
fn nothing_of_a_paused_topology_is_processed_and_all_of_it_once_it_is_resumed() {
    for turns in [0, 1, 5, 9, 40] {
        let world = World::new();
        world.publish(&LINES);
        let mut running = world.start_all();
        running.turns(turns);
        running.instance.pause(&TaskScope::Topology).unwrap();
        running.turns_until("all tasks to be paused", |running| running.paused() == 4);
        assert!(world.broker.lock().open.is_empty(), "what was open is committed");
        world.publish(&LINES);
        let (committed, outputs) = (running.committed(), world.outputs());
        let records = running.instance.metrics().threads()[&0].snapshot().records;
        running.turns(300);
        assert_eq!((running.committed(), world.outputs()), (committed, outputs));
        assert_eq!(running.instance.metrics().threads()[&0].snapshot().records, records);
        assert!(running.instance.metrics().ready(), "a pause is no trouble");
        assert_eq!(running.instance.metrics().threads()[&0].uncommitted(), None, "nobody waits for a commit");
        running.instance.resume(&TaskScope::Topology).unwrap();
        running.finish();
        assert_eq!(running.paused(), 0);
        running.stop();
        world.assert_exactly_once(2 * WORDS);
    }
}

#[test]
fn a_part_that_is_not_there_or_held_with_a_greater_one_is_refused() {
    let running = World::new().start();
    let other = TaskScope::Topic("other".into());
    assert_eq!(running.instance.pause(&other), Err(PauseError::Unknown(other.clone())));
    assert_eq!(running.instance.resume(&other), Err(PauseError::Unknown(other)));
    running.instance.pause(&TaskScope::Topology).unwrap();
    let (scope, with) = (part("lines", 0), TaskScope::Topology);
    assert_eq!(running.instance.resume(&scope), Err(PauseError::HeldWith { scope, with }));
    running.instance.resume(&TaskScope::Topology).unwrap();
    assert!(running.instance.holds().is_empty());
}

#[test]
fn the_other_tasks_go_on_beside_a_paused_partition() {
    let world = World::new();
    let mut running = world.start_all();
    running.instance.pause(&part("lines", 1)).unwrap();
    running.turns_until("it to be paused", |running| running.paused() == 1);
    world.publish(&LINES);
    running.turns_until("the other partition", |running| {
        running.committed().contains(&(TopicPartition::new("lines", 0), Offset::new(3)))
    });
    running.turns(200);
    assert!(!world.outputs().is_empty());
    let paused = running.committed().into_iter().find(|(source, _)| *source == TopicPartition::new("lines", 1));
    assert!(paused.unwrap().1 <= Some(Offset::FIRST), "nothing of it was processed");
    running.instance.resume(&part("lines", 1)).unwrap();
    running.finish();
    running.stop();
    world.assert_exactly_once(WORDS);
}

#[test]
fn the_second_half_of_a_topology_is_paused_by_the_topic_that_it_reads() {
    let world = World::new();
    let mut running = world.start_all();
    running.instance.pause(&TaskScope::Topic(REPARTITION.into())).unwrap();
    running.turns_until("it to be paused", |running| running.paused() == 2);
    world.publish(&LINES);
    running.turns_until("the first half", |running| {
        running
            .committed()
            .iter()
            .filter(|(source, committed)| &*source.topic == "lines" && *committed == Offset::new(3))
            .count()
            == 2
    });
    running.turns(200);
    assert!(world.outputs().is_empty());
    running.instance.resume(&TaskScope::Topology).unwrap();
    running.finish();
    running.stop();
    world.assert_exactly_once(WORDS);
}

#[test]
fn a_paused_task_is_revoked_assigned_and_lost_like_any_other() {
    for lost in [false, true] {
        let world = World::new();
        world.publish(&LINES);
        let mut running = world.start_all();
        running.turns(7);
        running.instance.pause(&TaskScope::Topology).unwrap();
        running.turns_until("all tasks to be paused", |running| running.paused() == 4);
        let all = all_partitions();
        running.event(if lost { GroupEvent::Lost(all) } else { GroupEvent::Revoked(all) });
        running.turns(3);
        assert!(running.instance.metrics().tasks().is_empty());
        running.event(GroupEvent::Assigned(all_partitions()));
        running.turns_until("they to be paused again", |running| running.paused() == 4);
        running.turns(100);
        running.instance.resume(&TaskScope::Topology).unwrap();
        running.finish();
        running.stop();
        world.assert_exactly_once(WORDS);
    }
}

/// The commit before the pause fails, in whatever way: the task goes back to its last commit, and
/// is paused there.
#[test]
fn a_pause_whose_commit_fails_loses_and_doubles_nothing() {
    for error in [Error::Aborted("a".to_owned()), Error::ProducerLost("p".to_owned()), Error::Migrated("m".to_owned())]
    {
        for turns in 1..30 {
            let world = World::new();
            world.publish(&LINES);
            let mut running = world.start_all();
            running.turns(turns);
            running.instance.pause(&part("lines", 0)).unwrap();
            running.instance.pause(&part(REPARTITION, 1)).unwrap();
            world.broker.fault("send_offsets", error.clone());
            running.turns_until("them to be paused", |running| running.paused() == 2);
            running.turns(50);
            running.instance.resume(&TaskScope::Topology).unwrap();
            running.finish();
            running.stop();
            world.assert_exactly_once(WORDS);
        }
    }
}

/// Two instances that keep their pauses in the control log.
fn sharing() -> World {
    let mut world = World::new();
    world.config.control_interval = Some(Duration::from_millis(50));
    world
}

const CONTROL: &str = "app-control";

#[test]
fn a_pause_holds_in_every_instance_and_after_a_restart() {
    let world = sharing();
    world.publish(&LINES);
    let mut owner = world.start_all();
    owner.finish();
    assert!(world.broker.read(CONTROL, 0).is_empty(), "no log is made before it is needed");
    let other = world.start_elsewhere();
    other.instance.pause(&TaskScope::Topology).unwrap();
    assert_eq!(other.instance.holds(), [(TaskScope::Topology, Hold::Paused)].into());
    owner.turns_until("the owner to see it", |owner| owner.paused() == 4);
    world.publish(&LINES);
    owner.stop();
    let outputs = world.outputs();
    let mut next = world.start_all();
    next.turns_until("the pause to be found again", |next| next.paused() == 4);
    next.turns(300);
    assert_eq!(world.outputs(), outputs);
    other.instance.resume(&TaskScope::Topology).unwrap();
    next.finish();
    assert!(next.instance.metrics().pauses().is_empty());
    next.stop();
    world.assert_exactly_once(2 * WORDS);
}

/// A task that is taken over begins only when it is known whether it is paused, however long that
/// takes.
#[test]
fn no_record_is_processed_before_it_is_known_what_is_paused() {
    let world = sharing();
    world.start_elsewhere().instance.pause(&TaskScope::Topology).unwrap();
    world.publish(&LINES);
    for _ in 0..20 {
        world.broker.fault("restore", Error::Retry("the leader moves".to_owned()));
    }
    let mut running = world.start_all();
    running.turns_until("all tasks to be paused", |running| running.paused() == 4);
    assert!(world.outputs().is_empty() && world.broker.lock().committed.is_empty());
    assert_eq!(running.instance.metrics().threads()[&0].snapshot().records, 0);
}

#[test]
fn a_control_log_that_cannot_be_read_is_reported_and_keeps_new_tasks_waiting() {
    let world = sharing();
    world.start_elsewhere().instance.pause(&TaskScope::Topology).unwrap();
    world.broker.publish(CONTROL, 0, Some("topology"), "2 of a later version", 1);
    let mut running = world.start_all();
    let mut health = HealthCheck::new(&running.instance);
    let mut troubles = Vec::new();
    for _ in 0..TURNS {
        running.turns(1);
        health.run();
        troubles = running.instance.metrics().troubles();
        if !troubles.is_empty() {
            break;
        }
    }
    assert!(troubles.iter().any(|line| line.contains("[HS1037]") && line.contains("[HS1038]")), "{troubles:?}");
    assert!(!running.instance.metrics().ready());
    world.broker.publish(CONTROL, 0, Some("topology"), "1 paused", 1);
    assert!(running.instance.resume(&TaskScope::Topology).is_err(), "the record is still there");
}

#[test]
fn a_pause_that_could_not_be_written_is_an_error() {
    let world = sharing();
    world.broker.fault("append", Error::Retry("timed out".to_owned()));
    let running = world.start_all();
    let paused = running.instance.pause(&TaskScope::Topology);
    assert_eq!(paused, Err(PauseError::Failed(Error::Retry("timed out".to_owned()))));
    assert!(running.instance.holds().is_empty());
}

/// Each record that was there is processed through both halves before the pause.
#[test]
fn a_drain_processes_all_that_is_there_through_to_the_outputs_and_pauses_then() {
    for shared in [false, true] {
        for turns in [0, 3, 9] {
            let world = if shared { sharing() } else { World::new() };
            world.publish(&LINES);
            let mut running = world.start_all();
            running.turns(turns);
            running.instance.drain(&TaskScope::Topology).unwrap();
            running.turns_until("all tasks to be paused", |running| running.paused() == 4);
            world.assert_exactly_once(WORDS);
            assert!(!world.outputs().is_empty());
            let outputs = world.outputs();
            world.publish(&LINES);
            running.turns(300);
            assert_eq!(world.outputs(), outputs, "it is paused");
            running.instance.resume(&TaskScope::Topology).unwrap();
            running.finish();
            running.stop();
            world.assert_exactly_once(2 * WORDS);
        }
    }
}

#[test]
fn a_drain_goes_on_in_another_instance() {
    let world = sharing();
    world.publish(&LINES);
    let asked = world.start_elsewhere();
    asked.instance.drain(&TaskScope::Topology).unwrap();
    drop(asked);
    let mut running = world.start_all();
    running.turns_until("all tasks to be paused", |running| running.paused() == 4);
    world.assert_exactly_once(WORDS);
    running.instance.resume(&TaskScope::Topology).unwrap();
    running.turns_until("all tasks to go on", |running| running.paused() == 0);
    running.instance.drain(&part("lines", 0)).unwrap();
    running.turns_until("the partition to be paused", |running| running.paused() == 1);
    running.stop();
}
