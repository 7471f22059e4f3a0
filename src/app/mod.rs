//! The one place that puts the parts together: start and shutdown.

mod kafka;
mod kill;
mod mirror;
mod pages;
mod produce;
mod replay;
mod run;
mod settings;
mod state;
mod status;
mod stop;
mod topics;
mod topology;

use std::process::ExitCode;

use crate::edges::cli::terminal::LogWriter;
use crate::edges::cli::{Cli, Command, LogFormat, exit};
use crate::edges::telemetry;
pub use stop::Stop;

/// Does what the command line asks for; what went wrong goes to the standard error, the code to the caller.
pub fn main(cli: &Cli) -> ExitCode {
    let json = cli.log.log_format == LogFormat::Json;
    let started = telemetry::start(json, cli.log.log_level.as_deref(), LogWriter).map_err(Stop::Usage);
    match started.and_then(|()| command(cli)) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(stop) => {
            eprintln!("helixstream: {stop}");
            ExitCode::from(stop.code())
        }
    }
}

fn command(cli: &Cli) -> Result<(), Stop> {
    match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::replay(args),
        Command::Produce(args) => produce::produce(args),
        Command::Topics(args) => topics::topics(&args.action),
        Command::State(args) => state::state(&args.action),
    }
}
