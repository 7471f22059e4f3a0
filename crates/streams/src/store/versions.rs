//! The stores of a task in memory, with the values that snapshots of other threads still show.
//!
//! While no snapshot is open, a write replaces a value. While one is, the value that it replaces is
//! kept in an [`Undo`] of the newest snapshot, so that a reader finds what there was when its
//! snapshot was taken, and neither copies the store nor stops it: values are copied for readers
//! outside of the lock. What is kept is bounded: beyond [`MOST_UNDO_BYTES`] the open snapshots
//! expire.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::ports::{
    CHUNK_BYTES, CHUNK_ENTRIES, Chunk, ReadError, ReadResult, SnapshotSource, StoreBatch, TaskSnapshot, first_entry,
};

/// Approximate overhead of an entry besides its key and value.
pub(super) const ENTRY_BYTES: usize = 64;
/// Bytes of replaced values that are kept for the open snapshots of a task, at most.
const MOST_UNDO_BYTES: usize = 64 << 20;

/// A value, shared with those who have read it.
pub(super) type SharedValue = Arc<[u8]>;

/// The entries of one store, and what they take of the memory of all.
pub(super) struct Entries {
    pub map: BTreeMap<Box<[u8]>, SharedValue>,
    bytes: usize,
    total: Arc<AtomicUsize>,
}

fn size_of(key: &[u8], value: Option<&SharedValue>) -> usize {
    value.map_or(0, |value| key.len() + value.len() + ENTRY_BYTES)
}

impl Entries {
    pub fn new(total: &Arc<AtomicUsize>) -> Entries {
        Entries { map: BTreeMap::new(), bytes: 0, total: total.clone() }
    }

    /// Writes a value, or deletes it; the one that there was.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Option<SharedValue> {
        let value: Option<SharedValue> = value.map(Arc::from);
        let new = size_of(key, value.as_ref());
        let replaced = match value {
            Some(value) => self.map.insert(key.into(), value),
            None => self.map.remove(key),
        };
        let old = size_of(key, replaced.as_ref());
        self.bytes = self.bytes + new - old;
        self.total.fetch_add(new, Ordering::Relaxed);
        self.total.fetch_sub(old, Ordering::Relaxed);
        replaced
    }

    /// Writes a value, or deletes it, where no snapshot shows the one that there was. The key and,
    /// where it fits, the memory of that value are used again.
    fn overwrite(&mut self, key: &[u8], value: Option<&[u8]>) {
        let (Some(new), Some(old)) = (value, self.map.get_mut(key)) else {
            self.put(key, value);
            return;
        };
        self.bytes = self.bytes + new.len() - old.len();
        self.total.fetch_add(new.len(), Ordering::Relaxed);
        self.total.fetch_sub(old.len(), Ordering::Relaxed);
        // A reader may still hold the value.
        match Arc::get_mut(old).filter(|old| old.len() == new.len()) {
            Some(old) => old.copy_from_slice(new),
            None => *old = Arc::from(new),
        }
    }

    fn clear(&mut self) {
        self.map.clear();
        self.total.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A value that was replaced; `None` where there was none.
type Replaced = Option<SharedValue>;

/// A [`Chunk`] whose values are not copied yet.
#[derive(Default)]
struct SharedChunk {
    entries: Vec<(Vec<u8>, SharedValue)>,
    next: Option<Vec<u8>>,
}

/// The values that the batches after a version have replaced, up to the version of the next
/// [`Undo`].
struct Undo {
    from: u64,
    stores: Vec<BTreeMap<Box<[u8]>, Replaced>>,
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl Undo {
    fn keep(&mut self, store: usize, key: &[u8], replaced: Replaced) {
        if let Entry::Vacant(place) = self.stores[store].entry(key.into()) {
            let bytes = key.len() + replaced.as_ref().map_or(0, |value| value.len()) + ENTRY_BYTES;
            self.bytes += bytes;
            self.total.fetch_add(bytes, Ordering::Relaxed);
            place.insert(replaced);
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The stores of a task, at a version that each batch raises.
pub(super) struct Versioned {
    pub stores: Vec<Entries>,
    version: u64,
    /// In the order of their versions.
    undo: VecDeque<Undo>,
    /// Snapshots of versions below have expired.
    expired_below: u64,
    /// Snapshots of versions below have ended with what they showed.
    closed_below: u64,
    is_closed: bool,
    total: Arc<AtomicUsize>,
}

impl Versioned {
    /// Keeps a replaced value for the newest snapshot; none was taken since the batch began.
    fn keep(&mut self, newest: u64, store: usize, key: &[u8], replaced: Replaced) {
        if self.undo.back().is_none_or(|undo| undo.from < newest) {
            let stores = self.stores.iter().map(|_| BTreeMap::new()).collect();
            self.undo.push_back(Undo { from: self.version, stores, bytes: 0, total: self.total.clone() });
        }
        if let Some(undo) = self.undo.back_mut() {
            undo.keep(store, key, replaced);
        }
    }

    fn check(&self, version: u64) -> ReadResult<()> {
        if self.is_closed || version < self.closed_below {
            return Err(ReadError::Closed);
        }
        if version < self.expired_below { Err(ReadError::Expired) } else { Ok(()) }
    }

    /// All that has replaced values since a version, the earliest first.
    fn undo_since(&self, version: u64) -> impl Iterator<Item = &Undo> {
        self.undo.iter().filter(move |undo| undo.from >= version)
    }

    fn get(&self, version: u64, store: usize, key: &[u8]) -> Option<&SharedValue> {
        let replaced = self.undo_since(version).find_map(|undo| undo.stores[store].get(key));
        replaced.map_or_else(|| self.stores[store].map.get(key), Option::as_ref)
    }

    fn entries(&self, version: u64, store: usize, start: &[u8], end: Option<&[u8]>) -> SharedChunk {
        let start = first_entry(start);
        if end.is_some_and(|end| end <= &start[..]) {
            return SharedChunk::default();
        }
        let range = (Bound::Included(&start[..]), end.map_or(Bound::Unbounded, Bound::Excluded));
        let mut now = self.stores[store].map.range::<[u8], _>(range).peekable();
        let undo = self.undo_since(version).map(|undo| undo.stores[store].range::<[u8], _>(range).peekable());
        let mut undo: Vec<Peekable<_>> = undo.collect();
        let (mut chunk, mut looked_at, mut bytes) = (SharedChunk::default(), 0, 0);
        loop {
            let least = undo.iter_mut().filter_map(|keys| keys.peek().map(|(key, _)| &***key)).min();
            let least = least.into_iter().chain(now.peek().map(|(key, _)| &***key)).min();
            let Some(key) = least else { return chunk };
            if looked_at == CHUNK_ENTRIES || bytes >= CHUNK_BYTES {
                chunk.next = Some(key.to_vec());
                return chunk;
            }
            looked_at += 1;
            let mut value = now.next_if(|(found, _)| ***found == *key).map(|(_, value)| value);
            // The latest first, so that the earliest counts.
            for replaced in undo.iter_mut().rev() {
                if let Some((_, replaced)) = replaced.next_if(|(found, _)| ***found == *key) {
                    value = replaced.as_ref();
                }
            }
            if let Some(value) = value {
                bytes += key.len() + value.len();
                chunk.entries.push((key.to_vec(), value.clone()));
            }
        }
    }
}

/// The stores of a task, which one thread writes and others read.
///
/// The lock of the stores is taken for writing by their owner alone, who reads them as well: so a
/// scan of the owner may read in its midst.
pub(super) struct VersionedStores {
    versioned: RwLock<Versioned>,
    /// How many snapshots of each version are open.
    snapshots: Mutex<BTreeMap<u64, usize>>,
}

impl VersionedStores {
    pub fn new(stores: Vec<Entries>, total: &Arc<AtomicUsize>) -> VersionedStores {
        let versioned = Versioned {
            stores,
            version: 0,
            undo: VecDeque::new(),
            expired_below: 0,
            closed_below: 0,
            is_closed: false,
            total: total.clone(),
        };
        VersionedStores { versioned: RwLock::new(versioned), snapshots: Mutex::default() }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Versioned> {
        self.versioned.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Versioned> {
        self.versioned.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshots(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest and the newest version that a snapshot shows.
    fn open_versions(&self) -> Option<(u64, u64)> {
        let snapshots = self.snapshots();
        Some((*snapshots.keys().next()?, *snapshots.keys().next_back()?))
    }

    pub fn apply(&self, batch: &StoreBatch<'_>) {
        let mut versioned = self.write();
        let versions = self.open_versions();
        let oldest = versions.map_or(u64::MAX, |(oldest, _)| oldest);
        while versioned.undo.front().is_some_and(|undo| undo.from < oldest) {
            versioned.undo.pop_front();
        }
        let puts = batch.puts.iter().map(|put| (put.store, put.key, put.value));
        let positions = batch.positions.iter().map(|(store, position)| (*store, &[][..], Some(*position)));
        for (store, key, value) in puts.chain(positions) {
            let Some((_, newest)) = versions else {
                versioned.stores[store].overwrite(key, value);
                continue;
            };
            let replaced = versioned.stores[store].put(key, value);
            versioned.keep(newest, store, key, replaced);
        }
        versioned.version += 1;
        if versioned.undo.iter().map(|undo| undo.bytes).sum::<usize>() > MOST_UNDO_BYTES {
            versioned.undo.clear();
            versioned.expired_below = versioned.version;
        }
    }

    pub fn clear(&self, store: usize) {
        let mut versioned = self.write();
        versioned.version += 1;
        versioned.closed_below = versioned.version;
        versioned.undo.clear();
        versioned.stores[store].clear();
    }

    /// Ends all snapshots, and hands the stores back.
    pub fn close(&self) -> Vec<Entries> {
        let mut versioned = self.write();
        versioned.is_closed = true;
        versioned.undo.clear();
        std::mem::take(&mut versioned.stores)
    }
}

/// [`SnapshotSource`] of stores in memory.
pub(super) struct MemorySnapshots(pub Arc<VersionedStores>);

impl SnapshotSource for MemorySnapshots {
    fn take(&self) -> ReadResult<Arc<dyn TaskSnapshot>> {
        // No batch comes between the version and its entry.
        let versioned = self.0.read();
        if versioned.is_closed {
            return Err(ReadError::Closed);
        }
        let version = versioned.version;
        *self.0.snapshots().entry(version).or_default() += 1;
        drop(versioned);
        Ok(Arc::new(MemorySnapshot { stores: self.0.clone(), version }))
    }
}

/// A snapshot of stores in memory.
struct MemorySnapshot {
    stores: Arc<VersionedStores>,
    version: u64,
}

impl MemorySnapshot {
    fn read<T>(&self, read: impl FnOnce(&Versioned) -> T) -> ReadResult<T> {
        let versioned = self.stores.read();
        versioned.check(self.version)?;
        Ok(read(&versioned))
    }
}

impl TaskSnapshot for MemorySnapshot {
    fn is_open(&self) -> bool {
        self.read(|_| ()).is_ok()
    }

    fn get(&self, store: usize, key: &[u8]) -> ReadResult<Option<Vec<u8>>> {
        let value = self.read(|stores| stores.get(self.version, store, key).cloned())?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> ReadResult<Vec<Option<Vec<u8>>>> {
        let get = |stores: &Versioned, key: &[u8]| stores.get(self.version, store, key).cloned();
        let values: Vec<_> = self.read(|stores| keys.iter().map(|key| get(stores, key)).collect())?;
        Ok(values.into_iter().map(|value| value.map(|value| value.to_vec())).collect())
    }

    fn entries(&self, store: usize, start: &[u8], end: Option<&[u8]>) -> ReadResult<Chunk> {
        let SharedChunk { entries, next } = self.read(|stores| stores.entries(self.version, store, start, end))?;
        let entries = entries.into_iter().map(|(key, value)| (key, value.to_vec())).collect();
        Ok(Chunk { entries, next })
    }
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut open) = self.stores.snapshots().entry(self.version) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}
