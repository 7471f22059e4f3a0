//! Flags of `helixstream topics`.

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::args::TopologyArgs;
use super::kafka::KafkaArgs;

/// `helixstream topics`.
#[derive(Args, Debug)]
pub struct TopicsArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub action: TopicsAction,
}

/// What to do with a topology's topics.
#[derive(Debug, Subcommand)]
pub enum TopicsAction {
    /// Print what `create` would make, and change nothing
    Plan(TopicsTarget),
    /// Make the source, sink and internal topics that are missing; those that exist are left as they are
    Create(TopicsTarget),
    /// Say what is missing or set in a way that loses records, and which rights are missing; exit 1 when something is
    ///
    /// The brokers are asked which operations they allow this principal on topics, groups and the cluster. The transactional
    /// id, which cannot be asked about, is tried.
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
    /// Check the rights for this. Repeatable [default: run, and mirror where the file has a `postgres_url`]
    #[arg(long = "for", value_name = "PURPOSE", value_enum, action = ArgAction::Append)]
    pub purposes: Vec<Purpose>,
}

/// `helixstream topics acls`.
#[derive(Args, Clone, Debug)]
pub struct AclsArgs {
    /// Which topics.
    #[command(flatten)]
    pub target: TopicsTarget,
    /// Who is to have the rights, such as User:helixstream [default: the SASL user, else User:NAME]
    #[arg(long, value_name = "TYPE:NAME", env = "HELIXSTREAM_PRINCIPAL")]
    pub principal: Option<String>,
    /// Print the rights for this alone. Repeatable [default: all]
    #[arg(long = "for", value_name = "PURPOSE", value_enum, action = ArgAction::Append)]
    pub purposes: Vec<Purpose>,
}

/// What somebody needs rights for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// `run`, on topics that `topics create` has made; with a mirror of its own it needs those of `mirror` too
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
    /// `kafka-transactions.sh`, by which an operator finds and aborts a transaction that nobody ends
    HangingTransactions,
}

impl Purpose {
    /// All of them.
    pub fn all() -> &'static [Purpose] {
        Purpose::value_variants()
    }

    /// What it is, in words, as the help says it.
    pub fn text(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// As it is given to `--for`.
    pub fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}
