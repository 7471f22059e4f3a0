//! Causality: the order of two events, certain or presumed (docs/semantics.md,
//! section 2).

use std::cmp::Ordering;

use super::clock::{self, UNCLOCKED};
use super::event::wire::Source;
use super::settings::{ResolverSettings, Unclocked};
use json::Number;

/// The part of an event that is kept besides its values: enough to order it, to rank it and to name
/// it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventHeader<'a> {
    /// Arrival number within its memory, from 1: the order of one log, no part of the resolved
    /// state.
    pub seq: u64,
    /// Digest of the decoded event, by which a redelivery is known.
    pub digest: u128,
    /// Id that the writer chose; it is no identity by itself.
    pub event_id: &'a str,
    /// Writer, if it says.
    pub node_id: Option<&'a str>,
    /// Lamport counter or wall clock in nanoseconds.
    pub version: u64,
    /// Nanoseconds since 1970.
    pub timestamp: u64,
    /// Importance that the event carries.
    pub importance: Option<Number>,
    /// Entries sorted by name, never empty; none zero but that of an event without a clock at the
    /// epoch.
    pub clock: Vec<(&'a str, u64)>,
    /// A `memory.deleted`, or an absorb.
    pub is_delete: bool,
    /// The memory that absorbed this one.
    pub absorb_into: Option<&'a str>,
    /// Where the record stood.
    pub source: Source<'a>,
}

/// How a held event stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It happened before the other.
    Before,
    /// The other happened before it.
    After,
    /// They are the same event.
    Same,
    /// None of these.
    Concurrent,
}

impl<'a> EventHeader<'a> {
    /// Whether the clock names another actor than `~`.
    pub fn is_clocked(&self) -> bool {
        self.clock.len() > 1 || self.clock.first().is_some_and(|(name, _)| *name != UNCLOCKED)
    }

    /// The order of the two clocks alone.
    pub fn clock_order(&self, other: &EventHeader<'_>) -> Option<Ordering> {
        clock::compare(self.clock.iter().copied(), other.clock.iter().copied())
    }

    /// How this event stands to `other`.
    pub fn relation(&self, other: &EventHeader<'_>, settings: &ResolverSettings) -> Relation {
        if self.digest == other.digest {
            return Relation::Same;
        }
        match self.clock_order(other) {
            Some(Ordering::Less) if settings.trust_clocks || self.version <= other.version => Relation::Before,
            Some(Ordering::Greater) if settings.trust_clocks || other.version <= self.version => Relation::After,
            _ => Relation::Concurrent,
        }
    }

    /// Whether this event happened before `other` for certain.
    pub fn is_before(&self, other: &EventHeader<'_>, settings: &ResolverSettings) -> bool {
        self.relation(other, settings) == Relation::Before
    }

    /// Presumed before `other` because machine clocks that disagree explain versions that
    /// contradict the vector clocks.
    pub fn presumed_by_skew(&self, other: &EventHeader<'_>, settings: &ResolverSettings) -> bool {
        settings.max_clock_skew_ns > 0
            && self.version > other.version
            && self.timestamp.abs_diff(other.timestamp) <= settings.max_clock_skew_ns
            && self.is_clocked()
            && other.is_clocked()
            && self.clock_order(other) == Some(Ordering::Less)
    }

    /// Presumed before `other` because exactly one of them has no clock and this one has the
    /// earlier timestamp.
    pub fn presumed_by_time(&self, other: &EventHeader<'_>, settings: &ResolverSettings) -> bool {
        settings.unclocked == Unclocked::ByTime
            && self.timestamp < other.timestamp
            && self.is_clocked() != other.is_clocked()
            && !other.is_before(self, settings)
    }

    /// Presumed before `other`, for either reason.
    pub fn presumed_before(&self, other: &EventHeader<'_>, settings: &ResolverSettings) -> bool {
        self.presumed_by_skew(other, settings) || self.presumed_by_time(other, settings)
    }

    /// Last-write order of two events, without the values that break a tie of all else.
    pub fn last_write_order(&self, other: &EventHeader<'_>) -> Ordering {
        (self.timestamp, self.version, self.node_id, self.event_id).cmp(&(
            other.timestamp,
            other.version,
            other.node_id,
            other.event_id,
        ))
    }

    /// The sum of the clock's entries without `~`.
    pub fn clock_sum(&self) -> u128 {
        self.clock.iter().filter(|(name, _)| *name != UNCLOCKED).map(|(_, n)| u128::from(*n)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(clock: &[(&'static str, u64)], version: u64, timestamp: u64) -> EventHeader<'static> {
        let digest = clock.iter().fold(u128::from(version) << 64 | u128::from(timestamp), |d, (n, c)| {
            d.wrapping_mul(31).wrapping_add(u128::from(n.as_bytes()[0]) + u128::from(*c))
        });
        EventHeader {
            seq: 0,
            digest,
            event_id: "e",
            node_id: None,
            version,
            timestamp,
            importance: None,
            clock: clock.to_vec(),
            is_delete: false,
            absorb_into: None,
            source: Source { topic: "t", partition: 0, offset: 0 },
        }
    }

    #[test]
    fn a_smaller_clock_with_a_greater_version_is_concurrent_unless_clocks_are_trusted() {
        let s = ResolverSettings::default();
        let a = header(&[("n", 1)], 9, 0);
        let b = header(&[("n", 2)], 5, 0);
        assert_eq!(a.relation(&b, &s), Relation::Concurrent);
        assert_eq!(a.relation(&b, &ResolverSettings { trust_clocks: true, ..s }), Relation::Before);
    }

    #[test]
    fn skew_explains_a_contradicting_version_only_up_to_the_limit() {
        let s = ResolverSettings::default();
        let e = header(&[("n", 1)], 9, 10_000_000_000);
        assert!(e.presumed_by_skew(&header(&[("n", 2)], 5, 12_000_000_000), &s));
        assert!(!e.presumed_by_skew(&header(&[("n", 2)], 5, 12_000_000_001), &s));
        assert!(!e.presumed_by_skew(
            &header(&[("n", 2)], 5, 10_000_000_000),
            &ResolverSettings { max_clock_skew_ns: 0, ..s }
        ));
    }

    #[test]
    fn time_orders_only_a_clocked_with_an_unclocked_event() {
        let s = ResolverSettings::default();
        let clocked = header(&[("n", 1)], 0, 5);
        let plain = header(&[("~", 7)], 0, 7);
        assert!(clocked.presumed_by_time(&plain, &s));
        assert!(!plain.presumed_by_time(&clocked, &s));
        assert!(!clocked.presumed_by_time(&header(&[("m", 1)], 0, 7), &s));
        let heir = header(&[("n", 1), ("~", 7)], 0, 5);
        assert!(!heir.presumed_by_time(&plain, &s), "plain happened before heir for certain");
    }
}
