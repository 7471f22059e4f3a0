//! The log's partitions: made ahead by the mirror, never in its way, and dropped by it where
//! retention says so.

use crate::log::Log;
use crate::{event, settings, sink, wait_for_rows};
use memory_operators::mirror::maintenance_tasks;
use mirror::Mirror;
use mirror::ports::{LogSink, MaintenanceTask, SinkError, Stop};
use mirror_postgres::PostgresSink;
use rustix::process::Signal;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use testkit::postgres::query;
use testkit::process::Process;
use testkit::{Postgres, Record, wait_until};

const DAY: Duration = Duration::from_secs(86_400);
const OLD_MS: i64 = 1_577_836_800_000;

fn tended(url: &str, ahead: u32, retention: Option<Duration>) -> PostgresSink {
    sink(url, &Stop::default()).with_maintenance(maintenance_tasks(ahead, retention))
}

fn start(log: &Log, url: &str, retention: Option<Duration>) -> Mirror {
    let often = |task: MaintenanceTask| MaintenanceTask { every: Duration::from_millis(50), ..task };
    let stop = Stop::default();
    let sink = sink(url, &stop).with_maintenance(maintenance_tasks(2, retention).into_iter().map(often).collect());
    Mirror::start(Box::new(log.reader([0])), sink, stop, settings()).unwrap()
}

/// How many monthly partitions there are.
fn months(url: &str) -> String {
    let sql = "select count(*) from pg_inherits where inhparent = 'memory_events'::regclass and inhrelid::regclass::text ~ '^memory_events_[0-9]{6}$'";
    query(url, sql)[0][0].clone()
}

fn this_month(url: &str) -> String {
    query(url, "select 'memory_events_' || to_char(now() at time zone 'UTC', 'YYYYMM')")[0][0].clone()
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[test]
fn a_mirror_makes_partitions_ahead_and_writes_into_them() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    let mirror = start(&log, &url, None);
    wait_until("partitions", || crate::try_query(&url, "select 1 from memory_events").is_ok() && months(&url) == "3");
    log.append([event(0, "old", "x").at_ms(OLD_MS), event(0, "now", "x").at_ms(now_ms())]);
    log.append([event(0, "none", "x").at_ms(-1), event(0, "far", "x").at_ms(i64::MAX)]);
    wait_for_rows(&url, 4);
    let rows = query(&url, "select event_id, tableoid::regclass from memory_events order by kafka_offset");
    let month = this_month(&url);
    let places = [
        ["old", "memory_events_past"],
        ["now", &month],
        ["none", "memory_events_past"],
        ["far", "memory_events_default"],
    ];
    assert_eq!(rows, places);
    // Again and again: nothing more is made, nothing was amiss, nothing is dropped.
    wait_for_rows(&url, 4);
    assert_eq!((months(&url).as_str(), mirror.status().figures().failures), ("3", 0));
    mirror.stop();
    assert_eq!(query(&url, "select count(*) from memory_retention"), [["0"]]);
}

#[test]
fn mirrors_that_start_together_make_each_partition_once() {
    let url = Postgres::shared().create_database();
    tended(&url, 0, None).claim(&[]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert!(tended(&url, 5, Some(DAY)).run_maintenance().is_ok()));
        }
    });
    tended(&url, 5, None).run_maintenance().unwrap();
    assert_eq!(months(&url), "6");
}

#[test]
fn a_month_with_rows_in_the_default_partition_is_left_to_it() {
    let url = Postgres::shared().create_database();
    tended(&url, 0, None).claim(&[]).unwrap();
    query(
        &url,
        "insert into memory_events (kafka_topic, kafka_partition, kafka_offset, record_time, record_timestamp_ms, kafka_header_names, kafka_header_values)
        values ('t', 0, 0, memory_month(now(), 1) + interval '1 day', 0, '{}', '{}')",
    );
    tended(&url, 2, None).run_maintenance().unwrap();
    let made = "select to_regclass('memory_events_' || to_char(memory_month(now(), n) at time zone 'UTC', 'YYYYMM')) is not null
        from generate_series(0, 2) as n";
    assert_eq!(query(&url, made), [["t"], ["f"], ["t"]]);
    // Once that row is gone the month is made.
    query(&url, "delete from memory_events");
    tended(&url, 2, None).run_maintenance().unwrap();
    assert_eq!(query(&url, made), [["t"], ["t"], ["t"]]);
}

/// A session that reads the default partition in a transaction that does not end.
fn reader(url: &str) -> Process {
    let mut psql = std::process::Command::new("psql");
    psql.args([
        "-X",
        "-q",
        "-d",
        url,
        "-c",
        "begin",
        "-c",
        "select count(*) from memory_events_default",
        "-c",
        "select pg_sleep(600)",
    ]);
    psql.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let reader = Process::start(psql, Signal::KILL).unwrap();
    let asleep = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    wait_until("the reader to hold its lock", || query(url, asleep) == [["1"]]);
    reader
}

#[test]
fn a_reader_in_the_way_is_not_waited_for_and_records_are_written() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    tended(&url, 0, None).claim(&[]).unwrap();
    let mut reader = reader(&url);
    let refused = tended(&url, 2, None).run_maintenance();
    assert!(matches!(&refused, Err(SinkError::Unavailable(reason)) if reason.contains("lock timeout")), "{refused:?}");
    let mirror = start(&log, &url, None);
    log.append((0..3).map(|n| event(0, &n.to_string(), "x").at_ms(now_ms())));
    wait_for_rows(&url, 3);
    assert_eq!(months(&url), "0");
    assert!(!mirror.status().figures().down);
    query(
        &url,
        "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()",
    );
    reader.kill();
    // This month's rows lie in the default partition by now, so this month stays there.
    wait_until("the other partitions", || months(&url) == "2");
    log.append([event(0, "more", "x")]);
    wait_for_rows(&url, 4);
    mirror.stop();
}

#[test]
fn what_is_older_than_retention_is_dropped_and_the_rest_stays() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    let of = |id: &str, at: i64| -> Record { event(0, id, "x").at_ms(at) };
    let mirror = start(&log, &url, Some(DAY * 40));
    let is = |sql: &str, expected: &str| {
        wait_until(expected, || crate::try_query(&url, sql).is_ok_and(|rows| rows == [[expected]]));
    };
    is("select dropped_rows from memory_retention", "0");
    log.append([of("old", OLD_MS), of("none", -1), of("now", now_ms()), of("far", i64::MAX)]);
    let left = "select string_agg(event_id, ' ' order by kafka_offset) from memory_events";
    // Nothing has gone from the past yet, and it is not read again before a day is over.
    is(left, "old none now far");
    query(&url, "update memory_retention set updated_at = now() - interval '25 hours'");
    is(left, "now far");
    log.append([of("late", OLD_MS), of("new", now_ms())]);
    is(left, "now far late new");
    query(&url, "update memory_retention set updated_at = now() - interval '25 hours'");
    is(left, "now far new");
    wait_until("all to be told", || mirror.status().figures().rows == 6);
    mirror.stop();
    let bound = "select dropped_before = memory_month(now() - interval '40 days'), dropped_rows from memory_retention";
    assert_eq!(query(&url, bound), [["t", "3"]]);
    assert_eq!(query(&url, "select count(*), min(memory_id) from memory_dropped_events"), [["2", "m"]]);
    assert_eq!(query(&url, "select rebuild_memory_from_events('m')->'incomplete'"), [["true"]]);
    query(&url, "select count_memory_nodes()");
    assert_eq!(query(&url, "select last_event_id, event_count from memory_node_checkpoints"), [["new", "6"]]);
}
