//! Waiting for a condition by polling it, so that no test sleeps for a time that it guessed.

use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails: long enough for two busy cores.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Polls `probe` until it returns a value; panics with `what` after [`LIMIT`].
#[track_caller]
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_for_within(LIMIT, what, probe)
}

/// Polls `condition` until it is true; panics with `what` after [`LIMIT`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for_within(LIMIT, what, || condition().then_some(()));
}

/// [`wait_for`] with a limit of the caller's.
#[track_caller]
pub fn wait_for_within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
