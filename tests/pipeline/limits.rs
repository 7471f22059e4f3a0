//! A topic that takes less than our batches, or than one of our records: the records that fit
//! arrive all the same, and only those that do not are dead letters.

use crate::expect;
use crate::trial::Trial;
use serde_json::json;
use testkit::{Broker, Record};

/// An event that makes a resolved memory of a little more than `bytes`.
fn event(memory: &str, bytes: usize) -> Record {
    let value = json!({"event_id": format!("e-{memory}"), "event_type": "memory.created", "memory_id": memory, "user_id": "u",
        "node_id": "n", "timestamp": "2026-01-01T00:00:00Z", "content": "x".repeat(bytes), "vector_clock": {"n": 1}});
    let partition = memory.bytes().map(i32::from).sum::<i32>() % 12;
    Record::new(memory, value.to_string()).in_partition(partition)
}

fn events(stem: &str, count: usize, bytes: usize) -> Vec<Record> {
    (0..count).map(|at| event(&format!("{stem}{at}"), bytes)).collect()
}

/// A trial whose topic of snapshots was made by somebody else, with such limits.
fn trial(stem: &str, output_limit: &str, settings: &[(&str, &str)]) -> Trial {
    // `replay` knows no topic, so it is told of the limit.
    Trial::on_topic(stem, &[&format!("max_output_bytes={output_limit}")], |events| {
        let settings = [settings, &TIMES].concat();
        Broker::shared().create_topic(&events.replace(".events", ".snapshots"), 6, &settings);
    })
}

/// Outputs have the times of events.
const TIMES: [(&str, &str); 2] = [("message.timestamp.after.max.ms", "9223372036854775807"), ("retention.ms", "-1")];

/// The classes and keys of the dead letters, sorted.
fn dead_letters(trial: &Trial) -> Vec<(String, String)> {
    let class = |letter: &Record| -> String {
        let class = letter.headers.iter().find(|(name, _)| name == "__streams.errors.exception").unwrap().1.clone();
        String::from_utf8(class.unwrap()).unwrap()
    };
    let mut letters: Vec<_> =
        trial.read("dead-letters").iter().map(|letter| (class(letter), letter.key_text())).collect();
    letters.sort();
    letters
}

fn letter(class: &str, key: &str) -> (String, String) {
    (class.to_owned(), key.to_owned())
}

#[test]
fn a_topic_that_takes_less_than_our_batches_loses_only_the_record_that_is_too_large_by_itself() {
    let trial = trial("limits", "100000", &[("max.message.bytes", "100000")]);
    trial.feed(&events("a", 1500, 1500));
    trial.feed(&[event("huge", 150_000)]);
    let mut instance = trial.start("state", &["--no-mirror", "--threads", "1"]);
    trial.wait_until_done(&mut [&mut instance]);
    assert_eq!(dead_letters(&trial), [letter("output_too_large", "huge")]);
    let refused = (instance.counter("aborts"), instance.counter("refused_batches"));
    assert_eq!(refused, (0, 0), "the limit is known from the start");

    // Nobody tells of a limit that is lowered while an instance runs.
    let lowered = [&[("max.message.bytes", "20000")], &TIMES[..]].concat();
    Broker::shared().set_topic(&trial.topic("snapshots"), &lowered);
    trial.feed(&events("b", 600, 1500));
    trial.wait_until_done(&mut [&mut instance]);
    assert!(instance.counter("refused_batches") > 0, "it was a batch that was refused");
    expect::assert_outputs(&trial);
    assert_eq!(dead_letters(&trial), [letter("output_too_large", "huge")]);

    trial.feed(&events("c", 30, 1500));
    trial.feed(&[event("large", 50_000)]);
    trial.feed(&events("d", 30, 1500));
    trial.wait_until_done(&mut [&mut instance]);
    assert_eq!(dead_letters(&trial), [letter("output_refused", "large"), letter("output_too_large", "huge")]);
    let snapshots = trial.read("snapshots");
    let of = |stem: &str| snapshots.iter().filter(|record| record.key_text().starts_with(stem)).count();
    assert_eq!((of("c"), of("d")), (30, 30), "each once");
    instance.stop();
}

#[test]
fn a_record_above_the_segments_of_a_topic_takes_no_other_with_it() {
    let trial = trial("segments", "1048576", &[("segment.bytes", "1048576")]);
    trial.feed(&events("a", 200, 1000));
    trial.feed(&[event("huge", 1_200_000)]);
    trial.feed(&events("b", 200, 1000));
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    assert_eq!(dead_letters(&trial), [letter("output_too_large", "huge")]);
    instance.stop();
}

/// The batch of one record alone is above the segment: the broker's error is another one than above
/// the record limit.
#[test]
fn segments_that_are_lowered_while_an_instance_runs_take_only_the_record_that_is_too_large() {
    let record_limit = ("max.message.bytes", "4000000");
    let trial = trial("lowered", "2000000", &[record_limit]);
    trial.feed(&events("a", 100, 1000));
    let mut instance = trial.start("state", &["--no-mirror", "--threads", "1"]);
    trial.wait_until_done(&mut [&mut instance]);
    let lowered = [&[("segment.bytes", "1048576"), record_limit], &TIMES[..]].concat();
    Broker::shared().set_topic(&trial.topic("snapshots"), &lowered);
    trial.feed(&events("b", 100, 1000));
    trial.feed(&[event("huge", 1_200_000)]);
    trial.feed(&events("c", 100, 1000));
    trial.wait_until_done(&mut [&mut instance]);
    assert_eq!(dead_letters(&trial), [letter("output_refused", "huge")]);
    let letter = &trial.read("dead-letters")[0];
    let why = letter.headers.iter().find(|(name, _)| name == "__streams.errors.message").unwrap().1.clone();
    let why = String::from_utf8(why.unwrap()).unwrap();
    assert!(why.contains("segment size"), "{why}");
    let snapshots = trial.read("snapshots");
    let of = |stem: &str| snapshots.iter().filter(|record| record.key_text().starts_with(stem)).count();
    assert_eq!((of("a"), of("b"), of("c")), (100, 100, 100), "each once");
    instance.stop();
}
