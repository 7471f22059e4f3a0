//! Compares rows with a log: over digests alone, reported by the first difference.

use std::collections::HashMap;
use std::fmt;

use mirror::digest::Digest;

/// How a mirrored partition differs from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A record has no row.
    Missing(i64),
    /// A row has no record.
    Extra(i64),
    /// A record and its row differ in this part.
    Part(i64, &'static str),
    /// A row is of a record that is not the last of its key.
    Stale {
        /// The row's.
        row: i64,
        /// The last record's.
        last: i64,
    },
    /// The log ends before what is mirrored.
    Ends {
        /// Where the log ends.
        log: i64,
        /// How far the checkpoint is.
        checkpoint: i64,
    },
    /// All rows are right, and the checkpoint has counted another number of them.
    Count {
        /// Records of the log.
        log: u64,
        /// As the checkpoint says.
        checkpoint: u64,
    },
    /// All rows are right and as many as the checkpoint says, but its running checksum is another.
    Checksum {
        /// Of the log.
        log: u64,
        /// As the checkpoint says.
        checkpoint: u64,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing(at) => write!(f, "offset {at} is in Kafka and has no row"),
            Difference::Extra(at) => write!(f, "offset {at} has a row and is not in Kafka"),
            Difference::Part(at, part) => write!(f, "offset {at} has another {part} in Kafka than in its row"),
            Difference::Stale { row, last } => {
                write!(f, "the row of offset {row} is out of date: offset {last} is the last record of its key")
            }
            Difference::Ends { log, checkpoint } => {
                write!(f, "Kafka ends at offset {log} and the mirror is at {checkpoint}: was the topic made anew?")
            }
            Difference::Count { log, checkpoint } => {
                write!(f, "Kafka has {log} records and the checkpoint has counted {checkpoint}")
            }
            Difference::Checksum { log, checkpoint } => {
                write!(f, "the checksum of Kafka's records is {log:016x} and the checkpoint's is {checkpoint:016x}")
            }
        }
    }
}

/// Compares records with rows, both in order of their offsets. Records older than `dropped_before`
/// (milliseconds since 1970) may lack their row: gives their number, else the first difference.
pub fn each(log: &[Digest], rows: &[Digest], dropped_before: Option<i64>) -> Result<u64, Difference> {
    let mut rows = rows.iter().peekable();
    let mut dropped = 0;
    for record in log {
        match rows.peek() {
            Some(row) if row.offset < record.offset => return Err(Difference::Extra(row.offset)),
            Some(row) if row.offset == record.offset => {
                if let Some(part) = record.difference(row) {
                    return Err(Difference::Part(record.offset, part));
                }
                rows.next();
            }
            _ if dropped_before.is_some_and(|before| record.timestamp_ms < before) => dropped += 1,
            _ => return Err(Difference::Missing(record.offset)),
        }
    }
    rows.next().map_or(Ok(dropped), |row| Err(Difference::Extra(row.offset)))
}

/// The last record of each key of a partition, against the rows of a table that keeps no other.
#[derive(Default)]
pub struct LastOfKey {
    last: HashMap<u64, Digest>,
    keyless: HashMap<i64, Digest>,
}

/// Hash of a null key, and of a null value.
const NULL: u64 = 0;

impl LastOfKey {
    /// Takes the next record of the log.
    pub fn record(&mut self, record: Digest) {
        if record.key == NULL {
            self.keyless.insert(record.offset, record);
        } else {
            self.last.insert(record.key, record);
        }
    }

    /// Takes a row, any order will do. One at or above `to` came while the log was read, in place
    /// of the one compared.
    pub fn row(&mut self, row: &Digest, to: i64) -> Result<(), Difference> {
        let expected = if row.key == NULL { self.keyless.remove(&row.offset) } else { self.last.remove(&row.key) };
        match expected {
            _ if row.offset >= to => Ok(()),
            // Kafka drops a key whose last value is null, some time after it has compacted the key
            // away.
            None if row.value == NULL => Ok(()),
            None => Err(Difference::Extra(row.offset)),
            Some(record) if record.offset != row.offset => {
                Err(Difference::Stale { row: row.offset, last: record.offset })
            }
            Some(record) => record.difference(row).map_or(Ok(()), |part| Err(Difference::Part(row.offset, part))),
        }
    }

    /// After all rows: the first record that had none.
    pub fn end(self) -> Result<(), Difference> {
        let left = self.last.into_values().chain(self.keyless.into_values());
        left.map(|record| record.offset).min().map_or(Ok(()), |at| Err(Difference::Missing(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(offset: i64, key: u64, value: u64) -> Digest {
        Digest { offset, timestamp_ms: offset * 10, key, headers: 1, value }
    }

    #[test]
    fn the_first_difference_of_two_lists_is_named() {
        let log = [of(1, 1, 1), of(3, 1, 2), of(4, 2, 3)];
        assert_eq!(each(&log, &log, None), Ok(0));
        assert_eq!(each(&log, &[log[0], log[2]], None), Err(Difference::Missing(3)));
        assert_eq!(each(&log, &log[..2], None), Err(Difference::Missing(4)));
        assert_eq!(each(&[log[0], log[2]], &log, None), Err(Difference::Extra(3)));
        assert_eq!(each(&log[..2], &log, None), Err(Difference::Extra(4)));
        assert_eq!(each(&log, &[log[0], of(3, 1, 9), log[2]], None), Err(Difference::Part(3, "value")));
        assert_eq!(each(&log, &[log[0], of(3, 9, 2), log[2]], None), Err(Difference::Part(3, "key")));
    }

    #[test]
    fn what_retention_dropped_may_be_missing_and_nothing_else() {
        let log = [of(1, 1, 1), of(3, 1, 2), of(4, 2, 3)];
        assert_eq!(each(&log, &log[2..], Some(31)), Ok(2));
        assert_eq!(each(&log, &log[2..], Some(30)), Err(Difference::Missing(3)));
        // A row of that age may be there still: its month is not over yet.
        assert_eq!(each(&log, &log[1..], Some(31)), Ok(1));
    }

    fn keyed(log: &[Digest], rows: &[Digest], to: i64) -> Result<(), Difference> {
        let mut last = LastOfKey::default();
        log.iter().for_each(|record| last.record(*record));
        rows.iter().try_for_each(|row| last.row(row, to))?;
        last.end()
    }

    #[test]
    fn of_each_key_the_last_record_has_the_row() {
        let log = [of(1, 1, 1), of(2, 2, 2), of(3, 1, 3), of(4, 0, 4), of(5, 0, 5)];
        assert_eq!(keyed(&log, &log[1..], 6), Ok(()));
        assert_eq!(keyed(&log, &[log[0], log[1], log[3], log[4]], 6), Err(Difference::Stale { row: 1, last: 3 }));
        assert_eq!(keyed(&log, &log[2..], 6), Err(Difference::Missing(2)));
        assert_eq!(keyed(&log, &log[1..4], 6), Err(Difference::Missing(5)));
        assert_eq!(keyed(&log[..4], &log[1..], 6), Err(Difference::Extra(5)));
        assert_eq!(keyed(&log, &[log[1], of(3, 1, 7), log[3], log[4]], 6), Err(Difference::Part(3, "value")));
    }

    #[test]
    fn rows_that_moved_on_meanwhile_and_emptied_keys_are_no_difference() {
        let log = [of(1, 1, 1), of(2, 2, 2)];
        assert_eq!(keyed(&log, &[of(9, 1, 9), log[1]], 3), Ok(()));
        assert_eq!(keyed(&log[1..], &[of(1, 1, 0), log[1]], 3), Ok(()));
    }
}
