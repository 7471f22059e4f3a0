//! Live queries: whatever the stream does, a reader sees the counts of just the records below the
//! position that it is given.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use super::*;
use crate::error::Error;
use crate::offset::Offset;
use crate::ports::GroupMember;
use crate::task::state::TaskState;

const LINES: [&str; 6] = ["a b", "a c d", "b a", "e f g", "a !", "g a"];

type Counts = BTreeMap<String, u64>;

/// The counts of the words below an offset of a partition.
fn truth(broker: &Broker, partition: i32, below: Option<Offset>) -> Counts {
    let at = TopicPartition::new(REPARTITION, partition);
    let state = broker.lock();
    let mut counts = Counts::new();
    for record in (0..below.unwrap_or_default().number()).filter_map(|offset| state.visible(&at, offset)) {
        *counts.entry(String::from_utf8(record.key.clone().unwrap()).unwrap()).or_default() += 1;
    }
    counts
}

fn count(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

fn rows(snapshot: &StoreSnapshot) -> Result<Counts, QueryError> {
    let mut found = Counts::new();
    snapshot.scan(b"", &mut |word, bytes| {
        found.insert(String::from_utf8(word.to_vec()).unwrap(), count(bytes));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn snapshot(instance: &Instance, partition: i32) -> Result<StoreSnapshot, QueryError> {
    instance.store_snapshot(&StoreQuery::new("counts", partition))
}

/// What is shown now, held against its position; the offset.
#[track_caller]
fn check(instance: &Instance, broker: &Broker, partition: i32) -> Result<Option<Offset>, QueryError> {
    let snapshot = snapshot(instance, partition)?;
    let position = snapshot.position();
    let rows = rows(&snapshot)?;
    assert_eq!(rows, truth(broker, partition, position.source_offset), "at {position:?}");
    Ok(position.source_offset)
}

/// Asserts that all that was published is shown.
#[track_caller]
fn assert_shows_all(instance: &Instance, broker: &Broker) {
    for partition in 0..PARTITIONS {
        let end = broker.lock().end(&TopicPartition::new(REPARTITION, partition));
        assert_eq!(check(instance, broker, partition), Ok(Offset::new(end)));
    }
}

fn task(partition: i32) -> crate::record::TaskId {
    crate::record::TaskId { subtopology: 1, partition }
}

#[test]
fn each_turn_of_a_stream_shows_a_commit_and_a_snapshot_stays_what_it_was() {
    for world in [World::new(), World::in_memory()] {
        let mut running = world.start_all();
        assert_eq!(snapshot(&running.instance, 0).err(), Some(QueryError::NotPresent { task: task(0) }));
        running.turns_until("all tasks run", |running| running.instance.metrics().ready());
        assert_eq!(check(&running.instance, &world.broker, 0), Ok(None), "nothing was committed yet");
        let mut kept: Vec<(Counts, StoreSnapshot)> = Vec::new();
        let mut last = [None; PARTITIONS as usize];
        for round in 0..60 {
            world.publish(&LINES[round % 3..]);
            if round % 10 == 4 {
                world.broker.fault("send_offsets", Error::Aborted("as asked".to_owned()));
            }
            for _ in 0..12 {
                running.turns(1);
                for partition in 0..PARTITIONS {
                    let shown = check(&running.instance, &world.broker, partition).unwrap();
                    assert!(shown >= last[partition as usize], "{shown:?} after {last:?}");
                    last[partition as usize] = shown;
                }
            }
            if round % 7 == 0 {
                let snapshot = snapshot(&running.instance, 1).unwrap();
                kept.push((rows(&snapshot).unwrap(), snapshot));
            }
            kept.iter().for_each(|(shown, snapshot)| assert_eq!(&rows(snapshot).unwrap(), shown));
        }
        running.finish();
        assert_shows_all(&running.instance, &world.broker);
        let last = snapshot(&running.instance, 1).unwrap();
        assert_eq!(last.role(), StoreRole::Active);
        let words = rows(&last).unwrap();
        let keys: Vec<&[u8]> = words.keys().map(String::as_bytes).chain([&b"none"[..], b""]).collect();
        let many = last.multi_get(&keys).unwrap();
        let one_by_one: Vec<_> = keys.iter().map(|key| last.get(key).unwrap()).collect();
        assert_eq!(many, one_by_one);
        assert!(many[..words.len()].iter().all(Option::is_some) && many[words.len()..] == [None, None]);
        running.stop();
        assert_eq!(rows(&last), Err(QueryError::Closed { task: task(1) }));
    }
}

#[test]
fn a_query_says_what_it_needs() {
    let world = World::new();
    let mut running = world.start_all();
    world.publish(&LINES);
    running.finish();
    let ask = |query: StoreQuery<'_>| running.instance.store_snapshot(&query).map(|found| found.position());
    let unknown = QueryError::UnknownStore { store: "other".to_owned() };
    assert_eq!(ask(StoreQuery::new("other", 0)), Err(unknown));
    assert_eq!(ask(StoreQuery::new("counts", 7)), Err(QueryError::NotPresent { task: task(7) }));
    let position = ask(StoreQuery::new("counts", 0).require_active()).unwrap();
    let end = position.source_offset.unwrap();
    assert_eq!(ask(StoreQuery::new("counts", 0).at_least(end)), Ok(position));
    let behind = QueryError::NotUpToBound { task: task(0), has: Some(end), wanted: end.next() };
    assert_eq!(ask(StoreQuery::new("counts", 0).at_least(end.next())), Err(behind));
    assert_eq!(position.changelog_offset, Offset::new(world.broker.read(CHANGELOG, 0).len() as i64 - 1));
    assert!(position.stream_time_ms.is_some());
}

#[test]
fn after_a_rebalance_the_new_owner_shows_what_the_old_one_committed() {
    for world in [World::new(), World::in_memory()] {
        world.publish(&LINES);
        let mut running = world.start_all();
        running.finish();
        let kept = snapshot(&running.instance, 0).unwrap();
        running.event(GroupEvent::Revoked(vec![TopicPartition::new(REPARTITION, 0)]));
        running.turns(2);
        assert_eq!(rows(&kept), Err(QueryError::Closed { task: task(0) }));
        assert_eq!(snapshot(&running.instance, 0).err(), Some(QueryError::NotPresent { task: task(0) }));
        assert!(check(&running.instance, &world.broker, 1).is_ok(), "the other goes on");
        let mut other = world.start_elsewhere();
        other.event(GroupEvent::Assigned(vec![TopicPartition::new(REPARTITION, 0)]));
        other.turns_until("the task runs", |other| {
            other.instance.metrics().tasks().get(&task(0)).is_some_and(|status| status.state == TaskState::Running)
        });
        let end = world.broker.lock().end(&TopicPartition::new(REPARTITION, 0));
        assert_eq!(check(&other.instance, &world.broker, 0), Ok(Offset::new(end)), "before it has committed anything");
        other.event(GroupEvent::Lost(vec![TopicPartition::new(REPARTITION, 0)]));
        other.turns(2);
        assert_eq!(snapshot(&other.instance, 0).err(), Some(QueryError::NotPresent { task: task(0) }));
    }
}

#[test]
fn a_store_that_is_rebuilt_ends_its_snapshots_and_is_shown_again() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    let kept: Vec<StoreSnapshot> = (0..PARTITIONS).map(|at| snapshot(&running.instance, at).unwrap()).collect();
    world.meddle.store(true, Ordering::Relaxed);
    world.publish(&["a b c d", "e f g h"]);
    running.turns_until("a store is found to be another's", |running| {
        (0..PARTITIONS).any(|partition| check(&running.instance, &world.broker, partition).is_err())
    });
    let closed = kept.iter().filter(|kept| rows(kept).is_err()).count();
    assert_eq!(closed, 1, "the other one is whole");
    running.finish();
    assert_eq!(running.instance.metrics().incidents().rebuilt_stores, 1);
    assert_shows_all(&running.instance, &world.broker);
}

/// Two machines; the first has all tasks, the second all standbys.
fn with_standby(kind: StoreKind) -> ([World; 2], Running, Running, StandbyThread) {
    let mut one = World { options: StoreOptions { kind, standby: 1 }, ..World::new() };
    one.config.standby_interval = Duration::from_millis(1);
    let mut other = World { stores: MemoryStores::new(), ..one.clone() };
    (one.config.instance_id, other.config.instance_id) = ("0".to_owned(), "1".to_owned());
    let owner = one.start_as("app-0-0");
    owner.event(GroupEvent::Assigned(all_partitions()));
    let member = |id: &str, partitions| GroupMember { client_id: id.to_owned(), partitions };
    one.broker.lock().members = Some(vec![member("app-0-0", all_partitions()), member("app-1-0", Vec::new())]);
    let standing_by = other.start_as("app-1-0");
    let standby = StandbyThread::new(&standing_by.instance);
    ([one, other], owner, standing_by, standby)
}

/// Turns of a standby until it shows everything.
#[track_caller]
fn turn_until_shown(standby: &mut StandbyThread, instance: &Instance, broker: &Broker) {
    for _ in 0..TURNS {
        let is_shown = |partition| {
            let end = broker.lock().end(&TopicPartition::new(REPARTITION, partition));
            check(instance, broker, partition) == Ok(Offset::new(end))
        };
        if (0..PARTITIONS).all(is_shown) {
            return;
        }
        standby.run_once();
    }
    panic!("the standby does not show the last commit: {:?}", snapshot(instance, 0).map(|found| found.position()));
}

#[test]
fn a_standby_shows_commits_alone() {
    for kind in [StoreKind::Disk, StoreKind::Memory] {
        let ([one, _], mut owner, mut other, mut standby) = with_standby(kind);
        let instance = other.instance.clone();
        let broker = &one.broker;
        assert_eq!(snapshot(&instance, 0).err(), Some(QueryError::NotPresent { task: task(0) }));
        let (mut shown, mut unknown) = (0, 0);
        for round in 0..150 {
            one.publish(&LINES[round % 4..]);
            for _ in 0..4 {
                owner.turns(2);
                standby.run_once();
                match check(&instance, broker, (round % 2) as i32) {
                    Ok(_) => shown += 1,
                    Err(QueryError::NotAtCommit { .. } | QueryError::NotPresent { .. }) => unknown += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        owner.finish();
        turn_until_shown(&mut standby, &instance, broker);
        assert!(shown > 0 && unknown > 0, "{shown} shown, {unknown} unknown");
        let last = snapshot(&instance, 0).unwrap();
        assert_eq!(last.role(), StoreRole::Standby);
        let active = instance.store_snapshot(&StoreQuery::new("counts", 0).require_active());
        assert_eq!(active.err(), Some(QueryError::NotActive { task: task(0) }));
        let end = last.position().source_offset.unwrap();
        let later = instance.store_snapshot(&StoreQuery::new("counts", 0).at_least(end.next()));
        assert!(matches!(later.err(), Some(QueryError::NotUpToBound { .. })));
        // The owner dies, and the standby's task is taken.
        drop(owner);
        other.event(GroupEvent::Assigned(all_partitions()));
        other.turns(3);
        standby.run_once();
        assert_eq!(rows(&last), Err(QueryError::Closed { task: task(0) }));
        other.turns_until("all tasks run", |other| other.instance.metrics().ready());
        assert_eq!(check(&instance, broker, 0), Ok(Some(end)), "by the commit that it was restored to");
        assert_eq!(snapshot(&instance, 0).unwrap().role(), StoreRole::Active);
    }
}

#[test]
fn a_standby_that_holds_what_nobody_committed_shows_the_commit_before() {
    let ([one, _], mut owner, other, mut standby) = with_standby(StoreKind::Disk);
    one.publish(&LINES);
    owner.finish();
    turn_until_read(&mut standby, &other.instance);
    turn_until_shown(&mut standby, &other.instance, &one.broker);
    // A record of the changelog that no commit knows.
    one.broker.publish(CHANGELOG, 0, Some("zz"), "12345678", 1);
    (0..3000).for_each(|_| _ = standby.run_once());
    let shown = snapshot(&other.instance, 0).unwrap();
    assert_eq!(shown.get(b"zz"), Ok(None));
    assert!(check(&other.instance, &one.broker, 0).is_ok());
    drop(shown);
    owner.stop();
}

/// Turns until the standbys are at the ends of their changelogs.
fn turn_until_read(standby: &mut StandbyThread, instance: &Instance) {
    for _ in 0..TURNS {
        standby.run_once();
        let standbys = instance.metrics().standbys();
        if standbys.len() == PARTITIONS as usize && standbys.values().all(|status| status.lag == 0) {
            return;
        }
    }
    panic!("the standbys do not get to the ends: {:?}", instance.metrics().standbys());
}

#[test]
fn where_nobody_asks_for_a_standby_nobody_asks_the_coordinator() {
    let ([one, _], mut owner, other, mut standby) = with_standby(StoreKind::Disk);
    one.publish(&LINES);
    owner.finish();
    turn_until_read(&mut standby, &other.instance);
    one.broker.fault("committed", Error::Retry("nobody is to ask".to_owned()));
    (0..2000).for_each(|_| _ = standby.run_once());
    assert_eq!(one.broker.lock().faults.len(), 1, "no commit is looked for");
    assert_eq!(snapshot(&other.instance, 0).err(), Some(QueryError::NotAtCommit { task: task(0) }));
    turn_until_shown(&mut standby, &other.instance, &one.broker);
    assert!(one.broker.lock().faults.is_empty(), "and one that cannot be seen is looked for again");
    owner.stop();
}

#[test]
fn readers_in_other_threads_see_commits_alone() {
    for world in [World::new(), World::in_memory()] {
        let mut running = world.start_all();
        let (is_over, shared) = (AtomicBool::new(false), running.instance.clone());
        std::thread::scope(|scope| {
            let (instance, broker, is_over) = (&shared, &world.broker, &is_over);
            let readers: Vec<_> = (0..PARTITIONS)
                .map(|partition| {
                    scope.spawn(move || {
                        let (mut last, mut shown) = (None, 0);
                        while !is_over.load(Ordering::Relaxed) {
                            match check(instance, broker, partition) {
                                Ok(offset) => {
                                    assert!(offset >= last, "{offset:?} after {last:?}");
                                    (last, shown) = (offset, shown + 1);
                                }
                                Err(QueryError::NotPresent { .. } | QueryError::NotRunning { .. }) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                        shown
                    })
                })
                .collect();
            for round in 0..150 {
                world.publish(&LINES[round % 3..]);
                running.turns(5);
            }
            running.finish();
            assert_shows_all(instance, broker);
            is_over.store(true, Ordering::Relaxed);
            assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 0));
        });
        running.stop();
    }
}
