//! Logs: `tracing` to the standard error, as text for people or JSON for programs.

use std::io::{self, IsTerminal, Write};

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
    // The library that speaks MCP logs each request. What an operator should know, we log.
    let filter = EnvFilter::try_new(format!("rmcp=error,{}", with_crates(&text))).map_err(|e| {
        format!(
            "the log filter `{text}` is not valid: {e}; use error, warn, info, debug or trace, or for example \
             info,helixstream_streams=debug [HS0005]"
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

/// Modules that became crates after version 0.1, and the targets that the log lines of these crates
/// have. A module that became two crates is there twice.
const MOVED: &[(&str, &str)] = &[
    ("helixstream::config", "helixstream_topology_file"),
    ("helixstream::domain", "helixstream_memory"),
    ("helixstream::edges::avro", "helixstream_avro"),
    ("helixstream::edges::http", "helixstream_http"),
    ("helixstream::edges::kafka", "helixstream_streams_kafka"),
    ("helixstream::edges::postgres", "helixstream_mirror_postgres"),
    ("helixstream::edges::postgres", "helixstream_mirror"),
    ("helixstream::edges::postgres::mirror", "helixstream_mirror"),
    ("helixstream::edges::rocksdb", "helixstream_streams_rocksdb"),
    ("helixstream::edges::script", "helixstream_script"),
    ("helixstream::memories", "helixstream_memory_operators"),
    ("helixstream::operators", "helixstream_operators"),
    ("helixstream::streams", "helixstream_streams"),
];

/// A filter whose directives for former modules name the crates that these became, so that filters
/// of version 0.1 go on working.
fn with_crates(filter: &str) -> String {
    filter.split(',').map(with_crate).collect::<Vec<_>>().join(",")
}

fn with_crate(directive: &str) -> String {
    let target = directive.trim_start();
    let moved = MOVED.iter().filter(|(former, _)| target.starts_with(former));
    let moved: Vec<String> = moved.map(|(former, now)| target.replacen(former, now, 1)).collect();
    if !moved.is_empty() {
        return moved.join(",");
    }
    // The folder of the edges stays, and most of them have left it.
    let Some(level) = target.strip_prefix("helixstream::edges").filter(|level| level.starts_with('=')) else {
        return directive.to_owned();
    };
    let edges = MOVED.iter().filter(|(former, _)| former.starts_with("helixstream::edges"));
    edges.fold(directive.to_owned(), |all, (_, now)| format!("{all},{now}{level}"))
}

/// Writes log lines so that foreign text in them, such as an id or the words of a server, stays
/// text: tracing writes out ESC in values and leaves line ends and characters that turn the
/// direction of writing.
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

    #[test]
    fn a_filter_by_a_former_module_reaches_the_crate_that_it_became() {
        let filter =
            with_crates("info,helixstream::streams::runtime=debug,helixstream::edges::kafka=trace,helixstream=warn");
        assert_eq!(filter, "info,helixstream_streams::runtime=debug,helixstream_streams_kafka=trace,helixstream=warn");
        let mirror = with_crates("helixstream::edges::postgres=debug");
        assert_eq!(mirror, "helixstream_mirror_postgres=debug,helixstream_mirror=debug");
        let mirror = with_crates("helixstream::edges::postgres::mirror=debug");
        assert!(mirror.ends_with(",helixstream_mirror=debug"), "{mirror}");
        let edges = with_crates("helixstream::edges=debug");
        assert!(edges.starts_with("helixstream::edges=debug,helixstream_avro=debug,"), "{edges}");
        // A log line's target is the path of its module.
        assert!(std::any::type_name::<streams::driver::TopologyDriver>().starts_with("helixstream_streams::"));
        assert!(std::any::type_name::<mirror::Mirror>().starts_with("helixstream_mirror::"));
        assert!(std::any::type_name::<memory::settings::ResolverSettings>().starts_with("helixstream_memory::"));
    }
}
