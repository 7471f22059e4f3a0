//! Many events over many memories, within the memory that is configured.

use super::{is_long, number};
use crate::expect::{assert_last_resolved, assert_outputs, memories_of};
use crate::instance::Instance;
use crate::trial::{PARTITIONS, Trial};
use rdkafka::producer::{BaseProducer, Producer};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Broker, Random, Record, records};

/// Memories of a user.
const MEMORIES_OF_USER: usize = 20;
/// Memories that are compared in a long run: not all of its records fit into this process.
const COMPARED: usize = 5000;
/// 2026-01-01T00:00:00Z.
const START_MS: i64 = 1_767_225_600_000;
const LOOK: Duration = Duration::from_millis(200);

/// Events: each memory is written once, and then memories at random, one time in 16 by a node that
/// has not seen the others' writes.
struct Written {
    random: Random,
    made: usize,
    versions: Vec<u32>,
}

impl Written {
    fn new(memories: usize) -> Written {
        Written { random: Random::new(testkit::seed()), made: 0, versions: vec![0; memories] }
    }

    fn next(&mut self) -> Record {
        let count = self.versions.len();
        let memory = if self.made < count { self.made } else { self.random.below(count) };
        self.versions[memory] += 1;
        let (version, number) = (self.versions[memory], self.made);
        let node = if version > 1 && self.random.one_in(16) { "apart" } else { "node" };
        // Stream time moves little, so that few user snapshots come out.
        let timestamp_ms = START_MS + number as i64 / 100;
        let value = json!({"event_id": format!("e{number}"), "event_type": "memory.updated",
            "memory_id": format!("m{memory}"), "user_id": format!("u{}", memory / MEMORIES_OF_USER), "node_id": node,
            "timestamp": "2026-01-01T00:00:00Z", "version": version, "vector_clock": {node: version},
            "content": format!("version {version} of what is known about the subject {memory}, as of the event {number}")});
        self.made += 1;
        let partition = self.random.below(PARTITIONS as usize) as i32;
        Record::new(format!("m{memory}"), value.to_string()).in_partition(partition).at_ms(timestamp_ms)
    }
}

/// Publishes so many events; gives those of the memories whose numbers are to be kept.
fn publish(trial: &Trial, events: usize, memories: usize, kept: &BTreeSet<Vec<u8>>) -> Vec<Record> {
    let mut client = trial.broker().client();
    client.set("enable.idempotence", "true").set("linger.ms", "20").set("compression.type", "lz4");
    let producer: BaseProducer = client.create().unwrap();
    let (mut written, mut found) = (Written::new(memories), Vec::new());
    for _ in 0..events {
        let record = written.next();
        records::send(&producer, &trial.topic("events"), std::slice::from_ref(&record));
        if record.key.as_ref().is_some_and(|key| kept.contains(key)) {
            found.push(record);
        }
    }
    producer.flush(Duration::from_secs(120)).expect("the events reach the broker");
    found
}

/// Resident memory of a process, in MiB: the greatest so far, and what no file backs now.
fn resident_mib(instance: &Instance) -> (usize, usize) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", instance.pid())).unwrap();
    let mib = |name: &str| -> usize {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    };
    (mib("VmHWM:"), mib("RssAnon:"))
}

#[test]
fn memory_stays_within_1_3_times_what_is_configured() {
    let (events, memories) = (number("BOUNDS_EVENTS", 12_000), number("BOUNDS_MEMORIES", 2000));
    let configured = number("BOUNDS_MEMORY", 1024);
    let setting = format!("memory={configured}MiB");
    let settings = [&setting, "purge=true"];
    let trial = if is_long() {
        Trial::on_broker_with("bounds", &settings, Arc::new(Broker::start_with_heap("1g")))
    } else {
        Trial::new("bounds", &settings[..1])
    };
    let compared = memories.min(COMPARED);
    let kept: BTreeSet<Vec<u8>> =
        (0..compared).map(|at| format!("m{}", at * (memories / compared)).into_bytes()).collect();
    let begun = Instant::now();
    let of_kept = publish(&trial, events, memories, &kept);
    println!("{events} events of {memories} memories were published in {:.0} s", begun.elapsed().as_secs_f64());

    let mut instance = trial.start("state", &["--threads", "2", "--no-mirror"]);
    let (onlooker, begun) = (trial.onlooker("read_uncommitted"), Instant::now());
    let (mut peak, mut anonymous, mut told) = (0, 0, Instant::now());
    while !trial.is_done(&onlooker) {
        instance.assert_running();
        let (resident, of_no_file) = resident_mib(&instance);
        (peak, anonymous) = (peak.max(resident), anonymous.max(of_no_file));
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            println!("{} records processed, peak {peak} MiB, {anonymous} MiB without files", instance.records());
        }
        std::thread::sleep(LOOK);
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{events} events of {memories} memories in {took:.0} s, {:.0} a second, with memory={configured}MiB: \
         resident {peak} MiB at most, {:.2} times that; {anonymous} MiB of it without files",
        events as f64 / took,
        peak as f64 / configured as f64
    );
    // Pages of the program itself are files', which the system drops where it needs the memory.
    assert!(anonymous * 10 <= configured * 13, "{anonymous} MiB, and {configured} MiB are configured");
    instance.stop();
    if is_long() {
        let is_kept = |record: &Record| record.key.as_ref().is_some_and(|key| kept.contains(key));
        let found = records::read_committed_where(trial.broker(), &trial.topic("snapshots"), is_kept);
        assert_last_resolved(&memories_of(&trial.replay(&of_kept).snapshots), &memories_of(&found));
        println!("the last forms of {} memories, after {} events, are those of replay", kept.len(), of_kept.len());
    } else {
        assert_outputs(&trial);
    }
}
