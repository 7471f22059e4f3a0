//! Commands and flags. Every flag has a variable `HELIXSTREAM_<FLAG>`; a flag beats its variable,
//! which beats the topology file.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::audit::AuditArgs;
use super::conflicts::ConflictsCommand;
use super::http::HttpCommand;
use super::kafka::KafkaArgs;
use super::mcp::McpArgs;
use super::mirror::MirrorCommand;
use super::node::NodeArgs;
use super::nodes::NodesCommand;
use super::registry::RegistryArgs;
use super::run::RunArgs;
use super::services::ServicesCommand;
use super::state::StateArgs;
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
    /// Re-run the tasks of a running application from their logs, and compare what they have made
    ///
    /// Compares outputs, changelogs and state byte by byte, over a stretch of time, while the
    /// instances run; it only reads. Exits with 0 where everything is the same, with 3 where
    /// something differs, and with 4 where the stretch cannot be compared. docs/audit.md says what
    /// is left out.
    Audit(AuditArgs),
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
