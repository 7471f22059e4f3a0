//! Flags of `helixstream audit`.

use clap::{Args, ValueEnum};

use super::{KafkaArgs, RegistryArgs, TopologyArgs};

/// `helixstream audit`.
#[derive(Args, Debug)]
pub struct AuditArgs {
    /// Topology and settings, as the instances have them.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Schema registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// The application whose tasks are audited [default: the file's]
    #[arg(long, value_name = "ID", env = "HELIXSTREAM_APPLICATION_ID")]
    pub application_id: Option<String>,
    /// Start of the audited stretch: `commit` copies the state at each task's last commit from its
    /// changelog; `beginning` begins with empty stores at the first record of every log, of which
    /// nothing may have been deleted yet.
    #[arg(long, value_name = "WHERE", env = "HELIXSTREAM_START", value_enum, default_value_t = AuditStart::Commit)]
    pub start: AuditStart,
    /// How long the running instances are followed, in seconds. The audit ends at the last commits
    /// within this time.
    #[arg(long, value_name = "N", env = "HELIXSTREAM_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub seconds: u32,
    /// A table, or one JSON document.
    #[arg(long, value_enum, default_value_t = AuditFormat::Text, env = "HELIXSTREAM_FORMAT")]
    pub format: AuditFormat,
}

/// Start of an audited stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditStart {
    /// The last commits.
    Commit,
    /// The first record of every log.
    Beginning,
}

/// Form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}
