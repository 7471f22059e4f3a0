//! The mirror: flags of the commands that have one, and of `helixstream mirror`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

use super::http::HttpArgs;
use super::kafka::KafkaArgs;
use super::registry::RegistryArgs;
use super::topology::TopologyArgs;

/// Where the mirror's tables are.
#[derive(Args, Clone, Debug)]
pub struct PostgresArgs {
    /// URL of the mirror's Postgres, which keeps every event, resolved memory and conflict record
    /// in tables of its own [default: the file's; without one, `run` runs without a mirror]
    #[arg(long, value_name = "URL", env = "HELIXSTREAM_POSTGRES_URL", hide_env_values = true)]
    pub postgres_url: Option<String>,
    /// File that holds the URL of the mirror's Postgres alone, as Docker and Kubernetes mount
    /// secrets
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_POSTGRES_URL_FILE")]
    pub postgres_url_file: Option<PathBuf>,
    /// File with the password, instead of one in the URL; it is read for each connection.
    /// HELIXSTREAM_POSTGRES_PASSWORD holds the password itself; without either it comes from the
    /// places that psql reads (PGPASSWORD, PGPASSFILE, ~/.pgpass)
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_POSTGRES_PASSWORD_FILE")]
    pub postgres_password_file: Option<PathBuf>,
    /// Schema of the tables; created if it is missing [default: the file's, else public]
    #[arg(long, value_name = "NAME", env = "HELIXSTREAM_POSTGRES_SCHEMA")]
    pub postgres_schema: Option<String>,
}

/// Whether there is a mirror, and where.
#[derive(Args, Clone, Debug)]
pub struct MirrorArgs {
    /// Its tables.
    #[command(flatten)]
    pub postgres: PostgresArgs,
    /// Run without a mirror, also when the file or a variable names one.
    #[arg(long, env = "HELIXSTREAM_NO_MIRROR", value_parser = clap::builder::BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub no_mirror: bool,
}

/// `helixstream mirror`.
#[derive(Args, Debug)]
pub struct MirrorCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: MirrorAction,
}

/// The commands of `helixstream mirror`.
#[derive(Debug, Subcommand)]
pub enum MirrorAction {
    /// Mirror until SIGTERM or SIGINT, beside instances that run with --no-mirror or with a mirror
    /// of their own
    ///
    /// Each mirrored topic is read by a consumer group of its own (APPLICATION_ID-mirror,
    /// -mirror-snapshots, -mirror-conflicts and, where nodes_topic is set, -mirror-nodes): start
    /// more instances to share the partitions.
    Run(MirrorRunArgs),
    /// Compare the tables with Kafka, record by record; exit 1 when they differ
    ///
    /// Reads every committed record of the range from Kafka and its row from Postgres, and prints
    /// for each partition how many there are, their checksum, and the first difference. Records
    /// that are not mirrored yet are not compared.
    Verify(VerifyArgs),
    /// Fill an empty database from Kafka, show the progress, and end at the offsets that Kafka had
    /// at the start
    ///
    /// It may be stopped at any time: `--from checkpoint` continues where it stopped.
    Backfill(BackfillArgs),
    /// Create the mirror's tables or migrate them to this version, and end; for a role that owns
    /// the schema (docs/postgres.md)
    Migrate(MigrateArgs),
}

/// `helixstream mirror migrate`.
#[derive(Args, Debug)]
pub struct MigrateArgs {
    /// Topology and settings.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Its tables.
    #[command(flatten)]
    pub postgres: PostgresArgs,
}

/// The flags of each `helixstream mirror` command.
#[derive(Args, Clone, Debug)]
pub struct MirrorTarget {
    /// Topology and settings.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Schema registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Prefix of the consumer groups [default: the file's]
    #[arg(long, value_name = "ID", env = "HELIXSTREAM_APPLICATION_ID")]
    pub application_id: Option<String>,
    /// Its tables.
    #[command(flatten)]
    pub postgres: PostgresArgs,
}

/// `helixstream mirror run`.
#[derive(Args, Debug)]
pub struct MirrorRunArgs {
    /// The topics and the tables.
    #[command(flatten)]
    pub target: MirrorTarget,
    /// HTTP.
    #[command(flatten)]
    pub http: HttpArgs,
}

/// `helixstream mirror verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The topics and the tables.
    #[command(flatten)]
    pub target: MirrorTarget,
    /// Compare this topic only [default: all that are mirrored]
    #[arg(long, value_name = "T", env = "HELIXSTREAM_TOPIC")]
    pub topic: Option<String>,
    /// Compare this partition only.
    #[arg(long, value_name = "N", env = "HELIXSTREAM_PARTITION", requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Compare from this offset on [default: the first that Kafka has]
    #[arg(long, value_name = "OFFSET", env = "HELIXSTREAM_FROM", requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    pub from: Option<i64>,
    /// Compare below this offset [default: all that is mirrored]
    #[arg(long, value_name = "OFFSET", env = "HELIXSTREAM_TO", requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    pub to: Option<i64>,
}

/// `helixstream mirror backfill`.
#[derive(Args, Debug)]
pub struct BackfillArgs {
    /// The topics and the tables.
    #[command(flatten)]
    pub target: MirrorTarget,
    /// Start of the backfill: `earliest` fills an empty database from the first record that Kafka
    /// has; `checkpoint` continues at the checkpoints of the tables; `unread` reads rows again
    /// whose schema was unknown, and needs no Kafka.
    #[arg(long, value_name = "WHERE", env = "HELIXSTREAM_FROM", value_enum, default_value_t = BackfillFrom::Earliest)]
    pub from: BackfillFrom,
}

/// Where a backfill begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BackfillFrom {
    /// At the first record of each partition; the tables must be empty.
    Earliest,
    /// Where the tables' checkpoints are.
    Checkpoint,
    /// At rows of events whose schema was unknown when they were mirrored, by their own bytes.
    Unread,
}
