//! The machine's clock, for intervals and back-off.

use std::time::{Duration, Instant};

use streams::ports::Clock;

/// Time since this clock was made; never goes back.
#[derive(Clone, Copy, Debug)]
pub struct MachineClock(Instant);

impl MachineClock {
    /// A clock that starts now.
    pub fn new() -> MachineClock {
        MachineClock(Instant::now())
    }
}

impl Default for MachineClock {
    fn default() -> MachineClock {
        MachineClock::new()
    }
}

impl Clock for MachineClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
