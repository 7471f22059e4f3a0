//! How large a batch may be: it follows how long the database takes for one.
//!
//! A small batch pays the price of a transaction for few rows; one that takes long holds locks and
//! memory, and loses more when it fails. So the size is doubled while full batches are quick, and
//! halved when one is slow.

use std::time::Duration;

/// A full batch that took less than this was quick.
const QUICK: Duration = Duration::from_millis(100);
/// One that took more than this was slow.
const SLOW: Duration = Duration::from_millis(400);

/// The size of a batch, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    least: usize,
    most: usize,
    bytes: usize,
}

impl Pace {
    /// Between `least` and `most` bytes; begins with the least.
    pub(super) fn new(least: usize, most: usize) -> Pace {
        Pace { least, most: most.max(least), bytes: least }
    }

    /// Bytes at which a batch is full.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Learns from a batch of `bytes` that was written.
    pub(super) fn written(&mut self, bytes: usize, took: Duration) {
        if took > SLOW {
            self.bytes = (self.bytes / 2).max(self.least);
        } else if took < QUICK && bytes >= self.bytes {
            self.bytes = (self.bytes * 2).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_full_batches_grow_and_slow_ones_shrink() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(100, 350);
        pace.written(99, ms(1));
        assert_eq!(pace.bytes(), 100, "a batch that was not full tells nothing");
        pace.written(100, ms(1));
        pace.written(220, ms(1));
        assert_eq!(pace.bytes(), 350);
        pace.written(350, ms(200));
        assert_eq!(pace.bytes(), 350, "neither quick nor slow");
        pace.written(10, ms(500));
        pace.written(10, ms(500));
        pace.written(10, ms(500));
        assert_eq!(pace.bytes(), 100);
    }
}
