//! A store, as a processor uses it.

use std::ops::ControlFlow;

use super::error::ProcessorError;
use crate::error::Error;
use crate::ports::{TaskStore, Value};
use crate::store::Overlay;

type Result<T> = std::result::Result<T, ProcessorError>;

/// A store of a task: what the task has written since its last commit, above what lies in the
/// database.
pub struct StoreRef<'a> {
    overlay: &'a mut Overlay,
    db: Option<&'a dyn TaskStore>,
    index: usize,
    timestamp_ms: i64,
}

fn not_open() -> Error {
    Error::Bug("a store is used before its task runs".to_owned())
}

impl<'a> StoreRef<'a> {
    /// The store with the index `index` of a task; what is written to it bears the timestamp
    /// `timestamp_ms`.
    pub(crate) fn new(
        overlay: &'a mut Overlay,
        db: Option<&'a dyn TaskStore>,
        index: usize,
        timestamp_ms: i64,
    ) -> StoreRef<'a> {
        StoreRef { overlay, db, index, timestamp_ms }
    }
}

impl StoreRef<'_> {
    /// The value of a key.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value<'_>>> {
        Ok(self.overlay.get(self.db.ok_or_else(not_open)?, self.index, key)?)
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value<'_>>>> {
        Ok(self.overlay.multi_get(self.db.ok_or_else(not_open)?, self.index, keys)?)
    }

    /// Writes a key, which must not be empty.
    ///
    /// # Errors
    /// The key is empty, or the store cannot be read (the old value counts in the store's
    /// checksum).
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) -> Result<()> {
        self.write(key, Some(value))
    }

    /// Deletes a key; no error when it is absent.
    ///
    /// # Errors
    /// As for [`StoreRef::put`].
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.write(key, None)
    }

    fn write(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<()> {
        if key.is_empty() {
            return Err(ProcessorError::Failed(
                "a store has no place for the empty key: give the entry a key".to_owned(),
            ));
        }
        Ok(self.overlay.put(self.db.ok_or_else(not_open)?, self.index, key, value, self.timestamp_ms)?)
    }

    /// Calls `visit` with each key that starts with `prefix` (empty: all) and its value, in key
    /// order, until it breaks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn scan(&mut self, prefix: &[u8], visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        self.scan_from(prefix, prefix, visit)
    }

    /// As [`StoreRef::scan`], of the keys from `start` on, which starts with `prefix` itself.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn scan_from(
        &mut self,
        prefix: &[u8],
        start: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let db = self.db.ok_or_else(not_open)?;
        Ok(self.overlay.scan_from(db, self.index, (prefix, start), &mut visit)?)
    }
}
