//! Back-off: the waits between retries of what fails (as `retry.backoff.ms` and
//! `retry.backoff.max.ms` of Kafka clients), and reminders of what lasts.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(5);
/// Before the first and before any later try of a task that is stopped: somebody has to act.
const FIRST_OF_STOPPED: Duration = Duration::from_secs(1);
const LONGEST_OF_STOPPED: Duration = Duration::from_secs(60);
/// How often a warning is logged again while its cause lasts.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// The waits between the tries of one thing: each is twice the last one, within bounds (KIP-580,
/// without its random part: few clients wait for the same answer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    wait: Duration,
    first: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { wait: Duration::ZERO, first: FIRST, longest: LONGEST }
    }
}

impl Backoff {
    /// The waits of a task that is stopped.
    pub fn of_stopped_task() -> Backoff {
        Backoff { wait: Duration::ZERO, first: FIRST_OF_STOPPED, longest: LONGEST_OF_STOPPED }
    }

    /// The wait before the next try.
    pub fn next(&mut self) -> Duration {
        self.wait = (self.wait * 2).clamp(self.first, self.longest);
        self.wait
    }
}

/// Says when a warning about something that lasts is due: at once, and then once a minute.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reminder {
    last: Option<Duration>,
}

impl Reminder {
    /// Whether the warning is due now; it is then taken to be logged.
    pub fn is_due(&mut self, now: Duration) -> bool {
        let is_due = self.last.is_none_or(|last| now.saturating_sub(last) >= REMIND_EVERY);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_bounds() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        let mut backoff = Backoff::of_stopped_task();
        let waits: Vec<u64> = (0..8).map(|_| backoff.next().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_warning_is_due_at_once_and_then_once_a_minute() {
        let mut reminder = Reminder::default();
        let due: Vec<u64> = (0..200).filter(|second| reminder.is_due(Duration::from_secs(*second))).collect();
        assert_eq!(due, [0, 60, 120, 180]);
    }
}
