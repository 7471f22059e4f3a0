//! A database of an earlier version, with what a mirror wrote into it, becomes what a new one is.

use crate::log::Log;
use crate::nodes;
use crate::{event, sink, start, wait_for_log};
use mirror::ports::{LogSink, Stop};
use sqlx::Connection;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;
use std::process::{Command, Stdio};
use testkit::postgres::query;
use testkit::{Postgres, Record, records, repo_path};

static ALL: Migrator = sqlx::migrate!("./migrations");

/// Brings an empty database to an earlier version.
fn migrate_to(version: usize, url: &str) {
    let earlier = Migrator::with_migrations(ALL.iter().take(version).cloned().collect());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        earlier.run_direct(None, &mut connection, false).await.unwrap();
    });
}

/// Copies the rows of a table, in the columns that it has where they go.
fn copy(table: &str, from: &str, to: &str) {
    let sql = format!(
        "select coalesce(string_agg(quote_ident(attname), ', '), 'none') from pg_attribute where attrelid = to_regclass('{table}') and attnum > 0"
    );
    let columns = query(to, &sql).remove(0).remove(0);
    if columns == "none" {
        return;
    }
    let psql = |url: &str, sql: String| {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", &sql]);
        psql
    };
    let mut out =
        psql(from, format!("copy (select {columns} from {table}) to stdout")).stdout(Stdio::piped()).spawn().unwrap();
    let mut into = psql(to, format!("copy {table} ({columns}) from stdin"));
    assert!(into.stdin(out.stdout.take().unwrap()).status().unwrap().success(), "{table}");
    assert!(out.wait().unwrap().success(), "{table}");
}

const TABLES: [&str; 6] = [
    "memory_events",
    "memory_event_checkpoints",
    "memory_snapshots",
    "memory_conflicts",
    "memory_resolver_settings",
    "memory_node_checkpoints",
];

/// What was asked, and the rows of the answer.
type Seen = (&'static str, Vec<Vec<String>>);

/// What a reader of the database sees: rows, rebuilds, and what there is with its comments. Times
/// of the clock are left out.
fn seen(url: &str) -> Vec<Seen> {
    query(url, "select count_memory_nodes()");
    let all = [
        ("events", "select (to_jsonb(e) - 'mirrored_at')::text from memory_events as e order by kafka_partition, kafka_offset"),
        ("nodes", "select (to_jsonb(n))::text from memory_nodes as n order by node_id"),
        ("checkpoints of nodes", "select (to_jsonb(n) - 'created_at' - 'updated_at')::text from memory_node_checkpoints as n
            order by kafka_partition, node_id"),
        ("checkpoints", "select kafka_partition, next_offset, row_count from memory_event_checkpoints where next_offset > 0 order by 1"),
        ("rebuilds", "select memory_id, rebuild_memory_from_events(memory_id) from memory_ids_of(null) order by 1"),
        ("settings", "select application_id, strategy from memory_resolver_settings"),
        ("snapshots and conflicts", "select (select count(*) from memory_snapshots), (select count(*) from memory_conflicts_current)"),
        ("functions", "select oid::regprocedure, md5(pg_get_functiondef(oid)), obj_description(oid) from pg_proc
            where pronamespace = 'public'::regnamespace order by 1"),
        ("relations", "select relname, relkind, obj_description(oid, 'pg_class'), pg_get_viewdef(oid), reloptions::text from pg_class
            where relnamespace = 'public'::regnamespace and not relispartition and relkind <> 'i' order by 1"),
        ("partitions", "select inhrelid::regclass, obj_description(inhrelid, 'pg_class') from pg_inherits where inhparent = 'memory_events'::regclass order by 1"),
        ("columns", "select attrelid::regclass, attnum, attname, atttypid::regtype, attnotnull, col_description(attrelid, attnum) from pg_attribute
            join pg_class on pg_class.oid = attrelid where relnamespace = 'public'::regnamespace and relkind <> 'i' and not relispartition
            and attnum > 0 order by 1, 2"),
        ("indexes and keys", "select indexrelid::regclass, pg_get_indexdef(indexrelid) from pg_index join pg_class on pg_class.oid = indrelid
            where relnamespace = 'public'::regnamespace order by 1"),
    ];
    all.map(|(what, sql)| (what, query(url, sql))).into()
}

/// The samples, and records whose times lie at the ends: what a month's partition does not take.
fn log() -> Log {
    let log = Log::new(12);
    log.append(records::read_file(repo_path("tests/fixtures/helixagent-events.jsonl")));
    let future_ms = 253_402_300_799_000;
    log.append([
        event(0, "none", "x").at_ms(-1),
        event(0, "far", "y").at_ms(i64::MAX),
        event(0, "later", "z").at_ms(future_ms),
    ]);
    log.append([Record::new("k", "{"), event(3, "old", "x").at_ms(0)]);
    log
}

#[test]
fn each_earlier_version_with_rows_becomes_what_a_new_database_is() {
    let (log, fresh) = (log(), Postgres::shared().create_database());
    let mirror = start(log.reader(0..12), &fresh);
    wait_for_log(&fresh, &log);
    mirror.stop();
    query(
        &fresh,
        "insert into memory_resolver_settings (application_id, strategy) values ('app', 'last_write_wins');
        insert into memory_snapshots (kafka_topic, kafka_partition, kafka_offset, kafka_key, memory_id) values ('s', 0, 1, 'k', 'm');
        insert into memory_conflicts (kafka_topic, kafka_partition, kafka_offset, conflict_id) select 'c', 0, n, gen_random_uuid() from generate_series(1, 9) as n",
    );
    let more = [event(0, "more", "w"), event(5, "and more", "w").at_ms(-1)];
    let mut earlier: Vec<(usize, String)> = Vec::new();
    for version in 1..ALL.iter().count() {
        let url = Postgres::shared().create_database();
        migrate_to(version, &url);
        TABLES.iter().for_each(|table| copy(table, &fresh, &url));
        earlier.push((version, url));
    }
    let expected = seen(&fresh);
    for (version, url) in &earlier {
        sink(url, &Stop::default()).claim(&[]).unwrap();
        if *version > 1 {
            compare(*version, &expected, &seen(url));
        } else {
            // Its version had the log alone.
            let of_log = |all: Vec<Seen>| {
                all.into_iter()
                    .filter(|(what, _)| !["rebuilds", "settings", "snapshots and conflicts"].contains(what))
                    .collect::<Vec<_>>()
            };
            compare(1, &of_log(seen(&fresh)), &of_log(seen(url)));
            query(
                url,
                "insert into memory_resolver_settings (application_id, strategy) values ('app', 'last_write_wins')",
            );
            assert_eq!(seen(url)[4], expected[4]);
        }
    }
    // And each goes on.
    log.append(more);
    for (_, url) in &earlier {
        let mirror = start(log.reader(0..12), url);
        wait_for_log(url, &log);
        mirror.stop();
        assert_eq!(nodes::wrong(url), Vec::<Vec<String>>::new());
        assert_eq!(
            query(url, "select make_memory_event_partitions(1) > 0, drop_memory_events('1999-01-01Z')"),
            [["t", "3"]]
        );
    }
}

/// Under `standard_conforming_strings = off` a backslash in a function of version 5 meant something
/// else: retention saw no bounds.
#[test]
fn what_was_migrated_under_odd_settings_is_set_right() {
    let url = Postgres::shared().create_database();
    migrate_to(6, &format!("{url}&options=-c%20standard_conforming_strings%3Doff"));
    let has_no_bound = "select memory_upper_bound('memory_events_past') is null";
    assert_eq!(query(&url, has_no_bound), [["t"]]);
    sink(&url, &Stop::default()).claim(&[]).unwrap();
    assert_eq!(query(&url, has_no_bound), [["f"]]);
}

fn compare(version: usize, expected: &[Seen], found: &[Seen]) {
    for ((what, expected), (_, found)) in expected.iter().zip(found) {
        let lacking: Vec<_> = expected.iter().filter(|row| !found.contains(row)).take(3).collect();
        let surplus: Vec<_> = found.iter().filter(|row| !expected.contains(row)).take(3).collect();
        assert!(
            lacking.is_empty() && surplus.is_empty(),
            "from version {version}, {what}: lacks {lacking:#?}, has {surplus:#?}"
        );
    }
}
