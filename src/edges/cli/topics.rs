//! Flags of `helixstream topics`.

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::kafka::KafkaArgs;
use super::topology::TopologyArgs;

/// `helixstream topics`.
#[derive(Args, Debug)]
pub struct TopicsArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub action: TopicsAction,
}

/// The commands of `helixstream topics`.
#[derive(Debug, Subcommand)]
pub enum TopicsAction {
    /// Print the topics that `create` would create, and change nothing
    Plan(TopicsTarget),
    /// Create the missing source, sink and internal topics; existing ones stay as they are
    Create(TopicsTarget),
    /// Report missing topics, settings that lose records, and missing rights; exit 1 if there are
    /// any
    ///
    /// Asks the brokers which operations they allow this principal on topics, groups and the
    /// cluster. They cannot be asked about a transactional id, so it is tried.
    Check(CheckArgs),
    /// Print the ACLs that each command needs, as commands of kafka-acls.sh; asks no broker
    Acls(AclsArgs),
}

impl TopicsAction {
    /// The flags that are the same for all.
    pub fn target(&self) -> &TopicsTarget {
        match self {
            TopicsAction::Plan(target) | TopicsAction::Create(target) => target,
            TopicsAction::Check(args) => &args.target,
            TopicsAction::Acls(args) => &args.target,
        }
    }
}

/// Flags of `topics plan`, `create` and `check`.
#[derive(Args, Clone, Debug)]
pub struct TopicsTarget {
    /// Topology and settings.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Prefix of the internal topics [default: the file's]
    #[arg(long, value_name = "ID", env = "HELIXSTREAM_APPLICATION_ID")]
    pub application_id: Option<String>,
}

/// `helixstream topics check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Which topics.
    #[command(flatten)]
    pub target: TopicsTarget,
    /// Check the rights for this purpose. Repeatable [default: run, and mirror where the file has a
    /// `postgres_url`]
    #[arg(long = "for", value_name = "PURPOSE", value_enum, action = ArgAction::Append)]
    pub purposes: Vec<Purpose>,
}

/// `helixstream topics acls`.
#[derive(Args, Clone, Debug)]
pub struct AclsArgs {
    /// Which topics.
    #[command(flatten)]
    pub target: TopicsTarget,
    /// Principal that is to have the rights, such as User:helixstream [default: the SASL user, else
    /// User:NAME]
    #[arg(long, value_name = "TYPE:NAME", env = "HELIXSTREAM_PRINCIPAL")]
    pub principal: Option<String>,
    /// Print the rights for this purpose alone. Repeatable [default: all]
    #[arg(long = "for", value_name = "PURPOSE", value_enum, action = ArgAction::Append)]
    pub purposes: Vec<Purpose>,
}

/// A purpose for which rights are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// `run`, on topics that `topics create` has made; with a mirror of its own it needs those of
    /// `mirror` too
    Run,
    /// `mirror run` and `mirror backfill`
    Mirror,
    /// `mirror verify`
    MirrorVerify,
    /// `topics create`
    TopicsCreate,
    /// `topics plan` and `topics check`
    TopicsCheck,
    /// `produce`, and any program that publishes on the sources
    Produce,
    /// `conflicts list` and `conflicts show`
    ConflictsList,
    /// `conflicts resolve`
    ConflictsResolve,
    /// A node that sends a sync request and reads the answer
    SyncRequest,
    /// `kafka-transactions.sh`, by which an operator finds and aborts a transaction that nobody
    /// ends
    HangingTransactions,
}

impl Purpose {
    /// All of them.
    pub fn all() -> &'static [Purpose] {
        Purpose::value_variants()
    }

    /// The purpose in words, as the help says it.
    pub fn text(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// The value of `--for` for it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}
