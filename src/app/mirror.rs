//! The mirrors of events, snapshots and conflicts: each its own consumer of its topics, and its own connection to Postgres,
//! at its own pace.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Context as _;

use super::Stop;
use crate::config::Topology as File;
use crate::config::graph::Kind;
use crate::edges::kafka::KafkaSettings;
use crate::edges::kafka::mirror::MirrorSource;
use crate::edges::postgres::PostgresSink;
use crate::edges::postgres::mirror::{Mirror, Settings, Status};
use crate::memories::mirror::{ConflictRows, EventRows, ResolverSettings, SnapshotRows, upkeep};
use crate::streams::ports::log::{RowMapper, Stop as StopCalls};

/// Group of the events' mirror, behind the application id; those of the others go on with what they mirror.
const GROUP: &str = "mirror";

/// What one mirror reads, and Postgres behind it, not asked for anything yet.
struct Sink {
    group: String,
    topics: Vec<String>,
    sink: PostgresSink,
    stop: StopCalls,
}

impl Sink {
    fn new(url: &str, group: String, topics: Vec<String>, rows: Arc<dyn RowMapper>) -> Result<Sink, Stop> {
        let stop = StopCalls::default();
        let sink =
            PostgresSink::new(url, rows, stop.clone()).map_err(|e| Stop::Usage(format!("--postgres-url: {e}")))?;
        Ok(Sink { group, topics, sink, stop })
    }
}

/// Of all mirrors, that of the events first.
pub struct Sinks(Vec<Sink>);

/// Reads the URL; a database that is down is no error.
pub fn sinks(url: &str, file: &File) -> Result<Sinks, Stop> {
    let settings = ResolverSettings {
        resolver: file.values.resolver.clone(),
        limits: file.values.limits,
        max_output_bytes: file.values.runtime.max_output_bytes,
    };
    let events = file.graph.sources().map(|(_, topic, _)| topic.to_owned()).collect();
    let mut events = Sink::new(url, GROUP.to_owned(), events, Arc::new(EventRows::new(file.values.limits)))?;
    let keeping = file.values.mirror;
    let chores = upkeep(keeping.partitions_ahead, keeping.retention);
    events.sink = events.sink.with_notice(Arc::new(settings)).with_chores(chores);
    let mut sinks = vec![events];
    let outputs: [(&str, Arc<dyn RowMapper>); 2] =
        [("snapshots", Arc::new(SnapshotRows)), ("conflicts", Arc::new(ConflictRows))];
    for (output, rows) in outputs {
        let topics = topics(file, output);
        if !topics.is_empty() {
            sinks.push(Sink::new(url, format!("{GROUP}-{output}"), topics, rows)?);
        }
    }
    Ok(Sinks(sinks))
}

/// The topics that take an output of `resolve`, and nothing else of it: records of both on one topic have no place in one
/// table.
fn topics(file: &File, output: &str) -> Vec<String> {
    let is_resolver = |name: &str| {
        let mut nodes = file.graph.nodes.iter().filter(|node| node.name == name);
        nodes.any(|node| matches!(&node.kind, Kind::Processor { operator, .. } if operator == "resolve"))
    };
    let mut topics = Vec::new();
    for (node, topic, _) in file.graph.sinks() {
        let of_resolvers = || node.from.iter().filter(|input| is_resolver(&input.node));
        let takes = |input: &crate::config::graph::Input| input.output.as_deref() == Some(output);
        if !of_resolvers().any(takes) {
            continue;
        }
        if of_resolvers().all(takes) {
            topics.push(topic.to_owned());
        } else {
            tracing::warn!("topic {topic} takes several outputs of `resolve`: its {output} are not mirrored");
        }
    }
    topics
}

/// A running mirror.
struct Running {
    topics: String,
    mirror: Mirror,
}

/// The running mirrors.
pub struct Mirrors(Vec<Running>);

impl Mirrors {
    /// Starts them.
    pub fn start(sinks: Sinks, kafka: &KafkaSettings) -> anyhow::Result<Mirrors> {
        let mut all = Vec::new();
        for Sink { group, topics, sink, stop } in sinks.0 {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            let source = MirrorSource::new(kafka, &group, &names)?;
            let mirror = Mirror::start(Box::new(source), sink, stop, Settings::default());
            all.push(Running { topics: topics.join(","), mirror: mirror.context("start a mirror")? });
        }
        Ok(Mirrors(all))
    }

    /// Where each stands, by its topics; that of the events first.
    pub fn status(&self) -> Vec<(String, Arc<Status>)> {
        self.0.iter().map(|running| (running.topics.clone(), running.mirror.status())).collect()
    }

    /// Ends all at once, each on a thread.
    pub fn stop(self) -> Vec<JoinHandle<()>> {
        self.0.into_iter().map(|running| thread::spawn(move || running.mirror.stop())).collect()
    }
}
