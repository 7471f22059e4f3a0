//! Time that is not taken from records: for intervals and back-off only, never for what is written
//! to a topic or a store.

use std::time::Duration;

/// The machine's clocks.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;

    /// Waits for so long. For jobs that run apart from the stream threads.
    fn sleep(&self, time: Duration);
}
