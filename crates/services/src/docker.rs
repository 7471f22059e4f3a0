//! Calls of the program `docker`.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::probes::shown;

/// The program.
pub(super) const DOCKER: &str = "docker";
/// How often the end of the program and a signal are looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How many of the last lines of what the program says stand in an error.
const LINES: usize = 5;
/// How long a question may take, which changes nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Why a call has no good end, for people.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DockerError {
    /// The program could not be run, so nothing has changed.
    #[error("{0}")]
    NotRun(String),
    /// It has failed, or a signal has ended it: something may have changed.
    #[error("{0}")]
    Failed(String),
}

/// A call without arguments.
pub(super) fn command() -> Command {
    Command::new(DOCKER)
}

/// Runs the program to its end, or until a signal, which it gets too.
pub(super) fn run(command: Command, stop: &AtomicBool) -> Result<(), DockerError> {
    call(command, stop, None).map(drop)
}

/// Runs a call that changes nothing, for the text on its standard output.
pub(super) fn answer(mut command: Command, stop: &AtomicBool) -> Result<String, DockerError> {
    command.stdout(Stdio::piped());
    call(command, stop, Some(ANSWER_LIMIT))
}

fn call(mut command: Command, stop: &AtomicBool, limit: Option<Duration>) -> Result<String, DockerError> {
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    if limit.is_none() {
        command.stdout(Stdio::null());
    }
    let cannot = |e: &io::Error| {
        let hint = if e.kind() == io::ErrorKind::NotFound { "; install Docker with its plugin compose" } else { "" };
        format!("cannot run `{DOCKER} compose`: {e}{hint} [HS9008]")
    };
    let mut child = command.spawn().map_err(|e| DockerError::NotRun(cannot(&e)))?;
    let printed = child.stdout.take().map(|stdout| thread::spawn(move || text(stdout)));
    let said = child.stderr.take().map(|stderr| thread::spawn(move || last_lines(&text(stderr))));
    let begun = Instant::now();
    let (mut is_signalled, mut is_late) = (false, false);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| DockerError::Failed(cannot(&e)))? {
            break status;
        }
        let late = limit.is_some_and(|limit| begun.elapsed() > limit);
        if (stop.load(Ordering::Relaxed) || late) && !is_signalled {
            (is_signalled, is_late) = (true, late);
            terminate(&child);
        }
        thread::sleep(LOOK);
    };
    let text_of = |part: Option<thread::JoinHandle<String>>| part.and_then(|part| part.join().ok()).unwrap_or_default();
    if status.success() {
        return Ok(text_of(printed));
    }
    if is_late {
        let limit = shown(ANSWER_LIMIT);
        return Err(DockerError::Failed(format!("`{DOCKER}` has not answered within {limit} [HS9008]")));
    }
    if is_signalled {
        return Err(DockerError::Failed(format!("`{DOCKER}` was stopped by a signal ({status}) [HS9008]")));
    }
    let said = text_of(said);
    let said = if said.is_empty() { "it says nothing".to_owned() } else { said };
    Err(DockerError::Failed(format!("`{DOCKER}` has failed ({status}): {said} [HS9008]")))
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // It may just have ended by itself.
    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
}

fn text(mut from: impl Read) -> String {
    let mut read = Vec::new();
    // What could be read before a fault is of use as well.
    let _ = from.read_to_end(&mut read);
    String::from_utf8_lossy(&read).into_owned()
}

/// The last lines of what the program says, joined.
fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}
