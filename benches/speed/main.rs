//! `make bench`: one table of figures, measured in one run on generated input that Kafka Streams can be measured on as well.
//!
//! Variables: `N` events (1,000,000), `M` memories (100,000), `SEED` (1), `THREADS` of the stream (1), `STRATEGY` (last_write_wins),
//! `STEPS` (all of: apply replay stream limit restore), `ANCHOR=1` to run Kafka Streams beside it. `scripts/bench` builds what is needed.

#[path = "../../tests/support/mod.rs"]
mod support;

mod anchor;
mod apply;
mod input;
mod limit;
mod measure;
mod stream;
mod table;

use anyhow::{Context as _, Result};
use std::path::PathBuf;
use table::{Row, Table};

/// What is measured, from the variables.
pub struct Settings {
    /// Events.
    pub events: u64,
    /// Memories that they are spread over.
    pub memories: u64,
    /// Seed of the generator: the same seed gives the same bytes.
    pub seed: u64,
    /// Stream threads.
    pub threads: u64,
    /// How conflicts are resolved.
    pub strategy: String,
    /// Steps that are run.
    pub steps: Vec<String>,
    /// Whether Kafka Streams is run too.
    pub with_anchor: bool,
    /// Folder of the anchor's classes and jars.
    pub anchor_build: PathBuf,
}

impl Settings {
    fn from_environment() -> Result<Settings> {
        let text = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let number = |name: &str, default: &str| {
            let value = text(name, default);
            value.replace('_', "").parse().with_context(|| format!("{name} must be a number, not {value:?}"))
        };
        Ok(Settings {
            events: number("N", "1_000_000")?,
            memories: number("M", "100_000")?,
            seed: number("SEED", "1")?,
            threads: number("THREADS", "1")?,
            strategy: text("STRATEGY", "last_write_wins"),
            steps: text("STEPS", "apply replay stream limit restore").split_whitespace().map(str::to_owned).collect(),
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
    let settings = Settings::from_environment()?;
    let mut table = Table::new(&settings);
    if settings.has("apply") {
        say("apply: one memory, ever larger");
        apply::measure(&mut table)?;
    }
    if ["replay", "stream", "limit", "restore"].iter().any(|step| settings.has(step)) {
        measure_on_input(&settings, &mut table)?;
    }
    println!("\n{table}");
    Ok(())
}

fn measure_on_input(settings: &Settings, table: &mut Table) -> Result<()> {
    say(&format!("generating {} events of {} memories", settings.events, settings.memories));
    let input = input::generate(settings)?;
    table.describe_input(&input);
    if settings.has("replay") {
        say("replay");
        table.add(stream::replay(settings, &input)?);
    }
    if !settings.has("stream") && !settings.has("limit") && !settings.has("restore") {
        return Ok(());
    }
    say("starting Kafka, publishing the events");
    let broker = support::Broker::start_with_heap("1g");
    stream::prepare(settings, &broker, &input)?;
    let (measured, volumes) = stream::run(settings, &broker)?;
    table.add(measured);
    if settings.has("restore") {
        say("restore");
        table.add(stream::restore(settings, &broker, &volumes)?);
    }
    if settings.has("limit") {
        say("the same bytes by librdkafka alone");
        table.add(limit::measure(&broker, &volumes)?);
    }
    if settings.with_anchor {
        say("Kafka Streams");
        anchor::measure(settings, &broker)?.into_iter().for_each(|row: Row| table.add(row));
    }
    Ok(())
}

/// Progress, away from the table.
fn say(what: &str) {
    eprintln!("-- {what}");
}
