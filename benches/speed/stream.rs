//! The program itself: `replay`, the pipeline on Kafka, and the restore of its state.

use super::Settings;
use super::input::Input;
use super::limit::{Volume, Volumes, volume};
use super::measure::{Watch, peak_mib};
use super::support::{Broker, Helix, process::temp_dir};
use super::table::Row;
use anyhow::{Context as _, Result, ensure};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const TOPOLOGY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/topologies/memory.toml");
const GROUP: &str = "helixstream";
const EVENTS: &str = "helixagent.memory.events";
const REPARTITION: &str = "helixstream-by-memory-repartition";
const CHANGELOG: &str = "helixstream-memories-changelog";
const SNAPSHOTS: &str = "helixagent.memory.snapshots";
const CONFLICTS: &str = "helixagent.memory.conflicts";
const HTTP: &str = "127.0.0.1:28080";
const PAUSE: Duration = Duration::from_millis(50);

/// `replay` of the record file.
pub fn replay(settings: &Settings, input: &Input) -> Result<Row> {
    let output = temp_dir("replay");
    let strategy = format!("strategy={}", settings.strategy);
    let paths = [text(&input.file)?, text(&output)?];
    let mut helix = Helix::spawn(&[
        "replay",
        "--topology",
        TOPOLOGY,
        "--input",
        paths[0],
        "--output",
        paths[1],
        "--set",
        &strategy,
    ]);
    let watch = Watch::start(helix.pid())?;
    let (mut times, mut peak) = (watch.read()?, 0);
    while let (true, Ok(read), Ok(now)) = (helix.is_running(), watch.read(), peak_mib(helix.pid())) {
        (times, peak) = (read, peak.max(now));
        std::thread::sleep(PAUSE);
    }
    let finished = helix.finish();
    ensure!(finished.code == Some(0), "replay failed: {finished:?}");
    let snapshots =
        std::io::BufRead::lines(std::io::BufReader::new(std::fs::File::open(output.join("snapshots.jsonl"))?)).count();
    std::fs::remove_dir_all(&output)?;
    let step = "replay, a record file to record files".to_owned();
    let (wall_s, cpu_s) = times;
    Ok(Row {
        step,
        records: input.records,
        snapshots: Some(snapshots as u64),
        wall_s,
        cpu_s,
        peak_mib: Some(peak),
        ..Row::default()
    })
}

/// Creates the topics and publishes the events.
pub fn prepare(settings: &Settings, broker: &Broker, input: &Input) -> Result<()> {
    let bootstrap = broker.bootstrap();
    let create = Helix::run(&["topics", "create", "--topology", TOPOLOGY, "--bootstrap-servers", &bootstrap]);
    ensure!(create.code == Some(0), "topics create failed: {create:?}");
    let produce =
        Helix::run(&["produce", "--input", text(&input.file)?, "--topic", EVENTS, "--bootstrap-servers", &bootstrap]);
    ensure!(produce.code == Some(0), "produce failed: {produce:?}");
    let ends: u64 = ends(broker, EVENTS)?.iter().sum();
    ensure!(ends >= settings.events, "{EVENTS} holds {ends} records");
    Ok(())
}

/// The pipeline, from its start until all input and all of the repartition topic is committed.
pub fn run(settings: &Settings, broker: &Broker) -> Result<(Row, Volumes)> {
    super::say("the pipeline");
    let state = temp_dir("state");
    let helix = start(settings, broker, &state)?;
    let (watch, broker_watch) = (Watch::start(helix.pid())?, Watch::start(broker.pid())?);
    let group: BaseConsumer = broker.client().set("group.id", GROUP).create()?;
    for topic in [EVENTS, REPARTITION] {
        while !is_done(broker, &group, topic)? {
            ensure!(watch.read()?.0 < 3600.0, "the pipeline takes more than an hour:\n{}", helix.stderr());
            std::thread::sleep(PAUSE);
        }
    }
    let ((wall_s, cpu_s), (_, broker_cpu_s)) = (watch.read()?, broker_watch.read()?);
    let peak = peak_mib(helix.pid())?;
    let note = commit_times(&page("/metrics")?);
    stop(helix)?;
    std::fs::remove_dir_all(&state)?;
    let count = |topic: &str| volume(broker, topic);
    let volumes = Volumes {
        events: count(EVENTS)?,
        repartition: count(REPARTITION)?,
        outputs: [(CHANGELOG, 12), (SNAPSHOTS, 6), (CONFLICTS, 3)]
            .into_iter()
            .map(|(topic, partitions)| Ok((partitions, count(topic)?)))
            .collect::<Result<Vec<(usize, Volume)>>>()?,
    };
    let row = Row {
        step: "the pipeline on Kafka".to_owned(),
        records: settings.events,
        snapshots: Some(volumes.outputs[1].1.records),
        wall_s,
        cpu_s,
        broker_cpu_s: Some(broker_cpu_s),
        peak_mib: Some(peak),
        note,
    };
    Ok((row, volumes))
}

/// The state of a lost disk, from the changelog, until every task runs.
pub fn restore(settings: &Settings, broker: &Broker, volumes: &Volumes) -> Result<Row> {
    let state = temp_dir("state");
    let helix = start(settings, broker, &state)?;
    let (watch, broker_watch) = (Watch::start(helix.pid())?, Watch::start(broker.pid())?);
    while !page("/ready").is_ok_and(|page| page.starts_with("HTTP/1.1 200")) {
        ensure!(watch.read()?.0 < 3600.0, "the restore takes more than an hour:\n{}", helix.stderr());
        std::thread::sleep(PAUSE);
    }
    let ((wall_s, cpu_s), (_, broker_cpu_s)) = (watch.read()?, broker_watch.read()?);
    let peak = peak_mib(helix.pid())?;
    stop(helix)?;
    let Volume { records, bytes } = volumes.outputs[0].1;
    let note = format!("start to ready; {records} changelog records, {} MB/s", (bytes as f64 / wall_s / 1e6) as u64);
    let step = "restore".to_owned();
    Ok(Row {
        step,
        records,
        snapshots: None,
        wall_s,
        cpu_s,
        broker_cpu_s: Some(broker_cpu_s),
        peak_mib: Some(peak),
        note,
    })
}

fn start(settings: &Settings, broker: &Broker, state: &std::path::Path) -> Result<Helix> {
    let (threads, strategy) = (settings.threads.to_string(), format!("strategy={}", settings.strategy));
    // Purged records could not be counted afterwards.
    Ok(Helix::spawn(&[
        "run",
        "--topology",
        TOPOLOGY,
        "--bootstrap-servers",
        &broker.bootstrap(),
        "--state-dir",
        text(state)?,
        "--threads",
        &threads,
        "--no-mirror",
        "--http-listen",
        HTTP,
        "--set",
        &strategy,
        "--set",
        "purge=false",
    ]))
}

fn stop(helix: Helix) -> Result<()> {
    let finished = helix.terminate();
    ensure!(finished.code == Some(0), "run did not stop in good order: {finished:?}");
    Ok(())
}

/// Whether the group has committed a topic to its end.
fn is_done(broker: &Broker, group: &BaseConsumer, topic: &str) -> Result<bool> {
    let Ok(ends) = ends(broker, topic) else { return Ok(false) };
    let mut asked = TopicPartitionList::new();
    for partition in 0..ends.len() {
        asked.add_partition(topic, partition as i32);
    }
    let committed = group.committed_offsets(asked, Duration::from_secs(30))?;
    let done = |(partition, end): (usize, &u64)| {
        let offset = committed.find_partition(topic, partition as i32).map(|found| found.offset().to_raw());
        *end == 0 || offset.flatten().is_some_and(|offset| offset >= *end as i64)
    };
    Ok(!ends.is_empty() && ends.iter().enumerate().all(done))
}

fn ends(broker: &Broker, topic: &str) -> Result<Vec<u64>> {
    let consumer: BaseConsumer = broker.client().create()?;
    let count = broker.partition_count(topic).with_context(|| format!("there is no topic {topic}"))?;
    let end =
        |partition: usize| Ok(consumer.fetch_watermarks(topic, partition as i32, Duration::from_secs(30))?.1 as u64);
    (0..count).map(end).collect()
}

/// An HTTP answer, head and body.
fn page(path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(HTTP)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The bounds below which half and 99 of 100 commits lie, from the histogram of the metrics page.
fn commit_times(page: &str) -> String {
    let buckets: Vec<(&str, f64)> = page
        .lines()
        .filter_map(|line| {
            let (bound, count) = line.split_once("commit_seconds_bucket{le=\"")?.1.split_once("\"}")?;
            Some((bound, count.trim().parse().ok()?))
        })
        .collect();
    let total = buckets.last().map_or(0.0, |(_, count)| *count);
    let below = |share: f64| buckets.iter().find(|(_, count)| *count >= total * share).map_or("?", |(bound, _)| bound);
    format!("{total} commits: half below {} s, 99 of 100 below {} s", below(0.5), below(0.99))
}

fn text(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
