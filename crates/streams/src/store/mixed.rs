//! Stores of one task in two places: some on disk, some in memory. Each call is routed by the
//! store's index; a task that has stores in memory only opens nothing on disk.
//!
//! State in memory is as durable as on disk for as long as the process lives: it outlives the
//! closing of its task, so that one that goes back to its last commit need not be restored whole,
//! and goes when the task does ([`StoreEngine::drop_in_memory`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::memory::MemoryStores;
use crate::error::{Error, Result};
use crate::ports::{
    Chunk, Put, ReadError, ReadResult, SnapshotSource, StoreBatch, StoreEngine, TaskSnapshot, TaskStore, Value, Visit,
};
use crate::record::TaskId;

/// The engine of the stores on disk receives the memory that the others use each time that it has
/// changed by so many bytes.
const REPORT_BYTES: usize = 1 << 20;

/// Stores on disk but for some, known by their names.
pub struct MixedStores {
    places: Arc<Places>,
    in_memory: BTreeSet<String>,
}

struct Places {
    disk: Arc<dyn StoreEngine>,
    memory: MemoryStores,
    reported: AtomicUsize,
}

impl Places {
    fn shrink_disk_cache(&self) {
        let now = self.memory.bytes();
        if now.abs_diff(self.reported.load(Ordering::Relaxed)) >= REPORT_BYTES {
            self.reported.store(now, Ordering::Relaxed);
            self.disk.shrink_cache(now);
        }
    }
}

impl MixedStores {
    /// Keeps the stores named `in_memory` in memory, whichever task's they are, and all others in
    /// `disk`. Bytes that those in memory take are counted in `bytes`.
    pub fn new(disk: Arc<dyn StoreEngine>, in_memory: BTreeSet<String>, bytes: Arc<AtomicUsize>) -> MixedStores {
        let memory = MemoryStores::counted_in(bytes);
        MixedStores { places: Arc::new(Places { disk, memory, reported: AtomicUsize::new(0) }), in_memory }
    }
}

impl StoreEngine for MixedStores {
    fn open(&self, task: TaskId, stores: &[&str]) -> Result<Box<dyn TaskStore>> {
        let (memory, disk): (Vec<&str>, Vec<&str>) = stores.iter().partition(|name| self.in_memory.contains(**name));
        if memory.is_empty() {
            return self.places.disk.open(task, stores);
        }
        let index = |names: &[&str], name: &str| names.iter().position(|other| *other == name).unwrap_or_default();
        let place = |name: &&str| match self.in_memory.contains(*name) {
            true => StoreLocation::Memory(index(&memory, name)),
            false => StoreLocation::Disk(index(&disk, name)),
        };
        Ok(Box::new(MixedStore {
            task,
            stores: stores.iter().map(place).collect(),
            disk: if disk.is_empty() { None } else { Some(self.places.disk.open(task, &disk)?) },
            memory: self.places.memory.open(task, &memory)?,
            places: self.places.clone(),
        }))
    }

    fn destroy(&self, task: TaskId) -> Result<()> {
        self.places.disk.destroy(task)?;
        self.places.memory.destroy(task)
    }

    fn idle_time(&self, task: TaskId) -> Result<Option<Duration>> {
        // What lies in memory is never idle for long: it goes with its task.
        match self.places.disk.idle_time(task)? {
            None => self.places.memory.idle_time(task),
            some => Ok(some),
        }
    }

    fn positions(&self, task: TaskId, stores: &[&str]) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        // What lies in memory belongs to a task that is, or was just, open.
        let disk: Vec<&str> = stores.iter().copied().filter(|name| !self.in_memory.contains(*name)).collect();
        if disk.is_empty() { Ok(None) } else { self.places.disk.positions(task, &disk) }
    }

    fn drop_in_memory(&self, task: TaskId) {
        self.places.disk.drop_in_memory(task);
        // Removing what lies in memory does not fail.
        let _ = self.places.memory.destroy(task);
        self.places.shrink_disk_cache();
    }
}

/// Where a store lies, and its index there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StoreLocation {
    Disk(usize),
    Memory(usize),
}

struct MixedStore {
    task: TaskId,
    stores: Vec<StoreLocation>,
    /// `None` where all lie in memory.
    disk: Option<Box<dyn TaskStore>>,
    memory: Box<dyn TaskStore>,
    places: Arc<Places>,
}

impl MixedStore {
    fn place(&self, store: usize) -> Result<StoreLocation> {
        let place = self.stores.get(store).copied();
        place.ok_or_else(|| Error::Bug(format!("task {} has no store number {store}", self.task)))
    }

    fn of(&self, store: usize) -> Result<(&dyn TaskStore, usize)> {
        match (self.place(store)?, &self.disk) {
            (StoreLocation::Disk(at), Some(disk)) => Ok((&**disk, at)),
            (StoreLocation::Disk(at) | StoreLocation::Memory(at), _) => Ok((&*self.memory, at)),
        }
    }

    /// The part of a batch that goes to one place: `at` returns a store's index there.
    fn part<'a>(&self, batch: &StoreBatch<'a>, at: fn(StoreLocation) -> Option<usize>) -> Result<StoreBatch<'a>> {
        let mut part = StoreBatch::default();
        for put in &batch.puts {
            part.puts.extend(at(self.place(put.store)?).map(|store| Put { store, ..*put }));
        }
        for (store, position) in &batch.positions {
            part.positions.extend(at(self.place(*store)?).map(|store| (store, *position)));
        }
        Ok(part)
    }
}

impl TaskStore for MixedStore {
    fn get(&self, store: usize, key: &[u8]) -> Result<Option<Value<'_>>> {
        let (part, at) = self.of(store)?;
        part.get(at, key)
    }

    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> Result<Vec<Option<Value<'_>>>> {
        let (part, at) = self.of(store)?;
        part.multi_get(at, keys)
    }

    fn scan_from(&self, store: usize, prefix: &[u8], start: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let (part, at) = self.of(store)?;
        part.scan_from(at, prefix, start, visit)
    }

    fn apply(&mut self, batch: &StoreBatch<'_>) -> Result<()> {
        let disk = self.part(batch, |place| if let StoreLocation::Disk(at) = place { Some(at) } else { None })?;
        let memory = self.part(batch, |place| if let StoreLocation::Memory(at) = place { Some(at) } else { None })?;
        // The disk first: it may fail, memory does not, so both have the batch or neither has it.
        // After a kill memory is empty.
        if let Some(db) = &mut self.disk
            && !(disk.puts.is_empty() && disk.positions.is_empty())
        {
            db.apply(&disk)?;
        }
        self.memory.apply(&memory)?;
        self.places.shrink_disk_cache();
        Ok(())
    }

    fn position(&self, store: usize) -> Result<Option<Vec<u8>>> {
        let (part, at) = self.of(store)?;
        part.position(at)
    }

    fn begin_bulk_load(&mut self) -> Result<()> {
        self.disk.as_mut().map_or(Ok(()), |disk| disk.begin_bulk_load())
    }

    fn end_bulk_load(&mut self) -> Result<()> {
        self.disk.as_mut().map_or(Ok(()), |disk| disk.end_bulk_load())
    }

    fn clear(&mut self, store: usize) -> Result<()> {
        match (self.place(store)?, &mut self.disk) {
            (StoreLocation::Disk(at), Some(disk)) => disk.clear(at),
            (StoreLocation::Disk(at) | StoreLocation::Memory(at), _) => self.memory.clear(at),
        }
    }

    fn snapshots(&self) -> Arc<dyn SnapshotSource> {
        Arc::new(MixedSnapshots {
            task: self.task,
            stores: self.stores.clone(),
            disk: self.disk.as_ref().map(|disk| disk.snapshots()),
            memory: self.memory.snapshots(),
        })
    }
}

/// [`SnapshotSource`] of a task whose stores lie in two places.
struct MixedSnapshots {
    task: TaskId,
    stores: Vec<StoreLocation>,
    disk: Option<Arc<dyn SnapshotSource>>,
    memory: Arc<dyn SnapshotSource>,
}

impl SnapshotSource for MixedSnapshots {
    fn take(&self) -> ReadResult<Arc<dyn TaskSnapshot>> {
        let disk = self.disk.as_ref().map(|disk| disk.take()).transpose()?;
        Ok(Arc::new(MixedSnapshot { task: self.task, stores: self.stores.clone(), disk, memory: self.memory.take()? }))
    }
}

struct MixedSnapshot {
    task: TaskId,
    stores: Vec<StoreLocation>,
    disk: Option<Arc<dyn TaskSnapshot>>,
    memory: Arc<dyn TaskSnapshot>,
}

impl MixedSnapshot {
    fn of(&self, store: usize) -> ReadResult<(&dyn TaskSnapshot, usize)> {
        match (self.stores.get(store), &self.disk) {
            (Some(StoreLocation::Disk(at)), Some(disk)) => Ok((&**disk, *at)),
            (Some(StoreLocation::Disk(at) | StoreLocation::Memory(at)), _) => Ok((&*self.memory, *at)),
            (None, _) => Err(ReadError::Failed(Error::Bug(format!("task {} has no store number {store}", self.task)))),
        }
    }
}

impl TaskSnapshot for MixedSnapshot {
    fn is_open(&self) -> bool {
        self.memory.is_open() && self.disk.as_ref().is_none_or(|disk| disk.is_open())
    }

    fn get(&self, store: usize, key: &[u8]) -> ReadResult<Option<Vec<u8>>> {
        let (part, at) = self.of(store)?;
        part.get(at, key)
    }

    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> ReadResult<Vec<Option<Vec<u8>>>> {
        let (part, at) = self.of(store)?;
        part.multi_get(at, keys)
    }

    fn entries(&self, store: usize, start: &[u8], end: Option<&[u8]>) -> ReadResult<Chunk> {
        let (part, at) = self.of(store)?;
        part.entries(at, start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store_contract;

    const TASK: TaskId = TaskId { subtopology: 1, partition: 7 };

    /// Over a disk that is played.
    fn over(disk: &MemoryStores, in_memory: &[&str]) -> MixedStores {
        let names = in_memory.iter().map(|name| (*name).to_owned()).collect();
        MixedStores::new(Arc::new(disk.clone()), names, Arc::default())
    }

    #[test]
    fn it_keeps_the_contract_of_stores_wherever_they_lie() {
        for in_memory in [&[][..], &["a"], &["b"], &["a", "b"]] {
            store_contract::check(&|| Box::new(over(&MemoryStores::new(), in_memory)));
        }
    }

    #[test]
    fn each_store_lies_in_its_place_and_memory_goes_with_the_task() {
        let disk = MemoryStores::new();
        let stores = over(&disk, &["fast"]);
        let mut db = stores.open(TASK, &["fast", "safe"]).unwrap();
        let put = |store, key| Put { store, key, value: Some(&b"v"[..]) };
        let batch = StoreBatch { puts: vec![put(0, b"f"), put(1, b"s")], positions: vec![(0, b"1"), (1, b"2")] };
        db.apply(&batch).unwrap();
        drop(db);
        let on_disk = disk.open(TASK, &["fast", "safe"]).unwrap();
        assert!(on_disk.get(0, b"f").unwrap().is_none() && on_disk.position(0).unwrap().is_none());
        assert!(on_disk.get(1, b"s").unwrap().is_some() && on_disk.position(1).unwrap().is_some());
        drop(on_disk);
        let db = stores.open(TASK, &["safe", "fast"]).unwrap();
        assert!(db.get(1, b"f").unwrap().is_some(), "closing alone does not empty it");
        drop(db);
        stores.drop_in_memory(TASK);
        let db = stores.open(TASK, &["safe", "fast"]).unwrap();
        assert_eq!(db.position(0).unwrap().as_deref(), Some(&b"2"[..]));
        assert!(db.get(1, b"f").unwrap().is_none() && db.position(1).unwrap().is_none());
    }

    #[test]
    fn a_task_with_memory_alone_opens_nothing_on_disk() {
        let disk = MemoryStores::new();
        let stores = over(&disk, &["fast"]);
        let _db = stores.open(TASK, &["fast"]).unwrap();
        assert!(disk.idle_time(TASK).unwrap().is_none());
    }

    /// Notes what it is told.
    #[derive(Default)]
    struct Narrow(AtomicUsize);

    impl StoreEngine for Narrow {
        fn open(&self, task: TaskId, _stores: &[&str]) -> Result<Box<dyn TaskStore>> {
            Err(Error::Fatal(format!("nobody opens task {task} here")))
        }

        fn destroy(&self, _task: TaskId) -> Result<()> {
            Ok(())
        }

        fn idle_time(&self, _task: TaskId) -> Result<Option<Duration>> {
            Ok(None)
        }

        fn shrink_cache(&self, bytes: usize) {
            self.0.store(bytes, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_disk_makes_room_for_what_lies_in_memory() {
        let disk = Arc::new(Narrow::default());
        let bytes = Arc::new(AtomicUsize::new(0));
        let stores = MixedStores::new(disk.clone(), ["fast".to_owned()].into(), bytes.clone());
        let mut db = stores.open(TASK, &["fast"]).unwrap();
        let large = vec![0; 3 << 20];
        let puts = vec![Put { store: 0, key: b"k", value: Some(&large) }];
        db.apply(&StoreBatch { puts, positions: Vec::new() }).unwrap();
        assert!(disk.0.load(Ordering::Relaxed) > 3 << 20 && bytes.load(Ordering::Relaxed) > 3 << 20);
        drop(db);
        stores.drop_in_memory(TASK);
        assert_eq!((disk.0.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed)), (0, 0));
    }
}
