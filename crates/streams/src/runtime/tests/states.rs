//! State over restarts and rebalances: restores, rebuilds, what goes and comes.

use super::*;
use crate::error::Error;
use crate::ports::{Put, StoreBatch, StoreEngine};
use crate::record::TaskId;
use crate::task::state::TaskState;
use std::time::Instant;

const COUNT_TASKS: [TaskId; 2] = [TaskId { subtopology: 1, partition: 0 }, TaskId { subtopology: 1, partition: 1 }];
const LINES: [&str; 6] = ["a b", "a c d", "b a", "e f g", "a !", "g a"];
const WORDS: usize = 12;

/// The content of all stores, as text.
fn content(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for task in COUNT_TASKS {
        let db = world.stores.open(task, &["counts"]).unwrap();
        db.scan(0, b"", &mut |key, value| {
            let count = u64::from_be_bytes(value.try_into().unwrap());
            found.push(format!("{}={count}", String::from_utf8_lossy(key)));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    }
    found.sort();
    found
}

const CONTENT: [&str; 7] = ["a=4", "b=2", "c=1", "d=1", "e=1", "f=1", "g=2"];

fn run_once_through(world: &World) {
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    running.stop();
}

#[test]
fn a_topology_runs_to_the_end_and_commits_past_the_markers() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    assert_eq!(running.instance.metrics().lag(), 0);
    assert_eq!(running.instance.metrics().counters()[&("words", "all".to_owned())], WORDS as u64);
    assert_eq!(running.instance.metrics().counters()[&("dead_letters", "bad_line".to_owned())], 1);
    running.stop();
    world.assert_exactly_once(WORDS);
    assert_eq!(content(&world), CONTENT);
    let state = world.broker.lock();
    for at in all_partitions() {
        assert_eq!(state.committed[&at].offset.number(), state.end(&at), "{at}: the group's own tool shows no lag");
    }
    assert!(state.open.is_empty());
}

#[test]
fn an_idle_instance_writes_nothing() {
    let world = World::new();
    run_once_through(&world);
    let transactions = world.broker.lock().next_transaction;
    let mut running = world.start_all();
    running.turns(2);
    assert!(running.instance.metrics().lag() >= 1, "no end was reached yet, so nothing tells that there is no more");
    running.finish();
    running.turns(200);
    assert_eq!(world.broker.lock().next_transaction, transactions, "no transaction without a reason");
    assert_eq!(running.instance.metrics().lag(), 0, "all ends were reached before, and are again");
}

#[test]
fn dead_letters_carry_the_source_untouched() {
    let world = World::new();
    run_once_through(&world);
    let letters = world.broker.read("bad", 0);
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].text().as_str(), letters[0].timestamp_ms), ("-=a !", 5000));
    let headers: Vec<String> = letters[0]
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value.as_deref().unwrap_or_default())))
        .collect();
    let expected =
        ["exception=bad_line", "message=it has a !", "topic=lines", "partition=0", "offset=2", "timestamp=5000"];
    assert_eq!(headers, expected.map(|header| format!("__streams.errors.{header}")));
}

#[test]
fn the_changelog_has_one_record_per_key_and_commit() {
    let mut world = World::new();
    world.config.commit_interval = Duration::from_secs(3600);
    world.broker.publish("lines", 0, None, "x x x y x y", 1);
    let mut running = world.start_all();
    running.turns(50);
    running.stop();
    let mut running = world.start_all();
    running.turns(50);
    running.stop();
    let changes = (0..PARTITIONS).flat_map(|partition| world.broker.read(CHANGELOG, partition));
    let mut keys: Vec<String> = changes.map(|change| String::from_utf8(change.key.unwrap()).unwrap()).collect();
    keys.sort();
    assert_eq!(keys, ["x", "y"]);
}

#[test]
fn a_restart_with_its_state_restores_nothing() {
    let world = World::new();
    run_once_through(&world);
    world.broker.fault("restore", crate::error::Error::Fatal("nothing is to be restored".to_owned()));
    world.publish(&["a", "g"]);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    assert_eq!(content(&world), ["a=5", "b=2", "c=1", "d=1", "e=1", "f=1", "g=3"]);
}

#[test]
fn a_lost_disk_is_restored_from_the_changelog() {
    for is_compacted in [false, true] {
        let mut world = World::new();
        run_once_through(&world);
        if is_compacted {
            (0..PARTITIONS).for_each(|partition| world.broker.compact(CHANGELOG, partition));
        }
        world.stores = MemoryStores::new();
        world.publish(&["a", "g"]);
        let mut running = world.start_all();
        running.finish();
        assert!(running.instance.metrics().restored_records() >= CONTENT.len() as u64, "also when all is restored");
        assert_eq!(
            running.instance.metrics().incidents().rebuilt_stores,
            0,
            "a store that is not there is not rebuilt"
        );
        running.stop();
        assert_eq!(content(&world), ["a=5", "b=2", "c=1", "d=1", "e=1", "f=1", "g=3"]);
        world.assert_exactly_once(WORDS + 2);
    }
}

#[test]
fn a_restore_does_not_stop_at_a_pending_transaction() {
    let mut world = World::new();
    run_once_through(&world);
    // Another's transaction stands open before the records that the restore needs, as when the last
    // stable offset lags the commit.
    let number = {
        let mut state = world.broker.lock();
        let number = state.begin("stranger");
        let record = broker::Stored { key: Some(b"zz".to_vec()), value: None, headers: Vec::new(), timestamp_ms: 1 };
        for partition in 0..PARTITIONS {
            let at = TopicPartition::new(CHANGELOG, partition);
            let entry = broker::Entry::Record { record: record.clone(), transaction: Some(number) };
            state.open.get_mut(&number).unwrap().1.partitions.insert(at.clone());
            *state.logs.get_mut(&at).unwrap().first_mut().unwrap() = match state.logs[&at][0].clone() {
                broker::Entry::Record { record, .. } => broker::Entry::Record { record, transaction: Some(number) },
                other => other,
            };
            state.logs.get_mut(&at).unwrap().push(entry);
        }
        number
    };
    world.stores = MemoryStores::new();
    world.config.task_timeout = Duration::from_secs(3600);
    let of_thread = world.clone();
    let restoring = std::thread::spawn(move || {
        let mut running = of_thread.start_all();
        running.finish();
        running.stop();
    });
    // It stands before the open transaction and asks for more again and again.
    let deadline = Instant::now() + Duration::from_secs(60);
    while world.broker.lock().fruitless_restore_polls < 100 {
        assert!(Instant::now() < deadline && !restoring.is_finished(), "the restore does not wait for the transaction");
        std::thread::yield_now();
    }
    assert!(!restoring.is_finished(), "an end of the partition before the goal is no goal");
    world.broker.lock().end_transaction(number, true);
    restoring.join().unwrap();
    assert_eq!(content(&world), CONTENT);
}

/// Spoils the store of each counting task, and expects it to be rebuilt.
fn spoiled(spoil: impl Fn(&World, TaskId)) {
    let world = World::new();
    run_once_through(&world);
    for task in COUNT_TASKS {
        spoil(&world, task);
    }
    world.publish(&["a", "g"]);
    let mut running = world.start_all();
    running.finish();
    assert_eq!(running.instance.metrics().incidents().rebuilt_stores, COUNT_TASKS.len() as u64);
    running.stop();
    assert_eq!(content(&world), ["a=5", "b=2", "c=1", "d=1", "e=1", "f=1", "g=3"]);
    world.assert_exactly_once(WORDS + 2);
}

fn write(world: &World, task: TaskId, change: impl Fn(Vec<u8>) -> Vec<u8>, puts: &[(&[u8], u64)]) {
    let mut db = world.stores.open(task, &["counts"]).unwrap();
    let position = change(db.position(0).unwrap().unwrap());
    let values: Vec<[u8; 8]> = puts.iter().map(|(_, count)| count.to_be_bytes()).collect();
    let puts = puts.iter().zip(&values).map(|((key, _), value)| Put { store: 0, key, value: Some(value) }).collect();
    db.apply(&StoreBatch { puts, positions: vec![(0, &position)] }).unwrap();
}

fn with_word(position: Vec<u8>, index: usize, word: &str) -> Vec<u8> {
    let text = String::from_utf8(position).unwrap();
    let mut words: Vec<&str> = text.split(' ').collect();
    words[index] = word;
    words.join(" ").into_bytes()
}

#[test]
fn a_spoiled_position_is_rebuilt() {
    spoiled(|world, task| write(world, task, |_| b"what is this".to_vec(), &[(b"a", 99)]));
}

#[test]
fn a_position_ahead_of_the_commit_is_rebuilt() {
    spoiled(|world, task| write(world, task, |position| with_word(position, 3, "9999"), &[(b"zz", 99)]));
}

#[test]
fn a_wrong_checksum_is_rebuilt() {
    spoiled(|world, task| write(world, task, |position| with_word(position, 4, "abc"), &[(b"zz", 99)]));
}

#[test]
fn a_tail_onto_wrong_content_is_rebuilt() {
    spoiled(|world, task| {
        write(world, task, |position| with_word(with_word(position, 3, "0"), 4, "abc"), &[(b"zz", 9)])
    });
}

#[test]
fn a_store_away_for_longer_than_the_changelog_remembers_deletes_is_rebuilt() {
    spoiled(|world, task| {
        // Its position and checksum are right, its content is not: only its age tells.
        write(world, task, |position| position, &[(b"zz", 99)]);
        world.stores.set_idle(task, Duration::from_secs(86_401));
    });
}

#[test]
fn a_store_that_another_wrote_is_not_overwritten() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    world.meddle.store(true, std::sync::atomic::Ordering::Relaxed);
    world.publish(&["a b c d e f", "g"]);
    running.finish();
    running.stop();
    assert_eq!(content(&world), ["a=5", "b=3", "c=2", "d=2", "e=2", "f=2", "g=3"]);
    world.assert_exactly_once(WORDS + 7);
}

#[test]
fn what_is_revoked_is_committed_first_and_goes_on_elsewhere() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.turns(8);
    let (gone, kept): (Vec<_>, Vec<_>) = all_partitions().into_iter().partition(|at| at.partition == 1);
    running.event(GroupEvent::Revoked(gone.clone()));
    running.turns(3);
    assert!(running.instance.metrics().tasks().values().all(|task| kept.contains(&task.source)));
    let mut other = world.start_elsewhere();
    other.event(GroupEvent::Assigned(gone.clone()));
    world.publish(&["a b", "c d"]);
    for _ in 0..300 {
        running.turns(1);
        other.turns(1);
    }
    running.finish();
    other.finish();
    other.event(GroupEvent::Revoked(gone.clone()));
    other.turns(2);
    running.event(GroupEvent::Assigned(gone));
    running.finish();
    assert_eq!(running.instance.metrics().tasks().len(), 4);
    assert!(running.instance.metrics().tasks().values().all(|task| task.state == TaskState::Running));
    running.stop();
    other.stop();
    world.assert_exactly_once(WORDS + 4);
}

#[test]
fn what_is_lost_is_closed_without_a_write() {
    let mut world = World::new();
    world.config.commit_interval = Duration::from_secs(3600);
    world.publish(&LINES);
    let mut running = world.start_all();
    running.turns(10);
    running.event(GroupEvent::Lost(all_partitions()));
    running.turns(2);
    assert!(running.instance.metrics().tasks().is_empty());
    assert!(world.broker.lock().committed.is_empty(), "nothing was committed");
    running.event(GroupEvent::Assigned(all_partitions()));
    running.turns(20);
    running.stop();
    let mut running = world.start_all();
    running.turns(20);
    running.stop();
    world.assert_exactly_once(WORDS);
}

#[test]
fn large_uncommitted_state_forces_a_commit() {
    let mut world = World::new();
    world.config.commit_interval = Duration::from_secs(3600);
    world.config.uncommitted_bytes = 5000;
    let words: Vec<String> = (0..500).map(|n| format!("w{n}")).collect();
    world.publish(&[&words.join(" "), ""]);
    let mut running = world.start_all();
    running.turns(10);
    running.event(GroupEvent::Revoked(Vec::new()));
    running.turns(10);
    let commits = running.instance.metrics().threads()[&0].snapshot().commits;
    assert!(commits > 4, "{commits} commits");
    running.stop();
    world.assert_exactly_once(500);
}

#[test]
fn punctuation_fires_once_for_all_that_a_record_crosses() {
    let world = World::new();
    for (at, line) in
        [(5_000, "a"), (9_999, "a"), (10_000, "a"), (10_001, "a"), (59_999, "a"), (7_000, "a"), (60_000, "a")]
    {
        world.broker.publish("lines", 0, None, line, at);
    }
    let mut running = world.start_all();
    running.finish();
    running.stop();
    let out: Vec<String> = (0..3).flat_map(|partition| world.broker.texts("out", partition)).collect();
    let ticks: Vec<&String> = out.iter().filter(|text| text.starts_with("tick")).collect();
    assert_eq!(ticks, ["tick=10000", "tick=50000", "tick=60000"]);
    world.assert_exactly_once(7);
}

#[test]
fn repartition_topics_are_purged_below_the_commit_only() {
    let mut world = World::new();
    world.config.purge_interval = Some(Duration::from_millis(30));
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    running.turns(100);
    let state = world.broker.lock();
    let repartition: Vec<_> = all_partitions().into_iter().filter(|at| &*at.topic == REPARTITION).collect();
    for at in &repartition {
        assert_eq!(state.deleted_below.get(at), Some(&state.committed[at].offset));
    }
    assert_eq!(state.deleted_below.len(), repartition.len(), "no other topic is touched");
}

#[test]
fn a_purge_that_is_not_allowed_ends_the_thread_and_any_other_failure_does_not() {
    let mut world = World::new();
    world.config.purge_interval = Some(Duration::from_millis(30));
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    world.broker.fault("delete_records", Error::Retry("the leader moves".to_owned()));
    running.turns(100);
    let refused = Error::Fatal("the principal lacks Delete on topic t".to_owned());
    world.broker.fault("delete_records", refused.clone());
    assert_eq!(running.thread.run(), Err(refused));
}

#[test]
fn a_server_that_cannot_delete_records_is_told_of_and_the_stream_goes_on_without_purge() {
    let mut world = World::new();
    world.config.purge_interval = Some(Duration::from_millis(30));
    world.publish(&LINES);
    world.broker.lock().cannot_delete = true;
    let mut running = world.start_all();
    running.finish();
    running.turns(200);
    assert!(world.broker.lock().deleted_below.is_empty());
    let is_reported = |running: &Running| {
        let mut reminder = *running.instance.no_purge.lock().unwrap();
        !reminder.is_due(Duration::ZERO)
    };
    assert!(is_reported(&running));
    // A proxy that was mended is made use of.
    world.broker.lock().cannot_delete = false;
    running.turns(200);
    assert!(!world.broker.lock().deleted_below.is_empty());
    running.stop();
    world.assert_exactly_once(WORDS);
}

/// Records of the changelog, without markers.
fn changes(world: &World) -> u64 {
    (0..PARTITIONS).map(|partition| world.broker.read(CHANGELOG, partition).len() as u64).sum()
}

#[test]
fn a_store_in_memory_is_restored_whole_and_lies_nowhere_else() {
    let world = World::in_memory();
    run_once_through(&world);
    assert!(
        COUNT_TASKS.iter().all(|task| world.stores.idle_time(*task).unwrap().is_none()),
        "nothing is opened on disk"
    );
    let whole = changes(&world);
    world.publish(&["a b c d e f", "g"]);
    let mut running = world.start_all();
    running.finish();
    let metrics = running.instance.metrics();
    assert_eq!(metrics.restored_records(), whole);
    assert!(metrics.memory_store_bytes() > 0);
    running.stop();
    assert_eq!(metrics.memory_store_bytes(), 0, "it goes with its tasks");
    world.assert_exactly_once(WORDS + 7);
}

#[test]
fn a_task_that_begins_again_at_its_last_commit_keeps_what_lies_in_memory() {
    let world = World::in_memory();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.finish();
    world.broker.fault("commit", crate::error::Error::ProducerLost("fenced".to_owned()));
    world.publish(&["a b c d e f", "g"]);
    running.finish();
    assert_eq!(running.instance.metrics().restored_records(), 0);
    running.stop();
    world.assert_exactly_once(WORDS + 7);
}

/// Counts words in two stores at once, and tells both counts.
struct Twice;

impl Processor for Twice {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let word = record.key.unwrap_or_default();
        let mut text = String::new();
        for name in ["fast", "counts"] {
            let mut store = ctx.store(name)?;
            let count = store.get(word)?.map_or(0, |v| u64::from_be_bytes(v[..].try_into().unwrap())) + 1;
            store.put(word, count.to_be_bytes().to_vec())?;
            text.push_str(&format!("{count} "));
        }
        ctx.forward(&Record { value: Some(text.trim_end().as_bytes()), headers: Headers::NONE, ..*record })
    }
}

fn in_two_places(options: StoreOptions) -> Topology {
    let built = Topology::builder()
        .source("lines", "lines")
        .process("words", ["lines"], || Box::new(Words))
        .repartition("by-word", ["words"])
        .process("twice", ["by-word"], || Box::new(Twice))
        .store("fast", ["twice"])
        .configure_store("fast", StoreOptions { kind: StoreKind::Memory, ..options })
        .store("counts", ["twice"])
        .sink("out", "out", ["twice"])
        .dead_letters("bad")
        .build();
    built.unwrap()
}

#[test]
fn a_store_in_memory_and_one_on_disk_go_together() {
    let world = World { topology: in_two_places, ..World::new() };
    run_once_through(&world);
    assert_eq!(content(&world), CONTENT, "the one lies on disk");
    world.publish(&["a b c d e f", "g"]);
    let mut running = world.start_all();
    running.finish();
    assert_eq!(running.instance.metrics().restored_records(), changes(&world) - 7, "the other alone is restored");
    // It is given up in mid-transaction and comes again.
    world.broker.fault("send_offsets", crate::error::Error::Migrated("as asked".to_owned()));
    world.publish(&["a", "b"]);
    running.turns(30);
    running.event(GroupEvent::Assigned(all_partitions()));
    running.finish();
    running.stop();
    let mut counts: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for text in world.outputs() {
        let (word, both) = text.split_once('=').unwrap();
        counts.entry(word.to_owned()).or_default().push(both.to_owned());
    }
    for (word, found) in counts {
        let expected: Vec<String> = (1..=found.len()).map(|n| format!("{n} {n}")).collect();
        assert_eq!(found, expected, "{word}");
    }
    assert_eq!(world.outputs().len(), WORDS + 7 + 2);
}
