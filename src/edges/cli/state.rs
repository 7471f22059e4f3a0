//! Flags of `helixstream state`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

/// `helixstream state`.
#[derive(Args, Debug)]
pub struct StateArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub action: StateAction,
}

/// The commands of `helixstream state`.
#[derive(Debug, Subcommand)]
pub enum StateAction {
    /// Print one memory, as JSON; exit 1 when the state holds none of that id
    Get {
        /// The memory's id.
        memory_id: String,
        /// Where the state is.
        #[command(flatten)]
        target: StateTarget,
    },
    /// Print every memory, one JSON object a line, in order of task and id
    Dump {
        /// Where the state is.
        #[command(flatten)]
        target: StateTarget,
    },
}

/// Where the state is.
#[derive(Args, Clone, Debug)]
pub struct StateTarget {
    /// State directory; all its slots are searched.
    #[arg(long, value_name = "D", env = "HELIXSTREAM_STATE_DIR")]
    pub state_dir: PathBuf,
    /// Topology file whose resolver settings are used to show the memories [default: built-in
    /// defaults]
    #[arg(long, value_name = "F", env = "HELIXSTREAM_TOPOLOGY")]
    pub topology: Option<PathBuf>,
    /// Override a setting, as `run` does. HELIXSTREAM_SET holds several, separated by `;` or new
    /// lines.
    #[arg(long = "set", value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub set: Vec<String>,
}
