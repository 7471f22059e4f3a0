//! What an instance says of itself while something around it is wrong.

use super::*;
use crate::error::Error;

/// Turns and looks until `is_so`; the clock goes on by itself.
fn look_until(running: &mut Running, watch: &mut HealthCheck, what: &str, is_so: impl Fn(&[String]) -> bool) {
    for _ in 0..20_000 {
        running.turns(1);
        watch.run();
        if is_so(&running.instance.metrics().troubles()) {
            return;
        }
    }
    panic!("{what}: {:?}", running.instance.metrics().troubles());
}

fn quick(world: World) -> World {
    World { config: RuntimeConfig { contact_timeout: Duration::from_millis(500), ..world.config.clone() }, ..world }
}

#[test]
fn an_idle_instance_notices_that_kafka_is_away_and_that_it_is_back() {
    let world = quick(World::new());
    let mut running = world.start();
    // A member without a task: there are more instances than partitions.
    running.event(GroupEvent::Assigned(Vec::new()));
    let mut watch = HealthCheck::new(&running.instance);
    for _ in 0..2000 {
        running.turns(1);
        watch.run();
        assert_eq!(running.instance.metrics().troubles(), [] as [String; 0], "idle is no trouble");
    }
    world.broker.lock().is_down = true;
    look_until(
        &mut running,
        &mut watch,
        "the outage",
        |troubles| matches!(troubles, [one] if one.contains("Kafka has not been reachable") && one.contains("connection refused")),
    );
    world.broker.lock().is_down = false;
    look_until(&mut running, &mut watch, "its end", <[String]>::is_empty);
    running.stop();
}

#[test]
fn a_thread_that_aborts_again_and_again_is_told_with_the_reason_until_it_commits() {
    let world = quick(World::new());
    world.publish(&["a b", "c d"]);
    let mut running = world.start_all();
    let mut watch = HealthCheck::new(&running.instance);
    (0..500).for_each(|_| world.broker.fault("send_offsets", Error::Aborted("not this time".to_owned())));
    look_until(
        &mut running,
        &mut watch,
        "the trouble",
        |troubles| matches!(troubles, [one] if one.contains("could not commit") && one.contains("not this time")),
    );
    world.broker.lock().faults.clear();
    look_until(&mut running, &mut watch, "its end", <[String]>::is_empty);
    running.finish();
    running.stop();
    world.assert_exactly_once(4);
}

#[test]
fn work_that_goes_to_another_member_after_an_abort_is_no_trouble_of_ours() {
    let world = quick(World::new());
    world.publish(&["a b", "c d"]);
    let mut running = world.start_all();
    let mut watch = HealthCheck::new(&running.instance);
    (0..500).for_each(|_| world.broker.fault("send_offsets", Error::Aborted("not this time".to_owned())));
    look_until(&mut running, &mut watch, "the trouble", |troubles| !troubles.is_empty());
    assert_eq!(running.instance.metrics().incidents().lost_partitions, 0);
    running.event(GroupEvent::Lost(all_partitions()));
    look_until(&mut running, &mut watch, "its end", <[String]>::is_empty);
    assert_eq!(running.instance.metrics().incidents().lost_partitions, all_partitions().len() as u64);
}

#[test]
fn a_topic_that_was_deleted_is_named_as_the_cause() {
    let world = quick(World::new());
    world.publish(&["a b", "c d"]);
    let mut running = world.start_all();
    let mut watch = HealthCheck::new(&running.instance);
    running.finish();
    let partitions = world.broker.lock().counts.remove("out").unwrap();
    (0..500).for_each(|_| world.broker.fault("commit", Error::Aborted("message timed out".to_owned())));
    // A transaction with a record for it never comes to its end.
    world.publish(&["!"]);
    look_until(
        &mut running,
        &mut watch,
        "the topic",
        |troubles| matches!(troubles, [one] if one.contains("topic `out` does not exist any more")),
    );
    world.broker.create("out", partitions);
    world.broker.lock().faults.clear();
    look_until(&mut running, &mut watch, "its end", <[String]>::is_empty);
    running.finish();
    running.stop();
}
