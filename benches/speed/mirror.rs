//! The mirror of the events, against a bare `COPY` of the very rows that it wrote.

use super::BenchSettings;
use super::measure::{Spent, Watch, has_ended, peak_mib, process_cpu_s};
use super::metrics::Pages;
use super::stream::TOPOLOGY;
use super::support::Helix;
use super::table::Row;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use testkit::ports::free_port;
use testkit::postgres::query;
use testkit::{Broker, Postgres};

const LOOK: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(3600);
/// The lines of the mirror and of what it is held against.
pub const NAME: &str = "helixstream mirror run, the events";
pub const BARE: &str = "bare COPY of the same rows";

/// The same table once more, empty: columns, indexes, the one partition.
const ANOTHER: &str = "create schema bare; create table bare.memory_events (like public.memory_events including all)
    partition by range (record_time); create table bare.memory_events_default partition of bare.memory_events default";

/// From the first row to the last, then the same rows by `COPY` from a file of the server's, into
/// an empty table of the same shape. The topics of outputs are to be empty yet: this is about the
/// events.
pub fn measure(settings: &BenchSettings, broker: &Broker) -> Result<[Row; 2]> {
    let postgres = Postgres::start();
    let url = postgres.create_database();
    let http = format!("127.0.0.1:{}", free_port());
    let bootstrap = broker.bootstrap();
    let helix = Helix::spawn(&[
        "mirror",
        "run",
        "--topology",
        TOPOLOGY,
        "--bootstrap-servers",
        &bootstrap,
        "--postgres-url",
        &url,
        "--application-id",
        "bench-mirror",
        "--http-listen",
        &http,
    ]);
    let watch = Watch::start(helix.pid())?;
    let pages = Pages(http);
    let started = Instant::now();
    let until = |rows: u64| -> Result<Spent> {
        let mut before = watch.read()?;
        loop {
            let now = watch.read()?;
            if pages.metrics().is_ok_and(|page| page.sum("mirror_rows_total") >= rows) {
                return Ok(before);
            }
            ensure!(!has_ended(helix.pid())?, "the mirror ended:\n{}", helix.stderr());
            ensure!(started.elapsed() < LIMIT, "the mirror takes more than an hour:\n{}", helix.stderr());
            before = now;
            std::thread::sleep(LOOK);
        }
    };
    let begun = until(1)?;
    let broker_watch = Watch::start(broker.pid())?;
    let end = until(settings.events)?;
    let broker_cpu_s = broker_watch.read()?.cpu_s;
    let peak = peak_mib(helix.pid())?;
    let postgres_cpu_s: f64 = postgres.pids().into_iter().filter_map(|pid| process_cpu_s(pid).ok()).sum();
    let batches = pages.metrics()?.sum("mirror_batches_total");
    let finished = helix.terminate();
    ensure!(finished.code == Some(0), "the mirror did not stop in good order: {finished:?}");
    let spent = Spent { wall_s: end.wall_s - begun.wall_s, cpu_s: end.cpu_s - begun.cpu_s };
    let row = Row::new(NAME, settings.events, spent).note(format!("{batches} transactions"));
    let row = row.note(format!("Postgres took {postgres_cpu_s:.2} CPU s"));
    let bare =
        Row::new(BARE, settings.events, copy(&url, settings.events)?).note("Postgres alone, from a file of its own");
    Ok([Row { broker_cpu_s: Some(broker_cpu_s), peak_mib: peak, ..row }, bare])
}

fn copy(url: &str, events: u64) -> Result<Spent> {
    // In the server's own folder: it is the server that writes and reads it.
    let file = format!("{}/bare.copy", query(url, "show data_directory").remove(0).remove(0));
    query(url, &format!("copy (select * from memory_events) to '{file}' (format binary)"));
    query(url, ANOTHER);
    query(url, "checkpoint");
    let started = Instant::now();
    query(url, &format!("copy bare.memory_events from '{file}' (format binary)"));
    let wall_s = started.elapsed().as_secs_f64();
    let rows = query(url, "select count(*) from bare.memory_events").remove(0).remove(0);
    ensure!(rows == events.to_string(), "the bare COPY wrote {rows} rows");
    Ok(Spent { wall_s, cpu_s: 0.0 })
}
