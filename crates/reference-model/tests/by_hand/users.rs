//! The reference model's user snapshots, held against cases worked out by hand.

use helixstream_reference_model::json::{self, Json};
use helixstream_reference_model::users::{Change, Users, changes, user_snapshots};
use helixstream_reference_model::{Emitted, Record, Settings, generate, generate_time, run, time};
use std::collections::BTreeSet;

/// 2023-11-14T22:13:20Z, a multiple of the interval; all times here are counted from it.
const BASE_MS: i64 = 1_700_000_000_000;
const INTERVAL_MS: i64 = 10_000;

/// A resolved memory, cut down to what a snapshot looks at.
fn memory(id: &str, updated_ms: i64, rest: &str) -> Json {
    let updated = time::format((BASE_MS + updated_ms) * 1_000_000);
    json::parse(format!(r#"{{"memory_id":"{id}","updated_at":"{updated}",{rest}}}"#).as_bytes(), 128).expect("JSON")
}

fn put(ms: i64, user: &str, id: &str, rest: &str) -> Change {
    let memory = Some(memory(id, ms, rest));
    Change { user_id: user.to_owned(), memory_id: id.to_owned(), memory, timestamp_ms: BASE_MS + ms }
}

fn gone(ms: i64, user: &str, id: &str) -> Change {
    Change { user_id: user.to_owned(), memory_id: id.to_owned(), memory: None, timestamp_ms: BASE_MS + ms }
}

const CLOCK: &str = r#""vector_clock":{"n1":1}"#;

fn snapshots(changes: &[Change]) -> Vec<Emitted> {
    user_snapshots(changes, INTERVAL_MS, &Settings::default())
}

/// Key, milliseconds after the base, and the ids of the memories, of every snapshot.
fn brief(changes: &[Change]) -> Vec<String> {
    let one = |s: &Emitted| {
        let ids = list(&s.value, "memories").iter().map(|m| member(m, "memory_id")).collect::<Vec<_>>();
        format!("{} {} [{}]", s.key, s.timestamp_ms - BASE_MS, ids.join(","))
    };
    snapshots(changes).iter().map(one).collect()
}

fn member(object: &Json, name: &str) -> String {
    let Json::Obj(members) = object else { panic!("no object: {object:?}") };
    members.get(name).map(Json::canonical).unwrap_or_default().trim_matches('"').to_owned()
}

fn list(text: &str, name: &str) -> Vec<Json> {
    match json::parse(text.as_bytes(), 1000) {
        Ok(Json::Obj(mut members)) => match members.remove(name) {
            Some(Json::Arr(items)) => items,
            _ => Vec::new(),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_is_as_section_5_says() {
    let out = snapshots(&[put(1000, "u", "m", CLOCK), put(10_000, "u", "k", r#""vector_clock":{"n1":3,"~":2}"#)]);
    let expected = concat!(
        r#"{"memories":[{"memory_id":"k","updated_at":"2023-11-14T22:13:30Z","vector_clock":{"n1":3,"~":2}},"#,
        r#"{"memory_id":"m","updated_at":"2023-11-14T22:13:21Z","vector_clock":{"n1":1}}],"#,
        r#""node_id":"helixagent-memory","snapshot_id":"26b5a4d1-4da8-515e-8299-5f7708ecf96d","#,
        r#""timestamp":"2023-11-14T22:13:30Z","user_id":"u","vector_clock":{"n1":3,"~":2}}"#
    );
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].key.as_str(), out[0].timestamp_ms), ("user:u", BASE_MS + 10_000));
    assert_eq!(out[0].value, expected);
    let headers: Vec<(&str, &str)> = out[0].headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("type", "user.snapshot"), ("schema_version", "1")]);
}

#[test]
fn a_user_whose_last_memory_left_is_emitted_once_and_empty() {
    let changes = [put(0, "u", "m", CLOCK), gone(10_000, "u", "m"), put(20_000, "v", "k", CLOCK)];
    let out = snapshots(&changes);
    let expected = concat!(
        r#"{"memories":[],"node_id":"helixagent-memory","snapshot_id":"26b5a4d1-4da8-515e-8299-5f7708ecf96d","#,
        r#""timestamp":"2023-11-14T22:13:30Z","user_id":"u","vector_clock":{}}"#
    );
    assert_eq!(out[0].value, expected);
    assert_eq!(brief(&changes), ["user:u 10000 []", "user:v 20000 [k]"]);
}

#[test]
fn only_users_of_whom_something_changed_are_emitted_in_the_order_of_their_ids() {
    let changes = [
        put(1, "\u{fc}", "a", CLOCK),
        put(2, "v", "b", CLOCK),
        put(3, "u", "c", CLOCK),
        put(10_000, "v", "d", CLOCK),
        put(10_001, "u", "e", CLOCK),
        put(20_000, "v", "f", CLOCK),
        put(29_999, "v", "b", r#""vector_clock":{"n1":2}"#),
        put(29_999, "v", "b", r#""vector_clock":{"n1":2}"#),
        put(30_000, "x", "y", CLOCK),
    ];
    let expected = [
        "user:u 10000 [c]",
        "user:v 10000 [b,d]",
        "user:\u{fc} 10000 [a]",
        "user:u 20000 [c,e]",
        "user:v 20000 [b,d,f]",
        "user:v 30000 [b,d,f]",
        "user:x 30000 [y]",
    ];
    assert_eq!(brief(&changes), expected);
}

#[test]
fn a_repetition_is_no_change_and_neither_is_the_leaving_of_what_was_not_there() {
    let again = put(1, "u", "m", CLOCK);
    let repeated = Change { timestamp_ms: BASE_MS + 20_000, ..again.clone() };
    assert_eq!(
        brief(&[again, put(10_000, "v", "k", CLOCK), repeated, gone(30_000, "w", "m")]),
        ["user:u 10000 [m]", "user:v 10000 [k]"]
    );
}

/// What came and went between two boundaries has changed the user, who is emitted as it is then.
#[test]
fn a_memory_that_comes_and_goes_is_a_change() {
    let changes = [put(1, "u", "m", CLOCK), gone(2, "u", "m"), put(10_000, "v", "k", CLOCK)];
    assert_eq!(brief(&changes), ["user:u 10000 []", "user:v 10000 [k]"]);
}

#[test]
fn a_boundary_is_crossed_once_by_the_greatest_timestamp() {
    // The first record only starts the count, on a boundary or off; late records cross none.
    assert_eq!(brief(&[put(0, "u", "a", CLOCK)]), [""; 0]);
    assert_eq!(brief(&[put(25_000, "u", "a", CLOCK), put(1, "u", "b", CLOCK), put(29_999, "u", "c", CLOCK)]), [""; 0]);
    // However many are crossed, there is one emission, at the last.
    let far = [put(1, "u", "a", CLOCK), put(57_000, "u", "b", CLOCK), put(59_999, "u", "c", CLOCK)];
    assert_eq!(brief(&far), ["user:u 50000 [a,b]"]);
    let late = [
        put(1, "u", "a", CLOCK),
        put(10_000, "u", "b", CLOCK),
        put(9000, "u", "c", CLOCK),
        put(20_500, "u", "d", CLOCK),
    ];
    assert_eq!(brief(&late), ["user:u 10000 [a,b]", "user:u 20000 [a,b,c,d]"]);
}

#[test]
fn an_entity_in_several_memories_is_taken_from_the_greatest() {
    let entity = |n: u8, id: &str| format!(r#"{{"id":"{id}","name":"{n}"}}"#);
    let with = |entities: &[String]| format!(r#""entities":[{}],{CLOCK}"#, entities.join(","));
    let changes = [
        put(500, "u", "a", &with(&[entity(1, "x"), entity(1, "y"), entity(1, "z")])),
        // As text, 22:13:20Z is after 22:13:20.5Z.
        put(0, "u", "c", &with(&[entity(2, "x")])),
        put(
            500,
            "u",
            "b",
            &format!(r#""relationships":[{{"id":"r"}}],{}"#, with(&[entity(3, "y"), entity(3, "\u{fc}")])),
        ),
        put(10_000, "v", "k", CLOCK),
    ];
    let out = snapshots(&changes);
    let entities = Json::Arr(list(&out[0].value, "entities")).canonical();
    let expected = format!("[{},{},{},{}]", entity(1, "x"), entity(3, "y"), entity(1, "z"), entity(3, "\u{fc}"));
    assert_eq!(entities, expected);
    assert_eq!(Json::Arr(list(&out[0].value, "relationships")).canonical(), r#"[{"id":"r"}]"#);
    assert!(!out[1].value.contains("entities") && !out[1].value.contains("relationships"));
}

fn event(offset: i64, id: &str, kind: &str, memory: &str, rest: &str) -> Record {
    let timestamp = time::format((BASE_MS + offset) * 1_000_000);
    let value = format!(
        r#"{{"event_id":"{id}","event_type":"memory.{kind}","memory_id":"{memory}","timestamp":"{timestamp}",{rest}}}"#
    );
    Record { offset, timestamp_ms: BASE_MS + offset, value: Some(value.into_bytes()), ..Record::default() }
}

#[test]
fn a_memory_that_changes_its_user_or_is_deleted_leaves() {
    let records = [
        event(0, "a", "created", "m", r#""user_id":"u""#),
        event(1, "b", "created", "k", r#""content":"nobody's""#),
        event(2, "c", "updated", "m", r#""user_id":"v""#),
        event(3, "d", "updated", "m", r#""content":"x""#),
        event(4, "e", "deleted", "m", r#""user_id":"w""#),
        event(5, "f", "deleted", "m", r#""user_id":"w""#),
        event(6, "g", "updated", "m", r#""content":"back""#),
        event(7, "h", "updated", "m", r#""user_id":null"#),
    ];
    let out = run(&records, &Settings::default());
    let brief: Vec<String> = changes(&out.snapshots)
        .iter()
        .map(|c| format!("{} {} {} {}", c.timestamp_ms - BASE_MS, c.user_id, c.memory_id, c.memory.is_some()))
        .collect();
    let expected =
        ["0 u m true", "2 u m false", "2 v m true", "3 v m true", "4 v m false", "6 w m true", "7 w m false"];
    assert_eq!(brief, expected);
}

#[test]
fn an_answer_to_a_sync_request_is_no_change() {
    let out = run(&[event(0, "a", "created", "m", r#""user_id":"u""#)], &Settings::default());
    let mut answer = out.snapshots[0].clone();
    answer.headers.push(("sync_for".to_owned(), String::new()));
    assert_eq!(changes(&[out.snapshots[0].clone(), answer]).len(), 1);
}

/// Whatever changed and when: the last snapshot of each user, after a last boundary, is all of the
/// user's memories.
#[test]
fn the_last_snapshots_hold_every_active_memory_of_a_user() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for seed in testkit::seeds(400) {
        let (stream, interval_ms) = generate_time::of_users(seed, 20);
        let out = run(&stream.records, &stream.settings);
        let mut task = Users::new(interval_ms, &stream.settings);
        let mut emitted: Vec<Emitted> = Vec::new();
        let changes = changes(&out.snapshots);
        for change in &changes {
            let now = task.process(change);
            seen.extend((now.len() > 1).then_some("several users"));
            emitted.extend(now);
        }
        let latest = changes.iter().map(|c| c.timestamp_ms).max().unwrap_or(1);
        emitted.extend(task.process(&Change { timestamp_ms: latest + interval_ms, ..gone(0, "nobody", "nothing") }));
        seen.extend(emitted.iter().any(|s| s.value.contains(r#""memories":[]"#)).then_some("empty"));
        seen.extend(emitted.iter().any(|s| s.value.contains("\"entities\"")).then_some("entities"));

        let mut expected: BTreeSet<(String, String)> = BTreeSet::new();
        for id in generate::MEMORIES {
            let Some(last) = out.snapshots.iter().rev().find(|s| s.key == id) else { continue };
            let memory = json::parse(last.value.as_bytes(), 1000).expect("JSON");
            let user = member(&memory, "user_id");
            if member(&memory, "status") == "active" && !user.is_empty() {
                expected.insert((format!("user:{user}"), last.value.clone()));
            }
        }
        let mut users: BTreeSet<&str> = BTreeSet::new();
        let mut found: BTreeSet<(String, String)> = BTreeSet::new();
        for snapshot in emitted.iter().rev().filter(|s| users.insert(&s.key)) {
            found.extend(list(&snapshot.value, "memories").iter().map(|m| (snapshot.key.clone(), m.canonical())));
        }
        assert_eq!(found, expected, "seed {seed}");
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["empty", "entities", "several users"]);
}
