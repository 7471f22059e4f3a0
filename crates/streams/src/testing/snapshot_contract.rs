//! Contract of the snapshots of every [`StoreEngine`], as checks that panic:
//! [`store_contract`](super::store_contract) runs them, but for those of threads, which the tests
//! of an implementation start.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::ports::{
    CHUNK_ENTRIES, Put, ReadError, ReadResult, SnapshotSource, StoreBatch, StoreEngine, TaskSnapshot, TaskStore,
    end_of_prefix,
};
use crate::record::TaskId;

const TASK: TaskId = TaskId { subtopology: 1, partition: 7 };
/// Entries of [`write_round`]: more than a chunk has.
const ROUND_ENTRIES: u32 = CHUNK_ENTRIES as u32 * 2 + 3;

fn ok<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

fn write(db: &mut dyn TaskStore, puts: &[(usize, &str, Option<&str>)], position: &str) {
    let puts = puts.iter().map(|(store, key, value)| Put {
        store: *store,
        key: key.as_bytes(),
        value: value.map(str::as_bytes),
    });
    let positions = (0..2).map(|store| (store, position.as_bytes())).collect();
    ok(db.apply(&StoreBatch { puts: puts.collect(), positions }));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All entries of a range, in parts, as text.
fn range(snapshot: &dyn TaskSnapshot, store: usize, start: &[u8], end: Option<&[u8]>) -> ReadResult<Vec<String>> {
    let (mut found, mut next) = (Vec::new(), Some(start.to_vec()));
    while let Some(start) = next {
        let chunk = snapshot.entries(store, &start, end)?;
        assert!(chunk.entries.len() <= CHUNK_ENTRIES, "a part is bounded");
        found.extend(chunk.entries.iter().map(|(key, value)| format!("{}={}", text(key), text(value))));
        next = chunk.next;
    }
    Ok(found)
}

fn all(snapshot: &dyn TaskSnapshot, store: usize) -> Vec<String> {
    ok(range(snapshot, store, b"", None))
}

/// Runs all checks that need no thread.
pub fn check(engine: &dyn Fn() -> Box<dyn StoreEngine>) {
    shows_what_there_was(engine().as_ref());
    snapshots_of_several_batches(engine().as_ref());
    reads_ranges_in_parts(engine().as_ref());
    ends_with_the_database(engine().as_ref());
    ends_where_a_store_is_cleared(engine().as_ref());
}

fn shows_what_there_was(engine: &dyn StoreEngine) {
    let mut db = ok(engine.open(TASK, &["a", "b"]));
    let empty = ok(db.snapshots().take());
    write(&mut *db, &[(0, "k", Some("1")), (0, "l", Some("2")), (1, "k", Some("other"))], "at 5");
    let source = db.snapshots();
    let snapshot = ok(source.take());
    write(&mut *db, &[(0, "k", Some("9")), (0, "l", None), (0, "m", Some("3")), (1, "k", None)], "at 6");
    let get = |store, key: &str| ok(snapshot.get(store, key.as_bytes())).map(|value| text(&value));
    assert_eq!(get(0, "k").as_deref(), Some("1"), "a value that was replaced is shown still");
    assert_eq!(get(0, "l").as_deref(), Some("2"), "and one that was deleted");
    assert_eq!(get(0, "m"), None, "what was written later is not shown");
    assert_eq!(get(1, "k").as_deref(), Some("other"));
    assert_eq!((get(0, ""), get(1, "")), (Some("at 5".to_owned()), Some("at 5".to_owned())), "the position is as old");
    let many = ok(snapshot.multi_get(0, &[b"m", b"l", b"k"]));
    assert_eq!(many, [None, Some(b"2".to_vec()), Some(b"1".to_vec())]);
    assert_eq!(all(&*snapshot, 0), ["k=1", "l=2"]);
    assert_eq!(all(&*snapshot, 1), ["k=other"]);
    assert_eq!((all(&*empty, 0), ok(empty.get(0, b""))), (Vec::new(), None));
    let now = ok(source.take());
    assert_eq!((all(&*now, 0), all(&*now, 1)), (vec!["k=9".to_owned(), "m=3".to_owned()], Vec::new()));
    assert_eq!(ok(now.get(0, b"")).as_deref(), Some(&b"at 6"[..]));
    drop((snapshot, empty));
    assert_eq!(all(&*now, 0), ["k=9", "m=3"], "snapshots do not end with one another");
    assert_eq!(ok(db.get(0, b"k")).as_deref(), Some(&b"9"[..]), "nor does the store itself change");
}

fn snapshots_of_several_batches(engine: &dyn StoreEngine) {
    let mut db = ok(engine.open(TASK, &["a", "b"]));
    let mut snapshots: Vec<(Vec<String>, Arc<dyn TaskSnapshot>)> = Vec::new();
    let texts: Vec<String> = (0..24).map(|round| format!("v{round}")).collect();
    for (round, value) in texts.iter().enumerate() {
        // Each key is changed in some rounds, and deleted in some.
        let keys = ["a", "b", "c", "d", "e"];
        let changes: Vec<_> = (keys.iter().enumerate())
            .filter(|(at, _)| round % (at + 1) == 0)
            .map(|(at, key)| (0, *key, (!(round / (at + 1)).is_multiple_of(3)).then_some(value.as_str())))
            .collect();
        write(&mut *db, &changes, value);
        if round % 5 != 4 {
            let snapshot = ok(db.snapshots().take());
            let mut shown = Vec::new();
            ok(db.scan(0, b"", &mut |key, value| {
                shown.push(format!("{}={}", text(key), text(value)));
                ControlFlow::Continue(())
            }));
            snapshots.push((shown, snapshot));
        }
        // They end in no order.
        if round % 7 == 6 {
            snapshots.swap_remove(round % snapshots.len());
        }
        for (shown, snapshot) in &snapshots {
            assert_eq!(&all(&**snapshot, 0), shown, "in round {round}");
        }
    }
}

fn reads_ranges_in_parts(engine: &dyn StoreEngine) {
    let mut db = ok(engine.open(TASK, &["a", "b"]));
    write_round(&mut *db, 1);
    let snapshot = ok(db.snapshots().take());
    ok(db.apply(&StoreBatch {
        puts: vec![Put { store: 0, key: b"key 00003 and more", value: Some(b"x") }],
        positions: Vec::new(),
    }));
    assert_eq!(all(&*snapshot, 0).len(), ROUND_ENTRIES as usize, "over all parts");
    let shown = ok(range(&*snapshot, 0, b"key 00002", Some(b"key 00004")));
    assert_eq!(shown, ["key 00002=1", "key 00003=1"], "a range ends below its end");
    let end = end_of_prefix(b"key 0000");
    assert_eq!(ok(range(&*snapshot, 0, b"key 0000", end.as_deref())).len(), 10);
    assert_eq!(ok(range(&*snapshot, 0, b"z", None)), [""; 0]);
    assert_eq!(ok(range(&*snapshot, 0, b"z", Some(b"a"))), [""; 0], "a range that ends before it starts is empty");
    assert_eq!(ok(range(&*snapshot, 0, b"", Some(b""))), [""; 0]);
}

fn ends_with_the_database(engine: &dyn StoreEngine) {
    let mut db = ok(engine.open(TASK, &["a", "b"]));
    write(&mut *db, &[(0, "k", Some("1"))], "at 5");
    let (source, snapshot) = (db.snapshots(), ok(db.snapshots().take()));
    drop(db);
    assert_eq!(snapshot.get(0, b"k"), Err(ReadError::Closed), "a reader does not keep a database open");
    assert_eq!(range(&*snapshot, 0, b"", None), Err(ReadError::Closed));
    assert_eq!(source.take().err(), Some(ReadError::Closed));
    let mut db = ok(engine.open(TASK, &["a", "b"]));
    write(&mut *db, &[(0, "k", Some("2"))], "at 6");
    assert_eq!(snapshot.get(0, b"k"), Err(ReadError::Closed), "nor does it see the next one");
    assert_eq!(source.take().err(), Some(ReadError::Closed));
    assert_eq!(all(&*ok(db.snapshots().take()), 0), ["k=2"]);
    let snapshot = ok(db.snapshots().take());
    drop(db);
    ok(engine.destroy(TASK));
    assert_eq!(snapshot.get(0, b"k"), Err(ReadError::Closed), "a destroyed database shows nothing");
}

fn ends_where_a_store_is_cleared(engine: &dyn StoreEngine) {
    let mut db = ok(engine.open(TASK, &["a", "b"]));
    write(&mut *db, &[(0, "k", Some("1")), (0, "l", Some("1"))], "at 5");
    let (source, snapshot) = (db.snapshots(), ok(db.snapshots().take()));
    ok(db.clear(0));
    write(&mut *db, &[(0, "k", Some("rebuilt"))], "at 2");
    match range(&*snapshot, 0, b"", None) {
        Err(error) => assert_eq!(error, ReadError::Closed),
        Ok(shown) => assert_eq!(shown, ["k=1", "l=1"], "the old rows or none"),
    }
    assert_eq!(all(&*ok(source.take()), 0), ["k=rebuilt"], "the database goes on");
}

/// Writes `round` to each of some hundreds of keys and to the position, as one batch.
pub fn write_round(db: &mut dyn TaskStore, round: u64) {
    let keys: Vec<String> = (0..ROUND_ENTRIES).map(|at| format!("key {at:05}")).collect();
    let value = round.to_string();
    let puts = keys.iter().map(|key| Put { store: 0, key: key.as_bytes(), value: Some(value.as_bytes()) });
    ok(db.apply(&StoreBatch { puts: puts.collect(), positions: vec![(0, value.as_bytes())] }));
}

/// Takes a snapshot while another thread calls [`write_round`], and checks that it shows one round
/// whole; the round, or `None` once the database is closed.
pub fn check_round(source: &dyn SnapshotSource) -> Option<u64> {
    let read = || -> ReadResult<(Vec<u8>, Vec<String>)> {
        let snapshot = source.take()?;
        let shown = range(&*snapshot, 0, b"", None)?;
        let position = snapshot.get(0, b"")?.unwrap_or_default();
        Ok((position, shown))
    };
    let (position, shown) = match read() {
        Err(ReadError::Closed) => return None,
        other => ok(other),
    };
    if position.is_empty() {
        assert_eq!(shown, [""; 0], "nothing was written yet");
        return Some(0);
    }
    let position = text(&position);
    assert_eq!(shown.len(), ROUND_ENTRIES as usize);
    let is_whole = shown.iter().all(|entry| entry.split_once('=').is_some_and(|(_, value)| value == position));
    assert!(is_whole, "a snapshot at {position} shows rows of another round: {shown:?}");
    Some(ok(position.parse::<u64>()))
}
