//! What is known of each node: its checkpoints follow the rows, whatever a batch goes through, and
//! the view tells what the log tells, in whatever order it came.

use crate::log::Log;
use crate::{settings, sink, start, wait_for_log, wait_for_rows};
use memory_operators::mirror::maintenance_tasks;
use mirror::Mirror;
use mirror::ports::{LogSink, MaintenanceTask, Stop};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::postgres::{query, try_query};
use testkit::{Postgres, Record, records, repo_path, wait_until};

/// An event of a node.
pub fn by(node: &str, id: &str, more: Value) -> Record {
    let mut event = json!({"event_id": id, "event_type": "memory.updated", "memory_id": "m", "node_id": node,
        "timestamp": "2026-01-01T00:00:00.5Z"});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Record::new("k", event.to_string())
}

/// Brings the checkpoints of nodes up to the rows, in small steps; gives those that are not what
/// the rows say.
pub fn wrong(url: &str) -> Vec<Vec<String>> {
    wait_until("all rows to be counted", || query(url, "select count_memory_nodes(7)") == [["0"]]);
    let sql = "with noted as (
            select kafka_topic, kafka_partition, node_id, max(kafka_offset) as last_offset, count(*) as event_count, max(mirrored_at) as updated_at
            from memory_events where node_id is not null group by 1, 2, 3
        ), expected as (
            select noted.*, event_id, event_time, event_time_ns, version, vector_clock
            from noted join memory_events using (kafka_topic, kafka_partition, node_id) where kafka_offset = last_offset
        )
        select expected.*, known.* from expected full join memory_node_checkpoints as known using (kafka_topic, kafka_partition, node_id)
        where (expected.last_offset, expected.event_count, event_id, expected.event_time, expected.event_time_ns, version, expected.vector_clock)
            is distinct from (known.last_offset, known.event_count, known.last_event_id, known.last_event_time, known.last_event_time_ns,
                known.last_version, known.vector_clock) or node_digest <> sha256(convert_to(node_id, 'UTF8'))";
    query(url, sql)
}

fn count(url: &str, table: &str) -> usize {
    query(url, &format!("select count(*) from {table}"))[0][0].parse().unwrap()
}

#[test]
fn the_checkpoints_of_nodes_are_what_the_rows_say() {
    let (log, url) = (Log::new(12), Postgres::shared().create_database());
    log.append(records::read_file(repo_path("tests/fixtures/helixagent-events.jsonl")));
    let mirrors = [start(log.reader(0..12), &url), start(log.reader(0..12), &url)];
    wait_for_log(&url, &log);
    assert_eq!(wrong(&url), Vec::<Vec<String>>::new());
    assert!(count(&url, "memory_node_checkpoints") > 12);
    // A node's last event moves on, another node comes, and one without a name counts for none.
    log.append([by("late", "e1", json!({})), by("", "e2", json!({})), by("late", "e3", json!({"version": 9}))]);
    wait_for_log(&url, &log);
    mirrors.into_iter().for_each(|mirror| mirror.stop());
    assert_eq!(wrong(&url), Vec::<Vec<String>>::new());
    let late = "select last_event_id, last_version, event_count from memory_node_checkpoints where node_id = 'late'";
    assert_eq!(query(&url, late), [["e3", "9", "2"]]);
}

#[test]
fn nodes_are_counted_by_the_mirror_itself_and_by_two_at_once_no_twice() {
    let (log, url) = (Log::new(4), Postgres::shared().create_database());
    let often = |task: MaintenanceTask| MaintenanceTask { every: Duration::from_millis(1), ..task };
    let start = || {
        let stop = Stop::default();
        let sink = sink(&url, &stop).with_maintenance(maintenance_tasks(0, None).into_iter().map(often).collect());
        Mirror::start(Box::new(log.reader(0..4)), sink, stop, settings()).unwrap()
    };
    let mirrors = [start(), start()];
    for number in 0..400 {
        let node = format!("n{}", number % 7);
        log.append([by(&node, &format!("e{number}"), json!({})).in_partition(number % 4)]);
    }
    let counted = "select coalesce(sum(event_count), 0) from memory_node_checkpoints";
    wait_until("all to be counted", || try_query(&url, counted).is_ok_and(|rows| rows == [["400"]]));
    mirrors.into_iter().for_each(|mirror| mirror.stop());
    assert_eq!(wrong(&url), Vec::<Vec<String>>::new());
}

#[test]
fn rows_that_are_refused_or_come_again_are_counted_as_they_are_kept() {
    let (log, url) = (Log::new(2), Postgres::shared().create_database());
    sink(&url, &Stop::default()).claim(&[]).unwrap();
    query(&url, "alter table memory_events add constraint test check (content <> 'refused')");
    for number in 0..40 {
        let content = if number % 7 == 6 { "refused" } else { "fits" };
        let node = ["a", "b", "c"][number % 3];
        log.append([
            by(node, &format!("e{number}"), json!({"content": content})).in_partition(i32::from(number % 5 == 0))
        ]);
    }
    // Of this node everything is refused; a time that is none, and one beyond what the database's
    // calendar holds.
    log.append([by("d", "all", json!({"content": "refused"})), by("e", "never", json!({})).at_ms(-1)]);
    log.append([by("f", "far", json!({})).at_ms(i64::MAX), by("g", "last", json!({})).at_ms(9_224_318_015_999_999)]);
    let mirror = start(log.reader(0..2), &url);
    wait_for_log(&url, &log);
    wait_until("all to be told", || mirror.status().figures().rejected == 6);
    mirror.stop();
    assert_eq!(wrong(&url), Vec::<Vec<String>>::new());
    assert_eq!(
        query(&url, "select node_id from memory_node_checkpoints where node_id > 'c' order by 1"),
        [["e"], ["f"], ["g"]]
    );
    // From zero again with rows there, and from the middle: what was counted is not counted twice,
    // what comes new is.
    for back in [0, 11] {
        query(
            &url,
            &format!(
                "update memory_event_checkpoints set next_offset = {back}, row_count = {back} where kafka_partition = 0"
            ),
        );
        log.append([by("a", &format!("again{back}"), json!({})), by("h", &format!("new{back}"), json!({}))]);
        let mirror = start(log.reader(0..2), &url);
        wait_for_log(&url, &log);
        mirror.stop();
        assert_eq!(wrong(&url), Vec::<Vec<String>>::new());
    }
}

#[test]
fn ids_of_nodes_may_be_long_and_hold_anything() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    let long: String = (0..100_000_u64).map(|n| char::from(b'!' + u8::try_from(n * n * 7 % 89).unwrap())).collect();
    let ids = [long.as_str(), "a\u{0}b", "back\\slash", "{\"q\": 1}", "é", "e\u{301}"];
    log.append(ids.iter().chain(&ids).map(|id| by(id, "e", json!({"vector_clock": {*id: 1}}))));
    let mirror = start(log.reader([0]), &url);
    wait_for_log(&url, &log);
    mirror.stop();
    assert_eq!(wrong(&url), Vec::<Vec<String>>::new());
    assert_eq!(count(&url, "memory_node_checkpoints"), ids.len());
    let sql = "select count(*), sum(records), sum(events), sum(highest_counter) from memory_nodes";
    assert_eq!(query(&url, sql), [["6", "12", "6", "6"]]);
}

/// A node that lost its clock twice, beside one that did not; with a redelivery, and events that
/// have no counter of their own.
fn told() -> Vec<Record> {
    let of = |id: &str, second: u32, version: u32, clock: Value| {
        let timestamp = format!("2026-01-01T00:00:{second:02}Z");
        by("n", id, json!({"timestamp": timestamp, "version": version, "vector_clock": clock}))
    };
    vec![
        of("1", 1, 10, json!({"n": 1})),
        of("2", 2, 20, json!({"n": 2, "o": 8})),
        of("2", 2, 20, json!({"n": 2, "o": 8})),
        of("3", 3, 30, json!({"n": 1})),
        of("4", 5, 40, json!({"n": 9_007_199_254_740_993_i64})),
        of("5", 4, 41, json!({"o": 9})),
        of("6", 6, 50, json!({"n": 3})),
        of("7", 7, 50, json!({"n": 2})),
        by("o", "8", json!({"timestamp": "2026-01-01T00:00:08.000000001Z"})),
        by("o", "9", json!({"timestamp": "2026-01-01T00:00:08Z", "version": 5, "vector_clock": {"o": 10, "n": 1}})),
    ]
}

#[test]
fn nodes_are_what_their_events_tell_in_any_order() {
    let sql = "select node_id, first_event_id, joined_at at time zone 'UTC', last_event_id, last_heartbeat at time zone 'UTC', events, records,
        version, highest_counter, clock_resets, vector_clock, node_name is null and node_type is null and status is null
        and capabilities is null and metadata is null from memory_nodes order by 1";
    let o = r#"{"n": 1, "o": 10, "~": 1767225608000000001}"#;
    let expected = [
        ["n", "1", "2026-01-01 00:00:01", "7", "2026-01-01 00:00:07", "7", "8", "50", "9007199254740993", "2"],
        ["o", "9", "2026-01-01 00:00:08", "8", "2026-01-01 00:00:08", "2", "2", "5", "10", "0"],
    ]
    .map(|row| row.to_vec());
    let clocks = [r#"{"n": 9007199254740993, "o": 9}"#, o];
    let expected: Vec<Vec<&str>> =
        expected.into_iter().zip(clocks).map(|(row, clock)| [row, vec![clock, "t"]].concat()).collect();
    for turn in 0..4 {
        let (log, url) = (Log::new(3), Postgres::shared().create_database());
        let mut events = told();
        events.rotate_left(turn * 3);
        if turn % 2 == 1 {
            events.reverse();
        }
        log.append(
            events
                .into_iter()
                .zip([0, 2, 1].into_iter().cycle())
                .map(|(event, partition)| event.in_partition(partition)),
        );
        let mirror = start(log.reader(0..3), &url);
        wait_for_log(&url, &log);
        mirror.stop();
        assert_eq!(query(&url, sql), expected, "turn {turn}");
        assert_eq!(wrong(&url), Vec::<Vec<String>>::new());
    }
}

#[test]
fn views_have_helixagents_columns_and_no_others() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    log.append(told().into_iter().chain([Record::new("k", "{")]));
    let mirror = start(log.reader([0]), &url);
    wait_for_rows(&url, 11);
    mirror.stop();
    let shapes = [
        (
            "events",
            "event_id, event_type, timestamp, node_id, memory_id, user_id, session_id, content, embedding, importance, tags, entities, relationships, metadata, version, vector_clock, merged_from, created_at",
        ),
        (
            "snapshots",
            "snapshot_id, timestamp, node_id, user_id, memories, entities, relationships, vector_clock, metadata, memory_count, entity_count, relationship_count, created_at",
        ),
        (
            "conflicts",
            "conflict_id, memory_id, user_id, conflict_type, local_event_id, remote_event_id, resolution_strategy, resolved_version, resolved_by, detected_at, resolved_at, details",
        ),
        (
            "nodes",
            "node_id, node_name, node_type, status, last_heartbeat, vector_clock, version, capabilities, metadata, joined_at, updated_at",
        ),
        (
            "event_checkpoints",
            "checkpoint_id, node_id, user_id, last_processed_event_id, last_processed_timestamp, last_processed_version, vector_clock, event_count, created_at, updated_at",
        ),
    ];
    for (name, columns) in shapes {
        let sql = format!(
            "select string_agg(attname, ', ' order by attnum) from pg_attribute where attrelid = 'helixagent_memory_{name}'::regclass"
        );
        assert_eq!(query(&url, &sql), [[columns]], "{name}");
    }
    assert_eq!(count(&url, "helixagent_memory_events"), 10);
    assert_eq!(count(&url, "helixagent_memory_nodes"), 2);
    query(&url, "select count_memory_nodes()");
    let sql = "select checkpoint_id, user_id is null, last_processed_event_id, last_processed_version, event_count, vector_clock
        from helixagent_memory_event_checkpoints order by 1";
    let o = r#"{"n": 1, "o": 10}"#;
    assert_eq!(query(&url, sql), [["node:n", "t", "7", "50", "8", r#"{"n": 2}"#], ["node:o", "t", "9", "5", "2", o]]);
}

#[test]
fn a_conflict_is_shown_as_it_was_told_and_as_it_stands() {
    let url = Postgres::shared().create_database();
    sink(&url, &Stop::default()).claim(&[]).unwrap();
    query(
        &url,
        r#"insert into memory_conflicts (kafka_topic, kafka_partition, kafka_offset, conflict_id, memory_id, status, resolved_by, resolved_at, details, resolved_version)
        select 'c', 0, at, uuid_in(md5(id)::cstring), id, status, 'app', '2026-01-01Z'::timestamptz + at * interval '1 s', details::jsonb, version::jsonb
        from (values (0, 'a', 'auto_resolved', '{"fields": []}', '{"version": 1}'), (1, 'b', 'pending', '{"fields": [1]}', '{"version": 2}'),
            (2, 'a', 'superseded', null, null)) as told (at, id, status, details, version)"#,
    );
    let sql = "select memory_id, resolved_by, to_char(resolved_at at time zone 'UTC', 'SS'), details->>'fields', resolved_version->>'version'
        from helixagent_memory_conflicts order by 1";
    assert_eq!(query(&url, sql), [["a", "app", "02", "[]", "1"], ["b", "", "", "[1]", "2"]]);
}
