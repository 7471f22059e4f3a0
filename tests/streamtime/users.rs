//! User snapshots: docs/semantics.md, section 5, "User snapshot".

use crate::drive::Driven;
use reference_model::run::Emitted;
use reference_model::users::{Users, changes};
use reference_model::{Record, Settings, generate_time};
use serde_json::Value;
use testkit::repo_path;

fn schema() -> jsonschema::Validator {
    let text = std::fs::read_to_string(repo_path("schemas/user-snapshot.schema.json")).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

#[test]
fn users_are_emitted_at_the_ends_of_intervals_in_which_they_changed() {
    let (schema, mut count, mut empty) = (schema(), 0, 0);
    for seed in testkit::seeds(600) {
        let (stream, interval_ms) = generate_time::of_users(seed, 40);
        let mut driven = Driven::new(&stream.settings, &[&format!("snapshot_interval={interval_ms}ms")]);
        let mut users = Users::new(interval_ms, &stream.settings);
        let mut resolved: Vec<Emitted> = Vec::new();
        for (at, record) in stream.records.iter().enumerate() {
            let came = driven.pipe(record);
            let told = changes(&resolved).len();
            resolved.extend(came.outputs.snapshots);
            let expected: Vec<Emitted> =
                changes(&resolved)[told..].iter().flat_map(|change| users.process(change)).collect();
            assert_eq!(came.users, expected, "seed {seed}, record {at}");
            for snapshot in &came.users {
                let value: Value = serde_json::from_str(&snapshot.value).unwrap();
                let errors: Vec<String> = schema.iter_errors(&value).map(|e| e.to_string()).collect();
                assert!(errors.is_empty(), "{errors:?} {value}");
                count += 1;
                empty += usize::from(value["memories"].as_array().unwrap().is_empty());
            }
            if at % 5 == 0 {
                driven.commit();
            }
        }
    }
    assert!(count > 1000 && empty > 50, "{count} snapshots, {empty} without memories");
}

fn created(settings: &Settings, n: i64, user: &str, more: &str) -> Record {
    let json = format!(
        r#"{{"event_id":"e{n}","event_type":"memory.created","memory_id":"m{n:05}","user_id":"{user}","vector_clock":{{"n":{}}}{more}}}"#,
        n + 1
    );
    let (topic, value) = (settings.events_topic.clone(), Some(json.into_bytes()));
    Record { topic, offset: n, timestamp_ms: 60_000 + n, value, ..Record::default() }
}

#[test]
fn a_user_that_changes_often_has_a_snapshot_at_once() {
    let settings = Settings::default();
    let mut driven = Driven::new(&settings, &["snapshot_changes=3"]);
    let mut sent = Vec::new();
    for n in 0..7 {
        sent.push(driven.pipe(&created(&settings, n, "u", "")).users.len());
    }
    assert_eq!(sent, [0, 0, 1, 0, 0, 1, 0]);
}

#[test]
fn more_users_than_a_slice_holds_are_all_emitted_once() {
    let settings = Settings::default();
    let mut driven = Driven::new(&settings, &["snapshot_interval=1m"]);
    for n in 0..1700 {
        assert!(driven.pipe(&created(&settings, n, &format!("u{n}"), "")).users.is_empty());
    }
    let last = Record { timestamp_ms: 120_000, ..created(&settings, 1700, "u1700", "") };
    let mut users: Vec<String> = driven.pipe(&last).users.into_iter().map(|user| user.key).collect();
    users.sort();
    users.dedup();
    assert_eq!(users.len(), 1701);
    assert!(driven.keys("users").iter().all(|key| key[0] == b'u'), "nothing waits");
}

#[test]
fn a_memory_that_no_part_can_hold_is_a_dead_letter_wherever_its_user_is_emitted() {
    let settings = Settings::default();
    let mut driven = Driven::new(&settings, &["max_output_bytes=64KiB"]);
    // A memory of its own fits, and in a snapshot it does not; there are more users than are
    // emitted at once.
    let long = format!(r#","content":"{}""#, "x".repeat(65_000));
    for n in 0..1200 {
        let more = if n % 600 == 599 { &long } else { "" };
        let came = driven.pipe(&created(&settings, n, &format!("u{n:04}"), more));
        assert_eq!((came.outputs.snapshots.len(), came.outputs.dead_letters.len()), (1, 0));
    }
    let came = driven.pipe(&Record { timestamp_ms: 120_000, ..created(&settings, 1200, "u1200", "") });
    assert_eq!(came.users.len(), 1199);
    let mut letters = came.outputs.dead_letters;
    letters.sort_by(|a, b| a.key.cmp(&b.key));
    let told: Vec<_> = letters.iter().map(|l| (l.key.as_deref(), l.class.as_str(), l.topic.as_str())).collect();
    let log = format!("{}-by-user-repartition", settings.application_id);
    let expected = [&b"user:u0599"[..], b"user:u1199"].map(|key| (Some(key), "output_too_large", log.as_str()));
    assert_eq!(told, expected);
}

#[test]
fn a_snapshot_above_the_record_limit_goes_in_numbered_parts() {
    let settings = Settings::default();
    let mut driven = Driven::new(&settings, &["max_output_bytes=64KiB"]);
    let long = format!(r#","content":"{}""#, "x".repeat(3000));
    for n in 0..100 {
        driven.pipe(&created(&settings, n, "u", &long));
    }
    let parts = driven.pipe(&Record { timestamp_ms: 120_000, ..created(&settings, 100, "u", "") }).users;
    assert!(parts.len() > 4 && parts.iter().all(|part| part.key == "user:u" && part.value.len() < 64 << 10));
    let (schema, mut memories) = (schema(), Vec::new());
    for (at, part) in parts.iter().enumerate() {
        let value: Value = serde_json::from_str(&part.value).unwrap();
        assert!(schema.is_valid(&value));
        assert_eq!(value["metadata"], serde_json::json!({"part": at + 1, "parts": parts.len()}));
        assert_eq!(value["vector_clock"], serde_json::json!({"n": 101}));
        memories
            .extend(value["memories"].as_array().unwrap().iter().map(|m| m["memory_id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(memories, (0..101).map(|n| format!("m{n:05}")).collect::<Vec<_>>());
}
