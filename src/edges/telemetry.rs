//! Logs: `tracing` to the standard error, as text for people or JSON for programs.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::escape;

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
        format!(
            "the log filter `{text}` is not valid: {e}; use error, warn, info, debug or trace, or for example \
             info,helixstream::streams=debug [HS0005]"
        )
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Shown { inner: writer, json });
    let started = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
    };
    started.map_err(|e| format!("cannot start logging: {e} [HS9000]"))
}

/// Writes log lines so that foreign text in them, such as an id or the words of a server, stays text: tracing writes out ESC in
/// values and leaves line ends and characters that turn the direction of writing.
struct Shown<W> {
    inner: W,
    json: bool,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Shown<W> {
    type Writer = Shown<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Shown { inner: self.inner.make_writer(), json: self.json }
    }
}

impl<W: Write> Write for Shown<W> {
    /// Takes a whole line, as tracing hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown = match (self.json, text.strip_suffix('\n')) {
            (true, Some(object)) => escape::json(object) + "\n",
            (true, None) => escape::json(&text),
            (false, _) => escape::log_line(&text),
        };
        self.inner.write_all(shown.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_in_a_log_line_stays_text() {
        let written = |json: bool, line: &str| {
            let mut shown = Shown { inner: Vec::new(), json };
            shown.write_all(line.as_bytes()).unwrap();
            String::from_utf8(shown.inner).unwrap()
        };
        assert_eq!(written(false, "an id a\nERROR false\u{2067}\n"), "an id a\\nERROR false\\u{2067}\n");
        assert_eq!(written(true, "{\"id\":\"a\u{9b}\"}\n"), "{\"id\":\"a\\u009b\"}\n");
    }
}
