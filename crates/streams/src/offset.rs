//! Offsets: places in the log of a partition, and where the reading of a log begins.

use std::fmt;

/// The place of a record in the log of its partition, counted from 0; also that of the next record,
/// which may not be there yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(i64);

impl Offset {
    /// The first that a partition ever has.
    pub const FIRST: Offset = Offset(0);

    /// The offset of this number; `None` below 0, where Kafka's clients have numbers that stand for
    /// other things.
    pub const fn new(number: i64) -> Option<Offset> {
        if number < 0 { None } else { Some(Offset(number)) }
    }

    /// Its number.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The one behind it. No log reaches the greatest one, which has itself behind it.
    #[must_use]
    pub const fn next(self) -> Offset {
        Offset(self.0.saturating_add(1))
    }

    /// The one before it; `None` before the first.
    pub const fn previous(self) -> Option<Offset> {
        Offset::new(self.0 - 1)
    }

    /// How many offsets there are from another one up to it; 0 where the other one lies behind it.
    pub fn since(self, other: Offset) -> u64 {
        self.0.saturating_sub(other.0).max(0) as u64
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Where the reading of a log begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StartOffset {
    /// At the log's first record, whatever its offset.
    Beginning,
    /// At this offset.
    At(Offset),
}

impl StartOffset {
    /// Its offset, where it is known.
    pub const fn offset(self) -> Option<Offset> {
        match self {
            StartOffset::Beginning => None,
            StartOffset::At(offset) => Some(offset),
        }
    }
}

impl From<Offset> for StartOffset {
    fn from(offset: Offset) -> StartOffset {
        StartOffset::At(offset)
    }
}

impl fmt::Display for StartOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartOffset::Beginning => f.write_str("the beginning"),
            StartOffset::At(offset) => write!(f, "offset {offset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_never_leaves_the_range() {
        let at = |number| Offset::new(number).unwrap();
        assert_eq!((Offset::new(-1), Offset::new(0)), (None, Some(Offset::FIRST)));
        assert_eq!((at(7).next(), at(7).previous(), Offset::FIRST.previous()), (at(8), Some(at(6)), None));
        assert_eq!(at(i64::MAX).next(), at(i64::MAX));
        assert_eq!((at(9).since(at(4)), at(4).since(at(9))), (5, 0));
        assert!(StartOffset::Beginning < StartOffset::At(Offset::FIRST), "the log's first record is the least start");
    }
}
