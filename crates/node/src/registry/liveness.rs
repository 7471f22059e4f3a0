//! Whether a node is alive, as readers derive it from the time of its last record.

use std::fmt;
use std::time::Duration;

use super::record::NodeState;
use crate::settings::system_clock;

/// The time between two heartbeats of a node.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// A node that has missed so many heartbeats is inactive.
pub const MISSED_HEARTBEATS: u32 = 3;

/// A node without a heartbeat for so long has failed.
pub const FAILED_AFTER: Duration = Duration::from_secs(600);

/// The time of this machine's clock in milliseconds since 1970, to which the times of records are
/// compared.
#[must_use]
pub fn now_ms() -> i64 {
    i64::try_from(system_clock() / 1_000_000).unwrap_or(i64::MAX)
}

/// Whether a node is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Its heartbeats come.
    Active,
    /// Three heartbeats are missing.
    Inactive,
    /// No heartbeat came for ten minutes.
    Failed,
    /// It has ended in good order.
    Stopped,
    /// Another incarnation of the same node has taken its place.
    Replaced,
}

impl Liveness {
    /// Derives it from the state in a node's last record, the time of that record, and the time
    /// now, both in milliseconds since 1970. A record from the future, by another machine's clock,
    /// is a recent one.
    #[must_use]
    pub fn of(state: &NodeState, record_ms: i64, now_ms: i64) -> Liveness {
        let age = Duration::from_millis(u64::try_from(now_ms.saturating_sub(record_ms)).unwrap_or(0));
        match state {
            NodeState::Stopped => Liveness::Stopped,
            NodeState::Replaced { .. } => Liveness::Replaced,
            NodeState::Running if age >= FAILED_AFTER => Liveness::Failed,
            NodeState::Running if age > HEARTBEAT_INTERVAL * MISSED_HEARTBEATS => Liveness::Inactive,
            NodeState::Running => Liveness::Active,
        }
    }

    /// The word for it in pages and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Liveness::Active => "active",
            Liveness::Inactive => "inactive",
            Liveness::Failed => "failed",
            Liveness::Stopped => "stopped",
            Liveness::Replaced => "replaced",
        }
    }
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn liveness_follows_from_the_age_of_the_last_record() {
        let of = |age_ms: i64| Liveness::of(&NodeState::Running, 1_000_000, 1_000_000 + age_ms);
        assert_eq!([of(0), of(30_000), of(-5_000)], [Liveness::Active; 3]);
        assert_eq!([of(30_001), of(599_999)], [Liveness::Inactive; 2]);
        assert_eq!([of(600_000), of(i64::MAX - 1_000_000)], [Liveness::Failed; 2]);
    }

    #[test]
    fn a_node_that_has_ended_does_not_fail_later() {
        let successor = "a.00000000000000000001".parse().unwrap();
        assert_eq!(Liveness::of(&NodeState::Stopped, 0, i64::MAX), Liveness::Stopped);
        assert_eq!(Liveness::of(&NodeState::Replaced { successor }, 0, i64::MAX), Liveness::Replaced);
    }
}
