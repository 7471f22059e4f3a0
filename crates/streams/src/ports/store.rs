//! The stores of a task: one database a task (folder = task), a column family a store, one atomic
//! batch a commit.

use std::ops::{ControlFlow, Deref};
use std::sync::Arc;
use std::time::Duration;

use super::snapshot::SnapshotSource;
use crate::error::Result;
use crate::record::TaskId;

/// A stored value: borrowed, pinned in the store's cache, or a copy.
pub enum Value<'a> {
    /// Borrowed from the overlay or from memory.
    Borrowed(&'a [u8]),
    /// Pinned by the store until dropped.
    Pinned(Box<dyn Deref<Target = [u8]> + 'a>),
    /// Shared with the store, which lies in memory.
    Shared(Arc<[u8]>),
    /// A copy.
    Owned(Vec<u8>),
}

impl Deref for Value<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Value::Borrowed(bytes) => bytes,
            Value::Pinned(bytes) => bytes,
            Value::Shared(bytes) => bytes,
            Value::Owned(bytes) => bytes,
        }
    }
}

/// Callback of a scan for each key and value; breaking ends the scan.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// One change of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// Index of the store, in the order given at open.
    pub store: usize,
    /// The key, never empty.
    pub key: &'a [u8],
    /// The new value; `None` deletes.
    pub value: Option<&'a [u8]>,
}

/// A write that is atomic: changes, and the position of each store after them.
#[derive(Clone, Debug, Default)]
pub struct StoreBatch<'a> {
    /// Changes, in key order within a store, each key once.
    pub puts: Vec<Put<'a>>,
    /// The new position of stores, by index; bytes that only the engine reads.
    pub positions: Vec<(usize, &'a [u8])>,
}

/// Opens, finds and removes task stores under one state directory; shares cache and memory budget
/// among them.
pub trait StoreEngine: Send + Sync {
    /// Opens a task's database, made if missing, with these stores in this order.
    /// [`crate::error::Error::Corrupted`] when it cannot be read.
    fn open(&self, task: TaskId, stores: &[&str]) -> Result<Box<dyn TaskStore>>;

    /// Removes a task's database, open ones excepted; no error when there is none.
    fn destroy(&self, task: TaskId) -> Result<()>;

    /// The time since a task's database was last written, from its files' times; `None` when there
    /// is none. Asked before `open`.
    fn idle_time(&self, task: TaskId) -> Result<Option<Duration>>;

    /// The position of each store of a task whose database is not open, as it lies on disk; `None`
    /// where there is no database, or it tells nothing without being opened. Nothing is written.
    fn positions(&self, task: TaskId, stores: &[&str]) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        let _ = (task, stores);
        Ok(None)
    }

    /// The task is another's now: what of it lies in memory alone may go. Until then it outlives
    /// the closing of its database.
    fn drop_in_memory(&self, task: TaskId) {
        let _ = task;
    }

    /// Shrinks the block cache by `bytes`, which in-memory stores now use, as far as it can.
    fn shrink_cache(&self, bytes: usize) {
        let _ = bytes;
    }
}

/// An open database of one task. Dropping it closes it.
///
/// The empty key is the position's own place in each store: callers never read or write it as data,
/// and scans leave it out.
pub trait TaskStore: Send {
    /// The value of a key.
    fn get(&self, store: usize, key: &[u8]) -> Result<Option<Value<'_>>>;

    /// The values of several keys, in their order.
    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> Result<Vec<Option<Value<'_>>>>;

    /// Calls `visit` with each key that starts with `prefix` (empty: all) and its value, in key
    /// order, until it breaks.
    fn scan(&self, store: usize, prefix: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.scan_from(store, prefix, prefix, visit)
    }

    /// As [`TaskStore::scan`], of the keys from `start` on, which starts with `prefix` itself.
    fn scan_from(&self, store: usize, prefix: &[u8], start: &[u8], visit: &mut Visit<'_>) -> Result<()>;

    /// Writes a batch, all or nothing, also over a kill of the process.
    fn apply(&mut self, batch: &StoreBatch<'_>) -> Result<()>;

    /// The position of a store, as last written; `None` when it never was.
    fn position(&self, store: usize) -> Result<Option<Vec<u8>>>;

    /// Begins a bulk load (of a changelog): until it ends, batches skip the write-ahead log.
    fn begin_bulk_load(&mut self) -> Result<()>;

    /// Ends a bulk load: flushes everything to disk; batches go to the write-ahead log again.
    fn end_bulk_load(&mut self) -> Result<()>;

    /// Empties a store, its position included (before a rebuild). Snapshots that were taken before
    /// end.
    fn clear(&mut self, store: usize) -> Result<()>;

    /// Takes snapshots for other threads, until the database is closed.
    fn snapshots(&self) -> Arc<dyn SnapshotSource>;
}
