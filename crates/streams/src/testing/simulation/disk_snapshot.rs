//! Snapshots of an open store of the simulated disk, as copies.

use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::files::Content;
use crate::ports::{CHUNK_ENTRIES, Chunk, ReadError, ReadResult, SnapshotSource, TaskSnapshot, first_entry};

/// The content of an open task, which reads are answered from.
#[derive(Clone, Default)]
pub(super) struct OpenContent(Arc<RwLock<Life>>);

/// The content, and the life that snapshots end with.
#[derive(Default)]
pub(super) struct Life {
    pub stores: Vec<Content>,
    /// Raised when it is cleared or closed.
    number: u64,
    is_closed: bool,
}

impl OpenContent {
    pub fn new(stores: Vec<Content>) -> OpenContent {
        OpenContent(Arc::new(RwLock::new(Life { stores, ..Life::default() })))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Life> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Life> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn clear(&self, store: usize) {
        let mut life = self.write();
        life.stores[store].clear();
        life.number += 1;
    }

    pub fn close(&self) {
        let mut life = self.write();
        (life.number, life.is_closed) = (life.number + 1, true);
        life.stores.clear();
    }
}

impl SnapshotSource for OpenContent {
    fn take(&self) -> ReadResult<Arc<dyn TaskSnapshot>> {
        let life = self.read();
        if life.is_closed {
            return Err(ReadError::Closed);
        }
        Ok(Arc::new(CopiedSnapshot { open: self.clone(), life: life.number, stores: life.stores.clone() }))
    }
}

struct CopiedSnapshot {
    open: OpenContent,
    life: u64,
    stores: Vec<Content>,
}

impl CopiedSnapshot {
    fn store(&self, store: usize) -> ReadResult<&Content> {
        if self.is_open() { Ok(&self.stores[store]) } else { Err(ReadError::Closed) }
    }
}

impl TaskSnapshot for CopiedSnapshot {
    fn is_open(&self) -> bool {
        self.open.read().number == self.life
    }

    fn get(&self, store: usize, key: &[u8]) -> ReadResult<Option<Vec<u8>>> {
        Ok(self.store(store)?.get(key).cloned())
    }

    fn entries(&self, store: usize, start: &[u8], end: Option<&[u8]>) -> ReadResult<Chunk> {
        let start = first_entry(start);
        let content = self.store(store)?;
        if end.is_some_and(|end| end <= &start[..]) {
            return Ok(Chunk::default());
        }
        let mut range =
            content.range::<[u8], _>((Bound::Included(&start[..]), end.map_or(Bound::Unbounded, Bound::Excluded)));
        let entries = range.by_ref().take(CHUNK_ENTRIES).map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Chunk { entries, next: range.next().map(|(key, _)| key.clone()) })
    }
}
