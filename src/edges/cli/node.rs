//! `helixstream node`: the flags of a node of the distributed memory.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::http::HttpArgs;
use super::kafka::KafkaArgs;
use super::services::BootArgs;

/// `helixstream node`.
#[derive(Args, Debug)]
pub struct NodeArgs {
    /// Name of the node, which is the first part of the `node_id` of its events: 1 to 64 letters,
    /// digits, `-` and `_`. Each node has a name of its own
    #[arg(long, value_name = "NAME", env = "HELIXSTREAM_NODE_NAME")]
    pub node_name: String,
    /// Folder of the node's database (node.db), which is created if it is missing. One process at a
    /// time uses it
    #[arg(long, value_name = "DIR", env = "HELIXSTREAM_NODE_DIR", default_value = "node")]
    pub node_dir: PathBuf,
    /// Keep only the memories of these users, separated by commas, those of the sessions of
    /// --subscribe-sessions, and those that this node writes [default: without either flag, all]
    #[arg(long, value_name = "USERS", env = "HELIXSTREAM_SUBSCRIBE", value_delimiter = ',')]
    pub subscribe: Option<Vec<String>>,
    /// Keep only the memories of these sessions, separated by commas, those of the users of
    /// --subscribe, and those that this node writes [default: without either flag, all]
    #[arg(long, value_name = "SESSIONS", env = "HELIXSTREAM_SUBSCRIBE_SESSIONS", value_delimiter = ',')]
    pub subscribe_sessions: Option<Vec<String>>,
    /// The answer to a write whose clock token lacks a later write of this node to the memory
    #[arg(long, value_name = "ANSWER", env = "HELIXSTREAM_STALE_WRITES", value_enum, default_value = "refuse")]
    pub stale_writes: StaleWritesArgument,
    /// Role of the node, which its record on the nodes topic shows
    #[arg(long, value_name = "ROLE", env = "HELIXSTREAM_NODE_ROLE", value_enum, default_value = "primary")]
    pub node_role: NodeRoleArgument,
    /// Topic that events are published on
    #[arg(long, value_name = "TOPIC", env = "HELIXSTREAM_EVENTS_TOPIC", default_value = "helixagent.memory.events")]
    pub events_topic: String,
    /// Topic that resolved memories are read from, in JSON
    #[arg(
        long,
        value_name = "TOPIC",
        env = "HELIXSTREAM_SNAPSHOTS_TOPIC",
        default_value = "helixagent.memory.snapshots"
    )]
    pub snapshots_topic: String,
    /// Topic of the nodes' own records; it is created, compacted, if it is missing
    #[arg(long, value_name = "TOPIC", env = "HELIXSTREAM_NODES_TOPIC", default_value = "helixagent.memory.nodes")]
    pub nodes_topic: String,
    /// Topic of the dead letters, from which the node learns which of its events the stream could
    /// not process; with an empty name it reads none
    #[arg(
        long,
        value_name = "TOPIC",
        env = "HELIXSTREAM_DEAD_LETTERS_TOPIC",
        default_value = "helixagent.memory.dead-letters"
    )]
    pub dead_letters_topic: String,
    /// Topology file of the stream. The node accepts by its limits, and shows writes that wait by
    /// its strategies [default: the defaults of topology files]
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_TOPOLOGY")]
    pub topology: Option<PathBuf>,
    /// Override a setting of the topology file, as `run --set` does. Repeatable. HELIXSTREAM_SET
    /// holds several, separated by `;` or new lines
    #[arg(long = "set", value_name = "KEY=VALUE", action = ArgAction::Append, requires = "topology")]
    pub set: Vec<String>,
    /// URL of an API like OpenAI's, with its path (/v1), by which the facts of a conversation are
    /// found that comes by Mem0's API; without it, messages are stored as they are. The key of the
    /// API is in the variable HELIXSTREAM_EXTRACTOR_KEY, or in a file
    #[arg(long, value_name = "URL", env = "HELIXSTREAM_EXTRACTOR_URL", requires = "extractor_model")]
    pub extractor_url: Option<String>,
    /// Name of the model that the extractor uses
    #[arg(long, value_name = "MODEL", env = "HELIXSTREAM_EXTRACTOR_MODEL", requires = "extractor_url")]
    pub extractor_model: Option<String>,
    /// File that holds the key of the extractor's API [variable: HELIXSTREAM_EXTRACTOR_KEY_FILE;
    /// the key itself: HELIXSTREAM_EXTRACTOR_KEY]
    #[arg(long, value_name = "FILE", requires = "extractor_url")]
    pub extractor_key_file: Option<PathBuf>,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// How HTTP is served; a node listens on 127.0.0.1:8001 unless another address is set.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Whether it starts Kafka.
    #[command(flatten)]
    pub boot: BootArgs,
}

/// The answer to stale writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StaleWritesArgument {
    /// It is refused (409) with the memory as it is now.
    Refuse,
    /// It is accepted beside the later write, and the stream finds the conflict.
    Concurrent,
}

/// The role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NodeRoleArgument {
    /// It accepts writes.
    Primary,
    /// It is there to be read from.
    Replica,
    /// It works through memories in the background.
    Worker,
}
