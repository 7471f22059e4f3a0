//! What is lost to an instance: its assignment, while it is frozen for longer than its session; or
//! the place in a log that its last commit names, because the log was made anew, truncated, or the
//! offset was set by hand.

use crate::events::Events;
use crate::expect;
use crate::growth::{delete_compacted_records, event, wait_for_memories};
use crate::trial::{PARTITIONS, TASKS, Trial, assert_mirrored, database};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use reference_model::Settings;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::{Record, wait_until};

#[test]
fn an_instance_that_wakes_up_to_a_lost_assignment_doubles_nothing_and_rejoins() {
    let (trial, url) = (Trial::new("lost", &[]), database());
    let mut events = Events::new(13, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let arguments = ["--threads", "2", "--postgres-url", &url];
    let mut first = trial.start("first", &arguments);
    first.wait_for("all tasks to run", |instance| (instance.running_tasks() == TASKS).then_some(()));
    first.wait_for("some records", |instance| (instance.records() > 100).then_some(()));
    let mut second = trial.start("second", &arguments);
    second.wait_for("its share", |instance| (instance.running_tasks() > 0 && instance.records() > 0).then_some(()));

    // In mid-transaction, as likely as not: it commits ten times a second and is never without
    // work.
    first.signal(Signal::STOP);
    second.wait_for("all tasks to come over", |instance| (instance.running_tasks() == TASKS).then_some(()));
    let records = second.records();
    second.wait_for("work on them", |instance| (instance.records() > records + 200).then_some(()));
    first.signal(Signal::CONT);
    let records = first.records();
    first.wait_for("it to have its share again", |instance| {
        let running = (instance.running_tasks(), second.running_tasks());
        (running.0 > 0 && running.0 + running.1 == TASKS && instance.records() > records).then_some(())
    });
    assert!(first.counter("lost_partitions") > 0, "its partitions were lost, and not revoked");
    feeder.stop();
    trial.wait_until_done(&mut [&mut first, &mut second]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    first.stop();
    second.stop();
}

impl Trial {
    fn group(&self) -> BaseConsumer {
        self.broker().client().set("group.id", self.application_id()).create().unwrap()
    }

    /// The group's committed offsets of a topic, with their metadata, as `change` leaves them.
    fn offsets(&self, topic: &str, change: impl Fn(&mut TopicPartitionListElem<'_>)) -> TopicPartitionList {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, PARTITIONS - 1);
        let found = self.group().committed_offsets(asked, Duration::from_secs(30)).unwrap();
        let mut offsets = TopicPartitionList::new();
        for one in found.elements().iter().filter(|one| matches!(one.offset(), Offset::Offset(_))) {
            let mut offset = offsets.add_partition(topic, one.partition());
            offset.set_offset(one.offset()).unwrap();
            offset.set_metadata(one.metadata());
            change(&mut offset);
        }
        offsets
    }

    /// Sets offsets from outside, as tools do and as an instance does that has not seen yet what
    /// became of the topic.
    fn set_offsets(&self, offsets: &TopicPartitionList) {
        // Only once the last member has left.
        wait_until("the group to be empty", || self.group().commit(offsets, CommitMode::Sync).is_ok());
    }

    /// Takes all tasks, processes these events and stops.
    fn process(&self, events: &[Record], more: &[&str]) {
        self.feed(events);
        let mut instance = self.start("state", &[&["--no-mirror"], more].concat());
        instance.wait_for("all tasks to run", |instance| (instance.running_tasks() == TASKS).then_some(()));
        self.wait_until_done(&mut [&mut instance]);
        instance.stop();
    }

    /// How many partitions of the changelog of memories hold records.
    fn tasks_with_state(&self) -> usize {
        let records = testkit::records::read_committed(self.broker(), &self.changelog());
        records.iter().map(|record| record.partition).collect::<BTreeSet<i32>>().len()
    }

    /// Has so many tasks stopped for this reason, with this way out, and the others run.
    #[track_caller]
    fn assert_stopped(&self, tasks: usize, why: &str, topic: &str) {
        let mut instance = self.start("state", &["--no-mirror"]);
        let said = instance.wait_until_stopped(tasks);
        let way_out = format!("start with --from-earliest-available {topic}");
        assert_eq!((said.matches(why).count(), said.matches(&way_out).count()), (tasks, tasks), "{said}");
        instance.wait_for("the others to run", |instance| (instance.running_tasks() == TASKS - tasks).then_some(()));
        instance.stop();
    }

    /// Starts once with what is gone of `topic` accepted, gives `memory` an importance and finds
    /// the content in it that it got before: the state was kept. Whatever start comes after that
    /// needs no flag.
    #[track_caller]
    fn assert_goes_on(&self, topic: &str, memory: &str, at: i64) {
        let value = serde_json::json!({"event_id": format!("{memory}-{at}"), "event_type": "memory.updated", "memory_id": memory,
            "user_id": "u", "node_id": "n", "timestamp": "2023-11-14T22:13:21Z", "importance": at, "version": at, "vector_clock": {"n": at}});
        let update = Record::new(memory, value.to_string()).in_partition(0);
        self.process(&[Record { timestamp_ms: 1_700_000_001_000, ..update }], &["--from-earliest-available", topic]);
        let of = |record: &Record| serde_json::from_slice::<serde_json::Value>(record.value.as_deref()?).ok();
        let all = self.read("snapshots").into_iter().filter(|record| record.key_text() == memory);
        let resolved = all.filter_map(|record| of(&record)).find(|value| value["importance"] == at);
        assert_eq!(resolved.expect("the memory was resolved")["content"], "new");
    }
}

/// Forty events, all good: what is bad is a dead letter again each time that its log is read.
fn good(number: u64) -> Vec<Record> {
    let (mut events, settings) = (Events::new(number, 20), Settings::default());
    (0..40).map(|_| events.good(&settings)).collect()
}

/// Further than any of these logs.
const FAR: i64 = 1000;

fn far_on(offset: &mut TopicPartitionListElem<'_>) {
    let Offset::Offset(at) = offset.offset() else { panic!("{offset:?}") };
    offset.set_offset(Offset::Offset(at + FAR)).unwrap();
}

#[test]
fn a_source_that_ends_before_the_commit_or_was_made_anew_is_read_from_its_first_record_when_accepted() {
    let trial = Trial::new("ends", &[]);
    let topic = trial.topic("events");
    trial.process(&[&[event("kept", 0)], &good(34)[..]].concat(), &[]);
    let offsets = trial.offsets(&topic, far_on);
    trial.set_offsets(&offsets);
    trial.assert_stopped(offsets.count(), "before the committed offset", &topic);
    trial.assert_goes_on(&topic, "kept", 2);
    expect::assert_outputs(&trial);

    // The topic is made anew and has more records than before; a commit of the former topic comes
    // late.
    let committed = trial.offsets(&topic, |_| {});
    trial.broker().delete_topic(&topic);
    trial.broker().create_topic(&topic, PARTITIONS as usize, &[]);
    let mut anew = vec![event("first", 0)];
    anew.extend((0..60).map(|n| event(&format!("anew-{n}"), n % PARTITIONS)));
    trial.feed(&anew);
    trial.set_offsets(&committed);
    trial.assert_stopped(committed.count(), "was deleted and made anew since the last commit (its id is", &topic);
    trial.assert_goes_on(&topic, "kept", 3);
    wait_for_memories(&trial, &["first".to_owned()]);
}

#[test]
fn a_repartition_topic_that_was_truncated_or_made_anew_goes_on_with_the_state_when_accepted() {
    let trial = Trial::new("internal", &[]);
    let topic = trial.repartition();
    trial.process(&[&[event("kept", 0)], &good(35)[..]].concat(), &[]);
    let offsets = trial.offsets(&topic, far_on);
    trial.set_offsets(&offsets);
    trial.assert_stopped(offsets.count(), &format!("internal topic partition {topic}-"), &topic);
    trial.assert_goes_on(&topic, "kept", 2);

    // Its committed offsets go with it, and the start makes it again.
    trial.broker().delete_topic(&topic);
    trial.assert_stopped(trial.tasks_with_state(), &format!("has no committed offset for {topic}-"), &topic);
    trial.assert_goes_on(&topic, "kept", 3);
}

#[test]
fn offsets_that_were_set_by_hand_go_on_with_the_state_of_the_changelogs_when_accepted() {
    let trial = Trial::new("by-hand", &[]);
    let topic = trial.repartition();
    trial.process(&[&[event("kept", 0)], &good(36)[..]].concat(), &[]);
    trial.set_offsets(&trial.offsets(&topic, |offset| offset.set_metadata("")));
    let why = "from outside, so the state that belongs to it is not known";
    trial.assert_stopped(trial.tasks_with_state(), why, &topic);
    trial.assert_goes_on(&topic, "kept", 2);
    expect::assert_outputs(&trial);
}

#[test]
fn a_changelog_that_lost_records_stops_its_task_alone_which_goes_on_where_its_state_is() {
    let trial = Trial::new("changelog", &[]);
    let changelog = trial.changelog();
    trial.process(&[&[event("kept", 0)], &good(37)[..]].concat(), &[]);
    let changes = testkit::records::read_committed(trial.broker(), &changelog);
    let keys_of = |partition: i32| -> BTreeSet<String> {
        changes.iter().filter(|change| change.partition == partition).map(Record::key_text).collect()
    };
    let partition = (0..PARTITIONS).max_by_key(|partition| keys_of(*partition).len()).unwrap();
    assert!(keys_of(partition).len() > 2, "{changes:?}");
    // All but the last one are gone.
    let count = changes.iter().filter(|change| change.partition == partition).count();
    delete_compacted_records(&trial, &changelog, partition, count as i64 - 1);
    // On another machine the state would be restored from what is left.
    let mut instance = trial.start("another", &["--no-mirror"]);
    let said = instance.wait_until_stopped(1);
    assert!(said.contains(&format!("store `memories` of task 1_{partition}, rebuilt from its changelog")), "{said}");
    assert!(said.contains("(safe: nothing is lost)") && said.contains("[HS3011]"), "{said}");
    trial.feed(&good(38));
    instance.wait_for("the others to work", |instance| {
        let lags = instance.metric("lag", "topic=\"") - instance.metric("lag", &format!("partition=\"{partition}\""));
        (instance.running_tasks() == TASKS - 1 && instance.records() > 0 && lags == 0.0).then_some(())
    });
    assert!(instance.is_running());
    instance.stop();
    // The machine that had it has it still.
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);
    instance.wait_until_ready();
    instance.stop();
    expect::assert_outputs(&trial);
}
