//! The functions stay usable where the log is long and a memory has many events; each says what it
//! is for.

use super::database::{Database, sql};

/// A log of many small memories and one with 1,000 events, over four partitions, written straight
/// into the table.
fn long_log() -> Database {
    let mut database = Database::create();
    database.run(
        "SELECT make_memory_event_partitions(2);
        INSERT INTO memory_events (kafka_topic, kafka_partition, kafka_offset, record_time, record_timestamp_ms, kafka_header_names,
            kafka_header_values, event_id, event_type, event_time, event_time_ns, node_id, memory_id, user_id, content, version, vector_clock, merged_from)
        SELECT 'events', n % 12, n, CASE WHEN n % 4 = 3 THEN to_timestamp(n) ELSE memory_month(now(), n % 4) + n * interval '1 s' END, n * 1000,
            '{}', '{}', 'e' || n, CASE WHEN n % 50 = 0 THEN 'memory.merged' ELSE 'memory.updated' END,
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

/// The plan of a query.
fn plan(database: &mut Database, query: &str) -> String {
    let plan = database.rows(sql(format!("EXPLAIN (COSTS off) {query}")));
    plan.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n")
}

/// The partitions of the log that have rows.
fn partitions(database: &mut Database) -> Vec<String> {
    let filled = database.rows(sql("SELECT DISTINCT tableoid::regclass::text FROM memory_events"));
    filled.into_iter().flatten().flatten().collect()
}

/// Whether a table with rows is read whole.
fn reads_all(plan: &str) -> bool {
    let whole = |line: &str| {
        ["memory_events", "memory_conflicts", "memory_snapshots"]
            .map(|of| format!("Seq Scan on {of}"))
            .iter()
            .any(|scan| line.contains(scan.as_str()))
    };
    plan.lines().any(|line| whole(line) && !line.contains("memory_events_default"))
}

#[test]
fn queries_go_by_index_in_every_partition() {
    let mut database = long_log();
    let partitions = partitions(&mut database);
    assert_eq!(partitions.len(), 4, "{partitions:?}");
    let of_memory = ["memory_id_idx", "memory_id_hashes_idx"];
    let queries = [
        // What rebuild_memory_from_events, memory_as_of and diff_rebuilt ask of each memory, and
        // causal_history.
        ("memory_resolved('m7', 'infinity', NULL, NULL, NULL, NULL, NULL)", &of_memory[..]),
        ("memory_arrivals('m7', 'infinity', false)", &of_memory),
        ("get_memory_event_history('m7')", &of_memory),
        ("get_events_since(to_timestamp(39000))", &["event_time_ns_idx"]),
        ("get_events_since(to_timestamp(39000), 'u7')", &["event_time_ns_idx"]),
    ];
    for (call, indexes) in queries {
        let plan = plan(&mut database, &format!("SELECT * FROM {call}"));
        for index in
            partitions.iter().flat_map(|partition| indexes.iter().map(move |index| format!("{partition}_{index}")))
        {
            assert!(
                plan.contains(&format!(" on {index}")) || plan.contains(&format!(" using {index}")),
                "{call} lacks {index}:\n{plan}"
            );
        }
        assert!(!reads_all(&plan), "{call}:\n{plan}");
    }
    let stats = plan(&mut database, "SELECT * FROM get_conflict_stats(to_timestamp(100), to_timestamp(200))");
    assert!(stats.contains("memory_conflicts_detected_at") && !reads_all(&stats), "{stats}");
}

#[test]
fn what_is_known_by_time_or_place_is_looked_for_in_one_partition() {
    let mut database = long_log();
    let place = "SELECT * FROM memory_events WHERE kafka_topic = 'events' AND kafka_partition = 1 AND kafka_offset = 13 AND record_time = ";
    let of_place = plan(&mut database, &format!("{place} '1970-01-01 00:00:13Z'"));
    assert!(of_place.contains("using memory_events_past_pkey") && !of_place.contains("Append"), "{of_place}");
    // And before a moment is nothing but the past.
    let until = self::plan(&mut database, "SELECT * FROM memory_rows('m7', '1999-01-01Z')");
    assert!(until.contains("memory_events_past") && !until.contains("memory_events_2"), "{until}");
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
fn what_reads_promises_so() {
    // It works where nothing may be written.
    let mut database = Database::create();
    let volatile = "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND provolatile = 'v' ORDER BY 1";
    let writes = [
        "count_memory_nodes",
        "drop_memory_events",
        "drop_memory_events_after",
        "make_memory_event_partitions",
        "memory_try_upkeep",
        "note_dropped_events",
    ];
    assert_eq!(database.rows(sql(volatile)), writes.map(|name| [Some(name.to_owned())]));
}
