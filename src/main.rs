//! The binary: parse, load config, call app.

use std::process::ExitCode;

use helixstream::app;
use helixstream::edges::cli::Cli;

/// Events and rows are many small allocations, on which the C library's allocator spends a fifth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    app::main(&Cli::from_environment(), &None)
}
