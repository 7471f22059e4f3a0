//! The mirrors of events, snapshots and conflicts: each its own consumer of its topics, and its own
//! connection to Postgres, at its own pace. They run inside `run`, and alone (`mirror run`, `mirror
//! backfill`); `mirror verify` compares.

mod alone;
mod backfill;
mod compare;
mod contact;
mod place;
mod reread;
mod verify;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
pub use place::database;

use super::kafka::{self, Memory};
use super::mirrored_topics::{GROUP, MirroredTable, mirrored_tables};
use super::{CommandError, Program, settings};
use crate::edges::cli::{KafkaArgs, MigrateArgs, MirrorAction, MirrorTarget};
use memory_operators::mirror::{ResolverSettingsRow, maintenance_tasks};
use mirror::ports::Stop;
use mirror::{Mirror, MirrorSettings, MirrorStatus};
use mirror_postgres::{Database, DatabaseError, Migrated, PostgresSink};
use streams::ports::{Admin, Codec, TopicInfo};
use streams_kafka::KafkaSettings;
use streams_kafka::renewal::{CurrentSettings, RenewableMirror};
use topology_file::Topology as File;

/// How long a start waits for a Postgres that does not answer, before it goes on without.
const CHECK_LIMIT: Duration = Duration::from_secs(3);

/// `helixstream mirror`.
pub fn mirror(action: &MirrorAction, program: &Program) -> Result<(), CommandError> {
    match action {
        MirrorAction::Run(args) => alone::run(args, program),
        MirrorAction::Verify(args) => verify::verify(args, program),
        MirrorAction::Backfill(args) => backfill::backfill(args, program),
        MirrorAction::Migrate(args) => migrate(args, program),
    }
}

/// `helixstream mirror migrate`: what a mirror does when it starts, for those whose mirror may not.
fn migrate(args: &MigrateArgs, program: &Program) -> Result<(), CommandError> {
    let file = settings::load(&args.topology, None, program)?;
    let database = named(database(&args.postgres, &file)?)?;
    let Migrated { from, to, run } = database.migrate()?;
    match run {
        0 => println!("{database} is at version {to} already"),
        _ => println!("{database} is at version {to}, from version {from}: {run} migrations were run"),
    }
    Ok(())
}

/// The database, for commands that are nothing without one.
fn named(database: Option<Database>) -> Result<Database, CommandError> {
    database.ok_or_else(|| {
        CommandError::Usage(
            "--postgres-url is not set: set the URL of the database that has the mirror's tables [HS4520]".to_owned(),
        )
    })
}

/// Fails when tables are in the way that are not ours. A database that does not answer is for the
/// mirrors to wait for: they look again before they write.
pub fn refuse_foreign_tables(database: &Database) -> Result<(), CommandError> {
    match database.check(CHECK_LIMIT) {
        Ok(()) => Ok(()),
        Err(e @ DatabaseError::Foreign(_)) => Err(e.into()),
        Err(e) => {
            tracing::warn!(
                code = "HS4051",
                reason = %e,
                "Postgres does not answer yet; the mirror waits for it, and the stream runs without waiting"
            );
            Ok(())
        }
    }
}

/// Common start of the commands that run the mirror alone.
struct Alone {
    file: File,
    database: Database,
    kafka: KafkaSettings,
}

impl Alone {
    fn new(target: &MirrorTarget, program: &Program) -> Result<Alone, CommandError> {
        let file = settings::load(&target.topology, target.application_id.as_deref(), program)?;
        let database = named(database(&target.postgres, &file)?)?;
        // Names the clients in the broker's logs; members that come and go share no identity over a
        // restart.
        let instance = format!("mirror-{}", uuid::Uuid::new_v4().simple());
        let kafka = settings_alone(&target.kafka, &file, &instance)?;
        Ok(Alone { file, database, kafka })
    }
}

/// How the mirror alone reaches Kafka.
fn settings_alone(args: &KafkaArgs, file: &File, instance: &str) -> Result<KafkaSettings, CommandError> {
    let memory = Memory::share(file.values.runtime.memory, 1);
    let mut kafka = kafka::settings(args, Some(file), instance, memory)?;
    kafka.static_membership = false;
    Ok(kafka)
}

/// Fails when one of these topics is missing.
fn require_topics(admin: &dyn Admin, topics: &[String]) -> anyhow::Result<Vec<TopicInfo>> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let found = admin.topics(&names)?.into_iter().zip(topics);
    let there = |(info, name): (Option<TopicInfo>, &String)| {
        info.with_context(|| {
            format!("topic `{name}` does not exist: create it with `helixstream topics create` [HS2004]")
        })
    };
    found.map(there).collect()
}

/// Source and sink of one mirror, before the first request to Postgres.
struct Sink {
    group: String,
    topics: Vec<String>,
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
            let keeping = file.values.mirror;
            let maintenance = maintenance_tasks(keeping.partitions_ahead, keeping.retention);
            sink = sink.with_startup_row(settings.clone()).with_maintenance(maintenance);
        }
        Ok(Sink { group: table.group, topics: table.topics, sink, stop })
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
        for Sink { group, topics, sink, stop } in sinks.0 {
            let source = RenewableMirror::new(kafka, &group, &topics)?;
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
