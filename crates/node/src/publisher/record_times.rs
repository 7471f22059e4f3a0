//! The time of an event's record, where the brokers refuse the event's own.
//!
//! An event has its time in its value, and nothing changes that. Its record has a time as well, for
//! which a topic has limits: `message.timestamp.after.max.ms`, by which a clock that is ahead is
//! refused, and `message.timestamp.before.max.ms`, by which an event is refused that was accepted
//! long ago. The contract needs no more of a record's time than that a broker accepts it
//! (docs/semantics.md, section 5). So where the brokers refuse the event's own time, another one is
//! sought: this machine's time now, and times before that.
//!
//! A client cannot ask a broker for its time. It is found as the least whole number of hours before
//! this machine's time that is accepted: it doubles until one is accepted, and is then narrowed
//! down by transactions that are aborted. So a clock that is a year ahead dates no record months
//! back, which the stream might take for an event of a memory that it has forgotten.

use std::time::{Duration, Instant};

/// An hour, in milliseconds.
const HOUR_MS: i64 = 60 * 60 * 1000;
/// How long a time that was found is used before the events' own times are tried again.
const KEPT: Duration = Duration::from_secs(300);

/// The times of the records of a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RecordTimes {
    /// Those of the events.
    #[default]
    Own,
    /// So many hours before this machine's time, which is tried.
    Search {
        hours: i64,
        /// The most hours that were refused.
        refused: Option<i64>,
        /// The fewest hours that were accepted.
        accepted: Option<i64>,
    },
    /// So many hours before this machine's time, which was found then.
    Found { hours: i64, since: Instant },
}

impl RecordTimes {
    /// Whether they are those of the events.
    pub fn are_own(self) -> bool {
        self == RecordTimes::Own
    }

    /// The time of the record of an event with this time, both in milliseconds since 1970.
    pub fn of(self, event_ms: i64, now_ms: i64) -> i64 {
        match self {
            RecordTimes::Own => event_ms.max(1),
            RecordTimes::Search { hours, .. } | RecordTimes::Found { hours, .. } => {
                now_ms.saturating_sub(hours.saturating_mul(HOUR_MS)).max(1)
            }
        }
    }

    /// The brokers have refused these times. Returns whether there are others to try.
    #[must_use]
    pub fn refuse(&mut self, now_ms: i64) -> bool {
        let next = |hours, refused, accepted| RecordTimes::Search { hours, refused, accepted };
        *self = match *self {
            RecordTimes::Own | RecordTimes::Found { .. } => next(0, None, None),
            RecordTimes::Search { hours, .. } if hours > now_ms / HOUR_MS => {
                *self = RecordTimes::Own;
                return false;
            }
            // What was accepted may be refused by now: the clock was set, or that of another broker
            // differs.
            RecordTimes::Search { hours, accepted, .. } if accepted.is_none_or(|accepted| accepted <= hours) => {
                next(hours.saturating_mul(2).max(1), Some(hours), None)
            }
            RecordTimes::Search { hours, accepted, .. } => {
                next(middle(hours, accepted.unwrap_or(hours)), Some(hours), accepted)
            }
        };
        true
    }

    /// Whether a transaction with these times is to be committed. Where it is not, it shows whether
    /// they are accepted, and is aborted.
    pub fn are_final(self) -> bool {
        match self {
            RecordTimes::Search { hours, refused, .. } => refused.is_none_or(|refused| hours - refused <= 1),
            RecordTimes::Own | RecordTimes::Found { .. } => true,
        }
    }

    /// The brokers have accepted these times.
    pub fn accept(&mut self) {
        *self = match *self {
            RecordTimes::Search { hours, refused: Some(refused), .. } if !self.are_final() => {
                RecordTimes::Search { hours: middle(refused, hours), refused: Some(refused), accepted: Some(hours) }
            }
            RecordTimes::Search { hours, .. } => RecordTimes::Found { hours, since: Instant::now() },
            other => other,
        };
    }

    /// Goes back to the events' own times after a while: the clock may have been set.
    pub fn review(&mut self) {
        if matches!(self, RecordTimes::Found { since, .. } if since.elapsed() > KEPT) {
            *self = RecordTimes::Own;
        }
    }
}

/// Between hours that were refused and more that were accepted; the latter where nothing is
/// between.
fn middle(refused: i64, accepted: i64) -> i64 {
    accepted - (accepted - refused) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    /// The hours that are found where the machine is ahead by so many milliseconds, and how many
    /// tries were refused.
    fn found(ahead_ms: i64, allowed_ms: i64) -> (Option<i64>, usize) {
        let (mut times, mut refused) = (RecordTimes::Own, 0);
        loop {
            let before = times;
            if times.of(NOW_MS, NOW_MS) > NOW_MS - ahead_ms + allowed_ms {
                refused += 1;
                if !times.refuse(NOW_MS) {
                    return (None, refused);
                }
            } else {
                let is_final = times.are_final();
                times.accept();
                match times {
                    RecordTimes::Found { hours, .. } => {
                        assert!(is_final, "what is not final is aborted");
                        return (Some(hours), refused);
                    }
                    RecordTimes::Own => return (Some(0), refused),
                    RecordTimes::Search { .. } => assert!(!is_final),
                }
            }
            assert_ne!(times, before, "each try is another one");
        }
    }

    #[test]
    fn the_fewest_hours_that_are_accepted_are_found() {
        assert_eq!(found(HOUR_MS, HOUR_MS), (Some(0), 0));
        // The event's own time, and now, which are the same here.
        assert_eq!(found(HOUR_MS + 1, HOUR_MS), (Some(1), 2));
        for hours in 2..3_000 {
            let (sought, refused) = found(hours * HOUR_MS + 7, HOUR_MS);
            assert_eq!(sought, Some(hours), "the clock is {hours} hours ahead");
            assert!(refused <= 30, "{refused} tries for {hours} hours");
        }
        assert_eq!(found(NOW_MS - HOUR_MS, 0).0, Some(NOW_MS / HOUR_MS - 1));
    }

    #[test]
    fn where_no_time_is_accepted_the_search_ends_and_begins_anew() {
        let (found, refused) = found(NOW_MS + HOUR_MS, 0);
        assert_eq!(found, None);
        assert!(refused < 30, "{refused}");
        let mut times = RecordTimes::Found { hours: 3, since: Instant::now() };
        times.review();
        assert_eq!(times.of(1, 4 * HOUR_MS), HOUR_MS);
        assert!(times.refuse(NOW_MS));
        assert_eq!(times.of(1, 5), 5);
    }

    #[test]
    fn a_time_that_was_accepted_and_is_refused_later_does_not_end_in_a_loop_without_a_pause() {
        let mut times = RecordTimes::Own;
        while !matches!(times, RecordTimes::Search { hours: 8, .. }) {
            assert!(times.refuse(NOW_MS));
        }
        times.accept();
        // From now on no time is accepted.
        let tries = (0..100).take_while(|_| times.refuse(NOW_MS)).count();
        assert!(tries < 50, "{tries} tries in a row");
        assert!(times.are_own());
    }
}
