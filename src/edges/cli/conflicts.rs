//! Flags of `helixstream conflicts`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::KafkaArgs;

/// `helixstream conflicts`.
#[derive(Args, Debug)]
pub struct ConflictsCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: ConflictsAction,
}

/// The commands of `helixstream conflicts`.
#[derive(Debug, Subcommand)]
pub enum ConflictsAction {
    /// List conflicts, by default those that wait for a decision
    List(ListArgs),
    /// Show one conflict: its contenders, the value that is shown meanwhile, and the event that
    /// ended it
    Show(ShowArgs),
    /// Settle a conflict: publish an update that has seen all contenders, which ends it
    ///
    /// The update is an ordinary memory.updated on the events topic. Its id follows from the
    /// conflict's and its time from the contenders', so publishing it again changes nothing.
    Resolve(ResolveArgs),
}

/// Where the conflicts are.
#[derive(Args, Clone, Debug)]
pub struct ConflictsTarget {
    /// The topology file, which names the topics.
    #[arg(long, value_name = "F", env = "HELIXSTREAM_TOPOLOGY")]
    pub topology: PathBuf,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}

/// `helixstream conflicts list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Where they are.
    #[command(flatten)]
    pub target: ConflictsTarget,
    /// List only conflicts of this status.
    #[arg(long, value_enum, default_value_t = StatusFilter::Pending, env = "HELIXSTREAM_STATUS")]
    pub status: StatusFilter,
    /// List only conflicts of this user's memories.
    #[arg(long, value_name = "USER_ID", env = "HELIXSTREAM_USER")]
    pub user: Option<String>,
    /// List only conflicts of this memory.
    #[arg(long, value_name = "MEMORY_ID", env = "HELIXSTREAM_MEMORY")]
    pub memory: Option<String>,
    /// Text, or a JSON object a line.
    #[arg(long, value_enum, default_value_t = ConflictFormat::Text, env = "HELIXSTREAM_FORMAT")]
    pub format: ConflictFormat,
}

/// `helixstream conflicts show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The conflict's id.
    pub conflict_id: String,
    /// Where it is.
    #[command(flatten)]
    pub target: ConflictsTarget,
    /// Text, or the conflict's records as they are, one a line.
    #[arg(long, value_enum, default_value_t = ConflictFormat::Text, env = "HELIXSTREAM_FORMAT")]
    pub format: ConflictFormat,
}

/// `helixstream conflicts resolve`.
#[derive(Args, Debug)]
pub struct ResolveArgs {
    /// The conflict's id.
    pub conflict_id: String,
    /// Where it is.
    #[command(flatten)]
    pub target: ConflictsTarget,
    /// Id of the event whose writes win, in each field that no --path names.
    #[arg(long, value_name = "EVENT_ID", env = "HELIXSTREAM_WINNER")]
    pub winner: Option<String>,
    /// A field of the conflict, as it is listed; the --value at the same position is its value.
    /// Repeatable; may be omitted where the conflict is about one field.
    #[arg(long, value_name = "PATH", env = "HELIXSTREAM_PATH", action = ArgAction::Append)]
    pub path: Vec<String>,
    /// The field's value, JSON; null clears it. Repeatable.
    #[arg(long, value_name = "JSON", env = "HELIXSTREAM_VALUE", action = ArgAction::Append)]
    pub value: Vec<String>,
}

/// The status of a conflict, as a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusFilter {
    /// A custom resolver deferred.
    #[value(name = "pending")]
    Pending,
    /// The strategy decided.
    #[value(name = "auto_resolved")]
    AutoResolved,
    /// It has ended.
    #[value(name = "superseded")]
    Superseded,
    /// Any of these.
    #[value(name = "all")]
    All,
}

/// How conflicts are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConflictFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}
