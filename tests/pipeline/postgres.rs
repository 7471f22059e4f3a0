//! A PostgreSQL that is away, read-only, full, or has changed its password: the stream goes on, and
//! afterwards each event has its row, once.

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::trial::{Trial, assert_mirrored, database};
use testkit::postgres::query;
use testkit::{Postgres, Record};

#[test]
fn postgres_stopped_for_a_while() {
    let (trial, postgres) = (Trial::new("away", &[]), Postgres::start());
    let url = postgres.create_database();
    let mut events = Events::new(7, 40);
    let arguments = ["--threads", "2", "--postgres-url", &url];
    let mut instance = trial.start("state", &arguments);
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);
    assert_mirrored(&url, &trial.read("events"));

    postgres.stop();
    trial.feed(&events.take(300));
    // The stream does not wait for the mirror.
    trial.wait_until_done(&mut [&mut instance]);
    instance.wait_for("the mirror to be down", |instance| {
        (instance.metric("mirror_down", ".events\"") == 1.0).then_some(())
    });
    instance.stop();
    // Nor does a start.
    let mut instance = trial.start("state", &arguments);
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);

    postgres.restart();
    let published = expect::assert_outputs(&trial);
    assert_eq!(published.len(), 900);
    assert_mirrored(&url, &published);
    // Ended at once, as in a crash, while rows are written.
    let mut more = Events::new(8, 40);
    let feeder = trial.feed_on(move || more.take(20));
    let rows = instance.metric("mirror_rows", ".events\"");
    instance.wait_for("rows again", |instance| (instance.metric("mirror_rows", ".events\"") > rows).then_some(()));
    postgres.kill();
    instance.wait_for("the mirror to be down", |instance| {
        (instance.metric("mirror_down", ".events\"") == 1.0).then_some(())
    });
    postgres.restart();
    feeder.stop();
    trial.wait_until_done(&mut [&mut instance]);
    assert_mirrored(&url, &trial.read("events"));
    instance.stop();
}

/// The end of all sessions of a database but our own.
const END_SESSIONS: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() \
    and pid <> pg_backend_pid()";

fn is_down(instance: &Instance) -> bool {
    instance.metric("mirror_down", ".events\"") == 1.0
}

/// Runs with a mirror, breaks the database, mends it, and finds the stream untouched and each event
/// mirrored once. Between the two all that `more` gives is published and processed.
fn catches_up_after(trial: &Trial, url: &str, more: Vec<Record>, break_it: impl Fn(), mend: impl Fn()) -> Instance {
    let mut instance = trial.start("state", &["--threads", "2", "--postgres-url", url]);
    trial.feed(&Events::new(16, 40).take(300));
    trial.wait_until_done(&mut [&mut instance]);
    assert_mirrored(url, &trial.read("events"));
    break_it();
    trial.feed(&more);
    trial.wait_until_done(&mut [&mut instance]);
    instance.wait_for("the mirror to be down", |instance| is_down(instance).then_some(()));
    mend();
    let published = expect::assert_outputs(trial);
    assert_mirrored(url, &published);
    instance.wait_for("the mirror to be up", |instance| (!is_down(instance)).then_some(()));
    instance
}

#[test]
fn postgres_read_only_for_a_while() {
    let (trial, url) = (Trial::new("read-only", &[]), database());
    let name = query(&url, "select current_database()").remove(0).remove(0);
    let set = |to: &str| {
        // By way of another database, which can be written to.
        query(&Postgres::shared().url("postgres"), &format!("alter database {name} {to}"));
        query(&url, END_SESSIONS);
    };
    let more = Events::new(17, 40).take(300);
    let break_it = || set("set default_transaction_read_only = on");
    catches_up_after(&trial, &url, more, break_it, || set("reset default_transaction_read_only")).stop();
}

#[test]
fn postgres_with_another_password_for_a_while() {
    let (trial, postgres) = (Trial::new("password", &[]), Postgres::start());
    let admin = postgres.create_database();
    let name = query(&admin, "select current_database()").remove(0).remove(0);
    let set = |password: &str| {
        query(&admin, &format!("alter role mirror password '{password}'"));
        query(&admin, END_SESSIONS);
    };
    query(&admin, "create role mirror login");
    query(&admin, &format!("alter database {name} owner to mirror"));
    set("first-secret");
    postgres.add_access_rules("host all mirror 127.0.0.1/32 scram-sha-256");
    let with = |password: &str| admin.replacen("postgres@", &format!("mirror:{password}@"), 1);
    let more = Events::new(18, 40).take(300);
    let break_it = || set("second-secret");
    let mut instance = catches_up_after(&trial, &with("first-secret"), more, break_it, || set("first-secret"));
    // For good: then a start with the new one goes on.
    set("second-secret");
    trial.feed(&Events::new(19, 40).take(100));
    // Not only that its session was ended.
    instance.wait_for("the refusal", |instance| {
        let refused = |line: &serde_json::Value| line["reason"].to_string().contains("password authentication failed");
        instance.log().iter().any(refused).then_some(())
    });
    let said = instance.stop();
    assert!(!said.stderr.contains("first-secret") && !said.stdout.contains("first-secret"), "{}", said.stderr);
    let url = with("second-secret");
    let mut instance = trial.start("state", &["--threads", "2", "--postgres-url", &url]);
    trial.wait_until_done(&mut [&mut instance]);
    assert_mirrored(&url, &trial.read("events"));
    instance.stop();
}

#[test]
fn postgres_full_for_a_while() {
    let Some(postgres) = Postgres::start_beside_disk(128) else { return };
    let trial = Trial::new("full-postgres", &[]);
    let server = postgres.create_database();
    let folder = postgres.disk().path().display();
    query(&server, &format!("create tablespace small location '{folder}'"));
    query(&server, "create database small tablespace small");
    let url = postgres.url("small");
    // It has room put by in the pages that it has: more than those can hold.
    let more = Events::new(20, 40).take(2000);
    let disk = postgres.disk();
    catches_up_after(&trial, &url, more, || disk.fill(), || disk.free()).stop();
    assert!(postgres.log().contains("No space left on device"), "{}", postgres.log());
}

#[test]
fn sessions_of_the_mirror_that_are_ended_again_and_again() {
    let (trial, url) = (Trial::new("sessions", &[]), database());
    let mut events = Events::new(21, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let mut instance = trial.start("state", &["--threads", "2", "--postgres-url", &url]);
    for _ in 0..5 {
        let rows = instance.metric("mirror_rows", "");
        instance.wait_for("rows", |instance| (instance.metric("mirror_rows", "") > rows).then_some(()));
        query(&url, END_SESSIONS);
    }
    feeder.stop();
    trial.wait_until_done(&mut [&mut instance]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    instance.stop();
}
