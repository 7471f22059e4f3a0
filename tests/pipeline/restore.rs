//! What a restart reads of the changelog: its tail alone, or all of it where the state is gone,
//! whatever transactions stand in the way.

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::trial::{PARTITIONS, Trial};
use rdkafka::producer::{BaseProducer, Producer};
use std::time::Duration;
use testkit::{Broker, Record, records};

/// Of a call of a stranger.
pub const TIMEOUT: Duration = Duration::from_secs(60);

fn one_thread(trial: &Trial, state: &str) -> Instance {
    trial.start(state, &["--threads", "1", "--no-mirror"])
}

/// Committed records of the changelogs.
pub fn changelog(trial: &Trial) -> u64 {
    trial.changelogs().iter().map(|topic| records::read_committed(Broker::shared(), topic).len() as u64).sum()
}

#[test]
fn a_restart_replays_only_the_tail() {
    let trial = Trial::new("tail", &[]);
    let mut events = Events::new(5, 40);
    trial.feed(&events.take(1500));
    let mut instance = one_thread(&trial, "state");
    trial.wait_until_done(&mut [&mut instance]);
    assert_eq!(instance.restored(), 0);
    instance.stop();

    // After a clean stop the store is where the changelog is.
    let mut instance = one_thread(&trial, "state");
    instance.wait_until_ready();
    assert_eq!(instance.restored(), 0);
    instance.stop();

    // Killed between the commit in Kafka and the store's: that one commit is the tail. Tasks
    // without stores run first, so the first commits may hold decoded events and offsets alone;
    // once those are committed, what is left is for the store.
    let (mut before, mut tail) = (changelog(&trial), 0);
    assert!(before > 100, "{before}");
    trial.feed(&events.take(100));
    for _ in 0..10 {
        trial.start_killed_at("store", "state", &["--threads", "1", "--no-mirror"]).wait_for_kill();
        let after = changelog(&trial);
        tail = after - before;
        before = after;
        if tail > 0 {
            break;
        }
    }
    assert!(tail > 0, "no commit brought the changelog anything");
    let mut instance = one_thread(&trial, "state");
    instance.wait_until_ready();
    assert_eq!(instance.restored(), tail, "of {before} records");
    trial.wait_until_done(&mut [&mut instance]);
    instance.stop();

    // With the state gone, all of it is read.
    let all = changelog(&trial);
    let mut instance = one_thread(&trial, "fresh");
    instance.wait_until_ready();
    assert_eq!(instance.restored(), all);
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    instance.stop();
}

#[test]
fn restored_behind_aborted_pending_and_just_committed_transactions() {
    let trial = Trial::new("behind", &[]);
    let mut events = Events::new(6, 40);
    let mut instance = one_thread(&trial, "state");
    trial.feed(&events.take(400));
    trial.wait_until_done(&mut [&mut instance]);
    let stranger = stranger(&trial);
    write_garbage(&stranger, &trial);
    stranger.abort_transaction(TIMEOUT).unwrap();
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);
    // Pending: what is committed after it lies above the last stable offset, unreadable until it
    // ends.
    write_garbage(&stranger, &trial);
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);
    instance.wait_until_answered();
    instance.kill();

    let mut instance = one_thread(&trial, "fresh");
    instance.wait_for("a store to be restored", |instance| {
        let is_restoring = instance.metric("tasks", "state=\"restoring\"") > 0.0;
        (is_restoring && instance.metric("restore_records_left", "") > 0.0).then_some(())
    });
    // Those that wait are in nobody's way: not in the decoding tasks', nor in each other's.
    instance.wait_for("all others to run", |instance| (instance.running_tasks() >= PARTITIONS as usize).then_some(()));
    assert!(!instance.is_ready(), "what was committed last cannot be read yet");
    stranger.abort_transaction(TIMEOUT).unwrap();
    instance.wait_until_ready();
    assert_eq!(instance.restored(), changelog(&trial));
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    instance.stop();
}

/// Another producer, whose transactions live for as long as the test may take.
pub fn stranger(trial: &Trial) -> BaseProducer {
    let mut config = Broker::shared().client();
    config.set("transactional.id", format!("{}-stranger", trial.application_id()));
    config.set("transaction.timeout.ms", "900000");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer
}

/// Writes to each partition of the changelog, in a transaction that stays open.
fn write_garbage(stranger: &BaseProducer, trial: &Trial) {
    let garbage = |partition| Record::new("garbage", "garbage").in_partition(partition);
    write(stranger, &trial.changelog(), &(0..PARTITIONS).map(garbage).collect::<Vec<_>>());
}

/// Writes to a topic in a transaction that stays open.
pub fn write(stranger: &BaseProducer, topic: &str, records: &[Record]) {
    stranger.begin_transaction().unwrap();
    records::send(stranger, topic, records);
    stranger.flush(TIMEOUT).unwrap();
}
