//! Stores in memory, behind the same traits and the same contract tests as those on disk. The
//! driver runs on them, and so do the engine's tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::versions::{Entries, MemorySnapshots, VersionedStores};
use crate::error::{Error, Result};
use crate::ports::{SnapshotSource, StoreBatch, StoreEngine, TaskStore, Value, Visit};
use crate::record::TaskId;

/// The databases of all tasks, by task: what a disk holds. They outlive the stores that are open on
/// them.
#[derive(Clone, Default)]
pub struct MemoryStores {
    tasks: Arc<Mutex<BTreeMap<TaskId, Arc<Mutex<Data>>>>>,
    total: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Data {
    by_name: BTreeMap<String, Entries>,
    idle: Duration,
    is_open: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStores {
    /// No database.
    pub fn new() -> MemoryStores {
        MemoryStores::default()
    }

    /// No database; what all of them will take is counted in `total`, in bytes.
    pub fn counted_in(total: Arc<AtomicUsize>) -> MemoryStores {
        MemoryStores { total, ..MemoryStores::default() }
    }

    /// Bytes that all databases take, about, open ones among them.
    pub fn bytes(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Says how long ago a task's database was last written, as [`StoreEngine::idle_time`] answers
    /// it.
    pub fn set_idle(&self, task: TaskId, idle: Duration) {
        if let Some(data) = lock(&self.tasks).get(&task) {
            lock(data).idle = idle;
        }
    }
}

impl StoreEngine for MemoryStores {
    fn open(&self, task: TaskId, stores: &[&str]) -> Result<Box<dyn TaskStore>> {
        let home = lock(&self.tasks).entry(task).or_default().clone();
        let mut data = lock(&home);
        if data.is_open {
            return Err(Error::Retry(format!("open the in-memory store of task {task}: it is open already [HS3009]")));
        }
        data.is_open = true;
        let mut take = |name: &str| data.by_name.remove(name).unwrap_or_else(|| Entries::new(&self.total));
        let entries = stores.iter().map(|name| take(name)).collect();
        drop(data);
        let names = stores.iter().map(|name| (*name).to_owned()).collect();
        Ok(Box::new(MemoryStore { home, names, stores: Arc::new(VersionedStores::new(entries, &self.total)) }))
    }

    fn destroy(&self, task: TaskId) -> Result<()> {
        lock(&self.tasks).remove(&task);
        Ok(())
    }

    fn idle_time(&self, task: TaskId) -> Result<Option<Duration>> {
        Ok(lock(&self.tasks).get(&task).map(|data| lock(data).idle))
    }
}

/// One open database. Its entries go back to their home when it is dropped.
struct MemoryStore {
    home: Arc<Mutex<Data>>,
    names: Vec<String>,
    stores: Arc<VersionedStores>,
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        let entries = self.stores.close();
        let mut data = lock(&self.home);
        data.by_name.extend(self.names.drain(..).zip(entries));
        data.is_open = false;
    }
}

impl TaskStore for MemoryStore {
    fn get(&self, store: usize, key: &[u8]) -> Result<Option<Value<'_>>> {
        Ok(self.stores.read().stores[store].map.get(key).cloned().map(Value::Shared))
    }

    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> Result<Vec<Option<Value<'_>>>> {
        let stores = self.stores.read();
        let map = &stores.stores[store].map;
        Ok(keys.iter().map(|key| map.get(*key).cloned().map(Value::Shared)).collect())
    }

    fn scan_from(&self, store: usize, prefix: &[u8], start: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let start: Box<[u8]> = start.into();
        let stores = self.stores.read();
        let entries = stores.stores[store].map.range(start..).take_while(|(key, _)| key.starts_with(prefix));
        for (key, value) in entries.filter(|(key, _)| !key.is_empty()) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, batch: &StoreBatch<'_>) -> Result<()> {
        self.stores.apply(batch);
        Ok(())
    }

    fn position(&self, store: usize) -> Result<Option<Vec<u8>>> {
        Ok(self.stores.read().stores[store].map.get(&[][..]).map(|position| position.to_vec()))
    }

    fn begin_bulk_load(&mut self) -> Result<()> {
        Ok(())
    }

    fn end_bulk_load(&mut self) -> Result<()> {
        Ok(())
    }

    fn clear(&mut self, store: usize) -> Result<()> {
        self.stores.clear(store);
        Ok(())
    }

    fn snapshots(&self) -> Arc<dyn SnapshotSource> {
        Arc::new(MemorySnapshots(self.stores.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::versions::ENTRY_BYTES;
    use super::*;
    use crate::ports::Put;
    use crate::testing::store_contract;

    #[test]
    fn memory_keeps_the_contract_of_stores() {
        store_contract::check(&|| Box::new(MemoryStores::new()));
    }

    #[test]
    fn what_they_take_is_counted_until_it_is_gone() {
        let stores = MemoryStores::new();
        let task = TaskId { subtopology: 0, partition: 0 };
        let mut db = stores.open(task, &["s", "t"]).unwrap();
        let put = |store, value| StoreBatch { puts: vec![Put { store, key: b"key", value }], positions: Vec::new() };
        db.apply(&put(0, Some(b"1234567"))).unwrap();
        assert_eq!(stores.bytes(), ENTRY_BYTES + 10);
        db.apply(&put(0, Some(b"1"))).unwrap();
        db.apply(&put(1, Some(b"12"))).unwrap();
        assert_eq!(stores.bytes(), 2 * ENTRY_BYTES + 4 + 5);
        db.clear(1).unwrap();
        drop(db);
        assert_eq!(stores.bytes(), ENTRY_BYTES + 4, "closed it is still there");
        drop(stores.open(task, &["s"]).unwrap());
        assert_eq!(stores.bytes(), ENTRY_BYTES + 4);
        let mut db = stores.open(task, &["s"]).unwrap();
        db.apply(&put(0, None)).unwrap();
        assert_eq!(stores.bytes(), 0);
        db.apply(&put(0, Some(b"1"))).unwrap();
        drop(db);
        stores.destroy(task).unwrap();
        assert_eq!(stores.bytes(), 0);
    }
}
