//! The mirrors of a topology: their sinks, and the running threads.

use std::sync::{Arc, Once};
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
    is_optional: bool,
    mirror: Mirror,
    /// Of the refusal of an optional topic.
    warned: Once,
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
                is_optional,
                warned: Once::new(),
                mirror: mirror.map_err(|e| anyhow!("cannot start a mirror: {e} [HS0008]"))?,
            });
        }
        Ok(Mirrors(all))
    }

    /// Where each stands, by its topics; that of the events first.
    pub fn status(&self) -> Vec<(String, Arc<MirrorStatus>)> {
        self.0.iter().map(|running| (running.topics.clone(), running.mirror.status())).collect()
    }

    /// Fails when a broker refuses one of them what it reads, which no waiting mends. Optional
    /// topics may be made after the start, when the rights were looked at: a refusal of these is
    /// logged once, and their mirror keeps trying.
    pub fn check(&self) -> anyhow::Result<()> {
        for running in &self.0 {
            let status = running.mirror.status();
            let Some(why) = status.refusal() else { continue };
            if !running.is_optional {
                return Err(cannot_continue(&running.topics, why));
            }
            running.warned.call_once(|| {
                tracing::warn!(
                    code = "HS4067",
                    topic = running.topics,
                    reason = why,
                    "the brokers refuse an optional topic to the mirror, which keeps trying, and all else goes on; add the \
                     right, or set nodes_topic to off"
                );
            });
        }
        Ok(())
    }

    /// As [`Mirrors::check`], of optional topics too: for a command that ends when all is mirrored.
    pub fn check_all(&self) -> anyhow::Result<()> {
        self.0.iter().try_for_each(|running| match running.mirror.status().refusal() {
            Some(why) => Err(cannot_continue(&running.topics, why)),
            None => Ok(()),
        })
    }

    /// Ends all at once, each on a thread.
    pub fn stop(self) -> Vec<JoinHandle<()>> {
        self.0.into_iter().map(|running| thread::spawn(move || running.mirror.stop())).collect()
    }
}

fn cannot_continue(topics: &str, why: &str) -> anyhow::Error {
    anyhow!("the mirror of {topics} cannot continue: {why}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use memory_operators::mirror::NodeRows;
    use mirror::ports::{LogError, LogReceiver, LogSource, TopicPartition};

    /// A broker that refuses to be read.
    struct Refusing;

    impl LogSource for Refusing {
        fn poll(&mut self, _: Duration, _: &mut dyn LogReceiver) -> Result<(), LogError> {
            Err(LogError::Refused("Read on topic nodes is missing".to_owned()))
        }

        fn start(&mut self, _: &TopicPartition, _: i64) -> Result<(), LogError> {
            Ok(())
        }

        fn stop(&mut self, _: &TopicPartition) -> Result<(), LogError> {
            Ok(())
        }

        fn committed(&mut self, _: &[(TopicPartition, i64)]) {}

        fn ends(&mut self) -> Vec<(TopicPartition, i64)> {
            Vec::new()
        }
    }

    /// A mirror that was refused.
    fn refused(is_optional: bool) -> Running {
        let database = Database::new("postgres://nobody@127.0.0.1:1/none", "public").unwrap();
        let stop = Stop::default();
        let sink = PostgresSink::new(&database, Arc::new(NodeRows), stop.clone()).unwrap();
        let mirror = Mirror::start(Box::new(Refusing), sink, stop, MirrorSettings::default()).unwrap();
        let status = mirror.status();
        testkit::wait_until("the refusal", || status.refusal().is_some());
        Running { topics: "nodes".to_owned(), is_optional, warned: Once::new(), mirror }
    }

    #[test]
    fn a_refusal_of_an_optional_topic_is_logged_and_ends_nothing_but_a_backfill() {
        let mirrors = Mirrors(vec![refused(true)]);
        mirrors.check().unwrap();
        assert!(mirrors.0[0].warned.is_completed());
        mirrors.check().unwrap();
        let why = "the mirror of nodes cannot continue: Read on topic nodes is missing";
        assert_eq!(mirrors.check_all().unwrap_err().to_string(), why);
        let required = Mirrors(vec![refused(false)]);
        assert_eq!(required.check().unwrap_err().to_string(), why);
        [mirrors, required].into_iter().flat_map(Mirrors::stop).for_each(|end| end.join().unwrap());
    }
}
