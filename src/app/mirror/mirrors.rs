//! The mirrors of a topology: their sinks, and the running threads.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::anyhow;

use crate::app::CommandError;
use crate::app::mirrored_topics::{GROUP, MirroredTable, mirrored_tables};
use memory_operators::mirror::{ResolverSettingsRow, maintenance_tasks};
use mirror::ports::Stop;
use mirror::{Mirror, MirrorSettings, MirrorStatus};
use mirror_postgres::{Database, PostgresSink};
use streams::ports::Codec;
use streams_kafka::renewal::{CurrentSettings, RenewableMirror};
use topology_file::Topology as File;

/// Source and sink of one mirror, before the first request to Postgres.
struct Sink {
    group: String,
    topics: Vec<String>,
    is_optional: bool,
    sink: PostgresSink,
    stop: Stop,
}

/// Of all mirrors, that of the events first.
pub struct Sinks(Vec<Sink>);

/// Makes them; a database that is down is no error.
pub fn sinks(database: &Database, file: &File, codec: Option<&Arc<dyn Codec>>) -> Result<Sinks, CommandError> {
    let settings: Arc<ResolverSettingsRow> = Arc::new(ResolverSettingsRow {
        resolver: file.values.resolver.clone(),
        limits: file.values.limits,
        max_output_bytes: file.values.runtime.max_output_bytes,
    });
    let sink = |table: MirroredTable| -> Result<Sink, CommandError> {
        let stop = Stop::default();
        let is_events = table.group == GROUP;
        let mut sink = PostgresSink::new(database, table.rows, stop.clone())?;
        if is_events {
            let keeping = &file.values.mirror;
            let maintenance = maintenance_tasks(keeping.partitions_ahead, keeping.retention);
            sink = sink.with_startup_row(settings.clone()).with_maintenance(maintenance);
        }
        Ok(Sink { group: table.group, topics: table.topics, is_optional: table.is_optional, sink, stop })
    };
    Ok(Sinks(mirrored_tables(file, codec).into_iter().map(sink).collect::<Result<_, CommandError>>()?))
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
    pub fn start(sinks: Sinks, kafka: &CurrentSettings) -> anyhow::Result<Mirrors> {
        let mut all = Vec::new();
        for Sink { group, topics, is_optional, sink, stop } in sinks.0 {
            let source = RenewableMirror::new(kafka, &group, &topics, is_optional)?;
            let mirror = Mirror::start(Box::new(source), sink, stop, MirrorSettings::default());
            all.push(Running {
                topics: topics.join(","),
                mirror: mirror.map_err(|e| anyhow!("cannot start a mirror: {e} [HS0008]"))?,
            });
        }
        Ok(Mirrors(all))
    }

    /// Where each stands, by its topics; that of the events first.
    pub fn status(&self) -> Vec<(String, Arc<MirrorStatus>)> {
        self.0.iter().map(|running| (running.topics.clone(), running.mirror.status())).collect()
    }

    /// Fails when a broker refuses one of them what it reads, which no waiting mends.
    pub fn check(&self) -> anyhow::Result<()> {
        let refusal = |running: &Running| running.mirror.status().refusal().map(str::to_owned);
        match self.0.iter().find_map(|running| Some((&running.topics, refusal(running)?))) {
            Some((topics, why)) => Err(anyhow!("the mirror of {topics} cannot continue: {why}")),
            None => Ok(()),
        }
    }

    /// Ends all at once, each on a thread.
    pub fn stop(self) -> Vec<JoinHandle<()>> {
        self.0.into_iter().map(|running| thread::spawn(move || running.mirror.stop())).collect()
    }
}
