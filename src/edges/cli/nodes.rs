//! Flags of `helixstream nodes`.

use clap::{Args, Subcommand};

use super::kafka::KafkaArgs;
use super::services::ReportFormat;

/// `helixstream nodes`.
#[derive(Args, Debug)]
pub struct NodesCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: NodesAction,
}

/// The commands of `helixstream nodes`.
#[derive(Debug, Subcommand)]
pub enum NodesAction {
    /// Print all nodes with their status, their clock and what they have not published yet
    ///
    /// Reads the nodes topic once, to its end. It needs no node and no Postgres. The status follows
    /// from the time of each node's last record: active, inactive after 30 s, failed after 10 min;
    /// stopped in good order; or replaced by another incarnation of the same node.
    List(ListNodesArgs),
}

/// `helixstream nodes list`.
#[derive(Args, Clone, Debug)]
pub struct ListNodesArgs {
    /// Topic of the nodes' own records
    #[arg(long, value_name = "TOPIC", env = "HELIXSTREAM_NODES_TOPIC", default_value = "helixagent.memory.nodes")]
    pub nodes_topic: String,
    /// Form of the report on the standard output
    #[arg(long, value_enum, default_value_t = ReportFormat::Text, env = "HELIXSTREAM_FORMAT")]
    pub format: ReportFormat,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}
