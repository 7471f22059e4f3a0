//! Conflicts counted, snapshots held against the rebuild, and what is said where retention has
//! dropped events.

use super::database::{Database, sql};
use super::{event, mirrored, ours};
use memory::event::Limits;
use reference_model::generate;
use serde_json::json;

#[test]
fn each_conflict_counts_once_as_it_stands_now() {
    let mut database = Database::create();
    database.run(
        "INSERT INTO memory_conflicts (kafka_topic, kafka_partition, kafka_offset, conflict_id, memory_id, conflict_type, status, detected_at, resolved_at)
        SELECT 'c', 0, at, uuid_in(md5(id)::cstring), 'm', kind, status, '2026-01-01Z'::timestamptz + detected, '2026-01-01Z'::timestamptz + resolved
        FROM (VALUES (0, 'a', 'concurrent_update', 'auto_resolved', interval '1 h', interval '1 h'), (1, 'b', 'delete_update', 'pending', '2 h', '2 h'),
            (2, 'c', 'concurrent_update', 'pending', '3 h', '3 h'), (3, 'a', 'concurrent_update', 'superseded', '1 h', '5 h'),
            (4, 'c', 'concurrent_update', 'superseded', '3 h', '5 h'), (5, 'd', 'equivocation', 'auto_resolved', '24 h', '24 h')) AS given
            (at, id, kind, status, detected, resolved);
        INSERT INTO memory_conflicts (kafka_topic, kafka_partition, kafka_offset) VALUES ('c', 0, 6)",
    );
    let mut stats = |from: &str, to: &str| {
        let row = database.rows(sql(format!(
            "SELECT total_conflicts::text, resolved_conflicts::text, pending_conflicts::text, avg_resolution_time::text, conflict_types::text
            FROM get_conflict_stats('{from}', '{to}')"
        )));
        row[0].iter().map(|cell| cell.clone().unwrap_or_default()).collect::<Vec<_>>()
    };
    let types = r#"{"delete_update": 1, "concurrent_update": 2}"#;
    assert_eq!(stats("2026-01-01Z", "2026-01-02Z"), ["3", "2", "1", "03:00:00", types]);
    assert_eq!(stats("2026-01-02Z", "infinity"), ["1", "1", "0", "00:00:00", r#"{"equivocation": 1}"#]);
    assert_eq!(stats("2027-01-01Z", "2028-01-01Z"), ["0", "0", "0", "", "{}"]);
    let current =
        "SELECT count(*)::text, count(*) FILTER (WHERE status = 'superseded')::text FROM memory_conflicts_current";
    assert_eq!(database.rows(sql(current)), [["4", "2"].map(|count| Some(count.to_owned()))]);
}

/// Puts what the stream resolves next to the events, as the mirror of the snapshots topic does.
fn snapshot(database: &mut Database, memory: &str, resolved: &str) {
    let insert =
        "INSERT INTO memory_snapshots (kafka_topic, kafka_partition, kafka_offset, memory_id, user_id, resolved)
        SELECT 'snapshots', 0, count(*), $1, $2::jsonb ->> 'user_id', $2::jsonb FROM memory_snapshots";
    database.rows(sql(insert).bind(memory.to_owned()).bind(resolved.to_owned()));
}

fn differences(database: &mut Database, user: &str) -> Vec<Vec<Option<String>>> {
    database.rows(sql(format!(
        "SELECT memory_id, state, fields::text FROM diff_rebuilt({user}) ORDER BY memory_id COLLATE \"C\""
    )))
}

#[test]
fn a_mirror_that_has_caught_up_differs_in_nothing() {
    let mut compared = 0;
    for seed in testkit::seeds(10) {
        let stream = generate::stream(700_000 + seed, 40, true);
        let settings = reference_model::Settings {
            max_clock_entries: 4,
            max_value_bytes: 4000,
            ..reference_model::Settings::default()
        };
        let run = ours::run(&stream.records, &settings);
        let mut database = Database::create();
        database.mirror(&stream.records, Limits { max_clock_entries: 4, max_value_bytes: 4000 });
        for memory in generate::MEMORIES {
            if let Some(resolved) = run.resolved(memory, &ours::settings(&settings)) {
                snapshot(&mut database, memory, &resolved.replace("\\u0000", "\\ufffd"));
                compared += 1;
            }
        }
        assert_eq!(differences(&mut database, "NULL"), Vec::<Vec<Option<String>>>::new(), "stream {seed}");
    }
    assert!(compared > 15, "{compared}");
}

#[test]
fn differences_are_told_from_what_is_not_there_yet() {
    let of = |memory: &str, user: &str, second: u32| {
        let mut event = event("e", &json!({"n": second}), second, json!({"user_id": user, "content": "x"}));
        event["memory_id"] = json!(memory);
        event
    };
    let events = ["equal", "changed", "behind", "unseen"].map(|memory| of(memory, "u", 1));
    let merge = json!({"event_id": "f", "event_type": "memory.merged", "memory_id": "equal", "merged_from": ["absorbed"],
        "vector_clock": {"n": 2}, "timestamp": "2026-01-01T00:00:02Z"});
    let mut database = mirrored(events.into_iter().chain([merge, of("others", "v", 1)]));
    database.run(
        r#"INSERT INTO memory_snapshots (kafka_topic, kafka_partition, kafka_offset, memory_id, user_id, resolved)
        SELECT 'snapshots', 0, at, id, 'u', rebuild_memory_from_events(id)
        FROM unnest(ARRAY['equal', 'changed', 'behind', 'absorbed']) WITH ORDINALITY AS of (id, at);
        INSERT INTO memory_snapshots (kafka_topic, kafka_partition, kafka_offset, memory_id, user_id, resolved) VALUES
            ('snapshots', 1, 0, 'unheard', 'u', '{"memory_id": "unheard", "user_id": "u", "version": 0}'), ('snapshots', 1, 1, NULL, 'u', NULL);
        UPDATE memory_snapshots SET resolved = resolved || '{"content": "y", "importance": 1}' WHERE memory_id = 'changed';
        UPDATE memory_snapshots SET resolved = resolved || '{"content": "w", "vector_clock": {"n": 0}}' WHERE memory_id = 'behind'"#,
    );
    let told = |rows: Vec<Vec<Option<String>>>| {
        rows.into_iter().map(|row| row.into_iter().map(Option::unwrap).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let all = told(differences(&mut database, ""));
    let states: Vec<[&str; 2]> = all.iter().map(|row| [row[0].as_str(), row[1].as_str()]).collect();
    let of_user = [["behind", "pending"], ["changed", "differs"], ["unheard", "pending"], ["unseen", "pending"]];
    assert_eq!(states, [&of_user[..2], &[["others", "pending"]], &of_user[2..]].concat());
    assert_eq!((all[0][2].as_str(), all[1][2].as_str()), ("{content,vector_clock}", "{content,importance}"));
    let by_user = told(differences(&mut database, "'u'"));
    assert_eq!(by_user.iter().map(|row| [row[0].as_str(), row[1].as_str()]).collect::<Vec<_>>(), of_user);
    assert_eq!(told(differences(&mut database, "'v'"))[0][0], "others");
}

#[test]
fn a_memory_of_which_events_were_dropped_is_rebuilt_as_incomplete() {
    let other = json!({"event_id": "f", "event_type": "memory.updated", "memory_id": "whole"});
    let merge =
        json!({"event_id": "g", "event_type": "memory.merged", "memory_id": "gone", "merged_from": ["absorbed"]});
    let mut database = mirrored([
        merge,
        event("old", &json!({"n": 1}), 1, json!({"content": "old"})),
        event("new", &json!({"n": 2}), 2, json!({"tags": ["new"]})),
        other,
    ]);
    let before = "'2026-01-01 00:00:01.5Z'";
    let rebuilt = |memory: &str| format!("SELECT rebuild_memory_from_events('{memory}')::text");
    assert_eq!(database.json(&rebuilt("m"))["content"], "old");
    assert_eq!(database.json(&rebuilt("m"))["incomplete"], json!(null));
    database.run(&format!(
        "BEGIN; SELECT note_dropped_events({before}); DELETE FROM memory_events WHERE record_time < {before}; COMMIT"
    ));
    let m = database.json(&rebuilt("m"));
    assert_eq!((&m["incomplete"], &m["content"], &m["tags"]), (&json!(true), &json!(null), &json!(["new"])));
    assert_eq!(database.json(&rebuilt("whole"))["incomplete"], json!(null));
    for memory in ["gone", "absorbed"] {
        assert_eq!(database.json(&rebuilt(memory)), json!({"memory_id": memory, "incomplete": true}));
    }
    assert_eq!(database.json("SELECT memory_as_of('m', 'infinity')::text")["incomplete"], json!(true));
    let noted = "SELECT memory_id, dropped_rows::text FROM memory_dropped_events ORDER BY memory_id";
    let expected = [["absorbed", "1"], ["gone", "1"], ["m", "1"]].map(|row| row.map(|cell| Some(cell.to_owned())));
    assert_eq!(database.rows(sql(noted)), expected);
    snapshot(&mut database, "m", r#"{"memory_id": "m", "content": "old"}"#);
    assert!(
        differences(&mut database, "")
            .iter()
            .all(|row| row[0].as_deref() == Some("whole") || row[1].as_deref() == Some("incomplete"))
    );
}
