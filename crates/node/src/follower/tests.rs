//! The follower over a Kafka in memory.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use streams::processor::{HEADER_CLASS, HEADER_TOPIC};
use streams::record::TopicPartition;
use testkit::{LIMIT, wait_until};

use super::{Follower, FollowerSettings};
use crate::memory_journal::MemoryJournal;
use crate::memory_kafka::{MemoryKafka, Stored};
use crate::ports::Journal;

const SNAPSHOTS: &str = "helixagent.memory.snapshots";

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new(SNAPSHOTS, partition)
}

fn resolved(memory: &str) -> Stored {
    let value = format!(r#"{{"memory_id":"{memory}"}}"#).into_bytes();
    Stored {
        key: Some(memory.as_bytes().to_vec()),
        value: Some(value),
        kind: Some(b"memory.resolved".to_vec()),
        timestamp_ms: 1,
        ..Stored::default()
    }
}

fn follower(kafka: &MemoryKafka, journal: &Arc<MemoryJournal>) -> Follower {
    let settings = FollowerSettings { refresh_interval: Duration::from_millis(10) };
    Follower::start(kafka.clients(), journal.clone(), settings).unwrap()
}

/// Memories that were applied, by partition and offset.
fn applied(journal: &MemoryJournal) -> Vec<String> {
    let shown = |(partition, record): (i32, crate::ports::SnapshotRecord)| {
        format!("{partition}/{} {}", record.offset, record.memory_id)
    };
    journal.applied().into_iter().map(shown).collect()
}

#[test]
fn every_partition_is_followed_from_its_position_and_new_ones_too() {
    let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
    kafka.append(&at(0), resolved("a"));
    let other = Stored { kind: Some(b"user.snapshot".to_vec()), ..resolved("user:u") };
    kafka.append(&at(0), other);
    kafka.append(&at(0), resolved("b"));
    let running = follower(&kafka, &journal);
    wait_until("the first records", || journal.applied().len() == 2 && running.status().is_caught_up);
    kafka.grow_topic(SNAPSHOTS, 3);
    kafka.append(&at(2), resolved("c"));
    wait_until("the new partition", || journal.applied().len() == 3);
    let status = running.stop(LIMIT);
    assert_eq!((status.followed, status.other_records, status.failures, status.lag()), (3, 1, 0, 0));
    assert_eq!(applied(&journal), ["0/0 a", "0/2 b", "2/0 c"]);

    kafka.append(&at(0), resolved("d"));
    let running = follower(&kafka, &journal);
    wait_until("the next record", || journal.applied().len() == 4);
    running.stop(LIMIT);
    assert_eq!(applied(&journal).last().unwrap(), "0/3 d");
    assert_eq!(journal.position(SNAPSHOTS, 0).unwrap(), Some(4));
}

#[test]
fn a_topic_that_was_cut_is_read_from_its_first_record() {
    let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
    kafka.append(&at(0), resolved("a"));
    let running = follower(&kafka, &journal);
    wait_until("the first record", || journal.applied().len() == 1);
    running.stop(LIMIT);
    ["b", "c"].iter().for_each(|memory| kafka.append(&at(0), resolved(memory)));
    kafka.cut(&at(0), 2);
    let running = follower(&kafka, &journal);
    wait_until("the record that is left", || journal.applied().len() == 2);
    let status = running.stop(LIMIT);
    assert_eq!((status.restarts, status.catch_ups), (1, 1));
    assert_eq!(applied(&journal), ["0/0 a", "0/2 c"]);
    assert_eq!(journal.requests(), ["helixagent.memory.snapshots/0 2"], "b is asked for");
}

#[test]
fn a_new_node_asks_once_for_what_was_deleted_before_it_came() {
    let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
    ["a", "b"].iter().for_each(|memory| kafka.append(&at(0), resolved(memory)));
    kafka.append(&at(1), resolved("c"));
    kafka.cut(&at(0), 1);
    // The first try ends behind the request.
    kafka.hook("open", |_| Err(streams::error::Error::Retry("no broker is there".to_owned())));
    for _ in 0..2 {
        let running = follower(&kafka, &journal);
        wait_until("the records that are left", || running.status().is_caught_up);
        running.stop(LIMIT);
    }
    assert_eq!(journal.requests(), ["helixagent.memory.snapshots/0 1"], "partition 1 is whole");
    let mut applied = applied(&journal);
    applied.sort_unstable();
    assert_eq!(applied, ["0/1 b", "1/0 c"]);
}

#[test]
fn a_topic_that_was_made_anew_is_read_from_its_first_record() {
    let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
    ["a", "b"].iter().for_each(|memory| kafka.append(&at(0), resolved(memory)));
    let running = follower(&kafka, &journal);
    wait_until("the first records", || journal.applied().len() == 2);
    // With as many records as before, so that only its id says it.
    kafka.make_topic(SNAPSHOTS, 2);
    ["c", "d"].iter().for_each(|memory| kafka.append(&at(0), resolved(memory)));
    wait_until("the records of the new topic", || journal.applied().len() == 4);
    running.stop(LIMIT);
    // While the follower was away: the log ends before the position.
    kafka.make_topic(SNAPSHOTS, 2);
    kafka.append(&at(0), resolved("e"));
    let running = follower(&kafka, &journal);
    wait_until("the records of the newest topic", || journal.applied().len() == 5);
    assert_eq!(running.stop(LIMIT).restarts, 1);
}

#[test]
fn another_format_is_refused_and_followed_once_it_is_gone() {
    let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
    kafka.append(&at(0), resolved("a"));
    kafka.append(&at(1), Stored { value: Some(b"\0\0\0\0\x01".to_vec()), ..resolved("b") });
    let running = follower(&kafka, &journal);
    wait_until("the refusal", || running.status().last_error.is_some_and(|text| text.contains("HS8042")));
    wait_until("the lag behind the record that is refused", || running.status().lag() == 1);
    kafka.cut(&at(1), 1);
    kafka.append(&at(1), resolved("c"));
    wait_until("the record after it", || journal.applied().len() == 2);
    assert_eq!(running.stop(LIMIT).last_error, None);
    assert_eq!(applied(&journal), ["0/0 a", "1/1 c"]);
}

#[test]
fn outages_of_kafka_and_of_the_disk_are_waited_out() {
    let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
    kafka.hook("identities", |_| Err(streams::error::Error::Retry("no broker is there".to_owned())));
    kafka.hook("open", |_| Err(streams::error::Error::Retry("no broker is there".to_owned())));
    journal.fail(1);
    kafka.append(&at(0), resolved("a"));
    let running = follower(&kafka, &journal);
    wait_until("the record", || journal.applied().len() == 1);
    let status = running.stop(LIMIT);
    assert_eq!((status.failures, status.followed), (3, 1));
}

#[test]
fn dead_letters_of_the_events_topic_are_handed_to_the_database_and_others_are_stepped_over() {
    const LETTERS: &str = "helixagent.memory.dead-letters";
    let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
    let settings = || FollowerSettings { refresh_interval: Duration::from_millis(10) };
    let start = || Follower::of_dead_letters(kafka.clients(), journal.clone(), settings()).unwrap();
    let running = start();
    wait_until("the missing topic to be reported", || running.status().last_error.is_some());
    kafka.make_topic(LETTERS, 1);
    let letter = |memory: &str, topic: &str| Stored {
        key: Some(memory.as_bytes().to_vec()),
        value: Some(b"{}".to_vec()),
        headers: vec![(HEADER_TOPIC, topic.as_bytes().to_vec()), (HEADER_CLASS, b"too_deep".to_vec())],
        timestamp_ms: 1,
        ..Stored::default()
    };
    let partition = TopicPartition::new(LETTERS, 0);
    kafka.append(&partition, letter("a", "helixagent.memory.events"));
    kafka.append(&partition, letter("b", "another.topic"));
    kafka.append(&partition, Stored { timestamp_ms: 1, ..Stored::default() });
    wait_until("the letter", || running.status().is_caught_up && journal.letters().len() == 1);
    let status = running.stop(LIMIT);
    assert_eq!((status.dead_letters, status.other_records, journal.letters()[0].1.memory_id.as_str()), (1, 2, "a"));
    // It goes on behind all of them.
    assert_eq!(journal.position(LETTERS, 0).unwrap(), Some(3));
    kafka.append(&partition, letter("c", "helixagent.memory.events"));
    let running = start();
    wait_until("the next letter", || journal.letters().len() == 2);
    running.stop(LIMIT);
}

#[test]
fn a_call_to_kafka_that_waits_for_a_broker_does_not_hold_up_the_end() {
    let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
    let (enter, entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    kafka.hook("identities", move |_| {
        enter.send(()).unwrap();
        // Where nobody releases it, the test fails below and does not hang.
        _ = released.recv_timeout(LIMIT);
        Ok(())
    });
    let running = follower(&kafka, &journal);
    entered.recv_timeout(LIMIT).unwrap();
    running.stop(Duration::from_millis(10));
    release.send(()).expect("the call is still under way when the follower has been stopped");
}
