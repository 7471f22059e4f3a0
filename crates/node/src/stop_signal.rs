//! The signal by which the loops of a node end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pause between two looks at a thread that is to end.
const LOOK: Duration = Duration::from_millis(5);

/// How long a value that is dropped waits for its thread.
pub(crate) const DROP_LIMIT: Duration = Duration::from_secs(5);

/// The outcome of waiting for the end of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// It has ended.
    Ended,
    /// It has panicked.
    Panicked,
    /// It still runs, and ends by itself or with the process.
    StillRunning,
}

/// Waits for a thread to end, for at most `limit`. A call to Kafka that waits for a broker lasts
/// for up to 30 s and cannot be interrupted, so a thread may outlive every limit that a user
/// expects.
pub(crate) fn join_within(thread: JoinHandle<()>, limit: Duration) -> Joined {
    let deadline = Instant::now() + limit;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return Joined::StillRunning;
        }
        std::thread::sleep(LOOK);
    }
    match thread.join() {
        Ok(()) => Joined::Ended,
        Err(_) => Joined::Panicked,
    }
}

/// Tells a loop on another thread to end, and by when.
#[derive(Debug, Default)]
pub(crate) struct StopSignal {
    deadline: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl StopSignal {
    /// Asks the loop to end by itself within `limit`.
    pub fn request(&self, limit: Duration) {
        *self.lock() = Some(Instant::now() + limit);
        self.changed.notify_all();
    }

    /// Whether the loop is to end.
    pub fn is_requested(&self) -> bool {
        self.lock().is_some()
    }

    /// The time that is left; `None` before the end was requested.
    pub fn remaining(&self) -> Option<Duration> {
        self.lock().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether the time to end in has passed.
    pub fn is_overdue(&self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    /// Waits for `timeout`, and not past the moment at which the end is requested, or, where it was
    /// requested before, past the deadline.
    pub fn wait(&self, timeout: Duration) {
        let deadline = self.lock();
        if let Some(at) = *deadline {
            drop(deadline);
            std::thread::sleep(timeout.min(at.saturating_duration_since(Instant::now())));
            return;
        }
        let waited = self.changed.wait_timeout_while(deadline, timeout, |deadline| deadline.is_none());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
