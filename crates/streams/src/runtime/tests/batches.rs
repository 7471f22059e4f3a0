//! A broker takes or refuses a batch as a whole: its records are innocent until each was refused in
//! a batch of its own.

use super::*;
use crate::error::Error;

/// The class in the headers of a dead letter.
fn class(letter: &broker::Stored) -> Option<&[u8]> {
    letter.headers.iter().find(|(name, _)| name == "__streams.errors.exception")?.1.as_deref()
}

fn limit(world: &World, topic: &str, bytes: usize) {
    world.broker.lock().batch_limits.insert(topic.to_owned(), bytes);
}

/// Words of so many letters, on lines of three.
fn lines(words: usize, letters: usize) -> Vec<String> {
    let words: Vec<String> = (0..words).map(|at| format!("{at:0letters$}")).collect();
    words.chunks(3).map(|line| line.join(" ")).collect()
}

fn publish(world: &World, lines: &[String]) {
    world.publish(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

fn world() -> World {
    let world = World::new();
    World { config: RuntimeConfig { batch_bytes: 16_000, ..world.config.clone() }, ..world }
}

#[test]
fn a_refused_batch_is_sent_again_in_smaller_ones_and_no_record_of_it_is_a_dead_letter() {
    let world = world();
    // Each record fits, three of them do not: neither in the outputs nor in the changelog.
    for topic in ["out", REPARTITION, CHANGELOG] {
        limit(&world, topic, 2500);
    }
    publish(&world, &lines(30, 1000));
    let mut running = world.start_all();
    running.finish();
    assert_eq!(running.thread.batches(), crate::ports::BatchLimit::Bytes(2000), "16000, 8000, 4000, 2000");
    let snapshot = running.instance.metrics().threads()[&0].snapshot();
    assert_eq!(snapshot.producers_lost, 0, "nobody is suspected of using the transactional id");
    assert_eq!(running.instance.metrics().incidents().refused_batches, 3, "16000, 8000, 4000");
    running.stop();
    world.assert_exactly_once(30);
    assert_eq!(world.broker.read("bad", 0), []);
}

#[test]
fn a_record_that_is_too_large_by_itself_is_the_only_dead_letter_of_its_batch() {
    let world = world();
    limit(&world, "out", 2500);
    let mut all = lines(12, 1000);
    let long = "x".repeat(3000);
    all.insert(1, format!("small {long} other"));
    publish(&world, &all);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    let mut expected = world.expected();
    expected.retain(|output| *output != format!("{long}=1"));
    assert_eq!(world.outputs(), expected);
    let letters = world.broker.read("bad", 0);
    assert_eq!(letters.iter().map(broker::Stored::text).collect::<Vec<_>>(), [format!("{long}=-")]);
    assert_eq!(class(&letters[0]), Some(&b"output_refused"[..]));
}

#[test]
fn a_limit_that_is_lowered_while_an_instance_runs_costs_a_smaller_batch_and_no_record() {
    let world = world();
    limit(&world, "out", 1 << 20);
    publish(&world, &lines(12, 1000));
    let mut running = world.start_all();
    running.finish();
    let before = world.broker.lock().batches.iter().max().copied();
    assert!(before > Some(1), "{before:?}");
    limit(&world, "out", 1100);
    publish(&world, &lines(12, 1000));
    running.finish();
    running.stop();
    world.assert_exactly_once(24);
    assert_eq!(world.broker.read("bad", 0), []);
}

#[test]
fn the_least_limit_of_all_topics_is_known_at_the_start() {
    for setting in ["max.message.bytes", "segment.bytes"] {
        let world = world();
        limit(&world, "out", 2500);
        world.broker.lock().configs.insert("out".to_owned(), vec![(setting.to_owned(), "2500".to_owned())]);
        publish(&world, &lines(12, 1000));
        let mut running = world.start_all();
        running.finish();
        let snapshot = running.instance.metrics().threads()[&0].snapshot();
        assert_eq!((snapshot.aborts, snapshot.producers_lost), (0, 0), "{setting}: nothing was refused");
        assert_eq!(world.broker.lock().batches.iter().max(), Some(&2));
        running.stop();
        world.assert_exactly_once(12);
    }
}

#[test]
fn a_dead_letter_that_is_refused_goes_without_its_value() {
    let world = world();
    limit(&world, "bad", 2500);
    world.publish(&["a", &format!("{}!", "x".repeat(3000)), "b"]);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    world.assert_exactly_once(2);
    let letters = world.broker.read("bad", 0);
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].value.as_deref(), class(&letters[0])), (None, Some(&b"bad_line"[..])));
}

#[test]
fn a_changelog_record_that_is_too_large_by_itself_stops_the_thread_with_the_setting() {
    let world = world();
    limit(&world, CHANGELOG, 500);
    publish(&world, &lines(3, 1000));
    let mut running = world.start_all();
    let stopped = (0..4000).find_map(|_| running.thread.run_once().err());
    let is_reported = |what: &str| what.contains("changelog") && what.contains("max.message.bytes");
    assert!(matches!(&stopped, Some(Error::Fatal(what)) if is_reported(what)), "{stopped:?}");
}

#[test]
fn the_cause_of_a_failed_transaction_is_looked_for_among_its_deliveries() {
    let world = world();
    limit(&world, "out", 2500);
    publish(&world, &lines(12, 1000));
    let mut running = world.start_all();
    // The client says first that the transaction failed, as librdkafka does when a batch in flight
    // behind the refused one is out of order.
    (0..3).for_each(|_| world.broker.fault("send_offsets", Error::ProducerLost("out of order".to_owned())));
    running.finish();
    running.stop();
    world.assert_exactly_once(12);
    assert_eq!(world.broker.read("bad", 0), []);
}

#[test]
fn a_batch_that_outlasts_the_commit_interval_is_committed_in_parts() {
    let world = World::new();
    // The clock goes on by a millisecond whenever it is asked, so each look finds the interval
    // over.
    let world = World { config: RuntimeConfig { commit_interval: Duration::ZERO, ..world.config.clone() }, ..world };
    publish(&world, &lines(960, 3));
    let mut running = world.start_all();
    running.finish();
    let commits = running.instance.metrics().threads()[&0].snapshot().commits;
    assert!(commits >= (320 + 960) / 16, "{commits} commits of 320 lines and their 960 words");
    running.stop();
    world.assert_exactly_once(960);
}
