//! The one place that assembles the parts: start and shutdown.

mod audit;
mod command_error;
mod conflict_topics;
mod conflicts;
mod digest;
mod end;
mod explain;
mod http;
mod kafka;
mod kafka_layers;
pub mod kill;
mod live_line;
mod mcp;
mod metrics_page;
mod mirror;
mod mirrored_topics;
mod node;
mod nodes;
mod operators;
mod produce;
mod program;
mod replay;
mod report;
pub mod resolvers;
mod rights;
mod rotation;
mod run;
mod schema_registry;
mod scripting;
mod services;
mod settings;
mod signals;
mod state;
mod state_guard;
mod stream_threads;
mod topics;
mod topology_command;
pub mod topology_description;
pub mod topology_from_file;
mod version;

use std::process::ExitCode;

use crate::edges::cli::terminal::{self, LogWriter};
use crate::edges::cli::{Cli, Command, LogFormat, exit};
use crate::edges::telemetry;
pub use command_error::CommandError;
pub use program::Program;
pub use resolvers::{Custom, Resolver};
pub use version::long_version;

/// Does what the command line asks for; what went wrong goes to the standard error, the code to the
/// caller. [`crate::main`] reads the command line as well.
pub fn main(cli: &Cli, program: &Program) -> ExitCode {
    let json = cli.log.log_format == LogFormat::Json;
    let started = telemetry::start(json, cli.log.log_level.as_deref(), LogWriter).map_err(CommandError::Usage);
    let registered = || match program.refused() {
        Some(e) => Err(CommandError::Usage(e.to_string())),
        None => Ok(()),
    };
    let code = match started.and_then(|()| registered()).and_then(|()| command(cli, program)) {
        Ok(()) => exit::OK,
        Err(stop) => {
            if let CommandError::Topology(problems) = &stop {
                eprintln!("{}\n", problems.render(terminal::has_colours()));
            }
            eprintln!("helixstream: {}", escape::lines(&stop.to_string()));
            stop.code()
        }
    };
    end::within_limit(code)
}

fn command(cli: &Cli, program: &Program) -> Result<(), CommandError> {
    match &cli.command {
        Command::Run(args) => run::run(args, program),
        Command::Replay(args) => replay::replay(args, program),
        Command::Audit(args) => audit::audit(args, program),
        Command::Produce(args) => produce::produce(args),
        Command::Topics(args) => topics::topics(&args.action, program),
        Command::Topology(args) => topology_command::topology(&args.action, program),
        Command::Conflicts(args) => conflicts::conflicts(&args.action, program),
        Command::Node(args) => node::node(args, program),
        Command::Nodes(args) => nodes::nodes(&args.action),
        Command::Services(args) => services::services(&args.action),
        Command::Mcp(args) => mcp::mcp(args),
        Command::Http(args) => http::http(&args.action),
        Command::Mirror(args) => mirror::mirror(&args.action, program),
        Command::State(args) => state::state(&args.action, program),
        Command::Explain(args) => explain::explain(args.code.as_deref()),
    }
}
