//! Tasks are taken over from threads that died with a transaction open.

use std::collections::BTreeMap;

use super::crashes::{Killer, dies};
use super::*;
use crate::error::Error;
use crate::ports::{BatchLimit, Committed, ProducerFactory};
use crate::store::checkpoint::TaskOwner;

const LINES: [&str; 4] = ["a b", "c d e", "a a", "f"];

/// The threads that own the tasks, as their commits say.
fn owners(world: &World) -> Vec<(String, usize)> {
    let state = world.broker.lock();
    let owner_of = |committed: &Committed| {
        TaskOwner::find(&committed.metadata).map(|owner| (owner.instance_id.to_owned(), owner.thread))
    };
    let mut owners: Vec<(String, usize)> = state.committed.values().filter_map(owner_of).collect();
    owners.dedup();
    owners
}

/// A world in which `app-0-0` has committed, and was killed at a step with a transaction open.
fn after_a_kill(step: Step) -> World {
    let world = World::new();
    world.publish(&LINES);
    let mut first = world.start_all();
    first.finish();
    first.stop();
    world.publish(&["g h", "i a"]);
    let mut dying = world.clone();
    dying.observer = Arc::new(Killer::new(step, 1));
    assert!(dies(dying.start_all(), 200), "it comes to step {}", step.name());
    assert_eq!(owners(&world), [("0".to_owned(), 0)]);
    assert!(!world.broker.lock().open.is_empty(), "a transaction is open");
    world
}

/// Another instance, which is the group's one member and is assigned everything.
fn take_over(world: &World) -> Running {
    world.broker.lock().member_ids = vec!["app-1-0.00112233445566ff".to_owned()];
    let running = world.start_elsewhere();
    running.event(GroupEvent::Assigned(all_partitions()));
    running
}

fn ended(world: &World) -> Vec<String> {
    world.broker.lock().ended_for_others.clone()
}

#[test]
fn the_transaction_of_an_owner_that_died_is_ended_by_who_takes_its_tasks() {
    for step in [Step::Drain, Step::Commit] {
        let world = after_a_kill(step);
        let mut second = take_over(&world);
        second.finish();
        assert_eq!(ended(&world), ["app-0-0"], "at step {}", step.name());
        assert_eq!(owners(&world), [("1".to_owned(), 0)]);
        second.stop();
        world.assert_exactly_once(12);
    }
}

#[test]
fn an_owner_that_is_a_member_of_the_group_keeps_its_transactional_id() {
    let world = after_a_kill(Step::Drain);
    let mut second = world.start_elsewhere();
    world.broker.lock().member_ids = vec!["app-0-0.00112233445566ff".to_owned(), "app-1-0".to_owned()];
    second.event(GroupEvent::Assigned(all_partitions()));
    second.turns(200);
    assert!(ended(&world).is_empty());
    assert!(!world.broker.lock().open.is_empty(), "it waits until the transaction is ended");
    // As the owner does when it comes back.
    let mut first = world.start();
    first.turns_until("its first producer", |_| world.broker.lock().epochs["app-0-0"] == 3);
    second.finish();
    world.assert_exactly_once(12);
}

#[test]
fn it_is_committed_at_once_that_a_task_has_another_owner() {
    let world = World::new();
    world.publish(&LINES);
    let mut first = world.start_all();
    first.finish();
    first.stop();
    let committed = |world: &World| world.broker.lock().committed.clone();
    let before = committed(&world);
    let mut second = take_over(&world);
    second.turns_until("its first commit", |_| owners(&world) == [("1".to_owned(), 0)]);
    let offsets = |all: &BTreeMap<TopicPartition, Committed>| all.values().map(|one| one.offset).collect::<Vec<_>>();
    assert_eq!(offsets(&committed(&world)), offsets(&before), "there was nothing else to commit");
    second.stop();
    let before = committed(&world);
    let mut again = take_over(&world);
    again.turns(200);
    again.stop();
    assert_eq!(committed(&world), before, "an owner that comes back commits nothing");
    assert_eq!(ended(&world), ["app-0-0"], "and ends its own transaction by its first producer");
}

#[test]
fn who_cannot_end_a_transaction_tries_again_and_else_waits_for_the_brokers() {
    let world = after_a_kill(Step::Drain);
    for call in ["member_ids", "end_transaction"] {
        world.broker.fault(call, Error::Retry("the coordinator is loading".to_owned()));
    }
    let mut second = take_over(&world);
    second.finish();
    assert_eq!(ended(&world), ["app-0-0"]);
    world.assert_exactly_once(12);

    let world = after_a_kill(Step::Drain);
    world.broker.fault("end_transaction", Error::Fatal("not authorised".to_owned()));
    let mut second = take_over(&world);
    second.turns(200);
    assert!(ended(&world).is_empty(), "what is refused is not asked for again");
    // As the brokers do when the timeout is over.
    Producers { broker: world.broker.clone(), id: "app-0-0".to_owned() }
        .create(BatchLimit::OneRecord)
        .and_then(|mut producer| producer.init(Duration::from_secs(1)))
        .unwrap();
    second.finish();
    world.assert_exactly_once(12);
}
