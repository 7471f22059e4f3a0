//! The `version` of events: a hybrid logical clock.
//!
//! Kulkarni, Demirbas and others, "Logical Physical Clocks and Consistent Snapshots in Globally
//! Distributed Databases" (2014). An event happened before another only where its version is not
//! above the other's (docs/semantics.md, section 2), so a version is never below one that its
//! writer has seen, whatever the wall clock says.

/// The greatest version that an event can carry: 2^63-1 (Go's int64, SQL's bigint).
pub const MAX_VERSION: u64 = i64::MAX as u64;

/// A foreign version that is further ahead of the wall clock than this is reported: one minute, in
/// nanoseconds.
pub const REPORTED_LEAD_NS: u64 = 60_000_000_000;

/// How far ahead of the wall clock the version of a token may be that a caller brings who may write
/// for some users alone: one day, in nanoseconds. Every later write of the node, for whichever
/// user, has at least the version that it follows.
pub const TRUSTED_LEAD_NS: u64 = 86_400_000_000_000;

/// The clock: the greatest version that this node has seen or written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HybridClock {
    greatest: u64,
}

impl HybridClock {
    /// The clock of a node that has seen versions up to this one.
    #[must_use]
    pub fn new(greatest: u64) -> HybridClock {
        HybridClock { greatest: greatest.min(MAX_VERSION) }
    }

    /// The greatest version seen or written.
    #[must_use]
    pub fn greatest(self) -> u64 {
        self.greatest
    }

    /// The version of a write at a time of the wall clock, in nanoseconds since 1970: the wall
    /// clock where it is ahead, else the greatest version seen.
    pub fn tick(&mut self, wall_clock_ns: u64) -> u64 {
        self.greatest = self.greatest.max(wall_clock_ns).min(MAX_VERSION);
        self.greatest
    }

    /// Follows a version that another node has written, and returns how many nanoseconds it is
    /// ahead of the wall clock where that is more than [`REPORTED_LEAD_NS`].
    pub fn observe(&mut self, version: u64, wall_clock_ns: u64) -> Option<u64> {
        self.greatest = self.greatest.max(version.min(MAX_VERSION));
        version.checked_sub(wall_clock_ns).filter(|lead| *lead > REPORTED_LEAD_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_never_below_one_that_was_seen() {
        let mut clock = HybridClock::default();
        assert_eq!(clock.tick(100), 100);
        assert_eq!(clock.tick(90), 100, "the wall clock went back");
        assert_eq!(clock.observe(500, 100), None);
        assert_eq!(clock.tick(101), 500);
        assert_eq!(clock.tick(600), 600);
    }

    #[test]
    fn a_version_far_ahead_is_followed_and_reported() {
        let mut clock = HybridClock::new(7);
        assert_eq!(clock.observe(10 + REPORTED_LEAD_NS, 10), None);
        assert_eq!(clock.observe(11 + REPORTED_LEAD_NS, 10), Some(REPORTED_LEAD_NS + 1));
        assert_eq!(clock.tick(20), 11 + REPORTED_LEAD_NS);
    }

    #[test]
    fn it_saturates_at_the_greatest_version() {
        let mut clock = HybridClock::new(u64::MAX);
        assert_eq!(clock.greatest(), MAX_VERSION);
        assert_eq!(clock.tick(u64::MAX), MAX_VERSION);
        assert!(clock.observe(u64::MAX, 0).is_some());
        assert_eq!(clock.tick(0), MAX_VERSION);
    }
}
