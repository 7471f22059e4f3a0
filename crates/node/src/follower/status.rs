//! How a follower stands, for pages and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far a partition was followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionProgress {
    /// The offset of the next record to read.
    pub position: i64,
    /// One past the last offset of the partition's log, as last heard of.
    pub end: i64,
}

impl PartitionProgress {
    /// Offsets between the position and the end of the log. Markers of transactions are among them.
    #[must_use]
    pub fn lag(self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.position)).unwrap_or(0)
    }
}

/// Counters of a follower since its start, and its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowerStatus {
    /// Records that were applied.
    pub followed: u64,
    /// Records of other kinds, which were stepped over.
    pub other_records: u64,
    /// Events of this node that were found among the dead letters.
    pub dead_letters: u64,
    /// How often reading or applying failed.
    pub failures: u64,
    /// How often it began at the first record of a partition, since the topic was cut or made anew.
    pub restarts: u64,
    /// How often it asked the stream for all resolved memories, since records were gone that it had
    /// not read.
    pub catch_ups: u64,
    /// Whether every partition was read to the end that it had at some time since the start, and
    /// since one was last begun at its first record again.
    pub is_caught_up: bool,
    /// The partitions, by number.
    pub partitions: BTreeMap<i32, PartitionProgress>,
    /// The last failure; `None` after records were read again.
    pub last_error: Option<String>,
}

impl FollowerStatus {
    /// The sum of the partitions' lags.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.partitions.values().map(|partition| partition.lag()).sum()
    }
}

/// A status that the follower's thread changes and others read.
#[derive(Debug, Default)]
pub(super) struct SharedProgress(Mutex<FollowerStatus>);

impl SharedProgress {
    pub fn lock(&self) -> MutexGuard<'_, FollowerStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
