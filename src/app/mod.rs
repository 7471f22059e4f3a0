//! The one place that puts the parts together: start and shutdown.

mod replay;
mod settings;
mod stop;
mod topology;

use std::process::ExitCode;

use crate::edges::cli::terminal::LogWriter;
use crate::edges::cli::{Cli, Command, LogFormat, exit};
use crate::edges::telemetry;
pub use stop::Stop;

/// Does what the command line asks for; what went wrong goes to the standard error, the code to the caller.
pub fn main(cli: &Cli) -> ExitCode {
    let json = cli.log.log_format == LogFormat::Json;
    let done = telemetry::start(json, cli.log.log_level.as_deref(), LogWriter)
        .map_err(Stop::Usage)
        .and_then(|()| command(cli));
    match done {
        Ok(()) => ExitCode::from(exit::OK),
        Err(stop) => {
            eprintln!("helixstream: {stop}");
            ExitCode::from(stop.code())
        }
    }
}

fn command(cli: &Cli) -> Result<(), Stop> {
    match &cli.command {
        Command::Run(args) => settings::load(&args.topology, args.application_id.as_deref()).map(|_| ()),
        Command::Replay(args) => replay::replay(args),
        _ => Ok(()),
    }
}
