//! The overlay against a plain map: reads, scans, changes and checksums.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::memory::MemoryStores;
use super::{Checksum, Overlay, entry_hash};
use crate::ports::{Put, ReadError, StoreBatch, StoreEngine, TaskStore};
use crate::record::TaskId;
use crate::testing::snapshot_contract;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn sum(map: &Map) -> Checksum {
    map.iter().fold(0, |sum, (key, value)| sum.wrapping_add(entry_hash(key, value)))
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn scan(overlay: &mut Overlay, db: &dyn TaskStore, prefix: &[u8], start: &[u8], at_most: usize) -> Entries {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        if found.len() == at_most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    overlay.scan_from(db, 0, (prefix, start), &mut visit).unwrap();
    found
}

#[derive(Clone, Debug)]
enum Action {
    Put(Vec<u8>, Option<Vec<u8>>),
    Get(Vec<u8>),
    MultiGet(Vec<Vec<u8>>),
    Scan(Vec<u8>, Vec<u8>, usize),
    Commit,
    Discard,
}

/// Few keys over two letters, so that they share prefixes and come again.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![b'a', b'b', 0xff]), 1..4)
}

fn letters() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![b'a', 0xff]), 0..3)
}

fn action() -> impl Strategy<Value = Action> {
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..3));
    prop_oneof![
        6 => (key(), value).prop_map(|(key, value)| Action::Put(key, value)),
        3 => key().prop_map(Action::Get),
        1 => prop::collection::vec(key(), 0..5).prop_map(Action::MultiGet),
        3 => (letters(), letters(), 1..9_usize).prop_map(|(p, s, n)| Action::Scan(p, s, n)),
        1 => Just(Action::Commit),
        1 => Just(Action::Discard),
    ]
}

fn commit(overlay: &mut Overlay, db: &mut dyn TaskStore) {
    let checksum = overlay.checksum();
    let changes = overlay.changes();
    assert!(changes.is_sorted_by(|a, b| a.key < b.key), "in key order, each key once");
    let puts = changes.iter().map(|change| Put { store: 0, key: change.key, value: change.value }).collect();
    db.apply(&StoreBatch { puts, positions: Vec::new() }).unwrap();
    overlay.committed(checksum);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(testkit::seed()), ..ProptestConfig::default() })]

    #[test]
    fn an_overlay_is_a_map_that_can_go_back(actions in prop::collection::vec(action(), 1..60)) {
        let mut db = MemoryStores::new().open(TaskId { subtopology: 0, partition: 0 }, &["s"]).unwrap();
        let mut overlay = Overlay::new(0);
        let mut seen = Map::new();
        let mut committed = Map::new();
        for action in actions {
            match action {
                Action::Put(key, value) => {
                    overlay.put(&*db, 0, &key, value.clone(), 1).unwrap();
                    match value {
                        Some(value) => drop(seen.insert(key, value)),
                        None => drop(seen.remove(&key)),
                    }
                }
                Action::Get(key) => {
                    let found = overlay.get(&*db, 0, &key).unwrap().map(|value| value.to_vec());
                    prop_assert_eq!(found.as_ref(), seen.get(&key));
                }
                Action::MultiGet(keys) => {
                    let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                    let found = overlay.multi_get(&*db, 0, &asked).unwrap();
                    let found: Vec<_> = found.into_iter().map(|value| value.map(|value| value.to_vec())).collect();
                    prop_assert_eq!(found, keys.iter().map(|key| seen.get(key).cloned()).collect::<Vec<_>>());
                }
                Action::Scan(prefix, further, at_most) => {
                    let start = [&prefix[..], &further].concat();
                    let is_in = |key: &[u8]| key.starts_with(&prefix) && *key >= start[..];
                    let expected = seen.iter().filter(|(key, _)| is_in(key)).take(at_most);
                    let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
                    prop_assert_eq!(scan(&mut overlay, &*db, &prefix, &start, at_most), expected);
                }
                Action::Commit => {
                    commit(&mut overlay, &mut *db);
                    committed = seen.clone();
                }
                Action::Discard => {
                    overlay.discard();
                    seen = committed.clone();
                }
            }
            prop_assert_eq!(overlay.checksum(), sum(&seen), "the checksum follows from the content alone");
        }
        commit(&mut overlay, &mut *db);
        prop_assert_eq!(scan(&mut overlay, &*db, b"", b"", usize::MAX), seen.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_key_that_came_and_went_leaves_no_change() {
    let db = MemoryStores::new().open(TaskId { subtopology: 0, partition: 0 }, &["s"]).unwrap();
    let mut overlay = Overlay::new(7);
    overlay.put(&*db, 0, b"k", Some(b"v".to_vec()), 1).unwrap();
    overlay.put(&*db, 0, b"k", None, 1).unwrap();
    assert_eq!((overlay.changes(), overlay.checksum()), (vec![], 7));
}

#[test]
fn an_entry_s_hash_tells_key_from_value() {
    assert_ne!(entry_hash(b"ab", b"c"), entry_hash(b"a", b"bc"));
    assert_ne!(entry_hash(b"a", b""), entry_hash(b"b", b""));
}

#[test]
fn a_change_bears_the_time_of_the_record_that_wrote_it_last() {
    let db = MemoryStores::new().open(TaskId { subtopology: 0, partition: 0 }, &["s"]).unwrap();
    let mut overlay = Overlay::new(0);
    for (key, timestamp_ms) in [(b"a", 9), (b"b", 7), (b"a", 4)] {
        overlay.put(&*db, 0, key, Some(b"v".to_vec()), timestamp_ms).unwrap();
    }
    let times: Vec<_> = overlay.changes().iter().map(|change| (change.key, change.timestamp_ms)).collect();
    assert_eq!(times, [(&b"a"[..], 4), (&b"b"[..], 7)]);
}

#[test]
fn readers_beside_a_writer_see_whole_batches() {
    let stores = MemoryStores::new();
    let mut db = stores.open(TaskId { subtopology: 0, partition: 0 }, &["s"]).unwrap();
    let source = db.snapshots();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while let Some(round) = snapshot_contract::check_round(&*source) {
                    assert!(round >= last, "time goes back from {last} to {round}");
                    last = round;
                }
                assert!(last > 0);
            });
        }
        for round in 1..60 {
            snapshot_contract::write_round(&mut *db, round);
        }
        assert_eq!(snapshot_contract::check_round(&*source), Some(59));
        drop(db);
    });
}

#[test]
fn what_is_kept_for_a_snapshot_is_counted_and_goes_with_it() {
    let stores = MemoryStores::new();
    let mut db = stores.open(TaskId { subtopology: 0, partition: 0 }, &["s"]).unwrap();
    snapshot_contract::write_round(&mut *db, 1);
    let bytes = stores.bytes();
    let snapshot = db.snapshots().take().unwrap();
    (2..9).for_each(|round| snapshot_contract::write_round(&mut *db, round));
    let kept = stores.bytes() - bytes;
    assert!(kept > bytes / 2 && kept <= bytes, "each value once, however often it was replaced: {kept}");
    drop(snapshot);
    snapshot_contract::write_round(&mut *db, 9);
    assert_eq!(stores.bytes(), bytes);
}

#[test]
fn a_snapshot_expires_when_too_much_is_written_beside_it() {
    let stores = MemoryStores::new();
    let mut db = stores.open(TaskId { subtopology: 0, partition: 0 }, &["s"]).unwrap();
    let large = vec![0; 1 << 20];
    let keys: Vec<[u8; 1]> = (0..80).map(|at| [at]).collect();
    let puts = || keys.iter().map(|key| Put { store: 0, key, value: Some(&large) }).collect();
    db.apply(&StoreBatch { puts: puts(), positions: Vec::new() }).unwrap();
    let bytes = stores.bytes();
    let (source, snapshot) = (db.snapshots(), db.snapshots().take().unwrap());
    db.apply(&StoreBatch { puts: puts(), positions: Vec::new() }).unwrap();
    assert_eq!(snapshot.get(0, &keys[0]), Err(ReadError::Expired));
    assert_eq!(stores.bytes(), bytes);
    assert!(source.take().unwrap().get(0, &keys[0]).unwrap().is_some(), "a new one can be read");
}
