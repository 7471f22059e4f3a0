//! `make bench`: one table of figures, measured in one run on generated input that Kafka Streams
//! can be measured on as well.
//!
//! Variables: `N` events (1,000,000), `M` memories (100,000), `SEED` (1), `THREADS` of the stream,
//! one run for each number (`1 2`), `STRATEGY` (last_write_wins), `STEPS` (all of: apply replay
//! formats scripts node mirror stream tls users restore limit; and takeover), `IDLE` seconds of a
//! node that is left alone (12), `ANCHOR=1` to run Kafka Streams beside it. `scripts/bench` builds
//! what is needed; `README.md` says what each line of the table means.

#[path = "../../tests/support/mod.rs"]
#[allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "the servers are those of the tests")]
mod support;

/// How the tests make Avro of an event.
#[allow(dead_code, reason = "the tests do more with it than the bench")]
#[path = "../../tests/formats/to_avro.rs"]
#[allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "the conversion is that of the tests")]
mod to_avro;

mod anchor;
mod apply;
mod formats;
mod generator;
mod input;
mod limit;
mod measure;
mod metrics;
mod mirror;
mod node;
mod sizes;
mod stream;
mod table;
mod takeover;

use anyhow::{Context as _, Result};
use memory::settings as domain;
use std::path::PathBuf;
use std::time::Duration;
use stream::Job;
use table::Table;
use testkit::secure::{self, Login, SecureBroker};

/// Settings of a measurement, from the variables.
pub struct BenchSettings {
    /// Events.
    pub events: u64,
    /// Memories that they are spread over.
    pub memories: u64,
    /// Seed of the generator: the same seed gives the same bytes.
    pub seed: u64,
    /// Stream threads: one run for each number.
    pub threads: Vec<u64>,
    /// How conflicts are resolved.
    pub strategy: domain::Strategy,
    /// Steps that are run.
    pub steps: Vec<String>,
    /// How long a node is left alone: in the default time it sends at least one heartbeat.
    pub idle: Duration,
    /// Whether Kafka Streams is run too.
    pub with_anchor: bool,
    /// Folder of the anchor's classes and jars.
    pub anchor_build: PathBuf,
}

impl BenchSettings {
    fn from_environment() -> Result<BenchSettings> {
        let text = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let parse = |name: &str, value: &str| {
            value.replace('_', "").parse().with_context(|| format!("{name} must be a number, not {value:?}"))
        };
        let number = |name: &str, default: &str| parse(name, &text(name, default));
        let threads = text("THREADS", "1 2");
        Ok(BenchSettings {
            events: number("N", "1_000_000")?,
            memories: number("M", "100_000")?,
            seed: number("SEED", "1")?,
            threads: threads.split_whitespace().map(|count| parse("THREADS", count)).collect::<Result<_>>()?,
            strategy: text("STRATEGY", "last_write_wins").parse().context("read STRATEGY")?,
            steps: text("STEPS", "apply replay formats scripts node mirror stream tls users restore limit")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            idle: Duration::from_secs(number("IDLE", "12")?),
            with_anchor: text("ANCHOR", "0") == "1",
            anchor_build: PathBuf::from(text("ANCHOR_BUILD", "")),
        })
    }

    /// Whether a step is asked for.
    pub fn has(&self, step: &str) -> bool {
        self.steps.iter().any(|asked| asked == step)
    }
}

fn main() -> Result<()> {
    // `cargo test --all-targets` runs this too, without the flag that `cargo bench` gives.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let settings = BenchSettings::from_environment()?;
    let mut table = Table::new(&settings);
    say(&format!("generating {} events of {} memories", settings.events, settings.memories));
    let input = input::generate(&settings)?;
    table.describe_input(&settings, &input);
    if settings.has("apply") {
        say("the domain alone");
        let resolver = domain::ResolverSettings { strategy: settings.strategy, ..domain::ResolverSettings::default() };
        apply::run(&input.first, &resolver)?.into_iter().for_each(|row| table.add(row));
        sizes::run(settings.events, &resolver)?.into_iter().for_each(|row| table.add(row));
    }
    if settings.has("replay") {
        say("replay");
        table.add(stream::replay(&settings, &input)?);
    }
    if settings.has("formats") {
        say("the formats, in the driver");
        formats::formats(&input.first, &mut table)?;
    }
    if settings.has("scripts") {
        say("a script as a resolver, in the driver");
        formats::scripts(&input.first, &mut table)?;
    }
    if settings.has("node") {
        say("a node");
        node::measure(&settings)?.into_iter().for_each(|row| table.add(row));
    }
    if ["mirror", "stream", "tls", "users", "limit", "restore", "takeover"].iter().any(|step| settings.has(step))
        || settings.with_anchor
    {
        on_kafka(&settings, &input, &mut table)?;
    }
    println!("\n{table}");
    Ok(())
}

fn on_kafka(settings: &BenchSettings, input: &input::Input, table: &mut Table) -> Result<()> {
    say("starting Kafka, publishing the events");
    // One broker for all rows: it listens without encryption, and with TLS.
    let secure = SecureBroker::start(secure::Options { heap: Some("1g"), ..secure::Options::default() });
    let broker: &testkit::Broker = secure.open();
    let plain = stream::plain(broker);
    let tls = secure.login(Login::Tls).arguments();
    stream::prepare(settings, broker, input)?;
    if settings.has("mirror") {
        say("the mirror of the events, and a bare COPY");
        mirror::measure(settings, broker)?.into_iter().for_each(|row| table.add(row));
        table.compare(mirror::NAME, mirror::BARE);
    }
    if settings.has("takeover") {
        say("takeovers");
        takeover::measure(settings, broker)?.into_iter().for_each(|row| table.add(row));
    }
    let mut volumes = None;
    let runs =
        ["stream", "tls", "users", "limit", "restore"].iter().any(|step| settings.has(step)) || settings.with_anchor;
    for &threads in settings.threads.iter().filter(|_| runs) {
        say(&format!("the pipeline, {threads} stream threads"));
        let run = stream::run(settings, broker, &plain, threads, Job::Resolve)?;
        table.add(run.row);
        if settings.has("tls") {
            say("the pipeline over TLS");
            table.add(stream::run(settings, broker, &tls, threads, Job::ResolveOverTls)?.row);
            table.compare(&Job::ResolveOverTls.row_name(threads), &Job::Resolve.row_name(threads));
        }
        if settings.has("users") {
            say("the pipeline with user snapshots");
            table.add(stream::run(settings, broker, &plain, threads, Job::WithUsers)?.row);
            table.compare(&Job::WithUsers.row_name(threads), &Job::Resolve.row_name(threads));
        }
        if settings.has("restore") {
            let of = settings.threads[0];
            say(&format!("restore of what {of} threads wrote, {threads} stream threads"));
            table.add(stream::restore(settings, broker, of, threads)?);
        }
        volumes.get_or_insert(run.volumes);
    }
    if let Some(volumes) = volumes.filter(|_| settings.has("limit")) {
        say("the same bytes by librdkafka alone");
        table.add(limit::measure(broker, &volumes)?);
    }
    if settings.with_anchor {
        for &threads in &settings.threads {
            say(&format!("Kafka Streams, {threads} stream threads"));
            anchor::measure(settings, broker, threads)?.into_iter().for_each(|row| table.add(row));
            table.compare(&Job::Resolve.row_name(threads), &anchor::name(threads));
            table.compare(&stream::restore_name(threads), &anchor::restore_name(threads));
        }
    }
    Ok(())
}

/// Progress, away from the table.
fn say(what: &str) {
    eprintln!("-- {what}");
}
