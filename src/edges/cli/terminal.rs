//! Display of a working command on a terminal: one live line, or a progress bar. Nothing of it
//! where the standard error is no terminal.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

/// All lines of this process, so that log lines can be written above them.
fn lines() -> &'static MultiProgress {
    static LINES: OnceLock<MultiProgress> = OnceLock::new();
    LINES.get_or_init(MultiProgress::new)
}

/// Whether colours may stand on the standard error: it is a terminal, and nobody has asked for none
/// (<https://no-color.org>).
pub fn has_colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A progress bar over bytes or records; invisible where there is no terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar called `what`; with an unknown `total` it only counts.
    pub fn new(what: &'static str, total: Option<u64>, bytes: bool) -> Progress {
        if !io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let bar = lines().add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
        let template = match (total, bytes) {
            (Some(_), true) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            (Some(_), false) => "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}",
            (None, true) => "{msg} {spinner} {bytes} {bytes_per_sec}",
            (None, false) => "{msg} {spinner} {human_pos} {per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Progress(bar)
    }

    /// So far, and of how much.
    pub fn set(&self, done: u64, total: Option<u64>) {
        if let Some(total) = total {
            self.0.set_length(total);
        }
        self.0.set_position(done);
    }
}

impl Progress {
    /// Prints a line on the standard output, above the bar.
    pub fn print(&self, line: &str) {
        lines().suspend(|| println!("{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// One line that is written anew; `None` where there is no terminal.
pub struct LiveLine(ProgressBar);

impl LiveLine {
    /// A line at the bottom of the terminal.
    pub fn new() -> Option<LiveLine> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let line = lines().add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            line.set_style(style);
        }
        Some(LiveLine(line))
    }

    /// Shows a text in place of the one before.
    pub fn show(&self, text: impl Display) {
        self.0.set_message(text.to_string());
        self.0.tick();
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The standard error for log lines: above whatever stands at the bottom.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        lines().suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        *self
    }
}
