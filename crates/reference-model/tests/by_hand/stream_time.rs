//! The reference model on sync requests and tombstone retention, held against cases worked out by
//! hand.

use helixstream_reference_model::json::Json;
use helixstream_reference_model::sync::{answers, answers_of};
use helixstream_reference_model::{
    Emitted, LogRecord, Outputs, Record, Settings, Task, decode, generate, generate_time, log_of, run, time,
};
use std::collections::BTreeSet;

/// 2023-11-14T22:13:20Z, from which all times here are counted.
const BASE_MS: i64 = 1_700_000_000_000;

fn at(ms: i64) -> String {
    time::format((BASE_MS + ms) * 1_000_000)
}

/// A record `ms` after the base, with the event's own time.
fn record_at(ms: i64, event_ms: i64, id: &str, kind: &str, memory: &str, rest: &str) -> Record {
    let comma = if rest.is_empty() { "" } else { "," };
    let time = at(event_ms);
    let value = format!(
        r#"{{"event_id":"{id}","event_type":"memory.{kind}","memory_id":"{memory}","timestamp":"{time}"{comma}{rest}}}"#
    );
    Record { timestamp_ms: BASE_MS + ms, offset: ms, value: Some(value.into_bytes()), ..Record::default() }
}

fn record(ms: i64, id: &str, kind: &str, memory: &str, rest: &str) -> Record {
    record_at(ms, ms, id, kind, memory, rest)
}

/// Ten seconds.
fn retaining() -> Settings {
    Settings { tombstone_retention_ms: Some(10_000), ..Settings::default() }
}

fn log(record: &Record, settings: &Settings) -> Vec<LogRecord> {
    log_of(record, settings).expect("a good record")
}

/// What the record emits, and the memories that the task then knows.
fn step(task: &mut Task, record: &Record) -> (Outputs, String) {
    let mut outputs = Outputs::default();
    log(record, &retaining()).iter().for_each(|record| outputs.append(task.process(record)));
    (outputs, task.known().into_iter().collect::<Vec<_>>().join(" "))
}

/// The memories known after each record.
fn known(records: &[Record]) -> Vec<String> {
    let settings = retaining();
    let mut task = Task::new(&settings);
    records.iter().map(|record| step(&mut task, record).1).collect()
}

fn counts(out: &Outputs) -> (usize, usize, usize) {
    (out.snapshots.len(), out.conflicts.len(), out.dead_letters.len())
}

#[test]
fn a_deleted_memory_is_forgotten_when_stream_time_has_passed_its_last_event_by_the_retention() {
    let records = [
        record(0, "a", "created", "m", ""),
        record(1000, "b", "deleted", "m", ""),
        record(10_999, "c", "created", "x", ""),
        record(11_000, "d", "updated", "x", ""),
    ];
    assert_eq!(known(&records), ["m", "m", "m x", "x"]);
}

#[test]
fn a_merged_memory_is_forgotten_too_and_an_active_one_never() {
    let records = [
        record(0, "a", "created", "b", ""),
        record(1, "b", "merged", "m", r#""merged_from":["b"]"#),
        record(10_001, "c", "created", "x", ""),
        record(99_999, "d", "updated", "x", ""),
    ];
    assert_eq!(known(&records), ["b", "b m", "m x", "m x"]);
}

#[test]
fn a_forgotten_memory_begins_anew() {
    let records = [
        record(0, "a", "created", "m", r#""user_id":"u","content":"old""#),
        record(1000, "b", "deleted", "m", ""),
        record(11_000, "c", "created", "x", ""),
        record(12_000, "d", "updated", "m", r#""content":"new""#),
    ];
    let out = run(&records, &retaining());
    let expected = r#"{"conflicted_fields":[],"content":"new","created_at":"2023-11-14T22:13:32Z","event_ids":["d"],"memory_id":"m","status":"active","updated_at":"2023-11-14T22:13:32Z","vector_clock":{"~":1700000012000000000},"version":0}"#;
    assert_eq!(out.snapshots[3].value, expected);
    assert_eq!(counts(&out), (4, 0, 0));
}

/// The record that brings the time does not find the memory forgotten: it is looked at afterwards.
#[test]
fn the_event_that_brings_the_time_still_finds_its_memory() {
    let records = [
        record(0, "a", "created", "m", ""),
        record(1000, "b", "deleted", "m", ""),
        record(11_000, "c", "deleted", "m", ""),
        record(21_000, "d", "deleted", "m", ""),
    ];
    let out = run(&records, &retaining());
    assert!(out.snapshots[3].value.contains(r#""created_at":"2023-11-14T22:13:20Z""#), "{}", out.snapshots[3].value);
    assert_eq!(known(&records), ["m", "m", "m", "m"]);
}

#[test]
fn an_older_event_for_an_unknown_memory_is_expired() {
    let settings = retaining();
    let late = Record { headers: vec![("h".to_owned(), vec![255])], ..record(10_000, "b", "updated", "m", "") };
    let records =
        [record(20_000, "a", "created", "x", ""), late.clone(), record_at(20_000, 10_001, "c", "updated", "m", "")];
    let out = run(&records, &settings);
    assert_eq!(counts(&out), (2, 0, 1));
    let letter = &out.dead_letters[0];
    assert_eq!((letter.class.as_str(), letter.offset, letter.timestamp_ms), ("expired", 10_000, BASE_MS + 10_000));
    assert_eq!((&letter.value, &letter.headers), (&late.value, &late.headers));
    let expected = r#"{"conflicted_fields":[],"created_at":"2023-11-14T22:13:30.001Z","event_ids":["c"],"memory_id":"m","status":"active","updated_at":"2023-11-14T22:13:30.001Z","vector_clock":{"~":1700000010001000000},"version":0}"#;
    assert_eq!((out.snapshots[1].value.as_str(), out.snapshots[1].timestamp_ms), (expected, BASE_MS + 10_001));
    assert_eq!(known(&records), ["x", "x", "m x"]);
}

/// What counts is the earlier of both times; the dead letter bears its source record's.
#[test]
fn an_old_event_in_a_new_record_is_expired() {
    let records = [record(20_000, "a", "created", "x", ""), record_at(30_000, 0, "b", "updated", "m", "")];
    let out = run(&records, &retaining());
    assert_eq!(counts(&out), (1, 0, 1));
    assert_eq!(out.dead_letters[0].timestamp_ms, BASE_MS + 30_000);
    assert_eq!(counts(&run(&records, &Settings::default())), (2, 0, 0), "without a retention nothing expires");
}

#[test]
fn an_old_event_for_a_known_memory_is_not_expired() {
    let records = [
        record(0, "a", "created", "m", ""),
        record(50_000, "b", "created", "x", ""),
        record(1, "c", "updated", "m", r#""content":"late""#),
    ];
    assert_eq!(counts(&run(&records, &retaining())), (3, 0, 0));
}

#[test]
fn an_expired_absorb_leaves_the_merge_as_it_is() {
    let settings = retaining();
    let mut task = Task::new(&settings);
    for known in [record(0, "a", "created", "m", ""), record(20_000, "b", "created", "c", "")] {
        step(&mut task, &known);
    }
    let merge = record(5000, "d", "merged", "m", r#""merged_from":["c","b","d"]"#);
    let (out, known) = step(&mut task, &merge);
    let keys: Vec<&str> = out.snapshots.iter().map(|s| s.key.as_str()).collect();
    assert_eq!((keys, known.as_str()), (vec!["m", "c"], "c m"));
    let letters: Vec<(&str, i64)> = out.dead_letters.iter().map(|d| (d.class.as_str(), d.offset)).collect();
    assert_eq!(letters, [("expired", 5000), ("expired", 5000)], "one for b, one for d");
}

/// A delete from a clock a minute ahead counts from when the stream saw it, and anew from its
/// redelivery.
#[test]
fn a_clock_that_is_ahead_keeps_a_memory_no_longer_and_a_redelivery_does() {
    let ahead = record_at(1000, 60_000, "a", "deleted", "m", "");
    let x = |ms: i64| record(ms, "x", "created", "x", "");
    assert_eq!(known(&[ahead.clone(), x(10_999), x(11_000)]), ["m", "m x", "x"]);
    let again = [ahead.clone(), x(5000), ahead, x(11_000), x(14_999), x(15_000)];
    assert_eq!(known(&again), ["m", "m x", "m x", "m x", "m x", "x"]);
}

/// Its last event is older than the retention when it comes: the deleted memory is emitted, and
/// forgotten at once.
#[test]
fn a_late_delete_of_a_known_memory_is_emitted_and_forgotten() {
    let settings = retaining();
    let mut task = Task::new(&settings);
    step(&mut task, &record(0, "a", "created", "m", ""));
    step(&mut task, &record(20_000, "b", "created", "x", ""));
    let (out, known) = step(&mut task, &record(9000, "c", "deleted", "m", ""));
    let expected = r#"{"created_at":"2023-11-14T22:13:20Z","event_ids":["c"],"memory_id":"m","status":"deleted","updated_at":"2023-11-14T22:13:29Z","vector_clock":{"~":1700000009000000000},"version":0}"#;
    assert_eq!((out.snapshots[0].value.as_str(), known.as_str()), (expected, "x"));
}

fn request(ms: i64, rest: &str) -> Record {
    record(ms, "s", "sync_request", "", rest)
}

/// Key, value and the node named, of all answers.
fn answered(records: &[Record], request: &Record) -> Vec<(String, String)> {
    let answers = answers(records, request, &Settings::default());
    answers.into_iter().map(|a| (a.key, a.headers[2].1.clone())).collect()
}

fn keys(records: &[Record], rest: &str) -> String {
    answered(records, &request(9000, rest)).into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_sync_request_is_answered_with_what_its_clock_has_not_seen() {
    let records = [
        record(0, "a", "created", "m", r#""content":"x","vector_clock":{"n1":1}"#),
        record(1, "b", "created", "k", r#""vector_clock":{"n1":2,"n2":1}"#),
    ];
    let asks = request(9000, r#""node_id":"n3","vector_clock":"{\"n1\":1}""#);
    let answers = answers(&records, &asks, &Settings::default());
    let expected = r#"{"conflicted_fields":[],"created_at":"2023-11-14T22:13:20.001Z","event_ids":["b"],"memory_id":"k","status":"active","updated_at":"2023-11-14T22:13:20.001Z","vector_clock":{"n1":2,"n2":1},"version":0}"#;
    assert_eq!(answers.len(), 1);
    let answer = &answers[0];
    assert_eq!((answer.key.as_str(), answer.value.as_str(), answer.timestamp_ms), ("k", expected, BASE_MS + 9000));
    let headers: Vec<(&str, &str)> = answer.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("type", "memory.resolved"), ("schema_version", "1"), ("sync_for", "n3")]);
    assert_eq!(keys(&records, r#""vector_clock":{"n1":2,"n2":1}"#), "");
    assert_eq!(keys(&records, r#""vector_clock":{"n1":9}"#), "k");
    assert_eq!(keys(&records, r#""vector_clock":{"n2":9}"#), "k m");
}

/// The `~` of docs/semantics.md, section 2, in place of an absent clock would say that all before
/// the request has been seen.
#[test]
fn a_request_without_a_clock_has_seen_nothing() {
    let records = [
        record(0, "a", "created", "m", r#""vector_clock":{"n1":1}"#),
        record(0, "b", "created", "k", ""),
        Record {
            value: Some(br#"{"event_id":"c","event_type":"memory.created","memory_id":"z"}"#.to_vec()),
            ..Record::default()
        },
    ];
    for empty in
        ["", r#""vector_clock":null"#, r#""vector_clock":"""#, r#""vector_clock":{}"#, r#""vector_clock":{"n1":0}"#]
    {
        assert_eq!(keys(&records, empty), "k m z", "{empty}");
    }
    // The memory z has the clock {"~":0}, no entry of which is above any clock's.
    assert_eq!(keys(&records, r#""vector_clock":{"n1":1}"#), "k");
    assert_eq!(keys(&records, r#""vector_clock":{"n1":1,"~":1700000000000000000}"#), "");
    assert_eq!(keys(&records, r#""vector_clock":{"~":1699999999999999999}"#), "k m");
}

#[test]
fn deleted_and_merged_memories_are_answered_too() {
    let records = [
        record(0, "a", "deleted", "d", r#""vector_clock":{"n1":3}"#),
        record(1, "b", "merged", "m", r#""merged_from":["k"],"vector_clock":{"n1":4}"#),
    ];
    let answers = answers(&records, &request(9000, r#""vector_clock":{"n1":2}"#), &Settings::default());
    let statuses = ["deleted", "merged", "active"];
    let found: Vec<&str> = answers
        .iter()
        .filter_map(|a| statuses.into_iter().find(|s| a.value.contains(&format!(r#""status":"{s}""#))))
        .collect();
    assert_eq!(found, statuses, "d, k and m");
    assert_eq!(keys(&records, r#""vector_clock":{"n1":3}"#), "k m");
}

/// The memory `moved` was of u and is of v, `left` is of nobody now, `gone` was deleted by v,
/// `into` absorbed `taken`.
#[test]
fn a_request_with_a_user_is_answered_with_what_is_the_users_now() {
    let records = [
        record(0, "a", "created", "moved", r#""user_id":"u","vector_clock":{"n1":1}"#),
        record(1, "b", "updated", "moved", r#""user_id":"v","vector_clock":{"n1":2}"#),
        record(2, "c", "created", "left", r#""user_id":"u","vector_clock":{"n1":3}"#),
        record(3, "d", "updated", "left", r#""user_id":null,"vector_clock":{"n1":4}"#),
        record(4, "e", "created", "gone", r#""user_id":"u","vector_clock":{"n1":5}"#),
        record(5, "f", "deleted", "gone", r#""user_id":"v","vector_clock":{"n1":6}"#),
        record(6, "g", "created", "taken", r#""user_id":"u","vector_clock":{"n1":7}"#),
        record(7, "h", "merged", "into", r#""user_id":"v","merged_from":["taken"],"vector_clock":{"n1":8}"#),
        record(8, "i", "created", "nobody", r#""vector_clock":{"n1":9}"#),
        record(9, "j", "created", "upper", r#""user_id":"U","vector_clock":{"n1":10}"#),
    ];
    let all = "gone into left moved nobody taken upper";
    for (user, expected) in
        [("\"u\"", "taken"), ("\"v\"", "gone into moved"), ("\"w\"", ""), ("null", all), ("\"\"", all)]
    {
        assert_eq!(keys(&records, &format!(r#""user_id":{user}"#)), expected, "{user}");
    }
    // Both hold: the memory is the user's, and the clock has not seen it.
    assert_eq!(keys(&records, r#""user_id":"v","vector_clock":{"n1":6}"#), "into");
    assert_eq!(keys(&records, r#""user_id":"v","vector_clock":{"n1":8}"#), "");
}

/// Of two users that concurrent events write, the one that resolves is asked for, not the other.
#[test]
fn a_memory_with_a_user_in_conflict_is_the_winners() {
    let records = [
        record(0, "a", "created", "m", r#""user_id":"u","vector_clock":{"n1":1}"#),
        record(1, "b", "created", "m", r#""user_id":"v","vector_clock":{"n2":1}"#),
    ];
    assert_eq!(keys(&records, r#""user_id":"u""#), "");
    assert_eq!(keys(&records, r#""user_id":"v""#), "m");
}

#[test]
fn a_request_with_a_user_of_a_wrong_type_is_bad_input() {
    for wrong in ["7", "true", "[\"u\"]", "{}"] {
        let asks = request(0, &format!(r#""user_id":{wrong}"#));
        assert_eq!(log_of(&asks, &Settings::default()).err().map(|bad| bad.class), Some("wrong_type"), "{wrong}");
        assert_eq!(answers(&[record(0, "a", "created", "m", "")], &asks, &Settings::default()), []);
    }
}

#[test]
fn a_request_without_a_node_names_nobody_and_has_the_earlier_time() {
    let records = [record(0, "a", "created", "m", "")];
    for nobody in ["", r#""node_id":"""#, r#""node_id":null"#] {
        assert_eq!(answered(&records, &request(1, nobody)), [("m".to_owned(), String::new())]);
    }
    let time = |request: &Record| answers(&records, request, &Settings::default())[0].timestamp_ms;
    assert_eq!(time(&record_at(500, 700, "s", "sync_request", "", "")), BASE_MS + 500);
    assert_eq!(time(&record_at(700, 500, "s", "sync_request", "", "")), BASE_MS + 500);
    assert_eq!(time(&record_at(700, -BASE_MS, "s", "sync_request", "", "")), 1);
    assert_eq!(answers(&records, &record(0, "b", "updated", "m", ""), &Settings::default()), []);
}

#[test]
fn what_is_forgotten_is_not_sent_and_a_request_moves_stream_time() {
    let settings = retaining();
    let mut task = Task::new(&settings);
    step(&mut task, &record(0, "a", "created", "x", ""));
    step(&mut task, &record(0, "b", "deleted", "m", ""));
    let asks = request(10_000, "");
    assert_eq!(answers_of(&task, &asks, &settings).len(), 2);
    assert_eq!(step(&mut task, &asks), (Outputs::default(), "x".to_owned()));
    assert_eq!(answers_of(&task, &asks, &settings).len(), 1);
}

/// Generated streams reach both sides of the retention, and requests that are answered in full, in
/// part and not at all.
#[test]
fn the_generator_reaches_every_edge() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for seed in testkit::seeds(600) {
        let stream = generate_time::aging(seed, 24);
        let mut task = Task::new(&stream.settings);
        let mut all: BTreeSet<String> = BTreeSet::new();
        for record in &stream.records {
            // A clock in a string may have a raw tab in it: bad input, of which the log has
            // nothing.
            for record in log_of(record, &stream.settings).unwrap_or_default() {
                let before: Vec<String> = task.known().into_iter().map(str::to_owned).collect();
                let out = task.process(&record);
                let known = task.known();
                let forgets = before.iter().any(|id| !known.contains(id.as_str()));
                let place = record.at.as_ref().map(|(id, entry)| (id.as_str(), entry.absorbed_into.is_some()));
                if let Some((id, absorb)) = place {
                    let expired = !out.dead_letters.is_empty();
                    seen.extend(expired.then_some(if absorb { "absorb expired" } else { "expired" }));
                    seen.extend((!expired && !known.contains(id)).then_some("forgotten at once"));
                    let anew = !before.iter().any(|b| b == id) && known.contains(id) && !all.insert(id.to_owned());
                    seen.extend(anew.then_some("anew"));
                } else {
                    seen.insert(if forgets { "request forgets" } else { "request" });
                }
                seen.extend(forgets.then_some("forgets"));
            }
            let answers = answers_of(&task, record, &stream.settings);
            let event = decode(record, &stream.settings).ok();
            let of_user = event.is_some_and(|event| matches!(event.user_id, Some(Json::Str(_))));
            let edge = match (answers.len() < task.known().len(), of_user) {
                (true, true) => "a user's, in part",
                (false, true) => "a user's, in full",
                (true, false) => "in part",
                (false, false) => "in full",
            };
            seen.extend((!answers.is_empty()).then_some(edge));
            let is_deleted = |answer: &Emitted| answer.value.contains("\"status\":\"deleted\"");
            seen.extend((of_user && answers.iter().any(is_deleted)).then_some("a user's, deleted"));
        }
    }
    let edges = ["absorb expired", "expired", "forgotten at once", "anew", "request", "request forgets", "forgets"];
    let answers = ["in part", "in full", "a user's, in part", "a user's, in full", "a user's, deleted"];
    for edge in edges.into_iter().chain(answers) {
        assert!(seen.contains(edge), "never seen: {edge}");
    }
}

/// A retention that nothing outlives changes nothing.
#[test]
fn a_long_retention_is_none() {
    for seed in testkit::seeds(300) {
        let stream = generate::stream(seed, 16, true);
        let long = Settings { tombstone_retention_ms: Some(i64::MAX / 2), ..stream.settings.clone() };
        assert_eq!(run(&stream.records, &long), run(&stream.records, &stream.settings), "{seed}");
    }
}
