//! Which deleted memories are forgotten, and when (docs/semantics.md, section 3, "Tombstones"): by
//! stream time, so that the same log decides the same.
//!
//! A memory that is not active has two rows beside its own: one that says when its last event was,
//! and one in an index by that time, so that what is due is found without a look at what is not.
//! Forgetting costs what is forgotten. A memory that is due counts as forgotten at once, whenever
//! its rows are taken away.

use super::state::prefix;

/// Prefix of the keys of the index: no memory has the empty id, so no row of one begins so.
pub const INDEX: [u8; 2] = [0, b'x'];

/// How long a memory that is not active is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Milliseconds of stream time, after its last event.
    pub ms: i64,
}

impl Retention {
    /// Whether what happened at `last_ms` is forgotten at a stream time; nothing is before there is
    /// one.
    pub fn is_over(self, last_ms: i64, stream_time_ms: Option<i64>) -> bool {
        stream_time_ms.is_some_and(|now| now >= last_ms.saturating_add(self.ms))
    }

    /// When a memory's last event was, as retention counts it: a time that lies ahead of stream
    /// time, by a wrong machine clock, counts as now.
    pub fn last_ms(updated_at: u64, stream_time_ms: Option<i64>) -> i64 {
        let updated_ms = i64::try_from(updated_at / 1_000_000).unwrap_or(i64::MAX);
        stream_time_ms.map_or(updated_ms, |now| updated_ms.min(now))
    }
}

/// The key of the row that says when the last event of a memory was that is not active.
pub fn last_key(memory: &str) -> Vec<u8> {
    let mut key = prefix(memory);
    key.push(b'x');
    key
}

/// The key of a memory in the index.
pub fn index_key(last_ms: i64, memory: &str) -> Vec<u8> {
    let mut key = INDEX.to_vec();
    // Times are at least 0 here, so their bytes sort as they do.
    key.extend_from_slice(&last_ms.max(0).to_be_bytes());
    key.extend_from_slice(memory.as_bytes());
    key
}

/// The last event's time and the memory of a key of the index; `None` for any other key.
pub fn indexed(key: &[u8]) -> Option<(i64, &str)> {
    let (time, memory) = key.strip_prefix(&INDEX)?.split_first_chunk()?;
    Some((i64::from_be_bytes(*time), std::str::from_utf8(memory).ok()?))
}

/// The value of the row under [`last_key`]: version 1, and the time as 8 bytes, big-endian.
pub fn last_row(last_ms: i64) -> Vec<u8> {
    let mut row = vec![1];
    row.extend_from_slice(&last_ms.to_be_bytes());
    row
}

/// Reads the row under [`last_key`]; `None` for another version, or damage.
pub fn last_of(row: &[u8]) -> Option<i64> {
    row.strip_prefix(&[1])?.try_into().ok().map(i64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_in_order_of_time() {
        let keys = [(0, "z"), (5, "a"), (5, "b"), (256, "a"), (i64::MAX, "")].map(|(ms, id)| index_key(ms, id));
        assert!(keys.is_sorted());
        assert_eq!(indexed(&keys[2]), Some((5, "b")));
        assert_eq!(indexed(&last_key("a")), None);
        assert_eq!(last_of(&last_row(77)), Some(77));
        assert_eq!(last_of(&[2, 0]), None);
    }

    #[test]
    fn a_time_ahead_counts_as_now_and_retention_is_over_when_it_is_reached() {
        assert_eq!(Retention::last_ms(u64::MAX, Some(70)), 70);
        assert_eq!(Retention::last_ms(69_999_999, Some(70)), 69);
        let retention = Retention { ms: 10 };
        assert!(!retention.is_over(60, Some(69)) && retention.is_over(60, Some(70)));
        assert!(!retention.is_over(i64::MAX - 3, Some(i64::MAX - 4)) && !retention.is_over(-20, None));
    }
}
