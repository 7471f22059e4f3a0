//! The pauses of a loop whose surroundings fail.

use std::time::Duration;

/// Pauses that double from the first to the longest, and begin again after a success.
#[derive(Debug)]
pub(crate) struct BackOff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl BackOff {
    pub fn new(first: Duration, longest: Duration) -> BackOff {
        BackOff { first, longest, next: first }
    }

    /// The pause after one more failure.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// Begins again with the first pause.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds = Duration::from_secs;
        let mut back_off = BackOff::new(seconds(1), seconds(5));
        let pauses: Vec<Duration> = (0..5).map(|_| back_off.next_pause()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5].map(seconds));
        back_off.reset();
        assert_eq!(back_off.next_pause(), seconds(1));
    }
}
