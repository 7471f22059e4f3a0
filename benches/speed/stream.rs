//! The program itself: `replay`, the pipeline on Kafka, and the restore of its state.

use super::BenchSettings;
use super::input::Input;
use super::limit::{Volumes, volume};
use super::measure::{Spent, Watch, has_ended, peak_mib, threads as threads_of};
use super::metrics::Pages;
use super::support::Helix;
use super::table::{Row, thousands};
use anyhow::{Context as _, Result, ensure};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::Duration;
use testkit::{Broker, ports::free_port, process::temp_dir};

/// The memory topology.
pub const TOPOLOGY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/topologies/memory.toml");
pub const EVENTS: &str = "helixagent.memory.events";
const SNAPSHOTS: &str = "helixagent.memory.snapshots";
const CONFLICTS: &str = "helixagent.memory.conflicts";
/// The world's topics, as the topology file has them.
pub const TOPICS: [(&str, usize); 4] =
    [(EVENTS, 12), (SNAPSHOTS, 6), (CONFLICTS, 3), ("helixagent.memory.dead-letters", 3)];
/// Tasks of a job that resolves alone: one for each partition of the events, and one for each of
/// the repartition topic, which has as many.
pub const TASKS: u64 = 2 * TOPICS[0].1 as u64;
const LOOK: Duration = Duration::from_millis(20);
const LOOK_AT_OFFSETS: Duration = Duration::from_millis(100);
const LIMIT_S: f64 = 3600.0;

/// The job that is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Resolving alone, which is what the anchor does.
    Resolve,
    /// The same over TLS.
    ResolveOverTls,
    /// Resolving alone, with a standby of each store.
    ResolveWithStandby,
    /// The whole of `memory.toml`: user snapshots too.
    WithUsers,
}

impl Job {
    /// A topology file, in a folder.
    fn topology(self, folder: &std::path::Path) -> Result<std::path::PathBuf> {
        let text = std::fs::read_to_string(TOPOLOGY)?;
        let (resolving, _) =
            text.split_once("# The nodes below make the user snapshots").context("memory.toml lacks its mark")?;
        let path = folder.join("bench.toml");
        let file = match self {
            Job::Resolve | Job::ResolveOverTls => resolving.to_owned(),
            Job::ResolveWithStandby => resolving.replace("# standby = 0", "standby = 1"),
            Job::WithUsers => text,
        };
        std::fs::write(&path, file)?;
        Ok(path)
    }

    pub fn application(self, threads: u64) -> String {
        match self {
            Job::Resolve => format!("bench{threads}"),
            Job::ResolveOverTls => format!("benchtls{threads}"),
            Job::ResolveWithStandby => format!("benchstandby{threads}"),
            Job::WithUsers => format!("benchusers{threads}"),
        }
    }

    /// Its line of the table.
    pub fn row_name(self, threads: u64) -> String {
        match self {
            Job::Resolve => format!("helixstream run, {threads} thread(s)"),
            Job::ResolveOverTls => format!("helixstream run over TLS, {threads} thread(s)"),
            Job::ResolveWithStandby => format!("helixstream run with standbys, {threads} thread(s)"),
            Job::WithUsers => format!("helixstream run with user snapshots, {threads} thread(s)"),
        }
    }

    /// The internal topics between its sub-topologies.
    pub fn repartitions(self, threads: u64) -> Vec<String> {
        let topic = |name: &str| format!("{}-{name}-repartition", self.application(threads));
        match self {
            Job::Resolve | Job::ResolveOverTls | Job::ResolveWithStandby => vec![topic("by-memory")],
            Job::WithUsers => vec![topic("by-memory"), topic("by-user")],
        }
    }
}

/// The line of the restore.
pub fn restore_name(threads: u64) -> String {
    format!("helixstream restore, {threads} thread(s)")
}

/// `replay` of the record file.
pub fn replay(settings: &BenchSettings, input: &Input) -> Result<Row> {
    let output = temp_dir("replay");
    let topology = Job::Resolve.topology(&output)?;
    let strategy = format!("strategy={}", settings.strategy);
    let from = text(&input.file)?;
    let to = text(&output)?;
    let helix =
        Helix::spawn(&["replay", "--topology", text(&topology)?, "--input", from, "--output", to, "--set", &strategy]);
    let watch = Watch::start(helix.pid())?;
    let mut peak = None;
    while !has_ended(helix.pid())? {
        peak = peak_mib(helix.pid())?.or(peak);
        std::thread::sleep(LOOK);
    }
    let spent = watch.read()?;
    let finished = helix.finish();
    ensure!(finished.code == Some(0), "replay failed: {finished:?}");
    std::fs::remove_dir_all(&output)?;
    let row = Row::new("replay, a record file to record files", input.records, spent);
    Ok(Row { peak_mib: peak, ..row.note(finished.stdout.trim()) })
}

/// Creates the topics that the topology file names.
pub fn create_topics(broker: &Broker) {
    for (topic, partitions) in TOPICS {
        broker.create_topic(topic, partitions, &[("retention.ms", "-1"), ("max.message.bytes", "16777216")]);
    }
}

/// Creates the topics and publishes the events.
pub fn prepare(settings: &BenchSettings, broker: &Broker, input: &Input) -> Result<()> {
    create_topics(broker);
    let bootstrap = broker.bootstrap();
    let produce =
        Helix::run(&["produce", "--input", text(&input.file)?, "--topic", EVENTS, "--bootstrap-servers", &bootstrap]);
    ensure!(produce.code == Some(0), "produce failed: {produce:?}");
    let ends: u64 = ends(broker, EVENTS)?.iter().sum();
    ensure!(ends == settings.events, "{EVENTS} holds {ends} records");
    Ok(())
}

/// Result of a run of the pipeline.
pub struct Run {
    /// Its line.
    pub row: Row,
    /// Volumes that it moved.
    pub volumes: Volumes,
}

/// The pipeline: from the first record processed until all input and all of the repartition topics
/// is committed. It reaches the broker by the flags `connection`.
pub fn run(settings: &BenchSettings, broker: &Broker, connection: &[String], threads: u64, job: Job) -> Result<Run> {
    let state = temp_dir("state");
    let before = volume(broker, SNAPSHOTS)?;
    let conflicts_before = volume(broker, CONFLICTS)?;
    let instance = Instance::start(settings, connection, &state, threads, job)?;
    let begun = instance.until(LOOK, |pages| Ok(pages.metrics().is_ok_and(|now| now.sum("records_total") > 0)))?;
    let broker_watch = Watch::start(broker.pid())?;
    let group: BaseConsumer = broker.client().set("group.id", job.application(threads)).create()?;
    let repartitions = job.repartitions(threads);
    for topic in [EVENTS].into_iter().chain(repartitions.iter().map(String::as_str)) {
        instance.until(LOOK_AT_OFFSETS, |_| is_done(broker, &group, topic))?;
    }
    let end = instance.watch.read()?;
    let broker_cpu_s = broker_watch.read()?.cpu_s;
    let spent = Spent { wall_s: end.wall_s - begun.wall_s, cpu_s: end.cpu_s - begun.cpu_s };
    let peak = peak_mib(instance.pid())?;
    let count = threads_of(instance.pid())?;
    let metrics = instance.pages.metrics()?;
    instance.stop()?;
    std::fs::remove_dir_all(&state)?;
    let changelog = format!("{}-memories-changelog", job.application(threads));
    let volumes = Volumes {
        events: volume(broker, EVENTS)?,
        repartition: volume(broker, &repartitions[0])?,
        outputs: vec![
            (12, volume(broker, &changelog)?),
            (6, volume(broker, SNAPSHOTS)?.since(before)),
            (3, volume(broker, CONFLICTS)?.since(conflicts_before)),
        ],
    };
    let row = Row {
        snapshots: Some(volumes.outputs[1].1.records),
        broker_cpu_s: Some(broker_cpu_s),
        peak_mib: peak,
        ..Row::new(job.row_name(threads), settings.events, spent)
    };
    let row = row
        .note(metrics.commit_times())
        .note(format!("{} snapshots", thousands(volumes.outputs[1].1.records)))
        .note(format!("{} changelog records", thousands(volumes.outputs[0].1.records)))
        .note(format!("{count} threads in all"))
        .note(format!("start to first record {:.2} s, {:.2} CPU s", begun.wall_s, begun.cpu_s));
    Ok(Run { row, volumes })
}

/// The flags by which a broker is reached without encryption.
pub fn plain(broker: &Broker) -> Vec<String> {
    vec!["--bootstrap-servers".to_owned(), broker.bootstrap()]
}

/// The state of a lost disk, from the changelog of the application that ran with `of` threads: from
/// the first record restored until every task runs.
pub fn restore(settings: &BenchSettings, broker: &Broker, of: u64, threads: u64) -> Result<Row> {
    let state = temp_dir("state");
    let application = Job::Resolve.application(of);
    let instance = Instance::start_as(&application, settings, &plain(broker), &state, threads, Job::Resolve)?;
    let is_begun =
        |pages: &Pages| pages.metrics().is_ok_and(|now| now.sum("restored_records_total") > 0) || pages.is_ready();
    let begun = instance.until(LOOK, |pages| Ok(is_begun(pages)))?;
    let broker_watch = Watch::start(broker.pid())?;
    // `/ready` speaks of the tasks that are assigned: while a task moves to another thread, it is
    // true for a moment.
    let all_run = |pages: &Pages| pages.is_ready() && pages.metrics().is_ok_and(|now| now.running_tasks() == TASKS);
    instance.until(LOOK, |pages| Ok(all_run(pages)))?;
    let end = instance.watch.read()?;
    let broker_cpu_s = broker_watch.read()?.cpu_s;
    let spent = Spent { wall_s: end.wall_s - begun.wall_s, cpu_s: end.cpu_s - begun.cpu_s };
    let peak = peak_mib(instance.pid())?;
    instance.stop()?;
    std::fs::remove_dir_all(&state)?;
    let changelog = volume(broker, &format!("{application}-memories-changelog"))?;
    let row = Row::new(restore_name(threads), changelog.records, spent)
        .note(format!("start to ready {:.2} s, {:.2} CPU s in all", end.wall_s, end.cpu_s))
        .note(format!("{} MB/s", (changelog.bytes as f64 / spent.wall_s / 1e6) as u64));
    Ok(Row { broker_cpu_s: Some(broker_cpu_s), peak_mib: peak, ..row })
}

/// A running program, and what it has used since its start.
pub struct Instance {
    helix: Helix,
    watch: Watch,
    pub pages: Pages,
}

impl Instance {
    pub fn start(
        settings: &BenchSettings,
        connection: &[String],
        state: &std::path::Path,
        threads: u64,
        job: Job,
    ) -> Result<Instance> {
        Instance::start_as(&job.application(threads), settings, connection, state, threads, job)
    }

    /// Starts it as another application than that of its threads.
    fn start_as(
        application: &str,
        settings: &BenchSettings,
        connection: &[String],
        state: &std::path::Path,
        threads: u64,
        job: Job,
    ) -> Result<Instance> {
        let topology = job.topology(&temp_dir("topology"))?;
        let http = format!("127.0.0.1:{}", free_port());
        let count = threads.to_string();
        let strategy = format!("strategy={}", settings.strategy);
        let mut command = Helix::command();
        command.args(["run", "--topology", text(&topology)?, "--no-mirror"]).args(connection);
        command.args(["--application-id", application, "--state-dir", text(state)?, "--threads", &count]);
        // Purged records could not be counted afterwards.
        command.args(["--http-listen", &http, "--set", &strategy, "--set", "purge=false"]);
        let helix = Helix::spawn_command(command);
        let watch = Watch::start(helix.pid())?;
        Ok(Instance { helix, watch, pages: Pages(http) })
    }

    fn pid(&self) -> u32 {
        self.helix.pid()
    }

    /// Waits until `is_there`; what had been used when that was last looked for in vain, so that
    /// what begins then is counted whole.
    pub fn until(&self, pause: Duration, is_there: impl Fn(&Pages) -> Result<bool>) -> Result<Spent> {
        let mut before = self.watch.read()?;
        loop {
            let now = self.watch.read()?;
            if is_there(&self.pages)? {
                return Ok(before);
            }
            ensure!(!has_ended(self.pid())?, "helixstream ended:\n{}", self.helix.stderr());
            ensure!(now.wall_s < LIMIT_S, "helixstream takes more than an hour:\n{}", self.helix.stderr());
            before = now;
            std::thread::sleep(pause);
        }
    }

    /// Ends it with SIGKILL.
    pub fn kill(self) {
        self.helix.kill();
    }

    pub fn stop(self) -> Result<()> {
        let finished = self.helix.terminate();
        ensure!(finished.code == Some(0), "run did not stop in good order: {finished:?}");
        Ok(())
    }
}

/// Whether the group has committed a topic to its end.
pub fn is_done(broker: &Broker, group: &BaseConsumer, topic: &str) -> Result<bool> {
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

fn text(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
