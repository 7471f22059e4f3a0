//! The binary: parse, load config, call app.

use std::process::ExitCode;

use helixstream::app;
use helixstream::edges::cli::Cli;

fn main() -> ExitCode {
    app::main(&Cli::from_environment())
}
