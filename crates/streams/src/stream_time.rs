//! Stream time: the clock of a task, which only its records move (Kafka Streams' stream time).

use std::fmt;

/// The greatest timestamp of the records that a task has seen, in milliseconds since 1970; none
/// before the first record that bears a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamTime(Option<i64>);

impl StreamTime {
    /// Stream time before the first record.
    pub const NONE: StreamTime = StreamTime(None);

    /// Stream time after one record. A timestamp below 0 is none (Kafka's `NO_TIMESTAMP` is -1).
    pub fn of(timestamp_ms: i64) -> StreamTime {
        StreamTime((timestamp_ms >= 0).then_some(timestamp_ms))
    }

    /// Stream time after a further record: it never goes back.
    #[must_use]
    pub fn after(self, timestamp_ms: i64) -> StreamTime {
        self.max(StreamTime::of(timestamp_ms))
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> Option<i64> {
        self.0
    }
}

impl fmt::Display for StreamTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ms) => write!(f, "{ms}"),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_moves_it_forward_or_not_at_all() {
        let times = [-1, 5, 3, i64::MIN, 7];
        let after_each: Vec<Option<i64>> = times
            .iter()
            .scan(StreamTime::NONE, |time, timestamp| {
                *time = time.after(*timestamp);
                Some(time.ms())
            })
            .collect();
        assert_eq!(after_each, [None, Some(5), Some(5), Some(5), Some(7)]);
        assert_eq!(StreamTime::of(0).ms(), Some(0), "1970 is a time");
    }
}
