//! Logs that do not go on where the last commit ended, and sources that grow, go, or are made anew
//! under a running instance.

use super::*;
use crate::error::Error;
use crate::ports::{Committed, GroupMember};

/// A word of the lines that each of them has.
const LINES: [&str; 4] = ["a b", "a c", "a", "a d"];

/// A world in which lines were counted, and which is stopped: `a` four times, in one partition of
/// the repartition topic.
fn counted() -> World {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    world
}

impl World {
    fn skipping_what_is_gone_of(&self, topic: &str) -> World {
        let mut world = self.clone();
        world.config.earliest_available.insert(topic.to_owned());
        world
    }

    /// Why a task of an instance that has all partitions is stopped.
    fn refused(&self) -> String {
        self.start_all().run_until_stopped().to_string()
    }

    /// Publishes another `a`, and finds it to be this one of all that were counted.
    fn assert_next_a_is(&self, count: usize) {
        let mut running = self.start_all();
        self.publish(&["a"]);
        running.finish();
        running.stop();
        let counts: Vec<String> = self.outputs().into_iter().filter(|text| text.starts_with("a=")).collect();
        assert!(counts.contains(&format!("a={count}")), "the state is kept: {counts:?}");
        assert!(!counts.contains(&format!("a={}", count + 1)), "and nothing counts twice: {counts:?}");
    }

    /// Empties the log of each partition of a topic, as one that was made anew has it.
    fn empty(&self, topic: &str) {
        self.broker.lock().logs.retain(|at, _| &*at.topic != topic);
    }
}

#[test]
fn source_records_that_were_deleted_unread_are_skipped_only_when_that_is_accepted() {
    let world = counted();
    world.publish(&["lost a", "kept x", "lost a"]);
    let at = TopicPartition::new("lines", 0);
    let end = world.broker.lock().end(&at);
    world.broker.lock().deleted_below.insert(at, super::broker::offset(end));
    let error = world.refused();
    assert!(error.contains("the records of source partition lines-0 from offset 2 to 4 (2 offsets"), "{error}");
    assert!(error.contains("start with --from-earliest-available lines; the state is kept"), "{error}");
    world.skipping_what_is_gone_of("lines").assert_next_a_is(5);
    let outputs = world.outputs();
    assert!(outputs.contains(&"x=1".to_owned()) && !outputs.iter().any(|text| text.starts_with("lost")), "{outputs:?}");
    // Once is enough: the offsets are those of what is there.
    world.assert_next_a_is(6);
}

#[test]
fn one_answer_that_records_were_deleted_is_not_believed() {
    let mut world = counted();
    world.publish(&["a"]);
    world.config.earliest_available.extend(["lines", REPARTITION].map(str::to_owned));
    world.broker.lock().false_starts = PARTITIONS as usize;
    world.assert_next_a_is(6);
    assert_eq!(world.broker.lock().false_starts, 0, "it was asked");
}

#[test]
fn a_task_is_restored_again_where_another_owner_has_committed_meanwhile() {
    for is_purged in [false, true] {
        let mut world = counted();
        let before = world.broker.lock().committed.clone();
        world.publish(&["a", "a"]);
        let mut other = world.start_elsewhere();
        other.event(GroupEvent::Assigned(all_partitions()));
        other.finish();
        other.stop();
        // This instance has asked for the commit before all that, and has nothing on its disk.
        world.stores = MemoryStores::new();
        (0..PARTITIONS).for_each(|partition| world.broker.compact(CHANGELOG, partition));
        {
            let mut state = world.broker.lock();
            let now = state.committed.clone();
            // Whoever takes a task commits it, with its own name: that alone changes no offset.
            let is_outdated = |at: &TopicPartition, commit: &Committed| {
                &*at.topic == REPARTITION && now.get(at).is_some_and(|now| now.offset != commit.offset)
            };
            state.outdated = before.into_iter().filter(|(at, commit)| is_outdated(at, commit)).collect();
            assert_eq!(state.outdated.len(), 1, "the task that counts `a`");
            if is_purged {
                let ends = now.iter().filter(|(at, _)| &*at.topic == REPARTITION);
                state.deleted_below.extend(ends.map(|(at, commit)| (at.clone(), commit.offset)));
            }
        }
        world.assert_next_a_is(7);
        assert!(world.broker.lock().outdated.is_empty(), "it was asked for");
    }
}

#[test]
fn a_source_that_ends_before_the_commit_is_read_from_its_first_record_when_that_is_accepted() {
    let world = counted();
    world.empty("lines");
    let error = world.refused();
    assert!(error.contains("ends at offset 0, before the committed offset 2"), "{error}");
    assert!(error.contains("deleted and made anew, or its log was truncated"), "{error}");
    world.skipping_what_is_gone_of("lines").assert_next_a_is(5);
}

#[test]
fn a_repartition_topic_that_was_truncated_goes_on_with_the_state() {
    let world = counted();
    world.empty(REPARTITION);
    let error = world.refused();
    assert!(error.contains(&format!("internal topic partition {REPARTITION}-")), "{error}");
    assert!(error.contains(&format!("start with --from-earliest-available {REPARTITION}")), "{error}");
    world.skipping_what_is_gone_of(REPARTITION).assert_next_a_is(5);
    world.assert_next_a_is(6);
}

#[test]
fn a_repartition_topic_that_was_made_anew_takes_its_offsets_with_it_and_the_state_is_that_of_the_changelogs() {
    for is_disk_lost in [false, true] {
        let mut world = counted();
        world.empty(REPARTITION);
        world.broker.lock().committed.retain(|at, _| &*at.topic != REPARTITION);
        let error = world.refused();
        assert!(error.contains("has no committed offset for"), "{error}");
        assert!(error.contains(&format!("start with --from-earliest-available {REPARTITION}")), "{error}");
        if is_disk_lost {
            world.stores = MemoryStores::new();
        }
        world.skipping_what_is_gone_of(REPARTITION).assert_next_a_is(5);
        // What it has committed is what it restores again.
        world.stores = MemoryStores::new();
        world.assert_next_a_is(6);
    }
}

#[test]
fn an_offset_that_was_set_from_outside_goes_on_with_the_state_of_the_changelogs() {
    let world = counted();
    world.broker.lock().committed.values_mut().for_each(|committed| committed.metadata.clear());
    world.skipping_what_is_gone_of(REPARTITION).assert_next_a_is(5);
    world.assert_next_a_is(6);
}

impl World {
    fn looking_often(mut self) -> World {
        self.config.check_interval = Duration::from_millis(100);
        self
    }
}

/// Runs until the thread stops with an error.
fn end(running: &mut Running) -> String {
    (0..20_000).find_map(|_| running.thread.run_once().err()).expect("it stops by itself").to_string()
}

#[test]
fn growth_of_a_source_is_seen_and_its_new_partitions_are_taken() {
    let world = World::new().looking_often();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    running.turns(400);
    assert_eq!(running.group.consumer.borrow().refreshes, 0);
    world.broker.create("lines", PARTITIONS + 1);
    running.turns(400);
    assert_eq!(running.group.consumer.borrow().refreshes, 1, "once");
    world.broker.publish("lines", PARTITIONS, None, "a e", 9000);
    running.event(GroupEvent::Assigned(vec![TopicPartition::new("lines", PARTITIONS)]));
    running.finish();
    running.stop();
    world.assert_exactly_once(9);
}

#[test]
fn growth_of_an_internal_topic_or_of_one_under_a_store_stops_the_instance() {
    let world = World::new().looking_often();
    let mut running = world.start_all();
    running.turns(50);
    world.broker.create(REPARTITION, PARTITIONS + 1);
    let error = end(&mut running);
    assert!(error.contains("internal topic `app-by-word-repartition` has grown from 2 to 3 partitions"), "{error}");

    let straight = |options| {
        let built = Topology::builder()
            .source("lines", "lines")
            .process("count", ["lines"], || Box::new(Count::default()))
            .store("counts", ["count"])
            .configure_store("counts", options)
            .sink("out", "out", ["count"])
            .dead_letters("bad");
        built.build().unwrap()
    };
    let world = World { topology: straight, ..World::new().looking_often() };
    let running = world.start();
    running.event(GroupEvent::Assigned((0..PARTITIONS).map(|n| TopicPartition::new("lines", n)).collect()));
    let mut running = running;
    running.turns(50);
    world.broker.create("lines", PARTITIONS + 1);
    let error = end(&mut running);
    assert!(error.contains("store `counts` reads it without a repartition topic"), "{error}");
}

#[test]
fn a_static_member_leaves_and_joins_again_where_partitions_stay_without_an_owner() {
    let mut world = World::new().looking_often();
    world.config.has_static_members = true;
    let mut running = world.start_all();
    let say = |partitions: &[TopicPartition]| {
        let client_id = "app-0-0".to_owned();
        world.broker.lock().members = Some(vec![GroupMember { client_id, partitions: partitions.to_vec() }]);
    };
    say(&all_partitions());
    running.turns(300);
    assert_eq!(running.group.consumer.borrow().leaves, 0);
    say(&all_partitions()[1..]);
    running.turns(300);
    assert!(running.group.consumer.borrow().leaves > 0);
    // It has the partitions again, and goes on.
    say(&all_partitions());
    running.event(GroupEvent::Assigned(all_partitions()));
    world.publish(&["a b", "c d"]);
    running.turns(100);
    assert_eq!(world.outputs(), world.expected());
}

#[test]
fn a_source_that_is_deleted_or_made_anew_with_other_partitions_stops_the_instance_with_what_to_do() {
    let world = World::new().looking_often();
    let mut running = world.start_all();
    running.turns(50);
    {
        let mut state = world.broker.lock();
        state.topic_ids.insert(REPARTITION.to_owned(), 2);
        state.counts.insert(REPARTITION.to_owned(), 1);
    }
    let error = end(&mut running);
    assert!(error.contains("was deleted and made anew with 1 partitions while this instance ran"), "{error}");

    let world = World::new().looking_often();
    let mut running = world.start_all();
    running.turns(50);
    world.broker.lock().counts.remove("lines");
    let error = end(&mut running);
    assert!(error.contains("source topic `lines` was deleted: make it again"), "{error}");
}

#[test]
fn one_look_that_misses_a_topic_is_not_believed() {
    let world = World::new().looking_often();
    let mut running = world.start_all();
    running.turns(50);
    world.broker.lock().counts.remove("lines");
    let is_missing = |running: &Running| running.instance.sources.is_missing("lines");
    running.turns_until("the topic to be missed", |running| is_missing(running));
    world.broker.create("lines", PARTITIONS);
    running.turns(400);
    assert!(!is_missing(&running));
    assert!(matches!(running.thread.run_once(), Ok::<_, Error>(RunStatus::Running)));
    running.stop();
}

#[test]
fn a_topic_that_is_unknown_for_a_moment_at_the_start_is_asked_for_again_and_watched() {
    let world = World::new().looking_often();
    world.broker.lock().unknown.push("lines".to_owned());
    let start = || Instance::new(&topology(), world.config.clone(), 1, world.ports());
    let error = start().err().expect("nobody would watch it");
    assert!(
        matches!(&error, Error::Retry(what) if what.contains("does not know topic `lines`, or not yet")),
        "{error}"
    );
    let mut running = world.start_all();
    running.turns(50);
    world.broker.create("lines", PARTITIONS + 1);
    running.turns(400);
    assert_eq!(running.group.consumer.borrow().refreshes, 1, "its growth is seen");
    running.stop();
}

/// A flag that was left set tells nothing of the moment at which the coordinator gives a wrong
/// answer.
#[test]
fn with_the_flag_left_set_a_false_answer_that_there_is_no_offset_moves_no_task() {
    // By one request alone, and by both at once.
    for (false_none, false_empty) in [(4, 0), (4, 4), (1, 1)] {
        let world = counted();
        let flagged = world.skipping_what_is_gone_of("lines").skipping_what_is_gone_of(REPARTITION);
        flagged.broker.lock().false_none = false_none;
        flagged.broker.lock().false_empty = false_empty;
        flagged.assert_next_a_is(5);
        world.assert_exactly_once(8);
    }
}

#[test]
fn a_false_answer_that_a_log_ends_before_the_commit_moves_and_stops_no_task() {
    for is_flagged in [false, true] {
        let world = counted();
        let flagged = world.skipping_what_is_gone_of("lines").skipping_what_is_gone_of(REPARTITION);
        let world = if is_flagged { flagged } else { world };
        world.broker.lock().false_ends = 4;
        world.assert_next_a_is(5);
        world.assert_exactly_once(8);
    }
}

#[test]
fn a_new_partition_and_a_group_without_offsets_are_read_from_the_beginning() {
    let world = World::new();
    world.publish(&LINES);
    world.broker.lock().false_none = 2;
    let mut running = world.start_all();
    running.finish();
    running.stop();
    world.assert_exactly_once(7);
}

/// A topic that was made anew, and has grown past the committed offsets since, as a running
/// instance commits to it before its next look.
fn passed_by(topic: &str) -> World {
    let world = counted();
    world.broker.lock().topic_ids.insert(topic.to_owned(), 2);
    world
}

#[test]
fn a_topic_that_was_made_anew_is_not_read_from_its_middle() {
    for topic in ["lines", REPARTITION] {
        let world = passed_by(topic);
        let error = world.refused();
        assert!(error.contains(&format!("topic `{topic}` was deleted and made anew since the last commit")), "{error}");
        assert!(error.contains("(its id is AAAAAAAAAAAAAAAAAAAAAg now, and was AAAAAAAAAAAAAAAAAAAAAQ)"), "{error}");
        assert!(error.contains(&format!("start with --from-earliest-available {topic}; the state is kept")), "{error}");
        // From the first record on, with the state of the four that came before.
        let mut running = world.skipping_what_is_gone_of(topic).start_all();
        running.finish();
        running.stop();
        assert!(world.outputs().contains(&"a=8".to_owned()), "{:?}", world.outputs());
        // Once is enough: the commits are of the new topic.
        world.assert_next_a_is(9);
    }
}

#[test]
fn commits_that_tell_no_topic_id_are_taken_over_and_tell_it_from_then_on() {
    let world = counted();
    let ids = || -> Vec<bool> {
        let state = world.broker.lock();
        state.committed.values().map(|of| of.metadata.contains(" @topic:0:1")).collect()
    };
    assert_eq!(ids(), [true; 4]);
    for committed in world.broker.lock().committed.values_mut() {
        committed.metadata = committed.metadata.replace(" @topic:0:1", "");
    }
    let mut running = world.start_all();
    running.turns(400);
    running.stop();
    assert_eq!(ids(), [true; 4], "at once, though nothing came");
    world.assert_next_a_is(5);
}
