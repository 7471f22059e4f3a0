//! Kinds of stores on real Kafka: whatever they lie in, a kill changes nothing of what comes out.

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::restore::changelog;
use crate::support::Helix;
use crate::trial::{KEEPERS, TASKS, Trial};
use testkit::wait_until;

fn one_thread(trial: &Trial, state: &str) -> Instance {
    trial.start(state, &["--threads", "1", "--no-mirror"])
}

#[test]
fn a_store_in_memory_is_restored_whole_after_a_kill() {
    let trial = Trial::with_stores("in-memory", "kind = \"memory\"");
    let mut events = Events::new(21, 40);
    let feeder = trial.feed_on(move || events.take(20));
    for step in ["changelog:2", "commit:2", "store:3"] {
        trial.start_killed_at(step, "state", &["--threads", "1", "--no-mirror"]).wait_for_kill();
    }
    let mut instance = one_thread(&trial, "state");
    instance.wait_until_ready();
    feeder.stop();
    trial.wait_until_done(&mut [&mut instance]);
    assert!(instance.metric("memory_store_bytes", "") > 0.0);
    instance.kill();
    let changes = changelog(&trial);
    let mut instance = one_thread(&trial, "state");
    instance.wait_until_ready();
    assert_eq!(instance.restored(), changes);
    trial.feed(&Events::new(23, 40).take(300));
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    instance.stop();
    let dumped = Helix::run(&["state", "dump", "--state-dir", &trial.path("state")]);
    dumped.assert_failed(1, &["the store `memories` cannot be looked into", "nothing of it lies on disk"]);
    let databases = std::fs::read_dir(trial.path("state/0/tasks")).map_or(0, Iterator::count);
    assert_eq!(databases, 0, "no task opens RocksDB");
}

/// An instance with its own tasks running, standing by for `count` tasks of others, with nothing to
/// catch up on.
fn wait_until_warm(instance: &mut Instance, count: usize) {
    instance.wait_for("the standbys to be there and warm", |instance| {
        let is_warm = instance.metric("standby_tasks", "") == count as f64 && instance.metric("standby_lag", "") == 0.0;
        is_warm.then_some(())
    });
}

#[test]
fn a_standby_goes_on_with_a_tail_where_its_owner_was_killed() {
    let trial = Trial::with_stores("standby", "standby = 1");
    let mut events = Events::new(22, 40);
    trial.feed(&events.take(1500));
    let mut first = one_thread(&trial, "first");
    first.wait_until_ready();
    let mut second = one_thread(&trial, "second");
    wait_until("every task to run somewhere", || {
        let running = [&first, &second].map(|instance| instance.running_tasks());
        running.iter().all(|count| *count > 0) && running.iter().sum::<usize>() == TASKS
    });
    trial.wait_until_done(&mut [&mut first, &mut second]);
    // Those of each stand by for all that the other has a store for.
    let stores = |instance: &Instance| KEEPERS - instance.metric("standby_tasks", "") as usize;
    wait_until("each to stand by for the other", || stores(&first) + stores(&second) == KEEPERS);
    let count = KEEPERS - stores(&second);
    wait_until_warm(&mut second, count);
    let (whole, before) = (changelog(&trial), second.restored());
    // What comes in between is the tail at most: the standby goes on reading meanwhile.
    let worked = first.records();
    trial.feed(&events.take(60));
    first.wait_for("it to work on it", |instance| (instance.records() > worked).then_some(()));
    first.kill();
    second.wait_for("all tasks to run in the one that is left", |instance| {
        (instance.running_tasks() == TASKS).then_some(())
    });
    trial.wait_until_done(&mut [&mut second]);
    let (restored, tail) = (second.restored() - before, changelog(&trial) - whole);
    // A store that is rebuilt is restored whole.
    let is_tail = restored <= tail && 2 * tail < whole;
    assert!(is_tail, "{restored} records were restored of {whole}, {tail} more since it was warm");
    // And back: what was the owner's stands by for what is now the other's, from where it died.
    let mut first = one_thread(&trial, "first");
    first.wait_until_ready();
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut first, &mut second]);
    expect::assert_outputs(&trial);
    first.stop();
    second.stop();
}

#[test]
fn killed_in_turn_beside_standbys() {
    let trial = Trial::with_stores("in-turn", "standby = 1");
    let mut events = Events::new(24, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let mut instances = ["0", "1"].map(|state| one_thread(&trial, state));
    for round in 0..4 {
        for instance in &mut instances {
            instance.wait_for("its tasks and those that it stands by for", |instance| {
                // The other may have no more than tasks of users of whom there is nothing: then
                // nothing is to be read.
                let reads = instance.metric("standby_records", "") > 0.0 || instance.metric("standby_lag", "") == 0.0;
                (instance.records() > 0 && instance.metric("standby_tasks", "") > 0.0 && reads).then_some(())
            });
        }
        let at = round % 2;
        // Its slot is free once it is dead.
        let [one, other] = instances;
        let (dead, left) = if at == 0 { (one, other) } else { (other, one) };
        dead.kill();
        let again = one_thread(&trial, &at.to_string());
        instances = if at == 0 { [again, left] } else { [left, again] };
    }
    feeder.stop();
    let [first, second] = &mut instances;
    trial.wait_until_done(&mut [first, second]);
    expect::assert_outputs(&trial);
    for instance in instances {
        assert_eq!(instance.counter("rebuilt_stores"), 0, "what a standby left is as it was committed");
        instance.stop();
    }
}
