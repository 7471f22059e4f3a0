//! What retention drops, months at a time, and what a rebuild then says of the memories that it has
//! cut.

use super::database::{Database, sql};
use super::records;
use memory::event::Limits;
use reference_model::Record;
use serde_json::{Value, json};

/// Midnight of a day of 2020, in milliseconds.
fn day(number: i64) -> i64 {
    1_577_836_800_000 + (number - 1) * 86_400_000
}

/// Events with the day of 2020 at which Kafka had each.
fn dated(events: &[(i64, Value)]) -> Vec<Record> {
    let days = events.iter().map(|(number, _)| day(*number));
    let records = records(events.iter().map(|(_, event)| event.clone()));
    records.into_iter().zip(days).map(|(record, timestamp_ms)| Record { timestamp_ms, ..record }).collect()
}

fn update(id: &str, memory: &str, more: Value) -> Value {
    let mut event =
        json!({"event_id": id, "event_type": "memory.updated", "memory_id": memory, "vector_clock": {id: 1}});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

/// A database whose months began in 2020: January to March have partitions.
fn in_months() -> Database {
    let mut database = Database::create();
    database.run(
        "DROP TABLE memory_events_past;
        CREATE TABLE memory_events_past PARTITION OF memory_events FOR VALUES FROM (MINVALUE) TO ('2020-01-01Z');
        CREATE TABLE memory_events_202001 PARTITION OF memory_events FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z');
        CREATE TABLE memory_events_202002 PARTITION OF memory_events FOR VALUES FROM ('2020-02-01Z') TO ('2020-03-01Z');
        CREATE TABLE memory_events_202003 PARTITION OF memory_events FOR VALUES FROM ('2020-03-01Z') TO ('2020-04-01Z')",
    );
    database
}

fn partitions(database: &mut Database) -> Vec<String> {
    let sql =
        sql("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'memory_events'::regclass ORDER BY 1");
    database.rows(sql).into_iter().flatten().flatten().collect()
}

#[test]
fn whole_months_go_and_their_memories_are_rebuilt_as_incomplete() {
    for mut database in [Database::create(), in_months()] {
        let merge = json!({"event_id": "merge", "event_type": "memory.merged", "memory_id": "taker", "merged_from": ["absorbed"]});
        database.mirror(
            &dated(&[
                (5, update("a", "cut", json!({"content": "old"}))),
                (40, merge),
                (61, update("b", "cut", json!({"tags": ["new"]}))),
                (70, update("c", "absorbed", json!({"content": "stays"}))),
                (71, update("d", "whole", json!({"content": "kept"}))),
                (200, update("e", "later", json!({}))),
            ]),
            Limits::default(),
        );
        let rebuilt = |memory: &str| format!("SELECT rebuild_memory_from_events('{memory}')::text");
        assert_eq!(database.json(&rebuilt("absorbed"))["event_ids"], json!(["c", "merge"]));
        // The middle of March: what March has stays, up to its first moment.
        let drop = "SELECT drop_memory_events('2020-03-15Z')::text";
        assert_eq!(database.text(drop).unwrap(), "2");
        assert_eq!(database.text(drop).unwrap(), "0");
        let cut = database.json(&rebuilt("cut"));
        assert_eq!((&cut["incomplete"], &cut["content"], &cut["tags"]), (&json!(true), &json!(null), &json!(["new"])));
        let absorbed = database.json(&rebuilt("absorbed"));
        assert_eq!((&absorbed["incomplete"], &absorbed["event_ids"]), (&json!(true), &json!(["c"])));
        assert_eq!(database.json(&rebuilt("taker")), json!({"memory_id": "taker", "incomplete": true}));
        for memory in ["whole", "later"] {
            let whole = database.json(&rebuilt(memory));
            assert_eq!((&whole["incomplete"], &whole["status"]), (&json!(null), &json!("active")), "{memory}");
        }
        let states = sql("SELECT memory_id, state FROM diff_rebuilt() WHERE state = 'incomplete' ORDER BY 1");
        let states: Vec<String> = database.rows(states).into_iter().filter_map(|row| row[0].clone()).collect();
        assert_eq!(states, ["absorbed", "cut"]);
        // Nothing is known any more of what lost all of its events.
        let unseen = "SELECT string_agg(memory_id, ' ') FROM get_unseen_memories()";
        assert_eq!(database.text(unseen).unwrap(), "absorbed cut later whole");
        let known = "SELECT dropped_rows::text || ' ' || (dropped_before = '2020-03-01Z') FROM memory_retention";
        assert_eq!(database.text(known).unwrap(), "2 true");
    }
}

#[test]
fn partitions_below_the_bound_are_gone_and_the_past_begins_anew() {
    let mut database = in_months();
    let months = ["memory_events_202003", "memory_events_default", "memory_events_past"];
    assert_eq!(database.text("SELECT drop_memory_events('2020-03-31 23:59:59Z')::text").unwrap(), "0");
    assert_eq!(partitions(&mut database), months);
    database
        .mirror(&dated(&[(1, update("late", "m", json!({}))), (61, update("new", "m", json!({})))]), Limits::default());
    let places =
        "SELECT string_agg(event_id || ' ' || tableoid::regclass, ', ' ORDER BY kafka_offset) FROM memory_events";
    assert_eq!(database.text(places).unwrap(), "late memory_events_past, new memory_events_202003");
    // An earlier bound says nothing new; the same one drops what came late.
    assert_eq!(database.text("SELECT drop_memory_events('2020-02-01Z')::text").unwrap(), "0");
    assert_eq!(database.text("SELECT drop_memory_events('2020-03-02Z')::text").unwrap(), "1");
    assert_eq!(database.text(places).unwrap(), "new memory_events_202003");
    // Never this month, whatever it is told; and no moment is no bound.
    let none =
        "SELECT concat(drop_memory_events('infinity'), drop_memory_events('-infinity'), drop_memory_events(NULL))";
    assert_eq!(database.text(none).unwrap(), "000");
    database.run("SELECT make_memory_event_partitions(1); SELECT drop_memory_events(now() + interval '1 year')");
    assert_eq!(partitions(&mut database).len(), 4);
    let bound = "SELECT (dropped_before = memory_month(now()))::text FROM memory_retention";
    assert_eq!(database.text(bound).unwrap(), "true");
}

#[test]
fn no_number_is_too_large_for_the_upkeep() {
    let mut database = Database::create();
    database.mirror(
        &dated(&[(1, update("a", "m", json!({}))), (2, update("b", "m", json!({}))), (3, update("c", "m", json!({})))]),
        Limits::default(),
    );
    // Counted in part: what is left must not be added to the most that a count may take.
    assert_eq!(database.text("SELECT count_memory_nodes(1)::text").unwrap(), "1");
    assert_eq!(database.text("SELECT count_memory_nodes(-1)::text").unwrap(), "0");
    assert_eq!(database.text("SELECT drop_memory_events_after(9223372036854775807)::text").unwrap(), "0");
    assert_eq!(database.text("SELECT drop_memory_events('4714-11-24 00:00:00+00 BC')::text").unwrap(), "0");
    assert_eq!(database.text("SELECT drop_memory_events(now())::text").unwrap(), "3");
    let counted = "SELECT sum(event_count)::text FROM memory_node_checkpoints";
    assert_eq!(database.text(counted), None);
    let progress = "SELECT counted_offset::text FROM memory_node_progress";
    assert_eq!(database.text(progress).unwrap(), "3");
    assert_eq!(database.text("SELECT make_memory_event_partitions('-9223372036854775808')::text").unwrap(), "1");
}
