//! Each class of error, and what is done about it: whatever happens, every record counts once.

use super::*;
use crate::error::Error;
use crate::offset::Offset;
use crate::record::TaskId;
use crate::task::state::TaskState;

const LINES: [&str; 8] = ["a b", "c d e", "a a", "f", "g h i j", "b", "a !", "k a"];
const WORDS: usize = 15;

fn text(what: &str) -> String {
    what.to_owned()
}

/// Runs the lines with a fault in the way, and finds every word counted once.
fn survives(call: &'static str, error: Error) -> ThreadSnapshot {
    let world = World::new();
    world.publish(&LINES[..3]);
    let mut running = world.start_all();
    running.turns(4);
    world.broker.fault(call, error);
    world.publish(&LINES[3..]);
    running.finish();
    assert!(world.broker.lock().faults.is_empty(), "the fault was met");
    let snapshot = running.instance.metrics().threads()[&0].snapshot();
    running.stop();
    world.assert_exactly_once(WORDS);
    snapshot
}

#[test]
fn a_transient_error_is_tried_again() {
    for call in ["poll", "send_offsets", "commit"] {
        assert_eq!(survives(call, Error::Retry(text("busy"))).producers_lost, 0, "{call}");
    }
}

#[test]
fn a_failed_transaction_goes_back_to_the_last_commit() {
    for call in ["send", "deliver", "send_offsets", "commit"] {
        let snapshot = survives(call, Error::Aborted(text("not this time")));
        assert_eq!((snapshot.aborts, snapshot.producers_lost), (1, 0), "{call}");
    }
}

#[test]
fn many_failed_deliveries_are_one_failed_transaction() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    (0..2).for_each(|_| world.broker.fault("deliver", Error::Aborted(text("timed out"))));
    let aborts = |running: &Running| running.instance.metrics().threads()[&0].snapshot().aborts;
    running.turns_until("an abort", |running| aborts(running) > 0);
    assert!(world.broker.lock().faults.is_empty(), "all failed in one transaction");
    // While nothing is read, as in a client that seeks: a failure told now would take the tasks
    // back once more.
    assert_eq!(running.thread.serve_deliveries(), Ok(()));
    running.finish();
    assert_eq!(aborts(&running), 1);
    running.stop();
    world.assert_exactly_once(WORDS);
}

#[test]
fn a_transaction_that_nobody_ends_is_told_of() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    let at = TopicPartition::new(REPARTITION, 1);
    let number = world.broker.lock().begin("stranger");
    let from = world.broker.lock().end(&at);
    world.broker.append(&at, number, "b", "1");
    let told = |running: &Running| running.thread.hanging_transactions();
    for wanted in [false, true] {
        running.turns_until("the transaction to be found", |running| told(running) == [(at.clone(), from, wanted)]);
        assert_eq!(running.instance.metrics().incidents().hanging_transactions, u64::from(wanted));
    }
    world.broker.lock().end_transaction(number, false);
    running.finish();
    running.turns_until("the transaction to be forgotten", |running| told(running).is_empty());
    running.stop();
    world.assert_exactly_once(WORDS);
}

#[test]
fn a_lost_producer_is_made_anew() {
    for call in ["begin", "send", "deliver", "send_offsets", "commit"] {
        assert_eq!(survives(call, Error::ProducerLost(text("fenced"))).producers_lost, 1, "{call}");
    }
}

#[test]
fn the_unknown_outcome_of_a_commit_is_asked_of_the_broker() {
    // The commit did not happen, or it did: the same remedy, and no record is lost or doubled
    // either way.
    assert_eq!(survives("commit", Error::ProducerLost(text("no answer"))).producers_lost, 1);
    assert_eq!(survives("after commit", Error::ProducerLost(text("no answer"))).producers_lost, 1);
}

#[test]
fn an_abort_that_fails_loses_the_producer() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    world.broker.fault("deliver", Error::Aborted(text("not this time")));
    world.broker.fault("abort", Error::ProducerLost(text("fatal while aborting")));
    running.finish();
    assert_eq!(running.instance.metrics().threads()[&0].snapshot().producers_lost, 1);
    running.stop();
    world.assert_exactly_once(WORDS);
}

#[test]
fn a_fenced_producer_takes_its_tasks_anew() {
    let world = World::new();
    world.publish(&LINES[..4]);
    let mut running = world.start_all();
    running.turns(3);
    world.broker.lock().init("app-0-0");
    world.publish(&LINES[4..]);
    running.finish();
    assert_eq!(running.instance.metrics().threads()[&0].snapshot().producers_lost, 1);
    running.stop();
    world.assert_exactly_once(WORDS);
}

#[test]
fn who_is_no_member_commits_nothing() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.group.consumer.borrow_mut().is_member = false;
    running.turns(200);
    assert!(world.broker.lock().committed.is_empty());
    running.group.consumer.borrow_mut().is_member = true;
    world.config_is_patient(&mut running);
    running.stop();
    world.assert_exactly_once(WORDS);
}

#[test]
fn a_record_that_the_broker_refuses_becomes_a_dead_letter() {
    let world = World::new();
    world.broker.lock().refused = Some((text("out"), b"3".to_vec()));
    world.publish(&["a b a c a b a", "b b"]);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    let out: Vec<String> = (0..3).flat_map(|partition| world.broker.texts("out", partition)).collect();
    let mut out: Vec<&str> = out.iter().map(String::as_str).collect();
    out.sort_unstable();
    assert_eq!(out, ["a=1", "a=2", "a=4", "b=1", "b=2", "b=4", "c=1"]);
    let letters = world.broker.read("bad", 0);
    let mut keys: Vec<String> = letters.iter().map(broker::Stored::text).collect();
    keys.sort();
    assert_eq!(keys, ["a=-", "b=-"], "with its key, not its bytes");
    let (name, class) = &letters[0].headers[0];
    assert_eq!((name.as_str(), class.as_deref()), ("__streams.errors.exception", Some(&b"output_refused"[..])));
}

#[test]
fn an_output_above_the_limit_becomes_a_dead_letter() {
    let world = World::new();
    world.broker.lock().configs.insert(text("out"), vec![(text("max.message.bytes"), text("200"))]);
    let long = "x".repeat(100);
    world.publish(&[&format!("a {long} b")]);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    let mut out: Vec<String> = (0..3).flat_map(|partition| world.broker.texts("out", partition)).collect();
    out.sort();
    assert_eq!(out, ["a=1", "b=1"]);
    let letters = world.broker.read("bad", 0);
    assert_eq!(letters.iter().map(broker::Stored::text).collect::<Vec<_>>(), [format!("{long}=-")]);
    assert_eq!(letters[0].headers[0].1.as_deref(), Some(&b"output_too_large"[..]));
}

#[test]
fn a_dead_letter_above_the_limit_goes_without_its_value() {
    let world = World::new();
    world.broker.lock().configs.insert(text("bad"), vec![(text("max.message.bytes"), text("600"))]);
    world.publish(&[&"!".repeat(1000)]);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    let letters = world.broker.read("bad", 0);
    assert_eq!(letters[0].value, None);
    let header = |name: &str| letters[0].headers.iter().find(|(found, _)| found == name).unwrap().1.clone().unwrap();
    assert_eq!(header("__streams.errors.value.size"), b"1000");
    assert!(header("__streams.errors.value.digest").starts_with(b"xxh3-128:"));
}

#[test]
fn what_only_a_person_can_mend_stops_the_thread() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    world.broker.fault("send", Error::Fatal(text("not authorised")));
    assert_eq!(running.thread.run(), Err(Error::Fatal(text("not authorised"))));
    assert!(world.broker.lock().open.is_empty(), "the transaction is aborted");
    assert_eq!(running.thread.run_once(), Ok(RunStatus::Stopped));
    let running = world.start_all();
    world.assert_finishes(running, WORDS);
}

#[test]
fn offsets_that_were_set_by_hand_are_refused() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    world.broker.lock().committed.values_mut().for_each(|committed| committed.metadata.clear());
    let error = world.start_all().run_until_stopped().to_string();
    assert!(error.contains("was set in group `app` from outside"), "{error}");
    assert!(error.contains("--from-earliest-available app-by-word-repartition"), "{error}");
}

impl World {
    /// A membership that came back is found after a wait.
    fn config_is_patient(&self, running: &mut Running) {
        running.turns(1100);
        running.finish();
    }

    fn assert_finishes(&self, mut running: Running, words: usize) {
        running.finish();
        running.stop();
        self.assert_exactly_once(words);
    }
}

#[test]
fn a_task_that_cannot_get_past_a_record_rests_and_the_others_go_on() {
    let world = World::new();
    OUTAGE.set(true);
    // Partition 0 has the line that cannot be worked on yet, after a word of it was sent; partition
    // 1 none.
    world.publish(&["a ~ b", "c", "d", "e f"]);
    let mut running = world.start_all();
    running.turns(40);
    world.publish(&["g", "h"]);
    running.turns(40);
    let words = || -> usize { (0..PARTITIONS).map(|partition| world.broker.read(REPARTITION, partition).len()).sum() };
    assert_eq!(words(), 4, "c, e, f and h");
    assert!(!running.instance.metrics().ready());
    OUTAGE.set(false);
    running.finish();
    running.stop();
    world.assert_exactly_once(9);
}

#[test]
fn a_record_that_was_not_begun_waits_in_its_log_and_nothing_is_aborted() {
    let world = World::new();
    OUTAGE.set(true);
    world.publish(&["a b", "c"]);
    // The third line of partition 0 needs what is not there before anything is done with it.
    world.broker.publish("lines", 0, None, "d", 3000);
    world.broker.publish("lines", 0, None, "~ e", 4000);
    world.broker.publish("lines", 0, None, "f", 5000);
    let mut running = world.start_all();
    let words = || -> usize { (0..PARTITIONS).map(|partition| world.broker.read(REPARTITION, partition).len()).sum() };
    running.turns_until("the words before it", |_| words() == 4);
    running.turns(200);
    world.broker.publish("lines", 1, None, "g h", 3000);
    running.turns_until("those of others", |_| words() == 6);
    let metrics = running.instance.metrics();
    assert!(!metrics.ready());
    assert_eq!(metrics.troubles(), ["task 0_0 waits at offset 2 of lines-0: nobody answers"]);
    let waits = metrics.tasks()[&TaskId { subtopology: 0, partition: 0 }].clone();
    assert_eq!(
        (waits.state, waits.committed),
        (TaskState::Running, Offset::new(2)),
        "it runs, and is committed up to there"
    );
    assert!(world.broker.lock().aborted.is_empty());
    OUTAGE.set(false);
    running.finish();
    assert_eq!(metrics.troubles(), [""; 0]);
    running.stop();
    assert!(world.broker.lock().aborted.is_empty());
    world.assert_exactly_once(9);
}

#[test]
fn a_task_before_a_record_that_waits_can_be_paused_revoked_and_rolled_back() {
    let world = World::new();
    OUTAGE.set(true);
    world.publish(&["~ a", "b"]);
    let mut running = world.start_all();
    let is_waiting = |running: &Running| !running.instance.metrics().troubles().is_empty();
    running.turns_until("the wait", is_waiting);
    let of_lines = TaskScope::Partition(TopicPartition::new("lines", 0));
    running.instance.pause(&of_lines).unwrap();
    running.turns(400);
    running.instance.resume(&of_lines).unwrap();
    running.turns(50);
    // Another task's transaction is aborted.
    world.broker.publish("lines", 1, None, "c", 3000);
    world.broker.fault("send_offsets", Error::Aborted("the group rebalances".to_owned()));
    running.turns(50);
    running.event(GroupEvent::Revoked(vec![TopicPartition::new("lines", 0)]));
    running.turns(50);
    assert!(!is_waiting(&running));
    running.event(GroupEvent::Assigned(vec![TopicPartition::new("lines", 0)]));
    running.turns_until("the wait", is_waiting);
    OUTAGE.set(false);
    running.finish();
    running.stop();
    world.assert_exactly_once(4);
}

/// Has all tasks list their words, and gives what is listed when nothing is left to do.
fn listed(world: &World, running: &mut Running) -> Vec<String> {
    running.finish();
    // A task on its way back to its last commit has no work for the moment.
    let mut idle = 0;
    for _ in 0..4000 {
        let is_idle = running.instance.metrics().ready() && !running.thread.has_background_work().unwrap();
        idle = if is_idle { idle + 1 } else { 0 };
        if idle == 50 {
            return words_listed(world);
        }
        running.turns(1);
    }
    panic!("the work does not end");
}

fn words_listed(world: &World) -> Vec<String> {
    let mut listed = world.outputs();
    listed.retain(|text| text.ends_with("=listed"));
    listed
}

#[test]
fn work_that_needs_others_waits_for_them_and_records_go_on() {
    let world = World::new();
    world.publish(&["a b c"]);
    let mut running = world.start_all();
    running.finish();
    OUTAGE.set(true);
    world.publish(&["?"]);
    running.turns(60);
    assert!(words_listed(&world).is_empty());
    world.publish(&["x", "d"]);
    running.turns(60);
    OUTAGE.set(false);
    // A task that had no word yet had nothing to list, so what comes there later is not asked for.
    let mut listed = listed(&world, &mut running);
    listed.retain(|text| text != "d=listed" && text != "x=listed");
    assert_eq!(listed, ["a=listed", "b=listed", "c=listed"]);
    running.stop();
    let one = |word: &str| world.outputs().iter().filter(|text| **text == format!("{word}=1")).count();
    assert_eq!(["a", "b", "c", "d", "x"].map(one), [1; 5], "each counts once");
}

#[test]
fn work_that_others_do_not_answer_for_too_long_stops_its_task_with_the_reason() {
    let world = World::new();
    world.publish(&["a", "?"]);
    OUTAGE.set(true);
    let mut running = world.start_all();
    let stop = running.run_until_stopped();
    OUTAGE.set(false);
    assert!(
        stop.to_string().contains("could not process its background work within task_timeout (nobody answers)"),
        "{stop}"
    );
    running.finish();
    running.stop();
    assert_eq!(words_listed(&world), ["a=listed"]);
}

#[test]
fn an_output_of_work_that_the_broker_refuses_becomes_a_dead_letter_with_its_log_as_the_origin() {
    let world = World::new();
    world.publish(&["a b c d"]);
    let mut running = world.start_all();
    running.finish();
    world.broker.lock().refused = Some((text("out"), b"listed".to_vec()));
    world.publish(&["?"]);
    assert!(listed(&world, &mut running).is_empty());
    running.stop();
    let letters = world.broker.read("bad", 0);
    let mut keys: Vec<String> = letters.iter().map(broker::Stored::text).collect();
    keys.sort();
    assert_eq!(keys, ["a=-", "b=-", "c=-", "d=-"]);
    let header = |name: &str| letters[0].headers.iter().find(|(found, _)| found == name).unwrap().1.clone().unwrap();
    assert_eq!(header("__streams.errors.exception"), b"output_refused");
    assert_eq!(header("__streams.errors.topic"), REPARTITION.as_bytes());
}
