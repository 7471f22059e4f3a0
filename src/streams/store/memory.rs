//! Stores in memory, behind the same traits and the same contract tests as those on disk. The driver runs on them, and so do the engine's tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::streams::error::{Error, Result};
use crate::streams::ports::{StoreBatch, StoreEngine, TaskStore, Value, Visit};
use crate::streams::record::TaskId;

type Entries = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The databases of all tasks, by task: what a disk holds. They outlive the stores that are open on them.
#[derive(Clone, Default)]
pub struct MemoryStores {
    tasks: Arc<Mutex<BTreeMap<TaskId, Arc<Mutex<Data>>>>>,
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

    /// Says how long ago a task's database was last written, as [`StoreEngine::idle`] answers it.
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
            return Err(Error::Retry(format!("the store of task {task} is open elsewhere")));
        }
        data.is_open = true;
        let stores =
            stores.iter().map(|name| ((*name).to_owned(), data.by_name.remove(*name).unwrap_or_default())).collect();
        drop(data);
        Ok(Box::new(MemoryStore { home, stores }))
    }

    fn destroy(&self, task: TaskId) -> Result<()> {
        lock(&self.tasks).remove(&task);
        Ok(())
    }

    fn idle(&self, task: TaskId) -> Result<Option<Duration>> {
        Ok(lock(&self.tasks).get(&task).map(|data| lock(data).idle))
    }
}

/// One open database. Its entries lie here without a lock and go back to their home when it is dropped.
struct MemoryStore {
    home: Arc<Mutex<Data>>,
    stores: Vec<(String, Entries)>,
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        let mut data = lock(&self.home);
        data.by_name.extend(self.stores.drain(..));
        data.is_open = false;
    }
}

impl TaskStore for MemoryStore {
    fn get(&self, store: usize, key: &[u8]) -> Result<Option<Value<'_>>> {
        Ok(self.stores[store].1.get(key).map(|value| Value::Borrowed(value)))
    }

    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> Result<Vec<Option<Value<'_>>>> {
        keys.iter().map(|key| self.get(store, key)).collect()
    }

    fn scan_from(&self, store: usize, prefix: &[u8], start: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let start: Box<[u8]> = start.into();
        let entries = self.stores[store].1.range(start..).take_while(|(key, _)| key.starts_with(prefix));
        for (key, value) in entries.filter(|(key, _)| !key.is_empty()) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, batch: &StoreBatch<'_>) -> Result<()> {
        for put in &batch.puts {
            let entries = &mut self.stores[put.store].1;
            match put.value {
                Some(value) => entries.insert(put.key.into(), value.into()),
                None => entries.remove(put.key),
            };
        }
        for (store, position) in &batch.positions {
            self.stores[*store].1.insert(Box::default(), (*position).into());
        }
        Ok(())
    }

    fn position(&self, store: usize) -> Result<Option<Vec<u8>>> {
        Ok(self.stores[store].1.get(&[][..]).map(|position| position.to_vec()))
    }

    fn restoring(&mut self, _on: bool) -> Result<()> {
        Ok(())
    }

    fn clear(&mut self, store: usize) -> Result<()> {
        self.stores[store].1.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::store::contract;

    #[test]
    fn memory_keeps_the_contract_of_stores() {
        contract::check(&|| Box::new(MemoryStores::new()));
    }
}
