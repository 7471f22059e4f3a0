//! Whether the first contact with a broker was made: errors and log lines are judged by it.

use std::sync::atomic::{AtomicBool, Ordering};

static IS_MADE: AtomicBool = AtomicBool::new(false);

/// Whether a broker has answered this process.
pub(super) fn is_made() -> bool {
    IS_MADE.load(Ordering::Relaxed)
}

/// A broker has answered this process.
pub(super) fn set_made() {
    IS_MADE.store(true, Ordering::Relaxed);
}
