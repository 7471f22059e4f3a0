//! Contract of every [`StoreEngine`], as checks that panic: each implementation's tests run them.

use std::ops::ControlFlow;

use crate::ports::{Put, StoreBatch, StoreEngine, TaskStore};
use crate::record::TaskId;

const TASK: TaskId = TaskId { subtopology: 1, partition: 7 };
const OTHER: TaskId = TaskId { subtopology: 1, partition: 8 };

/// Makes an engine over an empty state directory of its own.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn StoreEngine>;

fn open(engine: &dyn StoreEngine, task: TaskId, stores: &[&str]) -> Box<dyn TaskStore> {
    match engine.open(task, stores) {
        Ok(store) => store,
        Err(error) => panic!("open {task}: {error}"),
    }
}

fn ok<T>(result: crate::error::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

fn put<'a>(store: usize, key: &'a str, value: Option<&'a str>) -> Put<'a> {
    Put { store, key: key.as_bytes(), value: value.map(str::as_bytes) }
}

fn write(db: &mut dyn TaskStore, puts: Vec<Put<'_>>, positions: &[(usize, &str)]) {
    let positions = positions.iter().map(|(store, position)| (*store, position.as_bytes())).collect();
    ok(db.apply(&StoreBatch { puts, positions }));
}

fn get(db: &dyn TaskStore, store: usize, key: &str) -> Option<String> {
    ok(db.get(store, key.as_bytes())).map(|value| String::from_utf8_lossy(&value).into_owned())
}

fn scan(db: &dyn TaskStore, store: usize, prefix: &str, at_most: usize) -> Vec<String> {
    let mut found = Vec::new();
    ok(db.scan(store, prefix.as_bytes(), &mut |key, value| {
        found.push(format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)));
        if found.len() == at_most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }));
    found
}

/// Runs all checks.
pub fn check(make: Make<'_>) {
    reads_what_was_written(make().as_ref());
    positions_belong_to_their_store(make().as_ref());
    scans_in_key_order(make().as_ref());
    tasks_and_reopening(make().as_ref());
    restore_mode(make().as_ref());
    super::snapshot_contract::check(make);
}

fn reads_what_was_written(engine: &dyn StoreEngine) {
    let mut db = open(engine, TASK, &["a", "b"]);
    assert_eq!(get(&*db, 0, "k"), None);
    write(&mut *db, vec![put(0, "k", Some("1")), put(0, "m", Some("")), put(1, "k", Some("other"))], &[]);
    assert_eq!(get(&*db, 0, "k").as_deref(), Some("1"));
    assert_eq!(get(&*db, 0, "m").as_deref(), Some(""), "an empty value is a value");
    assert_eq!(get(&*db, 1, "k").as_deref(), Some("other"), "stores do not share keys");
    let keys: [&[u8]; 4] = [b"m", b"none", b"k", b"m"];
    let many: Vec<Option<Vec<u8>>> = ok(db.multi_get(0, &keys)).into_iter().map(|v| v.map(|v| v.to_vec())).collect();
    assert_eq!(
        many,
        [Some(vec![]), None, Some(b"1".to_vec()), Some(vec![])],
        "multi_get answers in the order asked for"
    );
    write(&mut *db, vec![put(0, "k", None), put(0, "none", None)], &[]);
    assert_eq!(get(&*db, 0, "k"), None);
    assert_eq!(get(&*db, 1, "k").as_deref(), Some("other"));
    let large = "x".repeat(3 << 20);
    write(&mut *db, vec![put(0, "large", Some(&large))], &[]);
    assert_eq!(get(&*db, 0, "large").map(|value| value.len()), Some(large.len()));
}

fn positions_belong_to_their_store(engine: &dyn StoreEngine) {
    let mut db = open(engine, TASK, &["a", "b"]);
    assert_eq!(ok(db.position(0)), None);
    write(&mut *db, vec![put(0, "k", Some("1"))], &[(0, "at 5")]);
    assert_eq!(ok(db.position(0)), Some(b"at 5".to_vec()));
    assert_eq!(ok(db.position(1)), None);
    write(&mut *db, vec![], &[(0, "at 6"), (1, "at 1")]);
    assert_eq!((ok(db.position(0)), ok(db.position(1))), (Some(b"at 6".to_vec()), Some(b"at 1".to_vec())));
    assert_eq!(scan(&*db, 0, "", 9), ["k=1"], "the position is no entry");
    ok(db.clear(0));
    assert_eq!((get(&*db, 0, "k"), ok(db.position(0))), (None, None), "clear takes entries and position");
    assert_eq!(ok(db.position(1)), Some(b"at 1".to_vec()), "and leaves other stores alone");
    write(&mut *db, vec![put(0, "k", Some("2"))], &[(0, "at 0")]);
    assert_eq!(get(&*db, 0, "k").as_deref(), Some("2"), "a cleared store can be written");
}

fn scans_in_key_order(engine: &dyn StoreEngine) {
    let mut db = open(engine, TASK, &["a"]);
    let puts = ["b2", "a", "b1", "c", "b"].map(|key| put(0, key, Some(key)));
    write(&mut *db, puts.to_vec(), &[(0, "p")]);
    assert_eq!(scan(&*db, 0, "", 9), ["a=a", "b=b", "b1=b1", "b2=b2", "c=c"]);
    assert_eq!(scan(&*db, 0, "b", 9), ["b=b", "b1=b1", "b2=b2"]);
    assert_eq!(scan(&*db, 0, "b", 2), ["b=b", "b1=b1"], "breaking ends a scan");
    assert_eq!(scan(&*db, 0, "bb", 9), [""; 0]);
    let mut found = Vec::new();
    ok(db.scan_from(0, b"b", b"b11", &mut |key, _| {
        found.push(String::from_utf8_lossy(key).into_owned());
        ControlFlow::Continue(())
    }));
    assert_eq!(found, ["b2"], "a scan begins where it is told, and ends with its prefix");
    let high: [&[u8]; 2] = [&[0xff, 0xff], &[0xff, 0xff, 1]];
    let puts = high.map(|key| Put { store: 0, key, value: Some(b"h") }).to_vec();
    ok(db.apply(&StoreBatch { puts, positions: Vec::new() }));
    let mut found = 0;
    ok(db.scan(0, &[0xff, 0xff], &mut |_, _| {
        found += 1;
        ControlFlow::Continue(())
    }));
    assert_eq!(found, 2, "a prefix of 0xff has no upper bound");
}

fn tasks_and_reopening(engine: &dyn StoreEngine) {
    assert!(ok(engine.idle_time(TASK)).is_none(), "there is no database yet");
    let mut db = open(engine, TASK, &["a"]);
    write(&mut *db, vec![put(0, "k", Some("1"))], &[(0, "p")]);
    let other = open(engine, OTHER, &["a"]);
    assert_eq!(get(&*other, 0, "k"), None, "tasks do not share stores");
    drop(db);
    assert!(ok(engine.idle_time(TASK)).is_some());
    let db = open(engine, TASK, &["b", "a"]);
    assert_eq!(get(&*db, 1, "k").as_deref(), Some("1"), "stores are known by name, and one may be added");
    assert_eq!(ok(db.position(1)), Some(b"p".to_vec()));
    assert_eq!(ok(db.position(0)), None);
    drop(db);
    ok(engine.destroy(TASK));
    ok(engine.destroy(TASK));
    assert_eq!(get(&*open(engine, TASK, &["a"]), 0, "k"), None, "a destroyed database is empty");
}

fn restore_mode(engine: &dyn StoreEngine) {
    let mut db = open(engine, TASK, &["a"]);
    ok(db.begin_bulk_load());
    write(&mut *db, vec![put(0, "k", Some("1"))], &[(0, "p1")]);
    ok(db.end_bulk_load());
    write(&mut *db, vec![put(0, "m", Some("2"))], &[(0, "p2")]);
    drop(db);
    let db = open(engine, TASK, &["a"]);
    assert_eq!(scan(&*db, 0, "", 9), ["k=1", "m=2"], "what was restored is on disk");
    assert_eq!(ok(db.position(0)), Some(b"p2".to_vec()));
}
