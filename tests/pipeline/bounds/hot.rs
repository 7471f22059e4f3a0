//! What is hot or large holds up nobody else: a memory with many contenders, events of 8 MiB, and a
//! partition that gets 100 times as much as the others.

use super::{is_long, number};
use crate::expect::assert_outputs;
use crate::extremes::event_of;
use crate::instance::Instance;
use crate::trial::{PARTITIONS, Trial, ends};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use std::time::{Duration, Instant};
use streams::task::partition_for;
use testkit::{Record, records};

/// The memory that is hot, or large. Its events come by partition 0.
const HOT: &str = "hot";
const HOT_SOURCE: i32 = 0;
const LOOK: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(30);

fn event(memory: &str, node: &str, version: usize) -> Record {
    let value = json!({"event_id": format!("{memory}-{node}-{version}"), "event_type": "memory.updated",
        "memory_id": memory, "user_id": memory, "node_id": node, "timestamp": "2026-01-01T00:00:00Z",
        "content": format!("what {node} says"), "version": version, "vector_clock": {node: version}});
    Record::new(memory, value.to_string()).in_partition(HOT_SOURCE).at_ms(1_767_225_600_000)
}

/// A memory of its own in each other source partition, none of which the hot one's task resolves.
fn cold_memories(hot: &str) -> Vec<String> {
    let task = |memory: &str| partition_for(Some(memory.as_bytes()), HOT_SOURCE, PARTITIONS);
    (0..)
        .map(|at| format!("cold-{at}"))
        .filter(|memory| task(memory) != task(hot))
        .take(PARTITIONS as usize - 1)
        .collect()
}

/// How many records of each partition are not committed yet.
fn lags(trial: &Trial, onlooker: &BaseConsumer, topic: &str) -> Option<Vec<i64>> {
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_range(topic, 0, PARTITIONS - 1);
    let committed = onlooker.committed_offsets(partitions, TIMEOUT).ok()?;
    let ends = ends(onlooker, topic, PARTITIONS, TIMEOUT)?;
    let lag = |(partition, end): (i32, i64)| match committed.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(end - offset),
        _ => Some(end),
    };
    assert_eq!(trial.broker().partition_count(topic), Some(PARTITIONS as usize));
    ends.into_iter().map(lag).collect()
}

/// What was seen while the hot events were processed.
#[derive(Default)]
struct Seen {
    /// Each time that all other partitions were done with an event: how long it took.
    rounds: Vec<Duration>,
}

/// Publishes an event to each other partition, waits until all of these are committed through to
/// the resolved memories, and again, for as long as the hot events are not done.
fn go_round(trial: &Trial, instance: &mut Instance, hot: &str) -> Seen {
    let onlooker = trial.onlooker("read_uncommitted");
    let (cold, hot_task) = (cold_memories(hot), partition_for(Some(hot.as_bytes()), HOT_SOURCE, PARTITIONS));
    let places = [(trial.topic("events"), HOT_SOURCE), (trial.repartition(), hot_task)];
    // Whether the hot partitions, and whether the others, are done.
    let look = || -> Option<(bool, bool)> {
        let mut done = (true, true);
        for (topic, hot) in &places {
            for (partition, lag) in lags(trial, &onlooker, topic)?.into_iter().enumerate() {
                let part = if partition as i32 == *hot { &mut done.0 } else { &mut done.1 };
                *part &= lag == 0;
            }
        }
        Some(done)
    };
    let mut seen = Seen::default();
    for version in 1.. {
        let in_place = |(at, memory): (usize, &String)| event(memory, "node", version).in_partition(at as i32 + 1);
        records::produce(
            trial.broker(),
            &trial.topic("events"),
            &cold.iter().enumerate().map(in_place).collect::<Vec<_>>(),
        );
        let begun = Instant::now();
        let is_hot_done = loop {
            instance.assert_running();
            match look() {
                Some((true, _)) => break true,
                Some((false, true)) => break false,
                _ => std::thread::sleep(LOOK),
            }
        };
        if is_hot_done {
            break;
        }
        seen.rounds.push(begun.elapsed());
    }
    seen
}

/// Publishes the hot events, runs an instance until all is done, and says how the others fared.
fn run(what: &str, hot: &str, settings: &[&str], events: &[Record]) -> Trial {
    let trial = Trial::new("hot", settings);
    trial.feed(events);
    let mut instance = trial.start("state", &["--threads", "2", "--no-mirror"]);
    instance.wait_for("the first record", |instance| (instance.records() > 0).then_some(()));
    let begun = Instant::now();
    let mut seen = go_round(&trial, &mut instance, hot);
    let took = begun.elapsed().as_secs_f64();
    trial.wait_until_done(&mut [&mut instance]);
    seen.rounds.sort();
    let seconds = |round: Option<&Duration>| round.map_or(0.0, Duration::as_secs_f64);
    println!(
        "{what}: {took:.1} s; meanwhile all other partitions were done with a new event {} times, after {:.2} s in the \
         median and {:.2} s at most",
        seen.rounds.len(),
        seconds(seen.rounds.get(seen.rounds.len() / 2)),
        seconds(seen.rounds.last())
    );
    // In a sample the hot events are too few to say anything.
    assert!(!is_long() || !seen.rounds.is_empty(), "{what}: the others stood still");
    instance.stop();
    trial
}

#[test]
fn a_memory_with_many_contenders_holds_nobody_up() {
    let contenders = number("BOUNDS_HOT", 200);
    let events: Vec<Record> = (0..contenders).map(|at| event(HOT, &format!("n{at}"), 1)).collect();
    let trial = run(&format!("a memory with {contenders} contenders"), HOT, &[], &events);
    assert_outputs(&trial);
    let conflicts = trial.read("conflicts");
    let last = conflicts.iter().rfind(|record| record.key_text() == HOT).expect("a conflict").value_json();
    assert_eq!(last["fields"][0]["contenders_total"], contenders);
}

#[test]
fn events_of_8_mib_hold_nobody_up() {
    let count = if is_long() { 20 } else { 1 };
    let events: Vec<Record> = (0..count).map(|at| event_of(8 << 20, &format!("e{at}"), at + 1)).collect();
    assert_outputs(&run(&format!("{count} events of 8 MiB"), "large", &[], &events));
}

#[test]
fn a_partition_that_is_100_times_as_hot_holds_nobody_up() {
    let count = number("BOUNDS_HOT", 20) * 100;
    let task = |memory: &str| partition_for(Some(memory.as_bytes()), HOT_SOURCE, PARTITIONS);
    let memories: Vec<String> = (0..)
        .map(|at| format!("of-the-partition-{at}"))
        .filter(|memory| task(memory) == task(HOT))
        .take(1000)
        .collect();
    let events: Vec<Record> =
        (0..count).map(|at| event(&memories[at % memories.len()], "node", 1 + at / memories.len())).collect();
    let trial = run(&format!("{count} events in one partition"), HOT, &[], &events);
    assert_outputs(&trial);
}
