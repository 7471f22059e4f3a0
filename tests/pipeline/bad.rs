//! Ten thousand records of which one in ten is bad, and full queues.

use crate::events::{Events, bad_record};
use crate::expect;
use crate::trial::Trial;
use reference_model::{Settings, files};
use testkit::Random;
use testkit::{Broker, Record, records, tools, wait_until};

const RECORDS: usize = 10_000;

#[test]
fn ten_thousand_records_of_which_one_in_ten_is_bad() {
    // Small limits, so that bad input of each class is cheap.
    let trial = Trial::new("bad", &["max_value_bytes=4000", "max_clock_entries=4"]);
    let settings = Settings { max_value_bytes: 4000, max_clock_entries: 4, ..Settings::default() };
    let (mut events, mut rng) = (Events::new(9, 300), Random::new(testkit::seed().wrapping_add(10)));
    let record = |n: usize| if n % 10 == 7 { bad_record(&mut rng, &settings) } else { events.good(&settings) };
    let all: Vec<Record> = (0..RECORDS).map(record).collect();
    let file = trial.path("events.jsonl");
    records::write_file(&file, &all);
    trial.produce(&file, RECORDS);
    let mut instance = trial.start("state", &["--threads", "2", "--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);
    let group = trial.application_id();
    wait_until("Kafka's own tool to show no lag", || tools::group_lag(Broker::shared(), group) == Some(0));
    assert_eq!(instance.metric("lag", ""), 0.0);
    let published = expect::assert_outputs(&trial);
    assert_dead_letters(&trial, &settings, &published);
    assert_eq!(instance.metric("dead_letters", ""), (RECORDS / 10) as f64);
    instance.stop();
}

/// Each bad record lies in the dead letters as it was, with Kafka Streams' headers and the class
/// that the reference gives it.
fn assert_dead_letters(trial: &Trial, settings: &Settings, published: &[Record]) {
    let as_file = |records: &[Record]| records.iter().map(|record| record.to_line() + "\n").collect::<String>();
    let found = files::read_outputs("", "", &as_file(&trial.read("dead-letters"))).dead_letters;
    assert_eq!(found.len(), RECORDS / 10);
    let mut bad = 0;
    for record in files::read_records(&as_file(published), &trial.topic("events")) {
        let letter = found.iter().find(|letter| (letter.partition, letter.offset) == (record.partition, record.offset));
        let Err(reason) = reference_model::decode(&record, settings) else {
            assert!(letter.is_none(), "a good record was refused: {letter:?}");
            continue;
        };
        bad += 1;
        let letter = letter.unwrap_or_else(|| panic!("no dead letter for {record:?}: {reason:?}"));
        assert_eq!((&letter.key, &letter.value, &letter.headers), (&record.key, &record.value, &record.headers));
        assert_eq!((letter.class.as_str(), letter.topic.as_str()), (reason.class, record.topic.as_str()));
        assert_eq!((letter.timestamp_ms, letter.source_timestamp_ms), (record.timestamp_ms, record.timestamp_ms));
    }
    assert_eq!(bad, RECORDS / 10);
}

#[test]
fn full_queues_are_waited_for() {
    let trial = Trial::new("full", &[]);
    trial.feed(&Events::new(11, 40).take(2000));
    let full = ["-X", "queue.buffering.max.messages=5", "-X", "queued.min.messages=1", "-X", "linger.ms=0"];
    let mut instance = trial.start("state", &[&["--threads", "1", "--no-mirror"][..], &full].concat());
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    instance.stop();
}
