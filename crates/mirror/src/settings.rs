//! The settings of a mirror.

use std::time::Duration;

/// Sizes and times of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorSettings {
    /// A batch is closed once it holds this many bytes (one record more may fit in), to begin with;
    /// it grows while the sink is quick.
    pub batch_bytes: usize,
    /// Greatest size to which it grows. Two batches are in memory.
    pub largest_batch_bytes: usize,
    /// A batch below that waits this long for more records.
    pub linger: Duration,
    /// First wait after the sink failed; doubled after each further failure.
    pub first_backoff: Duration,
    /// Longest wait.
    pub longest_backoff: Duration,
    /// Time between two comparisons of the sink's checkpoints with what it has acknowledged. A sink
    /// that has lost commits is noticed at a partition's next write; this notices it where no
    /// further record comes.
    pub check_interval: Duration,
    /// How long a stop lets the write under way, and what is already read, come to an end.
    pub grace: Duration,
}

impl Default for MirrorSettings {
    fn default() -> MirrorSettings {
        MirrorSettings {
            batch_bytes: 512 << 10,
            largest_batch_bytes: 4 << 20,
            linger: Duration::from_millis(100),
            first_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(30),
            check_interval: Duration::from_secs(10),
            grace: Duration::from_secs(1),
        }
    }
}
