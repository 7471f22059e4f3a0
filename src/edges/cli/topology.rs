//! Flags of `helixstream topology`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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
    /// Show the effect of a change on stores, topics and state; exit 1 when state does not survive it
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
