//! What passes with stream time, and what is done in slices, on a real Kafka and over kills:
//! answers to sync requests, tombstones, user snapshots.

use crate::events::Events;
use crate::expect::{self, is_answer, is_user};
use crate::instance::Instance;
use crate::trial::Trial;
use serde_json::json;
use std::collections::BTreeMap;
use testkit::records::Follower;
use testkit::{Record, records, wait_until};

const MEMORIES: usize = 3000;

/// Memories of 15 KB: those of a partition that are asked for, about 167, are three slices of 1
/// MiB.
fn memory(n: usize) -> Record {
    let event = json!({"event_id": format!("e{n}"), "event_type": "memory.created", "memory_id": format!("m{n}"), "user_id": format!("u{}", n % 7),
        "timestamp": "2026-01-01T00:00:00Z", "vector_clock": {"n": n + 1}, "content": "x".repeat(15_000)});
    Record { partition: (n % 12) as i32, ..Record::new("k", event.to_string()) }
}

/// A request of a node, for the memories of a user, or of all where the user is empty.
fn asked(id: &str, user: &str) -> Record {
    let event = json!({"event_id": id, "event_type": "memory.sync_request", "node_id": id, "user_id": user, "vector_clock": {"n": 1000}, "timestamp": "2026-01-01T00:00:01Z"});
    Record::new("k", event.to_string())
}

/// The answers so far, by the node that asked: each memory, and how often it was told.
#[derive(Default)]
struct Answers(BTreeMap<String, BTreeMap<String, usize>>);

impl Answers {
    /// Counts those among these records.
    fn count(&mut self, records: &[Record]) {
        for record in records.iter().filter(|record| is_answer(record)) {
            let nodes =
                record.headers.iter().filter(|(name, _)| name == "sync_for").filter_map(|(_, node)| node.as_ref());
            for node in nodes {
                let node = String::from_utf8(node.clone()).unwrap();
                *self.0.entry(node).or_default().entry(record.key_text()).or_default() += 1;
            }
        }
    }

    /// Those to a node.
    fn of(&self, node: &str) -> BTreeMap<String, usize> {
        self.0.get(node).cloned().unwrap_or_default()
    }

    /// Waits until a node was told of so many memories.
    #[track_caller]
    fn wait_for(&mut self, snapshots: &Follower, node: &str, memories: usize) {
        wait_until(&format!("the answer to {node:?}"), || {
            self.count(&snapshots.arrived());
            self.of(node).len() >= memories
        });
    }
}

#[test]
fn an_answer_goes_on_where_it_was_after_a_kill() {
    let trial = Trial::new("sync", &[]);
    trial.feed(&(0..MEMORIES).map(memory).collect::<Vec<_>>());
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);
    instance.stop();
    trial.feed(&[asked("first", "")]);
    // Nothing but the answer is to be done: the request is passed on in one commit, and a slice
    // goes with each that follows. The second kill comes when two slices are committed at most, so
    // the third run has work left.
    for step in ["commit:2", "store:2", "commit:1"] {
        trial.start_killed_at(step, "state", &["--no-mirror"]).wait_for_kill();
    }
    let mut instance = trial.start("state", &["--no-mirror"]);
    let whole: BTreeMap<String, usize> = (1000..MEMORIES).map(|n| (format!("m{n}"), 1)).collect();
    let (snapshots, mut answers) = (Follower::start(trial.broker(), &trial.topic("snapshots")), Answers::default());
    answers.wait_for(&snapshots, "first", whole.len());
    // Asked again, it is answered again, by whoever has the task then; events are not kept waiting.
    trial.feed(&[asked("second", ""), asked("of a user", "u3"), memory(MEMORIES)]);
    let mut other = trial.start("other", &["--no-mirror"]);
    answers.wait_for(&snapshots, "second", whole.len());
    let of_user: BTreeMap<String, usize> =
        (1000..MEMORIES).filter(|n| n % 7 == 3).map(|n| (format!("m{n}"), 1)).collect();
    answers.wait_for(&snapshots, "of a user", of_user.len());
    trial.wait_until_done(&mut [&mut instance, &mut other]);
    assert_eq!(printed_by_the_example(&trial), 500);
    instance.stop();
    other.stop();
    let mut answers = Answers::default();
    answers.count(&trial.read("snapshots"));
    assert!(answers.of("first") == whole, "each memory once");
    let mut second = answers.of("second");
    // Whether the last one was there when its partition was asked is left open.
    second.remove(&format!("m{MEMORIES}"));
    assert!(second == whole, "each memory once");
    assert_eq!(answers.of("of a user"), of_user);
    expect::assert_outputs(&trial);
}

/// How many memories `examples/sync_request.rs` prints, which has seen all but the last 500.
fn printed_by_the_example(trial: &Trial) -> usize {
    let release = std::path::Path::new(env!("CARGO_BIN_EXE_helixstream")).parent().unwrap();
    let mut command = std::process::Command::new(release.join("examples/sync_request"));
    command.args([&trial.broker().bootstrap(), "example", &json!({"n": MEMORIES - 499}).to_string()]);
    let output = command.args([trial.topic("events"), trial.topic("snapshots")]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().count()
}

/// Keys that a changelog holds after compaction.
fn kept(trial: &Trial) -> BTreeMap<(i32, Vec<u8>), Vec<u8>> {
    let mut last = BTreeMap::new();
    for record in records::read_committed(trial.broker(), &trial.changelog()) {
        let key = (record.partition, record.key.unwrap_or_default());
        match record.value {
            Some(value) => drop(last.insert(key, value)),
            None => drop(last.remove(&key)),
        }
    }
    last
}

/// A memory of its record's time, by which time passes.
fn dated(n: usize) -> Record {
    let kind = ["created", "deleted"][n % 5 / 4];
    let event = json!({"event_id": format!("d{n}"), "event_type": format!("memory.{kind}"), "memory_id": format!("d{}", n % 50), "user_id": format!("u{}", n % 7),
        "vector_clock": {"d": n + 1}});
    let timestamp_ms = 1_700_000_000_000 + 100 * n as i64;
    Record { partition: (n % 12) as i32, timestamp_ms, ..Record::new("k", event.to_string()) }
}

#[test]
fn what_is_forgotten_is_forgotten_in_the_changelog_too_whatever_is_killed() {
    let trial = Trial::new("tombstones", &["tombstone_retention=2s", "snapshot_interval=1s"]);
    let mut events = Events::new(21, 40);
    let mut piece = 0;
    let feeder = trial.feed_on(move || {
        piece += 1;
        [events.take(18), (0..4).map(|n| dated(4 * piece + n)).collect()].concat()
    });
    let start = |state: &str| trial.start(state, &["--no-mirror", "--threads", "2"]);
    let mut first = start("first");
    for step in ["store:2", "changelog:3", "commit:2", "done:4"] {
        trial.start_killed_at(step, "second", &["--no-mirror", "--threads", "2"]).wait_for_kill();
        first.assert_running();
    }
    let mut second = start("second");
    second.wait_for("work", |instance: &Instance| (instance.records() > 0).then_some(()));
    // However little was fed between the kills, half a minute passes after them.
    let pieces = feeder.stop() / 22;
    trial.feed(&(4 * (pieces + 1)..).map(dated).take(300).collect::<Vec<_>>());
    trial.wait_until_done(&mut [&mut first, &mut second]);
    let driven = expect::Driven::run(&trial, &trial.repartition());
    wait_until("what is due to be forgotten", || kept(&trial) == driven.state);
    trial.wait_until_settled();
    assert!(!driven.state.is_empty());
    expect::assert_dead_letters(&driven.dead_letters, &expired(&trial));
    assert!(driven.dead_letters.len() > 10, "{} expired", driven.dead_letters.len());
    let snapshots = trial.read("snapshots");
    assert!(snapshots.iter().filter(|record| is_user(record)).count() > 10);
    let (users, memories): (Vec<Record>, Vec<Record>) = snapshots.into_iter().partition(is_user);
    let memories: Vec<Record> = memories.into_iter().filter(|record| !is_answer(record)).collect();
    expect::assert_record_by_record("snapshots", &driven.snapshots, &memories);
    let of_users = expect::Driven::run(&trial, &trial.by_user());
    expect::assert_record_by_record("user snapshots", &of_users.snapshots, &users);
    first.stop();
    second.stop();
}

fn expired(trial: &Trial) -> Vec<Record> {
    let is_expired = |record: &Record| {
        record
            .headers
            .iter()
            .any(|(name, value)| name == "__streams.errors.exception" && value.as_deref() == Some(b"expired"))
    };
    trial.read("dead-letters").into_iter().filter(is_expired).collect()
}
