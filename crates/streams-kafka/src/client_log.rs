//! librdkafka's log lines, on their way into ours: at the level of what has to be done about them,
//! and each once a minute.
//!
//! librdkafka logs what it sees, each client and each of its connections for itself: a broker that
//! is away is an error of every connection, once a second or so, and a rebalance that aborts a
//! transaction is one too. The engine says what such a thing means for the instance, and warns
//! where somebody has to act. So those lines are information here.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::contact_state;

/// The same line is logged again after this time at the earliest, with how often it came meanwhile.
const FOLD: Duration = Duration::from_secs(60);
/// Lines of so many kinds are folded; those of further kinds are logged as they come.
const KINDS: usize = 1000;

/// Lines about what the engine remedies by itself, or reports in its own words: a connection that
/// failed or ended, brokers that are all away, a request without an answer, a session that ended, a
/// producer id that is not to be had yet, a transaction that failed or one of its requests, a
/// client that failed for good. And offsets that a mirror could not commit: they are for display,
/// and the next commit brings them. And a token that is not to be had.
const TOLD_BY_THE_ENGINE: [&str; 13] = [
    "FAIL",
    "ERROR",
    "REQTMOUT",
    "SESSTMOUT",
    "GETPID",
    "TXNERR",
    "ADDPARTS",
    "ADDOFFSETS",
    "FATAL",
    "METADATA",
    "COMMITFAIL",
    "OIDC",
    "JWT",
];
/// Lines in OpenSSL's own words: what they come to is said of the connection that fails.
const TOLD_BY_THE_CONNECTION: [&str; 2] = ["SSL", "SSLCERTVRFY"];

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// A line that was logged.
struct LoggedLine {
    at: Instant,
    level: Level,
    facility: String,
    /// The last one that was not logged.
    text: String,
    /// How many were not logged since.
    more: u64,
}

static LOGGED: Mutex<BTreeMap<String, LoggedLine>> = Mutex::new(BTreeMap::new());

/// One line of librdkafka's log; `level` is syslog's.
pub(super) fn log_line(level: c_int, facility: &str, text: &str) {
    let level = match level_of(level, facility) {
        // Until the first contact the command itself says why there is none.
        Level::Info if TOLD_BY_THE_ENGINE.contains(&facility) && !contact_state::is_made() => Level::Debug,
        level => level,
    };
    // What somebody debugs is shown as it is.
    if level == Level::Debug
        || is_new(&mut LOGGED.lock().unwrap_or_else(PoisonError::into_inner), level, facility, text)
    {
        log(level, facility, text);
    }
}

/// Logs how often lines came that were not logged since they came a moment before. To be called now
/// and then.
pub fn log_repeated_lines() {
    let due = due(&mut LOGGED.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    for logged in due {
        let count = logged.more;
        log(
            logged.level,
            &logged.facility,
            &format!("{} (librdkafka repeated this line {count} times in the last minute)", logged.text),
        );
    }
}

fn level_of(level: c_int, facility: &str) -> Level {
    match level {
        // The user's settings go to every client, also those that one kind of client has no use
        // for.
        _ if facility == "CONFWARN" || TOLD_BY_THE_CONNECTION.contains(&facility) => Level::Debug,
        0..=6 if TOLD_BY_THE_ENGINE.contains(&facility) => Level::Info,
        0..=3 => Level::Error,
        4 => Level::Warn,
        5 | 6 => Level::Info,
        _ => Level::Debug,
    }
}

/// Whether a line is to be logged: no such line was within the last minute.
fn is_new(logged: &mut BTreeMap<String, LoggedLine>, level: Level, facility: &str, text: &str) -> bool {
    let kind = format!("{facility} {}", kind_of(text));
    match logged.get_mut(&kind) {
        Some(known) => {
            known.more += 1;
            text.clone_into(&mut known.text);
            false
        }
        None => {
            if logged.len() < KINDS {
                let facility = facility.to_owned();
                let text = text.to_owned();
                logged.insert(kind, LoggedLine { at: Instant::now(), level, facility, text, more: 0 });
            }
            true
        }
    }
}

/// Takes out the lines that were last logged more than a minute ago, and keeps those that came
/// again since: their next minute begins. Gives these.
fn due(logged: &mut BTreeMap<String, LoggedLine>, now: Instant) -> Vec<LoggedLine> {
    let kinds: Vec<String> = logged
        .iter()
        .filter(|(_, line)| now.saturating_duration_since(line.at) >= FOLD)
        .map(|(kind, _)| kind.clone())
        .collect();
    let mut due = Vec::new();
    for kind in kinds {
        let Some(line) = logged.remove(&kind) else { continue };
        if line.more > 0 {
            let level = line.level;
            let facility = line.facility.clone();
            let text = line.text.clone();
            logged.insert(kind, LoggedLine { at: now, level, facility, text, more: 0 });
            due.push(line);
        }
    }
    due
}

/// The common part of two lines with the same meaning: without the thread and the connection that
/// say it, without figures.
fn kind_of(text: &str) -> String {
    let text = if text.starts_with("[thrd:") { text.split_once("]: ").map_or(text, |(_, rest)| rest) } else { text };
    // `host:port/bootstrap: what happened (after 3ms in state UP, 4 identical error(s) suppressed)`
    let said = match text.split_once(": ") {
        Some((connection, said)) if connection.contains('/') && !connection.contains(' ') => said,
        _ => text,
    };
    let said = said.split_once(" (after ").map_or(said, |(said, _)| said);
    said.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn log(level: Level, facility: &str, text: &str) {
    match level {
        Level::Error => tracing::error!(target: "librdkafka", code = "HS2008", facility, "{text}"),
        Level::Warn => tracing::warn!(target: "librdkafka", code = "HS2008", facility, "{text}"),
        Level::Info => tracing::info!(target: "librdkafka", facility, "{text}"),
        Level::Debug => tracing::debug!(target: "librdkafka", facility, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "Connect to ipv4#127.0.0.1:9092 failed: Connection refused";

    #[test]
    fn lines_of_an_outage_are_folded_into_a_count() {
        let mut logged = BTreeMap::new();
        let lines = [
            format!(
                "[thrd:localhost:9092/bootstrap]: localhost:9092/bootstrap: {REFUSED} (after 0ms in state CONNECT)"
            ),
            format!(
                "[thrd:localhost:9092/1]: localhost:9092/1: {REFUSED} (after 12ms in state CONNECT, 30 identical error(s) suppressed)"
            ),
            format!("[thrd:GroupCoordinator]: GroupCoordinator/1: {REFUSED} (after 7ms in state CONNECT)"),
        ];
        let new = lines.iter().filter(|line| is_new(&mut logged, Level::Info, "FAIL", line)).count();
        assert_eq!(new, 1);
        let other = "[thrd:localhost:9092/1]: localhost:9092/1: Disconnected (after 12ms in state UP)";
        assert!(is_new(&mut logged, Level::Info, "FAIL", other));
        assert!(due(&mut logged, Instant::now()).is_empty(), "not yet");
        let counts: Vec<u64> = due(&mut logged, Instant::now() + FOLD).iter().map(|line| line.more).collect();
        assert_eq!(counts, [2]);
        assert!(is_new(&mut logged, Level::Info, "FAIL", other), "a minute has passed");
        assert!(!is_new(&mut logged, Level::Info, "FAIL", &lines[0]), "its next minute has begun");
    }

    #[test]
    fn what_the_engine_remedies_is_no_warning() {
        for (level, facility) in [(3, "TXNERR"), (4, "GETPID"), (3, "FAIL"), (4, "SESSTMOUT")] {
            assert_eq!(level_of(level, facility), Level::Info, "{facility}");
        }
        assert_eq!(level_of(4, "MAXPOLL"), Level::Warn);
        assert_eq!(level_of(3, "ASSIGNOR"), Level::Error);
        assert_eq!(level_of(7, "FAIL"), Level::Debug);
        assert_eq!(level_of(3, "SSL"), Level::Debug);
    }
}
