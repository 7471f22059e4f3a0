//! Tasks that are stopped alone: whatever one has lost, the others process and commit on, nothing
//! is committed for it, and it goes on by itself once its cause is mended or accepted.

use super::broker::{Entry, State, offset};
use super::*;
use crate::error::{Error, TaskStop};
use crate::ports::Committed;
use crate::record::TaskId;
use crate::task::state::TaskState;

const LINES: [&str; 6] = ["a b", "c d", "a c", "e", "b f", "a a"];
const WORDS: usize = 11;

impl Running {
    /// Why tasks are stopped, by task.
    pub fn stops(&self) -> Vec<TaskStop> {
        let stopped = self.instance.metrics().stopped_tasks();
        stopped.into_values().map(|stopped| stopped.reason.clone()).collect()
    }

    /// Runs until a task is stopped; why.
    #[track_caller]
    pub fn run_until_stopped(&mut self) -> TaskStop {
        self.turns_until("a task to be stopped", |running| !running.stops().is_empty());
        self.stops().remove(0)
    }

    /// Whether all tasks but this one have committed to the ends of their partitions.
    fn have_others_committed(&self, stopped: TaskId) -> bool {
        let state = self.group.broker.lock();
        let others = self.instance.metrics().tasks().into_iter().filter(|(id, _)| *id != stopped);
        others.into_iter().all(|(_, task)| {
            task.state == TaskState::Running && task.committed == Some(offset(state.end(&task.source)))
        })
    }
}

/// A world in which lines were counted, and which is stopped.
fn counted() -> World {
    let mut world = World::new();
    world.config.purge_interval = Some(Duration::from_millis(30));
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    world
}

/// The partition of a topic that has most records.
fn fullest(state: &State, topic: &str) -> TopicPartition {
    let of_topic = state.logs.iter().filter(|(at, _)| &*at.topic == topic);
    of_topic.max_by_key(|(_, log)| log.len()).map(|(at, _)| at.clone()).unwrap()
}

/// What a fault has taken, to be put back.
enum Taken {
    Log(TopicPartition, Vec<Entry>),
    Start(TopicPartition),
    Offset(TopicPartition, Committed),
    TopicId(String),
}

impl Taken {
    fn put_back(self, state: &mut State) {
        match self {
            Taken::Log(at, entries) => {
                let newer = state.logs.insert(at.clone(), entries).unwrap_or_default();
                assert!(newer.len() <= state.logs[&at].len(), "nothing was written to it meanwhile");
            }
            Taken::Start(at) => _ = state.deleted_below.remove(&at),
            Taken::Offset(at, committed) => _ = state.committed.insert(at, committed),
            Taken::TopicId(topic) => _ = state.topic_ids.remove(&topic),
        }
    }
}

fn take_log(state: &mut State, at: TopicPartition, change: impl FnOnce(&mut Vec<Entry>)) -> Taken {
    let log = state.logs.get_mut(&at).unwrap();
    let whole = log.clone();
    change(log);
    Taken::Log(at, whole)
}

/// Changes the first record of the fullest changelog.
fn change_record(state: &mut State, change: impl FnOnce(&mut broker::Stored)) -> Taken {
    let at = fullest(state, CHANGELOG);
    take_log(state, at, |log| {
        let Some(Entry::Record { record, .. }) = log.first_mut() else { panic!("{log:?}") };
        change(record);
    })
}

fn take_offset(state: &mut State, at: TopicPartition) -> Taken {
    let committed = state.committed.remove(&at).unwrap();
    Taken::Offset(at, committed)
}

type Break = fn(&mut State) -> Taken;

/// Each loss with the code of the stop, whether the disk is to be empty for it, and whether it is
/// of a source.
fn losses() -> [(&'static str, &'static str, bool, Break); 7] {
    [
        ("the log begins behind the commit", "HS1017", false, |state| {
            let at = TopicPartition::new("lines", 0);
            let end = state.end(&at);
            state.deleted_below.insert(at.clone(), offset(end + 1));
            Taken::Start(at)
        }),
        ("the log ends before the commit", "HS1018", false, |state| {
            take_log(state, TopicPartition::new("lines", 0), |log| log.truncate(1))
        }),
        ("the offset is gone", "HS1021", false, |state| {
            let at = fullest(state, REPARTITION);
            take_offset(state, at)
        }),
        ("the metadata is another program's", "HS1028", false, |state| {
            let at = fullest(state, REPARTITION);
            let committed = state.committed.get_mut(&at).unwrap();
            let before = std::mem::replace(&mut committed.metadata, "1 what is this".to_owned());
            Taken::Offset(at, Committed { offset: committed.offset, metadata: before })
        }),
        ("the changelog ends before the commit", "HS3010", true, |state| {
            let at = fullest(state, CHANGELOG);
            take_log(state, at, |log| log.truncate(1))
        }),
        ("a value of the changelog was changed", "HS3011", true, |state| {
            change_record(state, |record| record.value = Some(vec![0; 8]))
        }),
        ("a record of the changelog has no key", "HS3012", true, |state| {
            change_record(state, |record| record.key = None)
        }),
    ]
}

#[test]
fn a_task_that_has_lost_something_is_stopped_alone_and_goes_on_when_it_is_brought_back() {
    for (what, code, is_disk_lost, take) in losses() {
        let mut world = counted();
        let taken = take(&mut world.broker.lock());
        if is_disk_lost {
            world.stores = MemoryStores::new();
        }
        let mut running = world.start_all();
        let stop = running.run_until_stopped();
        assert_eq!(stop.code, code, "{what}: {stop}");
        assert!(stop.ways_out[0].is_safe(), "{what}: {stop}");
        assert!(stop.to_string().starts_with(&format!("task {} is stopped, and the other tasks go on: ", stop.task)));
        let source = running.instance.metrics().tasks()[&stop.task].source.clone();
        let committed = world.broker.lock().committed.get(&source).cloned();
        let purged = world.broker.lock().deleted_below.get(&source).copied();
        // Partition 0 of the source is that of the losses.
        for line in ["a c", "d b e", "f"] {
            world.broker.publish("lines", 1, None, line, 9000);
        }
        running.turns(40);
        running.turns_until("the others to commit", |running| running.have_others_committed(stop.task));
        running.turns(2000);
        assert!(running.have_others_committed(stop.task), "{what}");
        assert_eq!(running.stops().len(), 1, "{what}");
        let metrics = running.instance.metrics();
        assert!(!metrics.ready() && metrics.troubles() == [stop.to_string()], "{what}: {:?}", metrics.troubles());
        {
            let mut state = world.broker.lock();
            assert_eq!(state.committed.get(&source), committed.as_ref(), "{what}: nothing is committed for it");
            assert_eq!(state.deleted_below.get(&source).copied(), purged, "{what}: nothing of its log is purged");
            taken.put_back(&mut state);
        }
        if code == "HS1018" {
            // Somebody has to say that it is the log that it was.
            running.turns(2000);
            assert_eq!(running.stops().len(), 1);
            running.instance.retry_stopped_tasks();
        }
        running.finish();
        assert_eq!(running.instance.metrics().troubles(), [] as [String; 0]);
        running.stop();
        world.assert_exactly_once(WORDS + 6);
    }
}

/// Truncated, a log grows again: what then lies at the committed offset and before it was never
/// processed.
#[test]
fn a_truncated_log_that_has_grown_past_the_commit_is_not_read_from_its_middle() {
    let world = counted();
    let at = fullest(&world.broker.lock(), REPARTITION);
    take_log(&mut world.broker.lock(), at.clone(), |log| log.truncate(1));
    let mut running = world.start_all();
    let stop = running.run_until_stopped();
    assert_eq!(stop.code, "HS1018", "{stop}");
    let committed = world.broker.lock().committed[&at].offset;
    while world.broker.lock().end(&at) < committed.number() + 2 {
        world.publish(&["a b c d e f", "a b c d e f"]);
        running.turns(100);
    }
    running.turns(2000);
    let again = running.stops().remove(0);
    assert_eq!(again.code, "HS1018");
    assert!(again.to_string().contains("with other records in the place of those that were lost"), "{again}");
    assert_eq!(world.broker.lock().committed[&at].offset, committed);
    running.instance.accept_earliest(REPARTITION);
    running.finish();
    running.stop();
}

#[test]
fn a_topic_that_is_made_anew_under_a_running_instance_stops_its_tasks_alone() {
    let mut world = counted();
    world.config.check_interval = Duration::from_millis(100);
    let mut running = world.start_all();
    running.finish();
    world.broker.lock().topic_ids.insert(REPARTITION.to_owned(), 2);
    // The clients of before read nothing of the new topic.
    running.turns_until("new clients", |running| running.instance.renewals() == 1);
    let mut running = running.replaced(&world);
    running.event(GroupEvent::Assigned(all_partitions()));
    running.turns_until("both tasks of the topic to be stopped", |running| running.stops().len() == 2);
    assert!(running.stops().iter().all(|stop| stop.code == "HS1019"), "{:?}", running.stops());
    world.publish(&["a b", "c"]);
    running.turns_until("the tasks of the source to commit", |running| {
        let tasks = running.instance.metrics().tasks();
        let of_source = tasks.values().filter(|task| &*task.source.topic == "lines");
        of_source.into_iter().all(|task| task.committed == Some(offset(running.group.broker.lock().end(&task.source))))
    });
    let committed = world.broker.lock().committed.clone();
    assert!(committed.iter().any(|(at, of)| &*at.topic == REPARTITION && of.metadata.contains(" @topic:0:1")));
    // It was the former one that had a moment of another id, say.
    Taken::TopicId(REPARTITION.to_owned()).put_back(&mut world.broker.lock());
    running.turns_until("new clients", |running| running.instance.renewals() == 2);
    let mut running = running.replaced(&world);
    running.event(GroupEvent::Assigned(all_partitions()));
    running.finish();
    running.stop();
    world.assert_exactly_once(WORDS + 3);
}

#[test]
fn the_loss_is_accepted_without_a_restart() {
    let world = counted();
    world.publish(&["lost a", "kept x", "lost a"]);
    let at = TopicPartition::new("lines", 0);
    let end = world.broker.lock().end(&at);
    world.broker.lock().deleted_below.insert(at, offset(end));
    let mut running = world.start_all();
    let stop = running.run_until_stopped();
    assert_eq!(stop.code, "HS1017");
    running.instance.accept_earliest("lines");
    running.finish();
    running.instance.withdraw_earliest("lines");
    world.publish(&["a"]);
    running.finish();
    let texts = world.outputs();
    assert!(texts.contains(&"a=5".to_owned()) && texts.contains(&"x=1".to_owned()), "{texts:?}");
    assert!(!texts.iter().any(|text| text.starts_with("lost")), "{texts:?}");
    running.stop();
}

#[test]
fn metadata_of_another_program_is_passed_over_where_the_loss_is_accepted() {
    let world = counted();
    let at = fullest(&world.broker.lock(), REPARTITION);
    world.broker.lock().committed.get_mut(&at).unwrap().metadata = "1 what is this".to_owned();
    let mut running = world.start_all();
    assert_eq!(running.run_until_stopped().code, "HS1028");
    running.instance.accept_earliest(REPARTITION);
    world.publish(&["a", "b"]);
    running.finish();
    running.stop();
    world.assert_exactly_once(WORDS + 2);
    let running = world.start_all();
    assert_eq!(running.stops(), [], "it has committed metadata of its own");
}

#[test]
fn an_offset_out_of_range_has_the_task_restored_again_and_stopped_only_where_its_log_was_lost() {
    for is_lost in [false, true] {
        let world = counted();
        let mut running = world.start_all();
        running.finish();
        let at = TopicPartition::new("lines", 0);
        if is_lost {
            let end = world.broker.lock().end(&at);
            world.broker.lock().deleted_below.insert(at.clone(), offset(end + 5));
        }
        world
            .broker
            .fault("poll", Error::OffsetOutOfRange { partition: at.clone(), what: "no such offset".to_owned() });
        world.broker.publish("lines", 1, None, "g h", 9000);
        if is_lost {
            assert_eq!(running.run_until_stopped().code, "HS1017");
            world.broker.lock().deleted_below.remove(&at);
        }
        running.finish();
        running.stop();
        world.assert_exactly_once(WORDS + 2);
    }
}

#[test]
fn a_restoration_that_fails_for_longer_than_the_task_timeout_is_stopped_and_tried_on() {
    let world = counted();
    // One task in two is asked for in vain.
    let mut running = world.start_all();
    (0..500).for_each(|_| world.broker.fault("committed", Error::Retry("nobody answers".to_owned())));
    let stop = running.run_until_stopped();
    assert_eq!(stop.code, "HS1023");
    assert!(stop.to_string().contains("could not be restored within task_timeout (nobody answers)"), "{stop}");
    world.broker.lock().faults.clear();
    world.publish(&["a", "b"]);
    running.finish();
    running.stop();
    world.assert_exactly_once(WORDS + 2);
}

#[test]
fn a_task_that_cannot_get_past_a_record_for_too_long_is_stopped_alone_and_tried_on() {
    let world = World::new();
    OUTAGE.set(true);
    world.publish(&["a ~ b", "c"]);
    let mut running = world.start_all();
    let stop = running.run_until_stopped();
    assert_eq!((stop.task, stop.code), (TaskId { subtopology: 0, partition: 0 }, "HS1023"));
    assert!(stop.to_string().contains("could not process offset 0 within task_timeout (nobody answers)"), "{stop}");
    world.broker.publish("lines", 1, None, "d e", 9000);
    running.turns(40);
    running.turns_until("the others to commit", |running| running.have_others_committed(stop.task));
    // While it is tried again, it counts as stopped.
    for _ in 0..3000 {
        running.turns(1);
        assert_eq!(running.stops(), std::slice::from_ref(&stop));
        assert!(!running.instance.metrics().ready());
    }
    OUTAGE.set(false);
    running.instance.retry_stopped_tasks();
    running.finish();
    running.stop();
    world.assert_exactly_once(6);
}

#[test]
fn a_task_that_stands_before_a_record_for_too_long_is_stopped_without_an_abort() {
    let world = World::new();
    OUTAGE.set(true);
    world.publish(&["~ b", "c"]);
    let mut running = world.start_all();
    let stop = running.run_until_stopped();
    assert_eq!((stop.task, stop.code), (TaskId { subtopology: 0, partition: 0 }, "HS1023"));
    world.broker.publish("lines", 1, None, "d e", 9000);
    running.turns(3000);
    running.turns_until("the others to commit", |running| running.have_others_committed(stop.task));
    assert!(world.broker.lock().aborted.is_empty());
    OUTAGE.set(false);
    running.instance.retry_stopped_tasks();
    running.finish();
    running.stop();
    world.assert_exactly_once(5);
}

#[test]
fn a_stopped_task_that_is_revoked_leaves_no_trace() {
    let world = counted();
    let taken = take_offset(&mut world.broker.lock(), TopicPartition::new(REPARTITION, 0));
    let mut running = world.start_all();
    let stop = running.run_until_stopped();
    let query = StoreQuery::new("counts", stop.task.partition);
    let refused = running.instance.store_snapshot(&query).err();
    assert!(
        matches!(refused, Some(QueryError::NotRunning { state: TaskState::Stopped | TaskState::Restoring, .. })),
        "{refused:?}"
    );
    running.event(GroupEvent::Revoked(all_partitions()));
    running.turns(20);
    assert_eq!((running.stops(), running.instance.metrics().troubles()), (Vec::new(), Vec::new()));
    taken.put_back(&mut world.broker.lock());
    running.event(GroupEvent::Assigned(all_partitions()));
    world.publish(&["a", "b"]);
    running.finish();
    running.stop();
    world.assert_exactly_once(WORDS + 2);
}

/// Counts as [`Count`] does, and comes to a state that cannot be where a word says so.
struct Impossible(Count);

impl Processor for Impossible {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        if record.key == Some(b"impossible") && OUTAGE.get() {
            return Err(Error::Bug("a word that cannot be".to_owned()).into());
        }
        self.0.process(record, ctx)
    }

    fn flush(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        self.0.flush(ctx)
    }
}

#[test]
fn a_state_that_cannot_be_stops_its_task_alone_and_takes_nothing_of_its_data() {
    let topology = |options| {
        let built = Topology::builder()
            .source("lines", "lines")
            .process("words", ["lines"], || Box::new(Words))
            .repartition("by-word", ["words"])
            .process("count", ["by-word"], || Box::new(Impossible(Count::default())))
            .store("counts", ["count"])
            .configure_store("counts", options)
            .sink("out", "out", ["count"])
            .dead_letters("bad");
        built.build().unwrap()
    };
    let world = World { topology, ..World::new() };
    OUTAGE.set(true);
    world.publish(&["a b impossible c", "d e"]);
    let mut running = world.start_all();
    let stop = running.run_until_stopped();
    assert_eq!(stop.code, "HS9000");
    assert!(stop.to_string().contains("a word that cannot be"), "{stop}");
    world.publish(&["d", "a"]);
    running.turns_until("the others to commit", |running| running.have_others_committed(stop.task));
    OUTAGE.set(false);
    running.instance.retry_stopped_tasks();
    running.finish();
    running.stop();
    world.assert_exactly_once(8);
}
