//! Snapshots of the open stores of a task, which other threads read while the task goes on writing.
//!
//! A snapshot belongs to the open database. When the database is closed, its snapshots end with it:
//! who reads one gets [`ReadError::Closed`]. A call that is under way is finished; each reads a
//! bounded number of entries. The task waits for no reader's disk.

use std::sync::Arc;

use crate::error::Error;

/// Entries that one call of [`TaskSnapshot::entries`] looks at, at most.
pub const CHUNK_ENTRIES: usize = 256;
/// Bytes of entries at which a call of [`TaskSnapshot::entries`] ends, about.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Takes snapshots of the open database of a task, from any thread, for as long as it is open.
pub trait SnapshotSource: Send + Sync {
    /// Each store of the task as it is after its last whole batch, with the position that was
    /// written with it. Of stores that lie in different places, one may be a batch behind another.
    /// No batch waits for this but for a moment.
    ///
    /// # Errors
    /// [`ReadError::Closed`] once the database is closed.
    fn take(&self) -> ReadResult<Arc<dyn TaskSnapshot>>;
}

/// The stores of a task as they were at a time, each between two batches. It costs the store memory
/// or disk for as long as it is kept, since what is written meanwhile does not replace what it
/// shows.
///
/// As in a [`TaskStore`](super::TaskStore), the empty key holds the position of a store:
/// [`TaskSnapshot::get`] returns it, and [`TaskSnapshot::entries`] leaves it out.
pub trait TaskSnapshot: Send + Sync {
    /// Whether it can still be read. It asks no disk.
    fn is_open(&self) -> bool;

    /// The value of a key.
    ///
    /// # Errors
    /// As for [`ReadError`].
    fn get(&self, store: usize, key: &[u8]) -> ReadResult<Option<Vec<u8>>>;

    /// The values of several keys, in their order; callers ask for [`CHUNK_ENTRIES`] at most.
    ///
    /// # Errors
    /// As for [`ReadError`].
    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> ReadResult<Vec<Option<Vec<u8>>>> {
        keys.iter().map(|key| self.get(store, key)).collect()
    }

    /// A part of the entries whose keys are at least `start` and below `end` (`None`: no bound), in
    /// the order of their keys.
    ///
    /// # Errors
    /// As for [`ReadError`].
    fn entries(&self, store: usize, start: &[u8], end: Option<&[u8]>) -> ReadResult<Chunk>;
}

/// A part of the entries of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Keys and values, in the order of the keys.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// The key at which the next part starts; `None` at the end of the range.
    pub next: Option<Vec<u8>>,
}

/// A reason for which a snapshot cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The database was closed or emptied: the task was revoked, is restored again, or is rebuilt.
    #[error("the stores were closed")]
    Closed,
    /// The snapshot was kept for so long that what it needs was given up.
    #[error("the snapshot has expired, since too much was written while it was kept")]
    Expired,
    /// The database cannot be read.
    #[error("{0}")]
    Failed(Error),
}

/// Result of reading a snapshot.
pub type ReadResult<T> = std::result::Result<T, ReadError>;

/// The least key above all that start with `prefix`; `None` when there is none such.
pub fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The least key above `key`.
pub fn key_after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// `start` without the empty key, which is the position's.
pub fn first_entry(start: &[u8]) -> Vec<u8> {
    if start.is_empty() { key_after(start) } else { start.to_vec() }
}
