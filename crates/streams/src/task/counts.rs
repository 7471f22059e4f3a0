//! Counters of a task's transaction: they reach the metrics when it commits and are dropped when it
//! aborts, so that nothing is counted twice.

/// Additions by name and label, since the last commit.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    entries: Vec<(&'static str, String, u64)>,
}

impl Counts {
    /// Adds to a counter. There are few, so a search in a row is faster than a map.
    pub fn add(&mut self, name: &'static str, label: &str, by: u64) {
        match self.entries.iter_mut().find(|(n, l, _)| *n == name && l == label) {
            Some(entry) => entry.2 += by,
            None => self.entries.push((name, label.to_owned(), by)),
        }
    }

    /// All additions that are not 0.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        self.entries.iter().filter(|entry| entry.2 > 0).map(|(name, label, by)| (*name, label.as_str(), *by))
    }

    /// Begins anew; names and labels are kept for the next time.
    pub fn reset(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.2 = 0);
    }
}
