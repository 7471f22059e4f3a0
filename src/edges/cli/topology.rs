//! Flags of `helixstream topology`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

/// `helixstream topology`.
#[derive(Args, Debug)]
pub struct TopologyCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: TopologyAction,
}

/// The commands of `helixstream topology`. None of them needs a broker.
#[derive(Debug, Subcommand)]
pub enum TopologyAction {
    /// Report every problem of a topology file with its place and its fix; exit 2 if there is one
    Check {
        /// The topology file.
        #[arg(value_name = "F")]
        file: PathBuf,
    },
    /// Show a topology: sub-topologies, processors, stores, and all topics
    Describe {
        /// The topology file.
        #[arg(value_name = "F")]
        file: PathBuf,
        /// Form of the description.
        #[arg(long, value_enum, default_value_t = DescribeFormat::Text, env = "HELIXSTREAM_FORMAT")]
        format: DescribeFormat,
    },
    /// Show the effect of a change on stores, topics and state; exit 1 when state does not survive
    /// it
    Diff {
        /// The topology file as it was.
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The topology file as it is to be.
        #[arg(value_name = "NEW")]
        new: PathBuf,
    },
    /// Print the JSON Schema of topology files, for editors
    Schema,
}

/// Forms of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DescribeFormat {
    /// Text, as Kafka Streams describes a topology.
    Text,
    /// A flowchart for Markdown.
    Mermaid,
    /// A graph for Graphviz.
    Dot,
    /// For programs.
    Json,
}

/// The topology file, and the settings that override its own.
#[derive(Args, Clone, Debug)]
pub struct TopologyArgs {
    /// The topology file.
    #[arg(long, value_name = "F", env = "HELIXSTREAM_TOPOLOGY")]
    pub topology: PathBuf,
    /// Override a setting of the file: strategy, strategy.PATH, delete_policy, trust_clocks,
    /// unclocked, max_clock_skew (2s, 500ms, 0s), a limit (max_value_bytes, max_clock_entries,
    /// max_contenders, …) one of the engine (commit_interval, …) or of the mirror (retention,
    /// partitions_ahead, nodes_topic). Repeatable. HELIXSTREAM_SET holds several, separated by `;`
    /// or new lines.
    #[arg(long = "set", value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub set: Vec<String>,
}
