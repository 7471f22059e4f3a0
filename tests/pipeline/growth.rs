//! The events topic grows while records flow, loses records before they are read, and is made anew:
//! what is seen, and how it goes on.

use crate::events::Events;
use crate::expect;
use crate::trial::{PARTITIONS, TASKS, Trial};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use testkit::{Record, wait_until};

/// An event of a memory of its own, in a partition of the events topic.
pub fn event(memory: &str, partition: i32) -> Record {
    let value = serde_json::json!({"event_id": memory, "event_type": "memory.created", "memory_id": memory, "user_id": "u",
        "node_id": "n", "timestamp": "2023-11-14T22:13:20Z", "content": "new", "version": 1, "vector_clock": {"n": 1}});
    Record { timestamp_ms: 1_700_000_000_000, ..Record::new(memory, value.to_string()).in_partition(partition) }
}

/// What retention does: drops the records of a partition below an offset.
pub fn delete_records(trial: &Trial, topic: &str, partition: i32, below: i64) {
    let admin: AdminClient<DefaultClientContext> = trial.broker().client().create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(below)).unwrap();
    let deleted = futures::executor::block_on(admin.delete_records(&offsets, &AdminOptions::new())).unwrap();
    assert!(deleted.elements().iter().all(|one| one.error().is_ok()), "{deleted:?}");
}

/// What somebody does who deletes the records of a compacted topic, which brokers refuse else.
pub fn delete_compacted_records(trial: &Trial, topic: &str, partition: i32, below: i64) {
    let admin: AdminClient<DefaultClientContext> = trial.broker().client().create().unwrap();
    let set_policy = |policy: &str| {
        let config = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("cleanup.policy", policy);
        let config = config.set("message.timestamp.after.max.ms", "9223372036854775807").set("retention.ms", "-1");
        let config = config.set("max.message.bytes", "16777216").set("segment.bytes", "67108864");
        let altered = futures::executor::block_on(admin.alter_configs([&config], &AdminOptions::new())).unwrap();
        assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    };
    set_policy("delete");
    delete_records(trial, topic, partition, below);
    set_policy("compact");
}

/// Waits until all of these memories are resolved.
#[track_caller]
pub fn wait_for_memories(trial: &Trial, memories: &[String]) {
    wait_until("the memories to be resolved", || {
        let keys: Vec<String> = trial.read("snapshots").iter().map(Record::key_text).collect();
        memories.iter().all(|memory| keys.contains(memory))
    });
}

#[test]
fn partitions_that_the_events_topic_grows_by_are_taken_under_load() {
    let trial = Trial::new("growth", &["check_interval=1s"]);
    let mut events = Events::new(31, 20);
    let feeder = trial.feed_on(move || events.take(10));
    let mut instance = trial.start("state", &["--threads", "2", "--no-mirror"]);
    instance.wait_for("all tasks to run", |instance| (instance.running_tasks() == TASKS).then_some(()));
    trial.broker().grow_topic(&trial.topic("events"), PARTITIONS as usize + 3);
    let grown: Vec<i32> = (PARTITIONS..PARTITIONS + 3).collect();
    let memories: Vec<String> = grown.iter().map(|partition| format!("grown-{partition}")).collect();
    let records: Vec<Record> =
        memories.iter().zip(&grown).map(|(memory, partition)| event(memory, *partition)).collect();
    trial.feed(&records);
    wait_for_memories(&trial, &memories);
    instance.wait_for("a task of each new partition", |instance| (instance.running_tasks() == TASKS + 3).then_some(()));
    feeder.stop();
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    instance.stop();
}

#[test]
fn events_that_were_deleted_unread_are_skipped_once_that_is_accepted() {
    let trial = Trial::new("gone", &[]);
    let mut events = Events::new(32, 20);
    trial.feed(&events.take(60));
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);
    instance.stop();
    let topic = trial.topic("events");
    let of_0 = || trial.read("events").iter().filter(|record| record.partition == 0).count() as i64;
    trial.feed(&[event("lost-1", 0), event("lost-2", 0), event("kept", 0)]);
    delete_records(&trial, &topic, 0, of_0() - 1);

    let mut instance = trial.start("state", &["--no-mirror"]);
    let why = instance.wait_until_stopped(1);
    assert!(why.contains("(2 offsets, transaction markers among them) were deleted before"), "{why}");
    assert!(why.contains(&format!("start with --from-earliest-available {topic}")), "{why}");
    // The others go on.
    instance.wait_for("the others to run", |instance| (instance.running_tasks() == TASKS - 1).then_some(()));
    trial.feed(&[event("beside", 1), event("beside-too", 2)]);
    wait_for_memories(&trial, &["beside".to_owned(), "beside-too".to_owned()]);
    assert_eq!(instance.metric("task_stopped", "code=\"HS1017\""), 1.0);
    instance.stop();
    let mut instance = trial.start("state", &["--no-mirror", "--from-earliest-available", &topic]);
    wait_for_memories(&trial, &["kept".to_owned()]);
    trial.wait_until_done(&mut [&mut instance]);
    instance.stop();
    let keys: Vec<String> = trial.read("snapshots").iter().map(Record::key_text).collect();
    assert!(!keys.iter().any(|key| key.starts_with("lost")), "they are lost");
    // The flag is for one start.
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.feed(&[event("later", 0)]);
    wait_for_memories(&trial, &["later".to_owned()]);
    instance.assert_running();
    instance.stop();
}

#[test]
fn an_events_topic_that_is_made_anew_under_an_instance_is_read_from_its_first_record() {
    let trial = Trial::new("anew", &["check_interval=3s"]);
    trial.feed(&Events::new(33, 20).take(40));
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);
    let topic = trial.topic("events");
    trial.broker().delete_topic(&topic);
    wait_until("the topic to be gone", || trial.broker().partition_count(&topic).is_none());
    trial.broker().create_topic(&topic, PARTITIONS as usize, &[]);
    // What is read before that is committed as of the former topic, and its task would ask for a
    // decision.
    instance.wait_for("the new topic to be noticed", |instance| instance.said().contains("HS1019").then_some(()));
    trial.feed(&[event("anew", 3)]);
    // Kafka has deleted the offsets with the topic, and its tasks have no state.
    wait_for_memories(&trial, &["anew".to_owned()]);
    instance.wait_until_ready();
    instance.stop();
}
