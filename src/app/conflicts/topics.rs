//! The topics of a topology on Kafka, as the commands for conflicts use them.

use anyhow::Context as _;

use crate::app::kafka::{self, Memory};
use crate::app::{CommandError, Program, rights, settings};
use crate::edges::cli::{ConflictsTarget, Purpose};
use streams::ports::Admin as _;
use streams_kafka::KafkaSettings;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::restore_consumer::RestoreConsumer;
use topology_file::Topology as File;

/// Queues of the clients.
const MEMORY: u64 = 96 << 20;

/// The topology's topics, on Kafka.
pub struct Topics {
    pub file: File,
    pub kafka: KafkaSettings,
    pub reader: RestoreConsumer,
    admin: ClusterAdmin,
}

impl Topics {
    /// Connects to the brokers, and checks the rights that `conflicts <action>` needs.
    pub fn of(target: &ConflictsTarget, action: &str, program: &Program) -> Result<Topics, CommandError> {
        let file = settings::read(&target.topology, program)?;
        let kafka = kafka::settings(&target.kafka, Some(&file), "conflicts", Memory::share(MEMORY, 1))?;
        let reader = RestoreConsumer::new(&kafka)?;
        let admin = ClusterAdmin::new(&kafka, &reader)?;
        admin.wait_for_brokers(kafka::patience(Some(&file)))?;
        let purpose = if action == "resolve" { Purpose::ConflictsResolve } else { Purpose::ConflictsList };
        rights::require(&admin, &kafka, &format!("conflicts {action}"), &rights::needs(&file, purpose))?;
        Ok(Topics { file, kafka, reader, admin })
    }

    /// How many partitions a topic has.
    pub fn partitions(&self, topic: &str) -> anyhow::Result<i32> {
        let found = self.admin.topics(&[topic])?.into_iter().flatten().next();
        let info = found.with_context(|| {
            format!("topic `{topic}` does not exist: create it with `helixstream topics create` [HS2004]")
        })?;
        Ok(info.partitions)
    }
}
