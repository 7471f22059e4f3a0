//! The start that the commands of the mirror alone have in common: the topology file, the database,
//! the settings of Kafka, and the checks of both.

use std::time::Duration;

use anyhow::Context as _;

use super::place::database;
use crate::app::kafka::{self, Memory};
use crate::app::mirrored_topics::{MirroredTable, optional_topics, required_topics};
use crate::app::{CommandError, Program, settings};
use crate::edges::cli::{KafkaArgs, MirrorTarget};
use mirror_postgres::{Database, DatabaseError};
use streams::ports::{Admin, TopicInfo};
use streams_kafka::KafkaSettings;
use topology_file::Topology as File;

/// How long a start waits for a Postgres that does not answer, before it goes on without.
const CHECK_LIMIT: Duration = Duration::from_secs(3);

/// The database, for commands that are nothing without one.
pub fn require_database(database: Option<Database>) -> Result<Database, CommandError> {
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

/// The file, the database and the settings of Kafka of a command that runs the mirror alone.
pub struct MirrorSetup {
    pub file: File,
    pub database: Database,
    pub kafka: KafkaSettings,
}

impl MirrorSetup {
    pub fn new(target: &MirrorTarget, program: &Program) -> Result<MirrorSetup, CommandError> {
        let file = settings::load(&target.topology, target.application_id.as_deref(), program)?;
        let database = require_database(database(&target.postgres, &file)?)?;
        // Names the clients in the broker's logs; members that come and go share no identity over a
        // restart.
        let instance = format!("mirror-{}", uuid::Uuid::new_v4().simple());
        let kafka = kafka_settings(&target.kafka, &file, &instance)?;
        Ok(MirrorSetup { file, database, kafka })
    }
}

/// How the mirror alone reaches Kafka.
pub fn kafka_settings(args: &KafkaArgs, file: &File, instance: &str) -> Result<KafkaSettings, CommandError> {
    let memory = Memory::share(file.values.runtime.memory, 1);
    let mut kafka = kafka::settings(args, Some(file), instance, memory)?;
    kafka.static_membership = false;
    Ok(kafka)
}

/// Those of these topics that exist; fails when a required one is missing.
pub fn existing_topics(admin: &dyn Admin, tables: &[MirroredTable]) -> anyhow::Result<Vec<TopicInfo>> {
    let mut found = require_topics(admin, &required_topics(tables))?;
    let optional = optional_topics(tables);
    let names: Vec<&str> = optional.iter().map(String::as_str).collect();
    if !names.is_empty() {
        found.extend(admin.topics(&names)?.into_iter().flatten());
    }
    Ok(found)
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
