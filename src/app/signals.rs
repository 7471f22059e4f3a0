//! Shared parts of commands that run until a signal: the signal itself, and work that it may cut
//! short.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::CommandError;

/// How often signals are looked at.
pub const LOOK: Duration = Duration::from_millis(100);

/// Set by the first SIGTERM or SIGINT; a second one ends the process at once.
pub fn watch_signals() -> Result<Arc<AtomicBool>, CommandError> {
    let signalled = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, signalled.clone())
            .and_then(|_| signal_hook::flag::register(signal, signalled.clone()))
            .context("watch for signals")?;
    }
    Ok(signalled)
}

/// Does what may take long on a thread of its own. `None` when a signal came first: the process is
/// about to end.
pub fn unless_signalled<T: Send + 'static>(
    signalled: &AtomicBool,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<Option<T>, CommandError> {
    let (done, result) = channel();
    thread::Builder::new().name("start".to_owned()).spawn(move || {
        // The receiver is gone only when a signal has ended the start.
        let _ = done.send(work());
    })?;
    loop {
        match result.recv_timeout(LOOK) {
            Ok(outcome) => return Ok(Some(outcome?)),
            Err(RecvTimeoutError::Timeout) if signalled.load(Ordering::Relaxed) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the start ended by a panic [HS9000]").into()),
        }
    }
}

/// Waits for a thread's end; false when the deadline comes first.
pub fn wait_for<T>(handle: &JoinHandle<T>, deadline: Instant) -> bool {
    while !handle.is_finished() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}
