//! Flags of `helixstream run`.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::http::HttpArgs;
use super::kafka::KafkaArgs;
use super::mirror::MirrorArgs;
use super::registry::RegistryArgs;
use super::services::BootArgs;
use super::topology::TopologyArgs;

/// `helixstream run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Topology and settings.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Schema registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Consumer group, prefix of the internal topics, and `resolved_by` of conflict records
    /// [default: the file's]
    #[arg(long, value_name = "ID", env = "HELIXSTREAM_APPLICATION_ID")]
    pub application_id: Option<String>,
    /// State directory; instances on one machine may share it, and each uses a slot of its own
    /// [default: the file's, else ./state]
    #[arg(long, value_name = "D", env = "HELIXSTREAM_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Access to the state directories that are created here: `owner` (mode 0700), `group_read`
    /// (0750: a second user runs `state get`) or `group_write` (0770: shared volumes, Kubernetes'
    /// fsGroup) [default: the file's, else owner]
    #[arg(long, value_name = "WHO", env = "HELIXSTREAM_STATE_ACCESS", value_enum)]
    pub state_access: Option<StateAccessArgument>,
    /// Use exactly this slot of the state directory; exit 1 at once when another process holds it
    /// [default: the lowest free]
    #[arg(long, value_name = "N", env = "HELIXSTREAM_SLOT")]
    pub slot: Option<u32>,
    /// Number of stream threads, each with a consumer, a producer and its share of the tasks
    /// [default: the file's, else 1]
    #[arg(long, value_name = "N", env = "HELIXSTREAM_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Mirror.
    #[command(flatten)]
    pub mirror: MirrorArgs,
    /// HTTP.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Whether it starts the services that it needs.
    #[command(flatten)]
    pub boot: BootArgs,
    /// Run although the topology has changed so that the state of this store is left behind
    /// (`helixstream topology diff` says which). Repeatable. HELIXSTREAM_ACCEPT_RESET holds
    /// several, separated by `;` or new lines.
    #[arg(long, value_name = "STORE", action = ArgAction::Append)]
    pub accept_reset: Vec<String>,
    /// Change the topology of the application to that of this instance: its graph, or a setting or
    /// script that decides outputs. The error that refuses such a change names its CHANGE. Stop all
    /// other instances before. A change that was made already has no effect.
    #[arg(long, value_name = "CHANGE", env = "HELIXSTREAM_ACCEPT_TOPOLOGY_CHANGE")]
    pub accept_topology_change: Option<String>,
    /// Continue with the first record that this source or repartition topic still has, although
    /// records were deleted before they were processed or the topic was recreated; the state is
    /// kept. Use it for one start, when an error asks for it. Repeatable.
    /// HELIXSTREAM_FROM_EARLIEST_AVAILABLE holds several, separated by `;` or new lines.
    #[arg(long, value_name = "TOPIC", action = ArgAction::Append)]
    pub from_earliest_available: Vec<String>,
}

/// Access to the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum StateAccessArgument {
    /// This user alone.
    Owner,
    /// This user; the group of the folder may read.
    GroupRead,
    /// This user and the group of the folder.
    GroupWrite,
}
