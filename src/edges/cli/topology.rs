//! Flags of `helixstream topology`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `helixstream topology`.
#[derive(Args, Debug)]
pub struct TopologyCommand {
    /// What to do with it.
    #[command(subcommand)]
    pub action: TopologyAction,
}

/// What to do with a topology file. None of it needs a broker.
#[derive(Debug, Subcommand)]
pub enum TopologyAction {
    /// Say all that is wrong with a topology file, each with its place and the fix; exit 2 when something is
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
        /// In which form.
        #[arg(long, value_enum, default_value_t = DescribeFormat::Text, env = "HELIXSTREAM_FORMAT")]
        format: DescribeFormat,
    },
    /// Say what a change does to stores, topics and state; exit 1 when state does not survive it
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
    /// As Kafka Streams describes one.
    Text,
    /// A flowchart for Markdown.
    Mermaid,
    /// A graph for Graphviz.
    Dot,
    /// For programs.
    Json,
}
