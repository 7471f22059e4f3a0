//! What must have come out: of the events by `replay`, of the repartition topic by the driver.

use crate::trial::Trial;
use helixstream::Program;
use helixstream::app;
use std::collections::BTreeMap;
use streams::driver::TopologyDriver;
use streams::record::{InRecord, Origin, RecordBatch, TaskId};
use testkit::{Record, records, wait_until};

/// Holds all outputs of a trial against its events and its repartition topic; gives the events as
/// they lie in the topic.
#[track_caller]
pub fn assert_outputs(trial: &Trial) -> Vec<Record> {
    trial.wait_until_settled();
    assert_read(trial, |topic| records::read_committed(trial.broker(), topic))
}

/// The same for a trial that has settled, with a function that reads a topic.
#[track_caller]
pub fn assert_read(trial: &Trial, mut read_topic: impl FnMut(&str) -> Vec<Record>) -> Vec<Record> {
    let (events, snapshots) = assert_replayed(trial, &mut read_topic);
    let (users, memories): (Vec<Record>, Vec<Record>) = snapshots.into_iter().partition(is_user);
    let (answers, snapshots): (Vec<Record>, Vec<Record>) = memories.into_iter().partition(is_answer);
    assert_answers(&answers, &snapshots);
    let conflicts = read_topic(&trial.topic("conflicts"));
    let driven = Driven::of(trial, &trial.repartition(), &read_topic(&trial.repartition()));
    assert!(!driven.snapshots.is_empty());
    let of_users = Driven::of(trial, &trial.by_user(), &read_topic(&trial.by_user()));
    assert_record_by_record("user snapshots", &of_users.snapshots, &users);
    assert_record_by_record("snapshots", &driven.snapshots, &snapshots);
    assert_record_by_record("conflicts", &driven.conflicts, &conflicts);
    events
}

/// Holds what does not depend on the order of the repartition topic: the last resolved form of each
/// memory, and the dead letters. Gives the events and the snapshots.
#[track_caller]
pub fn assert_replayed(trial: &Trial, mut read_topic: impl FnMut(&str) -> Vec<Record>) -> (Vec<Record>, Vec<Record>) {
    let mut read = |what: &str| read_topic(&trial.topic(what));
    let events = read("events");
    let replayed = trial.replay(&events);
    let snapshots = read("snapshots");
    assert_last_resolved(&memories_of(&replayed.snapshots), &memories_of(&snapshots));
    // A broker that has just come back may show the end of a log a moment late; what is lost stays
    // away.
    let expected = replayed.dead_letters.len();
    wait_until("as many dead letters as replay has", || read("dead-letters").len() >= expected);
    assert_dead_letters(&replayed.dead_letters, &read("dead-letters"));
    (events, snapshots)
}

fn header<'r>(record: &'r Record, name: &str) -> Option<&'r [u8]> {
    record.headers.iter().find(|(found, _)| found == name).and_then(|(_, value)| value.as_deref())
}

/// Whether it is the snapshot of a user.
pub fn is_user(record: &Record) -> bool {
    header(record, "type") == Some(b"user.snapshot")
}

/// Whether it answers a sync request.
pub fn is_answer(record: &Record) -> bool {
    header(record, "sync_for").is_some()
}

/// Of the snapshots, those of memories.
pub fn memories_of(snapshots: &[Record]) -> Vec<Record> {
    snapshots.iter().filter(|record| !is_user(record)).cloned().collect()
}

/// An answer is a memory as it was resolved at some time.
#[track_caller]
fn assert_answers(answers: &[Record], resolved: &[Record]) {
    let known: std::collections::BTreeSet<_> = resolved.iter().map(|record| (&record.key, &record.value)).collect();
    for answer in answers {
        assert!(known.contains(&(&answer.key, &answer.value)), "an answer that never was: {answer:?}");
    }
}

/// The last value of each key is the same, byte for byte.
#[track_caller]
pub fn assert_last_resolved(replayed: &[Record], found: &[Record]) {
    let last = |records: &[Record]| -> BTreeMap<String, String> {
        records.iter().map(|record| (record.key_text(), text(&record.value))).collect()
    };
    let (expected, found) = (last(replayed), last(found));
    for (key, value) in &expected {
        assert_eq!(found.get(key), Some(value), "the last resolved memory of {key:?}");
    }
    assert_eq!(found.len(), expected.len(), "memories");
}

/// Bytes as text, `null` where there are none.
pub fn text(bytes: &Option<Vec<u8>>) -> String {
    bytes.as_deref().map_or("null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// The same dead letters, in whatever order their partitions' tasks came.
#[track_caller]
pub fn assert_dead_letters(expected: &[Record], found: &[Record]) {
    let sorted = |records: &[Record]| -> Vec<String> {
        let mut lines: Vec<String> = records.iter().map(|r| Record { offset: 0, ..r.clone() }.to_line()).collect();
        lines.sort();
        lines
    };
    assert_eq!(expected.len(), found.len(), "dead letters");
    for (expected, found) in sorted(expected).iter().zip(&sorted(found)) {
        assert_eq!(expected, found);
    }
}

/// What a sub-topology makes of its repartition topic as it stands, with the partition of it that
/// each record comes from; without what goes on to another, and without answers, whose place in the
/// order is no one's to say.
pub struct Driven {
    pub snapshots: Vec<(i32, Record)>,
    pub conflicts: Vec<(i32, Record)>,
    pub dead_letters: Vec<Record>,
    /// The rows of the memories, by partition.
    pub state: BTreeMap<(i32, Vec<u8>), Vec<u8>>,
}

impl Driven {
    pub fn run(trial: &Trial, topic: &str) -> Driven {
        Driven::of(trial, topic, &records::read_committed(trial.broker(), topic))
    }

    /// The same with the topic's records.
    pub fn of(trial: &Trial, topic: &str, repartition: &[Record]) -> Driven {
        let text = std::fs::read_to_string(trial.topology()).unwrap();
        let mut file = topology_file::parse("topology.toml", &text, &Program::default().operators)
            .unwrap_or_else(|problems| panic!("{problems}"));
        trial.settings().iter().for_each(|pair| file.values.set_text(pair, "test").unwrap());
        let engine = app::topology_from_file::build(&file, &None).unwrap();
        let mut driver = TopologyDriver::new(&engine, trial.application_id(), &app::topology_from_file::sizes(&file));
        let mut driven =
            Driven { snapshots: Vec::new(), conflicts: Vec::new(), dead_letters: Vec::new(), state: BTreeMap::new() };
        let mut batch = RecordBatch::new();
        for record in repartition {
            let Record { partition, offset, timestamp_ms, .. } = *record;
            batch.clear();
            let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
            let origin = Origin { topic, partition, offset, timestamp_ms };
            batch.push(origin, record.key.as_deref(), record.value.as_deref(), headers);
            batch.iter().for_each(|input| driver.pipe(&input).unwrap());
            for output in driver.outputs().iter() {
                let (output_topic, record) = (output.origin.topic, owned(&output));
                if is_answer(&record) || (is_user(&record) && topic != trial.by_user()) {
                    continue;
                }
                if output_topic == trial.topic("dead-letters") {
                    driven.dead_letters.push(record);
                    continue;
                }
                let to = if output_topic == trial.topic("snapshots") {
                    &mut driven.snapshots
                } else {
                    assert_eq!(output_topic, trial.topic("conflicts"));
                    &mut driven.conflicts
                };
                to.push((partition, record));
            }
            driver.clear_outputs();
        }
        let keep = |task: TaskId, key: &[u8], value: &[u8]| {
            driven.state.insert((task.partition, key.to_vec()), value.to_vec());
        };
        driver.scan_store("memories", keep).unwrap();
        driven
    }
}

fn owned(record: &InRecord<'_>) -> Record {
    let headers = record.record.headers.iter().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
    Record {
        partition: record.origin.partition,
        offset: record.origin.offset,
        timestamp_ms: record.record.timestamp_ms,
        key: record.record.key.map(<[u8]>::to_vec),
        value: record.record.value.map(<[u8]>::to_vec),
        headers: headers.collect(),
    }
}

/// Each task wrote the records expected of it into each partition, in this order, and none besides.
/// Records of several tasks may come in any order among themselves; whose a record is, its key
/// tells.
#[track_caller]
pub fn assert_record_by_record(what: &str, expected: &[(i32, Record)], found: &[Record]) {
    let task_of: BTreeMap<&Option<Vec<u8>>, i32> = expected.iter().map(|(task, record)| (&record.key, *task)).collect();
    let mut by_task: BTreeMap<(i32, i32), (Vec<String>, Vec<String>)> = BTreeMap::new();
    // Offsets count transaction markers and other tasks' records, which the driver does not have.
    let line = |record: &Record| Record { offset: 0, ..record.clone() }.to_line();
    for (task, record) in expected {
        by_task.entry((*task, record.partition)).or_default().0.push(line(record));
    }
    for record in found {
        let task = *task_of.get(&record.key).unwrap_or_else(|| panic!("{what}: a record of nobody: {record:?}"));
        by_task.entry((task, record.partition)).or_default().1.push(line(record));
    }
    for ((task, partition), (expected, found)) in &by_task {
        let place = format!("{what}, partition {partition}, of task {task}");
        for (at, (expected, found)) in expected.iter().zip(found).enumerate() {
            assert_eq!(show(expected), show(found), "{place}, record {at}");
        }
        assert_eq!(expected.len(), found.len(), "{place}: how many");
    }
}

/// A record file's line with its bytes as text.
fn show(line: &str) -> String {
    let record = Record::from_line(line);
    format!("{} {} {} {:?}", record.timestamp_ms, text(&record.key), text(&record.value), record.headers)
}
