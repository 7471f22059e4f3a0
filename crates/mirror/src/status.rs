//! Status of a mirror: counters that any thread may read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// A lag that nobody knows.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// Counters of a running mirror.
#[derive(Debug, Default)]
pub struct MirrorStatus {
    pub(super) rows: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) lag: AtomicU64,
    pub(super) partitions: AtomicU64,
    pub(super) resting: AtomicU64,
    pub(super) down: AtomicBool,
    pub(super) joined: AtomicBool,
    pub(super) refusal: OnceLock<String>,
}

/// The counters of [`MirrorStatus`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Records kept since the start.
    pub rows: u64,
    /// Of these, records that the sink refused as decoded and that are kept raw.
    pub rejected: u64,
    /// Transactions committed.
    pub batches: u64,
    /// Batches refused since another writer had moved the checkpoint.
    pub refused: u64,
    /// Failed calls of the sink.
    pub failures: u64,
    /// Records of our partitions that are not kept yet, as far as the source has heard of them;
    /// `None` while the checkpoint of one of them is not known, or another writer has it.
    pub lag: Option<u64>,
    /// Partitions that we write.
    pub partitions: u64,
    /// Partitions whose next record cannot be read yet: what it takes (a schema registry) is not to
    /// be had.
    pub resting: u64,
    /// Whether the sink failed when it was last asked.
    pub down: bool,
    /// Whether the group has given us partitions once, be it none.
    pub joined: bool,
}

impl MirrorStatus {
    /// Why the mirror can never read on: a broker refuses the principal. It keeps trying; its owner
    /// is to stop.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// The counters now.
    pub fn figures(&self) -> Figures {
        Figures {
            rows: self.rows.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            batches: self.batches.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failures: self.failures.load(Relaxed),
            lag: Some(self.lag.load(Relaxed)).filter(|lag| *lag != UNKNOWN),
            partitions: self.partitions.load(Relaxed),
            resting: self.resting.load(Relaxed),
            down: self.down.load(Relaxed),
            joined: self.joined.load(Relaxed),
        }
    }
}
