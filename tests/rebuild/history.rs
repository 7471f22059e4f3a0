//! What happened to a memory, and when: its records, its causal order, and how it stood at a
//! moment.

use super::database::{Database, sql};
use super::{event, mirrored};
use serde_json::json;

fn texts(database: &mut Database, query: &str) -> Vec<String> {
    let rows = database.rows(sql(query));
    rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_history_of_a_memory_has_all_its_records_in_order_of_their_times() {
    let merge = json!({"event_id": "merge", "event_type": "memory.merged", "memory_id": "other", "timestamp": "2026-01-01T00:00:04Z",
        "merged_from": ["m", "x"]});
    let mut elsewhere = event("elsewhere", &json!({"n": 1}), 0, json!({}));
    elsewhere["memory_id"] = json!("other");
    let mut untold = event("untold", &json!({}), 6, json!({}));
    untold["event_type"] = json!("thought.pondered");
    let first = event("first", &json!({"n": 1}), 1, json!({"content": "a\u{0}b", "importance": 0.5}));
    let mut database = mirrored([
        event("second", &json!({"n": 2}), 2, json!({"version": 7, "content": null})),
        first.clone(),
        merge,
        elsewhere,
        untold,
        json!({"event_id": "", "memory_id": "m"}),
        first,
    ]);
    let history = "SELECT event_id, event_type, version::text, content, importance::text, coalesce(absorbed_into, '-'),
        to_char(\"timestamp\" AT TIME ZONE 'UTC', 'SS'), kafka_offset::text FROM get_memory_event_history('m')";
    let expected = [
        "first memory.updated 0 a\u{fffd}b 0.5 - 01 1",
        "first memory.updated 0 a\u{fffd}b 0.5 - 01 6",
        "second memory.updated 7   - 02 0",
        "merge memory.merged 0   other 04 2",
        "untold thought.pondered 0   - 06 4",
    ];
    assert_eq!(texts(&mut database, history), expected);
    assert_eq!(texts(&mut database, "SELECT event_id FROM get_memory_event_history('x')"), ["merge"]);
    assert!(texts(&mut database, "SELECT event_id FROM get_memory_event_history('')").is_empty());
}

#[test]
fn events_since_are_those_later_to_the_nanosecond() {
    let at = |id: &str, time: &str, user: &str| json!({"event_id": id, "event_type": "memory.updated", "memory_id": id, "timestamp": time, "user_id": user});
    let mut database = mirrored([
        at("c", "2026-01-01T00:00:01.5Z", "u"),
        at("a", "2026-01-01T00:00:01Z", "u"),
        at("b", "2026-01-01T00:00:01.000000001Z", "v"),
        at("d", "2026-01-01T00:00:01.5Z", "v"),
    ]);
    let since = |time: &str, user: &str| format!("SELECT event_id FROM get_events_since('{time}'{user})");
    assert_eq!(texts(&mut database, &since("2026-01-01T00:00:01Z", "")), ["b", "c", "d"]);
    assert_eq!(texts(&mut database, &since("2026-01-01T00:00:01.5Z", "")), Vec::<String>::new());
    assert_eq!(texts(&mut database, &since("2026-01-01T00:00:01Z", ", 'v'")), ["b", "d"]);
    assert_eq!(texts(&mut database, &since("-infinity", ", 'u'")), ["a", "c"]);
    assert!(texts(&mut database, &since("infinity", "")).is_empty());
}

#[test]
fn a_memory_as_of_a_moment_is_what_the_records_until_then_resolve() {
    // Kafka had them a second apart, the later event first.
    let mut database = mirrored([
        event("late", &json!({"n1": 1}), 30, json!({"content": "one"})),
        event("early", &json!({"n2": 1}), 10, json!({"content": "three"})),
        event("both", &json!({"n1": 2, "n2": 1}), 40, json!({"content": "two"})),
    ]);
    let as_of = |second: &str| format!("SELECT memory_as_of('m', '2026-01-01 00:00:{second}Z') #>> '{{content}}'");
    assert_eq!(database.text("SELECT memory_as_of('m', '2025-12-31 23:59:59Z')::text"), None);
    assert_eq!(database.text(&as_of("00")).unwrap(), "one");
    assert_eq!(database.text(&as_of("00.999")).unwrap(), "one");
    assert_eq!(database.text(&as_of("01")).unwrap(), "three");
    assert_eq!(database.text(&as_of("02")).unwrap(), "two");
    assert_eq!(
        database.text("SELECT (memory_as_of('m', 'infinity') = rebuild_memory_from_events('m'))::text").unwrap(),
        "true"
    );
}

#[test]
fn causal_history_tells_what_came_before_beside_and_after_each_event() {
    let root = event("root", &json!({"n1": 1}), 0, json!({}));
    let mut database = mirrored([
        event("join", &json!({"n1": 2, "n2": 1}), 3, json!({})),
        event("left", &json!({"n1": 2}), 1, json!({})),
        event("right", &json!({"n1": 1, "n2": 1}), 2, json!({})),
        event("reset", &json!({"n1": 1}), 4, json!({"version": 9})),
        root.clone(),
        root,
    ]);
    let history = "SELECT event_id, is_current::text, happened_after::text, concurrent_with::text, superseded_by::text FROM causal_history('m')";
    let expected = [
        "root false {} {reset} {left,right,join}",
        "left false {root} {right,reset} {join}",
        "right false {root} {left,reset} {join}",
        "join true {root,left,right} {reset} {}",
        "reset true {} {root,left,right,join} {}",
    ];
    assert_eq!(texts(&mut database, history), expected);
    // With clocks alone to go by, the reset node's event is no news.
    database.run("INSERT INTO memory_resolver_settings (application_id, trust_clocks) VALUES ('a', true)");
    let reset = "SELECT is_current::text, concurrent_with::text, superseded_by::text FROM causal_history('m') WHERE event_id = 'reset'";
    assert_eq!(texts(&mut database, reset), ["false {root} {left,right,join}"]);
}
