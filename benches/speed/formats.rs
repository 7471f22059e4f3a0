//! Measures the cost of the formats of events and outputs, and of a script as a resolver: the real
//! tasks in the driver, with state in memory and no broker, so that the difference stands out.
//! Processor time is that of the whole process: a script has a thread of its own.

use super::generator::Generated;
use super::measure::Watch;
use super::stream::TOPOLOGY;
use super::table::{Row, Table, thousands};
use super::to_avro;
use anyhow::{Context as _, Result, anyhow};
use avro::Avro;
use avro::schemas::VERSIONS;
use avro::settings::RegistrySettings;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use helixstream::Program;
use helixstream::app::{self, Custom};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use streams::driver::TopologyDriver;
use streams::ports::Codec;
use streams::record::{Origin, RecordBatch};
use testkit::Registry;
use topology_file::Topology;

/// So many events at most.
const EVENTS: usize = 50_000;
const PARTITIONS: usize = 12;
/// Events of a memory that are concurrent with each other, in the input for scripts.
const CONTENDERS: usize = 4;
const JSON: &str = "driver: bare JSON in, JSON out";
const MERGE_ALL: &str = "driver: conflicting fields by merge_all";
const SCRIPT: &str = "driver: content by longest.rhai, the rest by merge_all";

/// An event as it stands on its topic.
struct Event {
    key: String,
    timestamp_ms: i64,
    value: Vec<u8>,
}

/// A line for each format, held against JSON.
pub fn formats(first: &[Generated], table: &mut Table) -> Result<()> {
    let registry = Registry::start();
    let newest = VERSIONS.iter().rfind(|version| version.name == "event").context("no schema of events")?;
    let id = registry.register("events-value", newest.text);
    let schema = apache_avro::Schema::parse_str(newest.text)?;
    let settings = RegistrySettings {
        url: registry.url(),
        register: true,
        wait: Duration::from_secs(60),
        ..RegistrySettings::default()
    };
    let codec: Arc<dyn Codec> = Arc::new(Avro::new(settings)?);
    let first = &first[..first.len().min(EVENTS)];
    let enveloped = || first.iter().map(|record| event(record, record.value.clone())).collect::<Vec<_>>();
    let bare: Vec<Event> = first.iter().map(|record| Ok(event(record, bare(record)?))).collect::<Result<_>>()?;
    let in_avro = |event: &Event| {
        let body = to_avro::event(&schema, Some(&event.value)).context("an event that Avro has no place for")?;
        Ok(Event { key: event.key.clone(), value: to_avro::framed(id, &body), ..*event })
    };
    let plain = topology("")?;
    let mut run = |name: &str, file: &Topology, events: &[Event]| -> Result<()> {
        table.add(drive(name, file, Some(codec.clone()), events)?);
        if name != JSON {
            table.compare(name, JSON);
        }
        Ok(())
    };
    run(JSON, &plain, &bare)?;
    run("driver: HelixAgent's envelope in, JSON out", &plain, &enveloped())?;
    let avro: Vec<Event> = bare.iter().map(in_avro).collect::<Result<_>>()?;
    run("driver: Avro in, JSON out", &plain, &avro)?;
    run("driver: bare JSON in, Avro out", &topology("avro")?, &bare)?;
    run("driver: bare JSON in, helixagent out", &topology("helixagent")?, &bare)
}

/// Fields in conflict by a script, held against `merge_all`.
pub fn scripts(first: &[Generated], table: &mut Table) -> Result<()> {
    let first = &first[..first.len().min(EVENTS)];
    let mut events = Vec::new();
    for record in first {
        let mut value: Value = serde_json::from_slice(&bare(record)?)?;
        if value["content"].is_null() {
            continue;
        }
        let memory = events.len() / CONTENDERS;
        let node = events.len() % CONTENDERS;
        let node = format!("node-{node}");
        value["event_type"] = json!("memory.updated");
        value["memory_id"] = json!(format!("mem-{memory}"));
        (value["node_id"], value["vector_clock"]) = (json!(node), json!({ node.as_str(): 1 }));
        events.push(event(record, value.to_string().into_bytes()));
    }
    let merge_all = topology("")?;
    table.add(drive(MERGE_ALL, &merge_all, None, &events)?);
    let mut longest = topology("")?;
    longest.values.set_text("strategy.content=custom:longest", "bench").map_err(|e| anyhow!("{e}"))?;
    table.add(drive(SCRIPT, &longest, None, &events)?);
    table.compare(SCRIPT, MERGE_ALL);
    Ok(())
}

fn event(record: &Generated, value: Vec<u8>) -> Event {
    Event { key: record.key.clone(), timestamp_ms: record.timestamp_ms, value }
}

/// The event in an envelope.
fn bare(record: &Generated) -> Result<Vec<u8>> {
    let envelope: Value = serde_json::from_slice(&record.value)?;
    Ok(STANDARD.decode(envelope["payload"].as_str().context("an envelope without a payload")?)?)
}

/// The memory topology without user snapshots, its outputs in a format, the script at hand.
fn topology(format: &str) -> Result<Topology> {
    let text = std::fs::read_to_string(TOPOLOGY)?;
    let (text, _) = text.split_once("# The nodes below make the user snapshots").context("the topology is another")?;
    let script = TOPOLOGY.replace("memory.toml", "scripts/longest.rhai");
    let script = std::fs::read_to_string(&script).with_context(|| format!("read {script}"))?;
    let mut text = format!("{text}\n[[script]]\nname = \"longest\"\nsource = '''\n{script}'''\n");
    if !format.is_empty() {
        for output in ["from = [\"resolve.snapshots\"]", "from = [\"resolve.conflicts\"]"] {
            text = text.replace(output, &format!("{output}\nformat = \"{format}\""));
        }
    }
    topology_file::parse("bench.toml", &text, &Program::default().operators).map_err(|problems| anyhow!("{problems}"))
}

/// All events through the tasks; one run before that counts makes caches warm.
fn drive(name: &str, file: &Topology, codec: Option<Arc<dyn Codec>>, events: &[Event]) -> Result<Row> {
    let warm = events.len() / 10;
    through(file, codec.clone(), &events[..warm])?;
    let watch = Watch::start(std::process::id())?;
    let counts = through(file, codec, events)?;
    let spent = watch.read()?;
    let [snapshots, conflicts, bytes] = counts;
    let mean = events.iter().map(|event| event.value.len()).sum::<usize>() / events.len().max(1);
    let row = Row::new(name, events.len() as u64, spent)
        .note(format!("events of {mean} bytes in the mean"))
        .note(format!("{} conflict records", thousands(conflicts)))
        .note(format!("outputs of {} bytes in the mean", bytes / (snapshots + conflicts).max(1)));
    Ok(Row { snapshots: Some(snapshots), ..row })
}

/// Snapshots, conflict records, and bytes of both.
fn through(file: &Topology, codec: Option<Arc<dyn Codec>>, events: &[Event]) -> Result<[u64; 3]> {
    let resolvers = app::resolvers::join(file, &Custom::default()).map_err(|e| anyhow!("{e}"))?;
    let engine = app::topology_from_file::build_with(file, &resolvers, codec).map_err(|e| anyhow!("{e}"))?;
    let mut driver = TopologyDriver::new(&engine, "bench", &app::topology_from_file::sizes(file));
    let (mut batch, mut counts) = (RecordBatch::new(), [0; 3]);
    for (n, event) in events.iter().enumerate() {
        batch.clear();
        let partition = (n % PARTITIONS) as i32;
        let offset = (n / PARTITIONS) as i64;
        let origin = Origin { topic: "helixagent.memory.events", partition, offset, timestamp_ms: event.timestamp_ms };
        batch.push(origin, Some(event.key.as_bytes()), Some(&event.value), std::iter::empty::<(&str, Option<&[u8]>)>());
        for input in batch.iter() {
            driver.pipe(&input)?;
        }
        for out in driver.outputs().iter() {
            let kind = match out.origin.topic {
                topic if topic.ends_with("snapshots") => 0,
                topic if topic.ends_with("conflicts") => 1,
                other => return Err(anyhow!("an event of the generator went to {other}")),
            };
            counts[kind] += 1;
            counts[2] += out.record.value.map_or(0, <[u8]>::len) as u64;
        }
        driver.clear_outputs();
    }
    Ok(counts)
}
