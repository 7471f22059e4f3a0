//! Vector clocks: node name to counter, and their partial order.

use std::cmp::Ordering;

/// The synthetic actor of events that carry no clock: its counter is the event's timestamp in
/// nanoseconds.
pub const UNCLOCKED: &str = "~";

/// A vector clock: entries sorted by name (UTF-8 bytes), no repeats. No counter is zero, but for
/// the one of [`UNCLOCKED`] in the clock of an event that carries none and happened at the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clock(Vec<(String, u64)>);

impl Clock {
    /// A clock of `entries` in any order; zero counters are dropped, and of a name that stands
    /// twice the last counts.
    pub fn from_entries(entries: impl IntoIterator<Item = (String, u64)>) -> Clock {
        let mut v: Vec<(String, u64)> = entries.into_iter().collect();
        v.sort_by(|a, b| a.0.cmp(&b.0));
        v.reverse();
        v.dedup_by(|later, kept| later.0 == kept.0);
        v.reverse();
        v.retain(|(_, n)| *n > 0);
        Clock(v)
    }

    /// The clock of an event that carries none, at `nanos` since 1970.
    pub fn unclocked(nanos: u64) -> Clock {
        Clock(vec![(UNCLOCKED.to_owned(), nanos)])
    }

    /// Entries sorted by name.
    pub fn entries(&self) -> &[(String, u64)] {
        &self.0
    }

    /// Whether no entry is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it names another actor than `~`, that is, whether its writer keeps a clock at all.
    pub fn is_clocked(&self) -> bool {
        self.0.iter().any(|(name, _)| name != UNCLOCKED)
    }
}

/// How two clocks stand to each other: `Less` when every entry of `a` is at most that of `b` and
/// they differ, `None` when neither contains the other. Both must be sorted by name; an entry that
/// is missing counts as zero.
pub fn compare<'x, 'y>(
    a: impl IntoIterator<Item = (&'x str, u64)>,
    b: impl IntoIterator<Item = (&'y str, u64)>,
) -> Option<Ordering> {
    let mut a = a.into_iter();
    let mut b = b.into_iter();
    let mut x = a.next();
    let mut y = b.next();
    let mut below = false;
    let mut above = false;
    loop {
        match (x, y) {
            (None, None) => break,
            (Some((_, i)), None) => {
                above |= i > 0;
                x = a.next();
            }
            (None, Some((_, j))) => {
                below |= j > 0;
                y = b.next();
            }
            (Some((m, i)), Some((n, j))) => match m.cmp(n) {
                Ordering::Equal => {
                    below |= i < j;
                    above |= i > j;
                    (x, y) = (a.next(), b.next());
                }
                Ordering::Less => {
                    above |= i > 0;
                    x = a.next();
                }
                Ordering::Greater => {
                    below |= j > 0;
                    y = b.next();
                }
            },
        }
        if below && above {
            return None;
        }
    }
    match (below, above) {
        (false, false) => Some(Ordering::Equal),
        (true, false) => Some(Ordering::Less),
        (false, true) => Some(Ordering::Greater),
        (true, true) => None,
    }
}

/// Writes a clock as an object; its entries are sorted by name.
pub fn write_clock(out: &mut Vec<u8>, clock: &[(&str, u64)]) {
    let mut object = json::ObjectWriter::new(out);
    for (name, counter) in clock {
        object.integer(name, *counter);
    }
    object.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(entries: &[(&str, u64)]) -> Clock {
        Clock::from_entries(entries.iter().map(|(n, c)| ((*n).to_owned(), *c)))
    }

    fn order(a: &[(&str, u64)], b: &[(&str, u64)]) -> Option<Ordering> {
        let a = clock(a);
        let b = clock(b);
        let view = |c: &Clock| c.entries().iter().map(|(n, k)| (n.clone(), *k)).collect::<Vec<_>>();
        let a = view(&a);
        let b = view(&b);
        compare(a.iter().map(|(n, k)| (n.as_str(), *k)), b.iter().map(|(n, k)| (n.as_str(), *k)))
    }

    #[test]
    fn missing_entries_are_zero() {
        assert_eq!(order(&[("a", 1)], &[("a", 1), ("b", 1)]), Some(Ordering::Less));
        assert_eq!(order(&[("a", 1), ("b", 1)], &[("b", 1)]), Some(Ordering::Greater));
        assert_eq!(order(&[("a", 1)], &[("b", 1)]), None);
        assert_eq!(order(&[], &[]), Some(Ordering::Equal));
        assert_eq!(order(&[("a", 2), ("b", 1)], &[("a", 1), ("b", 2)]), None);
        assert_eq!(compare([("~", 0)], [("n", 1)]), Some(Ordering::Less));
        assert_eq!(compare([("~", 0)], [("~", 0)]), Some(Ordering::Equal));
    }

    #[test]
    fn zeros_are_dropped_and_the_last_of_a_name_counts() {
        assert_eq!(clock(&[("b", 1), ("a", 2), ("b", 3), ("c", 0)]).entries(), &[("a".into(), 2), ("b".into(), 3)]);
        assert!(clock(&[("a", 2), ("a", 0)]).is_empty());
    }
}
