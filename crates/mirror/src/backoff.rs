//! The back-off of the mirror: the waits between retries of what fails (as `retry.backoff.ms` and
//! `retry.backoff.max.ms` of Kafka clients). The sink, a partition that another writer holds, and a
//! record that cannot be decoded yet have one each.

use std::time::Duration;

/// No wait is doubled more often than this, whatever its bounds.
const MAX_DOUBLINGS: u32 = 16;

/// The waits between the tries of one thing: each is twice the last one, within bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a further failure: `first` after the first one, and never more than
    /// `longest`.
    pub(super) fn next(&mut self, first: Duration, longest: Duration) -> Duration {
        let wait = first.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS)).min(longest);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// The failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_bounds() {
        let mut backoff = Backoff::default();
        let mut next = || backoff.next(Duration::from_millis(100), Duration::from_secs(1)).as_millis();
        assert_eq!([next(), next(), next(), next(), next(), next()], [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.failures(), 6);
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.next(Duration::from_secs(1), Duration::MAX), Duration::from_secs(1 << MAX_DOUBLINGS));
        assert_eq!(backoff.failures(), u32::MAX);
    }
}
