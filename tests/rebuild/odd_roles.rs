//! Roles with settings of their own (`ALTER ROLE … SET`): who migrates and who calls makes no
//! difference to what a function does.

use mirror_postgres::Database;
use testkit::Postgres;
use testkit::postgres::{query, try_query};
use testkit::unique;

/// Settings, a role each.
const ODD: &[&str] = &[
    "standard_conforming_strings = off; backslash_quote = off; escape_string_warning = off",
    "DateStyle = 'German, DMY'; TimeZone = 'Asia/Kolkata'",
    "DateStyle = 'SQL, DMY'; TimeZone = 'America/St_Johns'; IntervalStyle = sql_standard",
    "DateStyle = 'Postgres, MDY'; TimeZone = 'Pacific/Kiritimati'; timezone_abbreviations = 'India'",
    "extra_float_digits = -15; bytea_output = escape; IntervalStyle = iso_8601",
    "search_path = ''",
    "search_path = theirs, public",
    "quote_all_identifiers = on; array_nulls = off; transform_null_equals = on",
    "default_transaction_isolation = serializable; default_transaction_deferrable = on",
    "plan_cache_mode = force_generic_plan; enable_hashagg = off; enable_hashjoin = off; enable_mergejoin = off; enable_indexscan = off",
    "force_parallel_mode = on; parallel_setup_cost = 0; min_parallel_table_scan_size = 0",
    "row_security = off; xmloption = document; default_table_access_method = heap; plpgsql.variable_conflict = use_column",
];

/// A call of each function that only looks. Times are written in full, and nothing has a backslash:
/// the callers read both differently.
const LOOKS: &str = "memory_time(1764072000123456789) | memory_nanoseconds('2026-01-01 00:00:00.5+00') | memory_number('1.50') |
    memory_weight(-9223372036854776000) | memory_canonical_number(0.00000012) | memory_canonical_number(1e300) |
    memory_canonical_json('{\"b\": [1, 2.50, \"ü\"], \"a\": null, \"c\": {\"d\": 1e30}}') | memory_text_set(array['b', 'a', 'b']) |
    memory_known('s', 'a', array['a', 'b']) | memory_known_strategy('s', 'merge_all') | memory_settings(null, null, null, null, '00:00:02.5') |
    memory_happened_before('{[1,3)}', 2, 1, '{[1,4)}', 3, 2, false) |
    memory_presumed_by_skew('{[1,3)}', 2, 3, 10, true, '{[1,4)}', 3, 2, 11, true, 5) |
    memory_presumed_by_time('{[1,3)}', 2, 3, 10, true, '{[1,4)}', 3, 2, 11, false, false, true) |
    memory_presumed('{[1,3)}', 2, 3, 10, true, '{[1,4)}', 3, 2, 11, true, false, true, 5) | memory_changed_by('memory.created') |
    memory_rows('m', 'infinity') | memory_arrivals('m', 'infinity', false) |
    memory_writes('memory.updated', 'u', null, 'x', '[1.5, 2]', 0.70, array['t'], null, null, null, '{\"k\": 1.50}', array['session_id']) |
    memory_contenders('m', 'infinity', false, true, 2000000000) | memory_clock_sum('{\"a\": 1, \"~\": 9}') |
    memory_rank('merge_all', 'importance', '0.50', 0.5, '{\"a\": 1}') | memory_picks('m', 'infinity', 'merge_all', '{}', false, true, 2000000000) |
    memory_standing('m', 'infinity', true, false, true, 2000000000) |
    memory_resolved('m', 'infinity', null, null, null, null, '00:00:01') | rebuild_memory_from_events('m') |
    rebuild_memory_from_events('m', 'last_write_wins', max_clock_skew => '1 day 00:00:01') | memory_as_of('m', '2026-01-01 00:00:01+00') |
    get_memory_event_history('m') | get_events_since('2026-01-01 00:00:01+00') | causal_history('m') |
    get_conflict_stats('2026-01-01 00:00:00+00', '2027-01-01 00:00:00+00') | memory_ids_of(null) |
    memory_members_apart('{\"a\": 1}', '{\"a\": 2}') | diff_rebuilt() |
    get_unseen_memories('{\"n0\": 3, \"n1\": 4}', 'u') | memory_digest('ü') | memory_id_hashes(array['a', 'ü']) |
    memory_month('2026-03-31 23:30:00+00', 1) | memory_upper_bound('public.memory_events_202001') |
    memory_node_of('n.00000000000000000001.b2')";

/// What changes the tables, once each, in this order, and what it gives.
const CHANGES: &str =
    "count_memory_nodes(3) | count_memory_nodes(9223372036854775807) | make_memory_event_partitions(3) |
    note_dropped_events('2020-01-10 00:00:00+00') | memory_try_upkeep() | drop_memory_events('2020-01-20 00:00:00+00') |
    drop_memory_events_after(94608000) | drop_memory_events_after(9223372036854775807)";

const ROWS: &str = "insert into public.memory_events (kafka_topic, kafka_partition, kafka_offset, record_time, record_timestamp_ms,
        kafka_header_names, kafka_header_values, event_id, event_type, event_time, event_time_ns, node_id, memory_id, user_id, content,
        importance, metadata, version, vector_clock, tags)
    select 't', 0, n, timestamptz '2020-01-05 00:00:00+00' + n * interval '20 days', 1, '{}', '{}', 'e' || n, 'memory.updated',
        timestamptz '2026-01-01 00:00:00.25+00' + n * interval '1 s', 1767225600250000000 + n * 1000000000, 'n' || n % 3, 'm', 'u',
        'text ' || n, 0.5 + n / 10.0, jsonb_build_object('k', n, 'at', 0.10), n, jsonb_build_object('n' || n % 3, n + 1), array['a', 't' || n]
    from generate_series(0::bigint, 9) as n;
    insert into public.memory_event_checkpoints (kafka_topic, kafka_partition, next_offset, row_count) values ('t', 0, 10, 10);
    insert into public.memory_conflicts (kafka_topic, kafka_partition, kafka_offset, conflict_id, conflict_type, status, detected_at, resolved_at)
    values ('c', 0, 0, '00000000-0000-0000-0000-000000000001', 'equivocation', 'auto_resolved', '2026-02-01 00:00:00+00', '2026-02-01 01:00:00+00')";

fn calls(of: &str) -> impl Iterator<Item = &str> {
    of.split('|').map(str::trim)
}

/// All that a role sees and does in a database that it has migrated: each result is kept in a
/// table, and read by somebody without odd settings.
fn results(role: &str, url: &str) -> Vec<(String, String)> {
    let theirs = url.replace("postgres@", &format!("{role}@"));
    Database::new(&theirs, "public").unwrap().migrate().unwrap();
    query(url, "drop table public.memory_events_past");
    query(url, "create table public.memory_events_past partition of public.memory_events for values from (minvalue) to ('2020-01-01 00:00:00+00');
        create table public.memory_events_202001 partition of public.memory_events for values from ('2020-01-01 00:00:00+00') to ('2020-02-01 00:00:00+00')");
    query(url, ROWS);
    let mut named: Vec<(String, String)> = Vec::new();
    let mut script = String::new();
    for (number, call) in calls(LOOKS).chain(calls(CHANGES)).enumerate() {
        script += &format!("create table public.result_{number} as select * from public.{call};\n");
        // The histories have an order, the other functions none.
        let has_order = ["get_", "causal_"].iter().any(|start| call.starts_with(start));
        let order = if has_order { "" } else { " order by to_jsonb(r)::text" };
        let read =
            format!("select coalesce(jsonb_agg(to_jsonb(r){order}), '[]')::text from public.result_{number} as r");
        named.push((call.to_owned(), read));
    }
    query(&theirs, &script.replace("public.public.", "public."));
    let after = [
        ("months", "select string_agg(inhrelid::regclass || ' ' || pg_get_expr(relpartbound, oid), ', ' order by inhrelid::regclass::text)
            from pg_inherits join pg_class on oid = inhrelid where inhparent = 'public.memory_events'::regclass"),
        ("retention", "select dropped_before || ' ' || dropped_rows from memory_retention"),
        ("nodes", "select string_agg((to_jsonb(n) - 'created_at' - 'updated_at')::text, ' ' order by node_id) from memory_node_checkpoints as n"),
        ("functions", "select string_agg(pg_get_functiondef(oid), ' ' order by oid::regprocedure::text) from pg_proc where pronamespace = 'public'::regnamespace"),
    ];
    named.extend(after.map(|(what, sql)| (what.to_owned(), sql.to_owned())));
    // At once: a psql for each of them, for each role, would take most of the test's time.
    let one = |(number, (_, sql)): (usize, &(String, String))| format!("select {number} as number, ({sql}) as result");
    let all = named.iter().enumerate().map(one).collect::<Vec<_>>().join(" union all ") + " order by number";
    let found = query(url, &all).into_iter().map(|mut row| row.pop().unwrap_or_default());
    let found: Vec<(String, String)> = named.into_iter().map(|(what, _)| what).zip(found).collect();
    assert_eq!(found.len(), calls(LOOKS).chain(calls(CHANGES)).count() + 4);
    found
}

#[test]
fn every_function_gives_the_same_whatever_settings_its_caller_has() {
    let server = Postgres::shared();
    let expected = results("postgres", &server.create_database());
    let value = |name: &str| &expected.iter().find(|(what, _)| what.starts_with(name)).unwrap().1;
    assert!(value("rebuild_memory").contains("\"content\""), "{expected:?}");
    assert!(value("retention").starts_with("20") && value("months").contains("memory_events_past"), "{expected:?}");
    // Nothing is left out: every function of ours is among those called.
    let url = server.create_database();
    Database::new(&url, "public").unwrap().migrate().unwrap();
    for name in query(&url, "select distinct proname from pg_proc where pronamespace = 'public'::regnamespace").concat()
    {
        let is_called = calls(LOOKS).chain(calls(CHANGES)).any(|call| call.starts_with(&format!("{name}(")));
        assert!(is_called || ["memory_refuse", "memory_require_privilege"].contains(&name.as_str()), "{name}");
    }
    std::thread::scope(|scope| {
        for (number, settings) in ODD.iter().enumerate() {
            let expected = &expected;
            scope.spawn(move || {
                let (role, url) = (unique("odd").replace('-', "_"), server.create_database());
                query(&url, &format!("create role {role} login superuser; create schema theirs"));
                for setting in settings.split(';') {
                    // What this version of PostgreSQL calls otherwise is left out.
                    let set = try_query(&url, &format!("alter role {role} set {setting}"));
                    assert!(set.is_ok() || setting.contains("force_parallel_mode"), "{setting}: {set:?}");
                }
                for ((what, expected), (_, found)) in expected.iter().zip(results(&role, &url)) {
                    assert_eq!(&found, expected, "role {number} ({settings}): {what}");
                }
            });
        }
    });
}
