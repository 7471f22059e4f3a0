//! What goes wrong with Postgres: it is down, it refuses a row, it has a table of our name.

use crate::log::{Log, partition};
use crate::{event, events, sink, start, start_with, wait_for_log, wait_for_rows};
use mirror::MirrorSettings;
use mirror::ports::{LogSink, Stop};
use mirror_postgres::Database;
use std::io::Write;
use testkit::postgres::query;
use testkit::{Postgres, wait_until};

#[test]
fn a_postgres_that_stops_and_comes_back_has_each_record_once() {
    let postgres = Postgres::start();
    let (log, url) = (Log::new(2), postgres.create_database());
    let mirror = start(log.reader([0, 1]), &url);
    for round in 0..4 {
        log.append(events(500, 2));
        if round % 2 == 0 {
            postgres.stop()
        } else {
            postgres.kill()
        }
        log.append(events(500, 2));
        wait_until("the mirror to notice", || mirror.status().figures().down);
        assert_ne!(mirror.status().figures().lag, Some(0));
        postgres.restart();
        log.append(events(1, 2));
    }
    wait_for_log(&url, &log);
    wait_until("the lag to be none", || mirror.status().figures().lag == Some(0));
    let figures = mirror.status().figures();
    assert!(!figures.down && figures.failures >= 4, "{figures:?}");
    mirror.stop();
}

#[test]
fn backends_that_are_killed_under_load_cost_nothing() {
    let (log, url) = (Log::new(3), Postgres::shared().create_database());
    let mirror = start_with(log.reader(0..3), &url, MirrorSettings { batch_bytes: 8 << 10, ..crate::settings() });
    for _ in 0..20 {
        log.append(events(600, 3));
        query(
            &url,
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        );
    }
    wait_for_log(&url, &log);
    mirror.stop();
}

#[test]
fn a_slow_postgres_is_waited_for_and_has_each_record_once() {
    let (log, url) = (Log::new(2), Postgres::shared().create_database());
    sink(&url, &Stop::default()).claim(&[]).unwrap();
    query(
        &url,
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$;
        create trigger slow before update of next_offset on memory_event_checkpoints for each statement execute function slow()",
    );
    let sizes = MirrorSettings { batch_bytes: 8 << 10, largest_batch_bytes: 1 << 20, ..crate::settings() };
    let mirror = start_with(log.reader([0, 1]), &url, sizes);
    for _ in 0..3 {
        log.append(events(400, 2));
        wait_until("some of it", || mirror.status().figures().rows > 0);
    }
    wait_for_log(&url, &log);
    let figures = mirror.status().figures();
    assert!(!figures.down && figures.failures == 0 && figures.refused == 0, "{figures:?}");
    mirror.stop();
}

#[test]
fn a_mirror_without_a_database_starts_waits_and_stops() {
    let postgres = Postgres::start();
    let (log, url) = (Log::new(1), postgres.create_database());
    postgres.stop();
    log.append(events(10, 1));
    let mirror = start(log.reader([0]), &url);
    wait_until("a failure", || mirror.status().figures().failures > 1);
    mirror.stop();
    postgres.restart();
    let mirror = start(log.reader([0]), &url);
    wait_for_log(&url, &log);
    mirror.stop();
}

#[test]
fn a_row_that_postgres_refuses_is_found_and_kept_raw() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    sink(&url, &Stop::default()).claim(&[partition(0)]).unwrap();
    query(&url, "alter table memory_events add constraint test check (content not like 'bad%')");
    log.append(events(300, 1));
    log.append([event(0, "x", "bad 1"), event(0, "y", "good"), event(0, "z", "bad 2")]);
    log.append(events(300, 1));
    let mirror = start_with(log.reader([0]), &url, MirrorSettings { batch_bytes: 1 << 20, ..crate::settings() });
    wait_for_log(&url, &log);
    wait_until("all to be told", || mirror.status().figures().rejected == 2);
    mirror.stop();
    let sql = "select kafka_offset, error_class, event_id is null, error_message ~ 'constraint' from memory_events
        where error_class is not null order by 1";
    assert_eq!(query(&url, sql), [["300", "mirror_rejected", "t", "t"], ["302", "mirror_rejected", "t", "t"]]);
    assert_eq!(query(&url, "select content from memory_events where kafka_offset = 301"), [["good"]]);
    // And once more over rows that are there already: the same rows.
    query(&url, "delete from memory_event_checkpoints");
    query(&url, "delete from memory_events where kafka_offset >= 302");
    let mirror = start_with(log.reader([0]), &url, MirrorSettings { batch_bytes: 1 << 20, ..crate::settings() });
    wait_for_log(&url, &log);
    mirror.stop();
    assert_eq!(query(&url, "select count(*) from memory_events where error_class = 'mirror_rejected'"), [["2"]]);
}

/// A process that was frozen in the middle of its `COPY` keeps its locks: Postgres cannot know that
/// it sleeps.
#[test]
fn a_frozen_writer_is_not_waited_for_for_ever() {
    let url = Postgres::shared().create_database();
    let mut owner = sink(&url, &Stop::default());
    owner.claim(&[partition(0)]).unwrap();
    let mut frozen = std::process::Command::new("psql");
    frozen.args(["-X", "-q", "-d", &url]).env("PGAPPNAME", "helixstream-mirror").stdin(std::process::Stdio::piped());
    let mut frozen = frozen.spawn().unwrap();
    let script =
        "begin; select 1 from memory_event_checkpoints for update; copy memory_events from stdin (format binary);\n";
    let mut input = frozen.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    wait_until("its copy", || {
        query(&url, "select 1 from pg_stat_activity where query like 'copy%' and wait_event = 'ClientRead'") == [["1"]]
    });
    wait_until("the claim", || owner.claim(&[partition(0)]).is_ok());
    drop(input);
    frozen.wait().unwrap();
}

#[test]
fn a_table_of_ours_that_is_not_ours_is_left_alone() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    query(&url, "create table memory_events (event_id varchar(255) primary key)");
    query(&url, "insert into memory_events values ('theirs')");
    let reason = sink(&url, &Stop::default()).claim(&[partition(0)]).unwrap_err().to_string();
    assert!(reason.contains("memory_events") && reason.contains("our migrations did not make"), "{reason}");
    log.append(events(5, 1));
    let mirror = start(log.reader([0]), &url);
    wait_until("a failure", || mirror.status().figures().failures > 1);
    assert_eq!(query(&url, "select * from memory_events"), [["theirs"]]);
    // Once it is out of the way, the mirror goes on by itself.
    query(&url, "alter table memory_events rename to their_events");
    query(&url, "alter index memory_events_pkey rename to their_events_pkey");
    wait_for_rows(&url, 5);
    mirror.stop();
}

#[test]
fn no_message_holds_the_password() {
    let make = |url: &str| Database::new(url, "public");
    let Err(bad) = make("postgres://user:s3cret@host:port/db") else { panic!("that is no URL") };
    assert!(!bad.to_string().contains("s3cret") && bad.to_string().contains("port"), "{bad}");
    let mut sink = sink("postgres://user:s3cret@127.0.0.1:1/db", &Stop::default());
    let reason = sink.claim(&[partition(0)]).unwrap_err().to_string();
    assert!(!reason.contains("s3cret") && reason.contains("db at 127.0.0.1:1"), "{reason}");
}
