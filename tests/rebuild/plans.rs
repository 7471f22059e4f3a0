//! The functions stay usable where the log is long and a memory has many events; each says what it is for.

use super::database::{Database, sql};

/// A log of many small memories and one with 1,000 events, written straight into the table.
fn long_log() -> Database {
    let mut database = Database::create();
    database.run(
        "INSERT INTO memory_events (kafka_topic, kafka_partition, kafka_offset, record_time, record_timestamp_ms, kafka_header_names,
            kafka_header_values, event_id, event_type, event_time, event_time_ns, node_id, memory_id, user_id, content, version, vector_clock, merged_from)
        SELECT 'events', n % 12, n, to_timestamp(n), n * 1000, '{}', '{}', 'e' || n, CASE WHEN n % 50 = 0 THEN 'memory.merged' ELSE 'memory.updated' END,
            to_timestamp(n), n * 1000000000::bigint, 'n' || n % 3, CASE WHEN n % 40 = 1 THEN 'large' ELSE 'm' || n % 9000 END, 'u' || n % 100,
            'text ' || n, n, jsonb_build_object('n' || n % 3, n), CASE WHEN n % 50 = 0 THEN ARRAY['x' || n, 'm' || n % 70] END
        FROM generate_series(1, 40000) AS n;
        INSERT INTO memory_conflicts (kafka_topic, kafka_partition, kafka_offset, conflict_id, conflict_type, status, detected_at, resolved_at)
        SELECT 'conflicts', 0, n, uuid_in(md5((n / 2)::text)::cstring), 'concurrent_update', 'auto_resolved', to_timestamp(n / 2), to_timestamp(n)
        FROM generate_series(1, 40000) AS n;
        INSERT INTO memory_snapshots (kafka_topic, kafka_partition, kafka_offset, memory_id, user_id, resolved)
        SELECT 'snapshots', 0, n, 'm' || n, 'u' || n % 100, '{}' FROM generate_series(1, 9000) AS n;
        ANALYZE",
    );
    database
}

#[test]
fn queries_go_by_index() {
    let mut database = long_log();
    let hash = "Bitmap Index Scan on memory_events_default_memory_id_idx";
    let absorbed = "Bitmap Index Scan on memory_events_default_memory_id_hashes_idx";
    let queries = [
        // What rebuild_memory_from_events and memory_as_of consist of.
        ("memory_resolved('m7', 'infinity', NULL, NULL, NULL, NULL, NULL)", &[hash, absorbed][..]),
        ("memory_arrivals('m7', 'infinity', false)", &[hash, absorbed]),
        ("get_memory_event_history('m7')", &[hash, absorbed]),
        (
            "get_events_since(to_timestamp(39000))",
            &["Index Scan using memory_events_default_event_time_ns_idx", "Index Cond"],
        ),
        ("get_events_since(to_timestamp(39000), 'u7')", &["memory_events_default_event_time_ns_idx"]),
        ("get_conflict_stats(to_timestamp(100), to_timestamp(200))", &["memory_conflicts_detected_at"]),
    ];
    for (call, expected) in queries {
        let plan = database.rows(sql(format!("EXPLAIN (COSTS off) SELECT * FROM {call}")));
        let plan: Vec<String> = plan.into_iter().flatten().flatten().collect();
        let plan = plan.join("\n");
        for part in expected {
            assert!(plan.contains(part), "{call} lacks {part}:\n{plan}");
        }
        assert!(
            !plan.contains("Seq Scan on memory_events") && !plan.contains("Seq Scan on memory_conflicts"),
            "{call}:\n{plan}"
        );
    }
}

#[test]
fn a_memory_of_a_thousand_events_is_rebuilt() {
    let mut database = long_log();
    assert_eq!(database.text("SELECT count(*)::text FROM get_memory_event_history('large')").unwrap(), "1000");
    let large = database.json("SELECT rebuild_memory_from_events('large')::text");
    assert_eq!((&large["status"], &large["version"]), (&"active".into(), &39_961.into()));
    let large = database.text("SELECT sum(cardinality(happened_after || concurrent_with || superseded_by))::text FROM causal_history('large')");
    assert_eq!(large.unwrap(), (1000 * 999).to_string());
}

#[test]
fn every_function_table_and_column_is_commented() {
    let mut database = Database::create();
    let silent = "SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
        UNION ALL SELECT c.relname || '.' || a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> '_sqlx_migrations'
        AND col_description(c.oid, a.attnum) IS NULL
        UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
        AND relname <> '_sqlx_migrations' AND obj_description(oid, 'pg_class') IS NULL";
    assert_eq!(database.rows(sql(silent)), Vec::<Vec<Option<String>>>::new());
    // What reads promises so, and works where nothing may be written.
    let volatile =
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND provolatile = 'v'";
    assert_eq!(database.rows(sql(volatile)), [[Some("note_dropped_events".to_owned())]]);
}
