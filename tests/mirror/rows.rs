//! What the rows hold: every kind of record, good or bad, with its bytes.

use crate::log::Log;
use crate::{event, start, wait_for_log};
use serde_json::json;
use testkit::postgres::query;
use testkit::{Postgres, Record, records, repo_path};

/// Mirrors records of one partition and gives the database.
fn mirrored(records: impl IntoIterator<Item = Record>) -> String {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    log.append(records);
    let mirror = start(log.reader([0]), &url);
    wait_for_log(&url, &log);
    mirror.stop();
    url
}

fn value(json: &serde_json::Value) -> Record {
    Record::new("k", json.to_string())
}

#[test]
fn the_samples_are_mirrored_byte_for_byte_and_decoded() {
    let (log, url) = (Log::new(12), Postgres::shared().create_database());
    let samples = records::read_file(repo_path("tests/fixtures/helixagent-events.jsonl"));
    log.append(samples.iter().cloned());
    let mirror = start(log.reader(0..12), &url);
    wait_for_log(&url, &log);
    mirror.stop();
    let count =
        |condition: &str| query(&url, &format!("select count(*) from memory_events where {condition}"))[0][0].clone();
    assert_eq!(count("error_class is not null"), "0");
    assert_eq!(count("event_id is null or event_type is null or event_time_ns is null or vector_clock is null"), "0");
    assert_eq!(count("event_time_ns / 1000 <> (extract(epoch from event_time) * 1000000)::bigint"), "0");
    // The decoded columns against Postgres' own reading of the raw envelope.
    let sql = "with raw as (select *, convert_from(decode(convert_from(kafka_value, 'UTF8')::jsonb->>'payload', 'base64'), 'UTF8')::jsonb as e
        from memory_events)
        select count(*) from raw where event_id is distinct from e->>'event_id' or event_type is distinct from e->>'event_type'
        or memory_id is distinct from nullif(e->>'memory_id', '') or node_id is distinct from nullif(e->>'node_id', '')
        or content is distinct from e->>'content' or embedding is distinct from e->'embedding'
        or importance is distinct from (e->>'importance')::numeric or version is distinct from coalesce((e->>'version')::bigint, 0)
        or user_id is distinct from nullif(e->>'user_id', '')
        or coalesce(jsonb_array_length(entities), 0) <> coalesce(jsonb_array_length(e->'entities'), 0)
        or (coalesce(e->>'vector_clock', '') not in ('', '{}') and vector_clock <> (e->>'vector_clock')::jsonb)";
    assert_eq!(query(&url, sql), [["0"]]);
}

#[test]
fn bad_records_are_rows_with_their_class_and_unknown_types_are_good_ones() {
    let deep = "[".repeat(200) + "]".repeat(200).as_str();
    let good = json!({"event_id": "e", "event_type": "memory.updated", "memory_id": "m"});
    let with = |name: &str, field: serde_json::Value| {
        let mut changed = good.clone();
        changed[name] = field;
        value(&changed)
    };
    let clock: serde_json::Map<String, serde_json::Value> = (0..10_001).map(|n| (n.to_string(), json!(1))).collect();
    let bad = [
        (Record { value: None, key: None, ..Record::new("", "") }, "empty_value"),
        (Record::new("k", ""), "empty_value"),
        (Record::new("k", [0xff, 0xfe]), "malformed_json"),
        (Record::new("k", deep), "too_deep"),
        (with("content", json!(1)), "wrong_type"),
        (with("event_id", json!("")), "missing_field"),
        (with("version", json!(-1)), "bad_counter"),
        (with("timestamp", json!("yesterday")), "bad_timestamp"),
        (value(&json!({"payload": "*"})), "bad_envelope"),
        (with("vector_clock", json!(clock)), "too_many_clock_entries"),
        (Record::new("k", [0, 0, 0, 0, 1, 2]), "unknown_schema"),
        (with("content", json!("x".repeat(8 << 20))), "too_large"),
    ];
    let unknown = value(&json!({"event_id": "u", "event_type": "thought.pondered"}));
    let url = mirrored(bad.iter().map(|(record, _)| record.clone()).chain([unknown, value(&good)]));
    let rows = query(
        &url,
        "select error_class, error_message <> '', event_id, event_type from memory_events order by kafka_offset",
    );
    for (row, (_, class)) in rows.iter().zip(&bad) {
        assert_eq!(row[..], [*class, "t", "", ""]);
    }
    assert_eq!(rows[bad.len()..], [["", "", "u", "thought.pondered"], ["", "", "e", "memory.updated"]]);
}

#[test]
fn nul_is_replaced_in_columns_and_kept_in_the_raw_bytes() {
    let nul = json!({"event_id": "a\u{0}b", "event_type": "memory.updated", "memory_id": "m", "content": "\u{0}x", "tags": ["t\u{0}"],
        "metadata": {"k\u{0}": "v\u{0}\\u0000"}, "vector_clock": {"n\u{0}": 1}, "entities": [{"id": "\u{0}"}]});
    let bad = json!({"event_id": "e", "event_type": "memory.updated", "memory_id": "m", "timestamp": "a\u{0}b"});
    let headers = vec![("h".to_owned(), Some(vec![0, 1])), ("n".to_owned(), None), ("h".to_owned(), Some(vec![]))];
    let url = mirrored([Record { headers, ..value(&nul) }, value(&bad), Record::new([0, 1], [0])]);
    let sql = "select event_id, content, tags[1], metadata->>E'k\u{fffd}', vector_clock->>E'n\u{fffd}', entities->0->>'id',
        encode(kafka_header_values[array_position(kafka_header_names, 'h')], 'hex') from memory_events where kafka_offset = 0";
    assert_eq!(
        query(&url, sql),
        [["a\u{fffd}b", "\u{fffd}x", "t\u{fffd}", "v\u{fffd}\\u0000", "1", "\u{fffd}", "0001"]]
    );
    assert_eq!(query(&url, "select error_class from memory_events where kafka_offset = 1"), [["bad_timestamp"]]);
}

#[test]
fn numbers_and_times_are_exact_to_the_ends_of_their_ranges() {
    let with = |timestamp: &str, importance: serde_json::Value| {
        value(&json!({"event_id": "e", "event_type": "memory.updated", "memory_id": "m", "timestamp": timestamp,
            "importance": importance, "version": i64::MAX, "vector_clock": {"n": i64::MAX}}))
    };
    let url = mirrored([
        with("1970-01-01T00:00:00.000000001Z", json!(u64::MAX)).at_ms(0),
        with("2262-04-11T23:47:16.854775807Z", json!(5e-324)).at_ms(9_223_372_036_854),
        with("2026-01-01T00:00:00.123456789+02:00", json!(-1.797_693_134_862_315_7e308)).at_ms(-1),
        with("2026-01-01T00:00:00Z", json!(0.1)).at_ms(i64::MAX),
    ]);
    query(&url, "set time zone 'UTC'");
    let sql = "select event_time_ns, event_time at time zone 'UTC', importance::text::float8 = case kafka_offset when 0 then 18446744073709551615
        when 1 then 5e-324 when 2 then -1.7976931348623157e308 else 0.1 end, version, vector_clock->>'n' from memory_events order by kafka_offset";
    let max = i64::MAX.to_string();
    let rows = query(&url, sql);
    assert_eq!(rows[0], ["1", "1970-01-01 00:00:00", "t", &max, &max]);
    assert_eq!(rows[1], [&max, "2262-04-11 23:47:16.854775", "t", &max, &max]);
    assert_eq!(rows[2], ["1767218400123456789", "2025-12-31 22:00:00.123456", "t", &max, &max]);
    assert_eq!(
        query(&url, "select importance from memory_events where kafka_offset in (0, 3) order by 1 desc"),
        [["18446744073709551615"], ["0.1"]]
    );
    let sql = "select (record_time at time zone 'UTC')::text from memory_events order by kafka_offset";
    assert_eq!(query(&url, sql), [["1970-01-01 00:00:00"], ["2262-04-11 23:47:16.854"], ["-infinity"], ["infinity"]]);
}

#[test]
fn an_event_of_eight_mebibytes_is_one_row_between_others() {
    let content = "x".repeat((8 << 20) - 400);
    let url = mirrored([event(0, "before", "a"), event(0, "big", &content), event(0, "after", "b")]);
    let sql = "select event_id, length(content) from memory_events order by kafka_offset";
    assert_eq!(query(&url, sql), [["before", "1"], ["big", &content.len().to_string()], ["after", "1"]]);
    // Nor is a b-tree's limit on keys in the way of long ids.
    let long = json!({"event_id": "e", "event_type": "memory.updated", "memory_id": uncompressible(100_000)});
    let url = mirrored([value(&long)]);
    assert_eq!(query(&url, "select error_class, length(memory_id) from memory_events"), [["", "100000"]]);
}

/// Text that does not shrink when compressed.
fn uncompressible(chars: usize) -> String {
    let mut random = testkit::Random::new(1);
    (0..chars).map(|_| char::from(b'!' + u8::try_from(random.below(90)).unwrap())).collect()
}

#[test]
fn every_table_view_column_and_function_is_commented() {
    let url = mirrored([event(0, "e", "")]);
    query(&url, "select make_memory_event_partitions(1)");
    let sql = "select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
        and c.relname <> '_sqlx_migrations' and col_description(c.oid, a.attnum) is null
        and not (c.relispartition and c.relname in ('memory_events_default', 'memory_events_past'))
        union select relname, '' from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')
        and relname <> '_sqlx_migrations' and obj_description(oid, 'pg_class') is null
        union select oid::regprocedure::text, '' from pg_proc where pronamespace = 'public'::regnamespace and obj_description(oid, 'pg_proc') is null";
    assert_eq!(query(&url, sql), Vec::<Vec<String>>::new());
}
