//! The ends of time, and the greatest event.

use crate::expect;
use crate::trial::Trial;
use serde_json::json;
use testkit::{Broker, Record, records};

/// 1970-01-01T00:00:00.001Z, 2026-01-01T00:00:00Z and the last whole millisecond of nanoseconds in
/// 63 bits, in 2262.
const TIMES_MS: [i64; 3] = [1, 1_767_225_600_000, 9_223_372_036_854];
const TIMES: [&str; 5] = [
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00.000000001Z",
    "2026-01-01T00:00:00.5Z",
    "2262-04-11T23:47:16.854Z",
    "2262-04-11T23:47:16.854775807Z",
];

/// A write of `content` to memory `m` at a time.
fn write(id: &str, time: &str, timestamp_ms: i64) -> Record {
    let event =
        json!({"event_id": id, "event_type": "memory.updated", "memory_id": "m", "timestamp": time, "content": id});
    Record::new("m", event.to_string()).at_ms(timestamp_ms)
}

#[test]
fn events_dated_1970_and_2262() {
    // An events topic that takes far times; those that we make refuse records dated more than an
    // hour ahead.
    let trial = Trial::on_topic("far", &[], |topic| {
        Broker::shared().create_topic(
            topic,
            12,
            &[("message.timestamp.after.max.ms", "9223372036854775807"), ("retention.ms", "-1")],
        );
    });
    let all: Vec<(usize, i64)> = (0..TIMES.len()).flat_map(|at| TIMES_MS.map(|ms| (at, ms))).collect();
    let events = |round: &str| -> Vec<Record> {
        let event = |(n, (at, ms)): (usize, &(usize, i64))| write(&format!("{round}{n}"), TIMES[*at], *ms);
        all.iter().enumerate().map(event).collect()
    };
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.feed(&events("a"));
    trial.wait_until_done(&mut [&mut instance]);
    instance.kill();
    // What was written with such times is read again.
    let mut instance = trial.start("fresh", &["--no-mirror"]);
    instance.wait_until_ready();
    assert!(instance.restored() > 0);
    trial.feed(&events("b"));
    trial.wait_until_done(&mut [&mut instance]);
    let published = expect::assert_outputs(&trial);
    assert_eq!(published.len(), 2 * all.len());
    assert!(trial.read("dead-letters").is_empty());
    let snapshots = trial.read("snapshots");
    let last = snapshots.last().unwrap().value_json();
    assert_eq!((last["created_at"].as_str(), last["updated_at"].as_str()), (Some(TIMES[0]), Some(TIMES[4])));
    let times: Vec<i64> = snapshots.iter().map(|record| record.timestamp_ms).collect();
    assert!(times.contains(&TIMES_MS[0]) && times.contains(&TIMES_MS[2]), "{times:?}");
    instance.stop();
}

const LIMIT: usize = 8 << 20;

/// An event of exactly so many bytes: a text with everything that needs an escape.
pub fn event_of(bytes: usize, id: &str, counter: u32) -> Record {
    let event = |filler: &str| {
        let text = format!("\u{fc}\u{1f375}\\ \"\n{filler}");
        json!({"event_id": id, "event_type": "memory.updated", "memory_id": "large", "timestamp": "2026-01-01T00:00:00Z",
            "vector_clock": {"n": counter}, "content": text, "metadata": {"id": id}})
        .to_string()
    };
    let filler = "0123456789abcdef".repeat(bytes / 16);
    let value = event(&filler[..bytes - event("").len()]);
    assert_eq!(value.len(), bytes);
    Record::new("large", value)
}

#[test]
fn an_event_of_8_mib() {
    let trial = Trial::new("large", &[]);
    let file = trial.path("large.jsonl");
    let small = write("small", TIMES[2], TIMES_MS[1]);
    let events = [event_of(LIMIT, "a", 1), event_of(LIMIT + 1, "above", 2), small, event_of(LIMIT / 2, "b", 3)];
    records::write_file(&file, &events);
    trial.produce(&file, events.len());
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);
    instance.kill();
    let mut instance = trial.start("fresh", &["--no-mirror"]);
    instance.wait_until_ready();
    assert!(instance.restored() > 0);
    trial.feed(&[event_of(LIMIT, "c", 4)]);
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    let (snapshots, dead) = (trial.read("snapshots"), trial.read("dead-letters"));
    assert!(snapshots.iter().any(|record| record.value.as_ref().unwrap().len() > LIMIT));
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].value.as_ref().map(Vec::len), Some(LIMIT + 1), "a dead letter carries the event whole");
    let changes = records::read_committed(Broker::shared(), &trial.changelog());
    let size = |record: &Record| record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len);
    let largest = changes.iter().map(size).max().unwrap();
    assert!(largest <= 9 << 20, "a changelog record of {largest} bytes");
    instance.stop();
}
