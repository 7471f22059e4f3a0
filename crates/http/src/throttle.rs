//! Limits the log lines that a client can cause: at most one a minute of each kind, with the number
//! of events that it stands for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often one kind of line is written at most.
const PAUSE: Duration = Duration::from_secs(60);

/// Decides when a line of one kind is written.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    silent: u64,
}

impl Throttle {
    /// Counts one case. `Some` with the number of cases since the last line when a line is due.
    pub fn count(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.silent += 1;
        if state.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return None;
        }
        state.last = Some(Instant::now());
        Some(std::mem::take(&mut state.silent))
    }
}
