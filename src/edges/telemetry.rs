//! Logs: `tracing` to the standard error, as text for people or JSON for programs.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts logging. The filter is `level`, else `RUST_LOG`, else `info`.
///
/// # Errors
/// The filter is none, or logging was started before.
pub fn start<W>(json: bool, level: Option<&str>, writer: W) -> Result<(), String>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let from_env = std::env::var("RUST_LOG").ok().filter(|v| !v.is_empty());
    let text = level.filter(|l| !l.is_empty()).map(str::to_owned).or(from_env).unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(&text).map_err(|e| {
        format!("the log filter `{text}` is none: {e}; use error, warn, info, debug, trace, or like info,helixstream::streams=debug")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
    };
    started.map_err(|e| format!("start logging: {e}"))
}
