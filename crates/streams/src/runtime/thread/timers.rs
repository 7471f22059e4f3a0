//! The times at which a stream thread does what is due at intervals.

use std::time::Duration;

/// How often a thread looks for hanging transactions.
const TRANSACTION_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How often a thread looks whether it is still a member of its group.
const MEMBERSHIP_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// When the thread last did what is due at intervals.
pub(super) struct Timers {
    commit: Duration,
    purge: Duration,
    transaction_check: Duration,
    membership_check: Duration,
}

impl Timers {
    /// All intervals begin now.
    pub fn new(now: Duration) -> Timers {
        Timers { commit: now, purge: now, transaction_check: now, membership_check: now }
    }

    /// When the next commit is due.
    pub fn next_commit(&self, interval: Duration) -> Duration {
        self.commit + interval
    }

    /// A commit has come to its end.
    pub fn committed(&mut self, now: Duration) {
        self.commit = now;
    }

    /// Whether a purge is due; its interval then begins anew.
    pub fn take_purge(&mut self, now: Duration, interval: Duration) -> bool {
        take(&mut self.purge, now, interval)
    }

    /// Whether a look for hanging transactions is due; its interval then begins anew.
    pub fn take_transaction_check(&mut self, now: Duration) -> bool {
        take(&mut self.transaction_check, now, TRANSACTION_CHECK_INTERVAL)
    }

    /// Whether a look at the membership is due; its interval then begins anew.
    pub fn take_membership_check(&mut self, now: Duration) -> bool {
        take(&mut self.membership_check, now, MEMBERSHIP_CHECK_INTERVAL)
    }
}

fn take(last: &mut Duration, now: Duration, interval: Duration) -> bool {
    let is_due = now >= *last + interval;
    if is_due {
        *last = now;
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_begins_anew_where_it_was_taken() {
        let second = Duration::from_secs;
        let mut timers = Timers::new(second(100));
        let due: Vec<u64> = (100..115).filter(|now| timers.take_transaction_check(second(*now))).collect();
        assert_eq!(due, [105, 110]);
        assert!(!timers.take_purge(second(129), second(30)) && timers.take_purge(second(131), second(30)));
        timers.committed(second(7));
        assert_eq!(timers.next_commit(second(2)), second(9));
    }
}
