//! Commands and flags. Every flag has a variable `HELIXSTREAM_<FLAG>`; a flag beats its variable,
//! which beats the topology file.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::conflicts::ConflictsCommand;
use super::http::{HttpArgs, HttpCommand};
use super::kafka::KafkaArgs;
use super::mcp::McpArgs;
use super::node::NodeArgs;
use super::nodes::NodesCommand;
use super::services::{BootArgs, ServicesCommand};
use super::terminal::has_colours;
use super::topics::TopicsArgs;
use super::topology::{TopologyArgs, TopologyCommand};

/// A Kafka Streams-style stream processor, with HelixAgent's memory topology on it.
///
/// Reads memory events from Kafka, resolves what conflicts, and writes resolved memories, conflict
/// records and dead letters, exactly once. Start with `helixstream replay`, which needs no broker,
/// then `topics create` and `run`.
#[derive(Debug, Parser)]
#[command(name = "helixstream", version, max_term_width = 110, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done, or stopped by SIGTERM or SIGINT after a clean commit; 1 failure; 2 usage or settings.\n\
    Every flag has a variable HELIXSTREAM_<FLAG>, in capitals, `-` as `_`; flag beats variable beats topology file."
)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// How logs are written. They go to the standard error.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// Form of a log line.
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "HELIXSTREAM_LOG_FORMAT",
        global = true,
        help_heading = "Logging"
    )]
    pub log_format: LogFormat,
    /// Log level (error, warn, info, debug, trace), or a filter such as
    /// `info,helixstream_streams=debug`. RUST_LOG, where it is set, is the default.
    #[arg(long, env = "HELIXSTREAM_LOG_LEVEL", global = true, help_heading = "Logging", value_name = "FILTER")]
    pub log_level: Option<String>,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a topology on Kafka until SIGTERM or SIGINT
    ///
    /// Source and sink topics must exist (`helixstream topics create`); internal topics are created
    /// here. State is kept under --state-dir, in the lowest slot that no other instance holds, so
    /// that a restart continues where the instance stopped.
    Run(RunArgs),
    /// Run a topology over a record file, with no broker
    ///
    /// Processes the file's records in its order and writes snapshots.jsonl, conflicts.jsonl and
    /// dead-letters.jsonl, in order of emission: the same input produces the same bytes.
    Replay(ReplayArgs),
    /// Publish a record file on a topic, with keys, headers and timestamps as they are
    ///
    /// A record goes to the partition that its line names; where the line names none, or the topic
    /// has no such partition, to the one that Java's default partitioner picks by its key.
    Produce(ProduceArgs),
    /// Plan, create or check a topology's topics, and list the rights that each command needs
    Topics(TopicsArgs),
    /// Check, show and compare topology files, with no broker
    Topology(TopologyCommand),
    /// Find the conflicts that wait for a decision, and settle them
    Conflicts(ConflictsCommand),
    /// The mirror in Postgres without the stream: run it, fill a database, compare it with Kafka
    Mirror(MirrorCommand),
    /// Run a node of the distributed memory beside an agent, until SIGTERM or SIGINT
    ///
    /// The node accepts writes over HTTP into a database file, publishes them to Kafka as events,
    /// and shows the resolved memories that `run` publishes. It accepts writes without Kafka, too,
    /// and publishes them later. docs/node.md describes its HTTP interface.
    Node(NodeArgs),
    /// Show the nodes of the distributed memory, as their records on Kafka say
    Nodes(NodesCommand),
    /// Check, start and stop the services of docker-compose.yml: Kafka, Postgres and others
    Services(ServicesCommand),
    /// Serve a node's memories to an agent by the Model Context Protocol, on the standard streams
    ///
    /// The agent's host (Claude Desktop and others) starts this command. A host that speaks MCP
    /// over HTTP needs no process: the node serves it at /mcp of its port. docs/mcp.md has the
    /// configurations.
    Mcp(McpArgs),
    /// Create tokens for the HTTP pages of `run`, `node` and `mirror run`
    Http(HttpCommand),
    /// Read the state of a stopped instance
    ///
    /// Prints JSON: of each memory its resolved form and the writes, deletes and frontier that the
    /// state keeps.
    State(StateArgs),
    /// Explain the code of a log line or an error, such as HS2004: what happened, and what to do
    ///
    /// Every log line of WARN and ERROR and every error has a code. It stands in square brackets at
    /// the end of an error, and in the field `code` of a log line. Prints its entry of
    /// docs/operations.md, and needs nothing but this program.
    Explain(ExplainArgs),
}

/// `helixstream explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The code: HS2004, hs2004 or 2004 [default: a list of all codes]
    pub code: Option<String>,
}

/// Where the schema registry is.
#[derive(Args, Clone, Debug)]
pub struct RegistryArgs {
    /// Schema registry (Confluent's REST API) by which Avro is read and written [default: the
    /// file's; without one Avro is not read]
    #[arg(long, value_name = "URL", env = "HELIXSTREAM_SCHEMA_REGISTRY_URL", hide_env_values = true)]
    pub schema_registry_url: Option<String>,
}

/// Where the mirror's tables are.
#[derive(Args, Clone, Debug)]
pub struct PostgresArgs {
    /// URL of the mirror's Postgres, which keeps every event, resolved memory and conflict record
    /// in tables of its own [default: the file's; without one, `run` runs without a mirror]
    #[arg(long, value_name = "URL", env = "HELIXSTREAM_POSTGRES_URL", hide_env_values = true)]
    pub postgres_url: Option<String>,
    /// File that holds the URL of the mirror's Postgres alone, as Docker and Kubernetes mount
    /// secrets
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_POSTGRES_URL_FILE")]
    pub postgres_url_file: Option<PathBuf>,
    /// File with the password, instead of one in the URL; it is read for each connection.
    /// HELIXSTREAM_POSTGRES_PASSWORD holds the password itself; without either it comes from the
    /// places that psql reads (PGPASSWORD, PGPASSFILE, ~/.pgpass)
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_POSTGRES_PASSWORD_FILE")]
    pub postgres_password_file: Option<PathBuf>,
    /// Schema of the tables; created if it is missing [default: the file's, else public]
    #[arg(long, value_name = "NAME", env = "HELIXSTREAM_POSTGRES_SCHEMA")]
    pub postgres_schema: Option<String>,
}

/// Whether there is a mirror, and where.
#[derive(Args, Clone, Debug)]
pub struct MirrorArgs {
    /// Its tables.
    #[command(flatten)]
    pub postgres: PostgresArgs,
    /// Run without a mirror, also when the file or a variable names one.
    #[arg(long, env = "HELIXSTREAM_NO_MIRROR", value_parser = clap::builder::BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub no_mirror: bool,
}

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

/// `helixstream replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// Topology and settings.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Schema registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Record file, one JSON object a line; `-` is the standard input.
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_INPUT")]
    pub input: PathBuf,
    /// Folder for the outputs, which is created if it is missing. Files of an earlier replay in it
    /// are overwritten.
    #[arg(long, value_name = "DIR", env = "HELIXSTREAM_OUTPUT")]
    pub output: PathBuf,
    /// `resolved_by` of conflict records [default: the file's]
    #[arg(long, value_name = "ID", env = "HELIXSTREAM_APPLICATION_ID")]
    pub application_id: Option<String>,
}

/// `helixstream produce`.
#[derive(Args, Debug)]
pub struct ProduceArgs {
    /// Record file, one JSON object a line; `-` is the standard input.
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_INPUT")]
    pub input: PathBuf,
    /// Topic to publish on.
    #[arg(long, value_name = "T", env = "HELIXSTREAM_TOPIC", default_value = "helixagent.memory.events")]
    pub topic: String,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Records per second [default: as fast as the broker accepts them]
    #[arg(long, value_name = "N", env = "HELIXSTREAM_RATE", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}

/// `helixstream mirror`.
#[derive(Args, Debug)]
pub struct MirrorCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: MirrorAction,
}

/// The commands of `helixstream mirror`.
#[derive(Debug, Subcommand)]
pub enum MirrorAction {
    /// Mirror until SIGTERM or SIGINT, beside instances that run with --no-mirror or with a mirror
    /// of their own
    ///
    /// Each of the three topics is read by a consumer group of its own (APPLICATION_ID-mirror,
    /// -mirror-snapshots, -mirror-conflicts): start more instances to share the partitions.
    Run(MirrorRunArgs),
    /// Compare the tables with Kafka, record by record; exit 1 when they differ
    ///
    /// Reads every committed record of the range from Kafka and its row from Postgres, and prints
    /// for each partition how many there are, their checksum, and the first difference. Records
    /// that are not mirrored yet are not compared.
    Verify(VerifyArgs),
    /// Fill an empty database from Kafka, show the progress, and end at the offsets that Kafka had
    /// at the start
    ///
    /// It may be stopped at any time: `--from checkpoint` continues where it stopped.
    Backfill(BackfillArgs),
    /// Create the mirror's tables or migrate them to this version, and end; for a role that owns
    /// the schema (docs/postgres.md)
    Migrate(MigrateArgs),
}

/// `helixstream mirror migrate`.
#[derive(Args, Debug)]
pub struct MigrateArgs {
    /// Topology and settings.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Its tables.
    #[command(flatten)]
    pub postgres: PostgresArgs,
}

/// The flags of each `helixstream mirror` command.
#[derive(Args, Clone, Debug)]
pub struct MirrorTarget {
    /// Topology and settings.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Schema registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Prefix of the consumer groups [default: the file's]
    #[arg(long, value_name = "ID", env = "HELIXSTREAM_APPLICATION_ID")]
    pub application_id: Option<String>,
    /// Its tables.
    #[command(flatten)]
    pub postgres: PostgresArgs,
}

/// `helixstream mirror run`.
#[derive(Args, Debug)]
pub struct MirrorRunArgs {
    /// The topics and the tables.
    #[command(flatten)]
    pub target: MirrorTarget,
    /// HTTP.
    #[command(flatten)]
    pub http: HttpArgs,
}

/// `helixstream mirror verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The topics and the tables.
    #[command(flatten)]
    pub target: MirrorTarget,
    /// Compare this topic only [default: all that are mirrored]
    #[arg(long, value_name = "T", env = "HELIXSTREAM_TOPIC")]
    pub topic: Option<String>,
    /// Compare this partition only.
    #[arg(long, value_name = "N", env = "HELIXSTREAM_PARTITION", requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Compare from this offset on [default: the first that Kafka has]
    #[arg(long, value_name = "OFFSET", env = "HELIXSTREAM_FROM", requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    pub from: Option<i64>,
    /// Compare below this offset [default: all that is mirrored]
    #[arg(long, value_name = "OFFSET", env = "HELIXSTREAM_TO", requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    pub to: Option<i64>,
}

/// `helixstream mirror backfill`.
#[derive(Args, Debug)]
pub struct BackfillArgs {
    /// The topics and the tables.
    #[command(flatten)]
    pub target: MirrorTarget,
    /// Start of the backfill: `earliest` fills an empty database from the first record that Kafka
    /// has; `checkpoint` continues at the checkpoints of the tables; `unread` reads rows again
    /// whose schema was unknown, and needs no Kafka.
    #[arg(long, value_name = "WHERE", env = "HELIXSTREAM_FROM", value_enum, default_value_t = BackfillFrom::Earliest)]
    pub from: BackfillFrom,
}

/// Where a backfill begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BackfillFrom {
    /// At the first record of each partition; the tables must be empty.
    Earliest,
    /// Where the tables' checkpoints are.
    Checkpoint,
    /// At rows of events whose schema was unknown when they were mirrored, by their own bytes.
    Unread,
}

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

impl Cli {
    /// Reads the command line and the variables; ends the process with a message where they are
    /// wrong (exit 2), or after `--help` and `--version` (exit 0).
    ///
    /// `long_version` is what `--version` prints behind the name; `-V` prints this program's own
    /// version alone.
    pub fn from_environment(long_version: &'static str) -> Cli {
        let mut command = without_empty_variables(Cli::command()).long_version(long_version);
        let matches = command.try_get_matches_from_mut(std::env::args_os()).unwrap_or_else(|e| exit(&e));
        let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| exit(&e.format(&mut command)));
        if let (Command::Run(run), Some(("run", matches))) = (&mut cli.command, matches.subcommand()) {
            let typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
            match (typed("postgres_url") || typed("postgres_url_file"), typed("no_mirror")) {
                (true, true) => {
                    let message = "--postgres-url turns the mirror on and --no-mirror turns it off: use one of the two";
                    exit(&command.error(ErrorKind::ArgumentConflict, message))
                }
                // A flag beats a variable.
                (true, false) => run.mirror.no_mirror = false,
                (false, _) => {}
            }
        }
        cli
    }
}

/// The code of a command line that cannot be read.
const USAGE_CODE: &str = "error[HS0001]:";

/// Prints what clap says, an error with its code, and ends the process as clap does.
fn exit(error: &clap::Error) -> ! {
    let plain = error.render().to_string();
    let styled = error.render().ansi().to_string();
    if error.use_stderr() && plain.starts_with("error:") {
        let text = if has_colours() { styled } else { plain };
        // Nothing is left to do where the standard error is closed.
        _ = write!(std::io::stderr(), "{}", text.replacen("error:", USAGE_CODE, 1));
        std::process::exit(error.exit_code())
    }
    error.exit()
}

/// An empty variable counts as none: compose files and scripts set such where nothing is meant.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| match arg.get_env() {
        Some(name) if is_empty(name) => arg.env(Resettable::Reset),
        _ => arg,
    });
    command.mut_subcommands(without_empty_variables)
}
