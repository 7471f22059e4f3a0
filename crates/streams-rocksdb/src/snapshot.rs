//! Snapshots of a task's open database, for other threads.
//!
//! A snapshot needs the database open. So that no reader keeps a task waiting, closing the database
//! takes the snapshots away from their readers and waits for none: a call that is under way keeps
//! the database open until it has ended, and is the last one. Who opens the database meanwhile is
//! told to try again ([`OpenTask`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::rocksdb::{ColumnFamily, DB, ReadOptions, Snapshot};
use ouroboros::self_referencing;

use super::open_tasks::OpenTask;
use super::remedy::remedy;
use streams::error::Error;
use streams::ports::{
    CHUNK_BYTES, CHUNK_ENTRIES, Chunk, ReadError, ReadResult, SnapshotSource, TaskSnapshot, first_entry,
};
use streams::record::TaskId;

/// An open database, closed by whoever holds it last.
pub(super) struct Database {
    pub db: DB,
    /// Dropped after the database, so that it reports the end only when the files are free.
    _open: Option<OpenTask>,
}

impl Database {
    /// `open` ends when the database is closed.
    pub fn new(db: DB, open: Option<OpenTask>) -> Database {
        Database { db, _open: open }
    }
}

/// A snapshot, and the database that it belongs to.
#[self_referencing]
struct OwnedSnapshot {
    database: Arc<Database>,
    #[borrows(database)]
    #[covariant]
    snapshot: Snapshot<'this>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes snapshots of one open database.
pub(super) struct RocksSnapshots {
    task: TaskId,
    stores: Arc<[String]>,
    open: Mutex<Open>,
}

/// The database for as long as it is open, and the snapshots that have been taken of it.
#[derive(Default)]
struct Open {
    database: Option<Arc<Database>>,
    taken: Vec<Arc<TakenSnapshot>>,
}

impl RocksSnapshots {
    pub fn new(task: TaskId, stores: &[String], database: &Arc<Database>) -> RocksSnapshots {
        let open = Open { database: Some(database.clone()), taken: Vec::new() };
        RocksSnapshots { task, stores: stores.into(), open: Mutex::new(open) }
    }

    /// Ends all snapshots, and lets go of the database: only calls of readers that are under way
    /// share it with its owner, until it is handed over again by [`RocksSnapshots::reopen`].
    pub fn close(&self) {
        let Open { database, taken } = std::mem::take(&mut *lock(&self.open));
        taken.iter().for_each(|snapshot| drop(snapshot.take()));
        drop(database);
    }

    /// Takes snapshots again.
    pub fn reopen(&self, database: &Arc<Database>) {
        lock(&self.open).database = Some(database.clone());
    }
}

impl SnapshotSource for RocksSnapshots {
    fn take(&self) -> ReadResult<Arc<dyn TaskSnapshot>> {
        let mut open = lock(&self.open);
        let database = open.database.clone().ok_or(ReadError::Closed)?;
        let owned = OwnedSnapshot::new(database, |database| database.db.snapshot());
        let taken = Arc::new(TakenSnapshot(Mutex::new(Some(Arc::new(owned)))));
        // Those of readers that have finished are empty.
        open.taken.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        open.taken.push(taken.clone());
        Ok(Arc::new(RocksSnapshot { task: self.task, stores: self.stores.clone(), taken }))
    }
}

/// A snapshot that its reader or the closing of the database ends, whichever comes first: `None`
/// then. Nobody reads under the lock.
struct TakenSnapshot(Mutex<Option<Arc<OwnedSnapshot>>>);

impl TakenSnapshot {
    fn take(&self) -> Option<Arc<OwnedSnapshot>> {
        lock(&self.0).take()
    }

    fn get(&self) -> ReadResult<Arc<OwnedSnapshot>> {
        lock(&self.0).clone().ok_or(ReadError::Closed)
    }
}

struct RocksSnapshot {
    task: TaskId,
    stores: Arc<[String]>,
    taken: Arc<TakenSnapshot>,
}

impl Drop for RocksSnapshot {
    fn drop(&mut self) {
        drop(self.taken.take());
    }
}

impl RocksSnapshot {
    fn read<T>(
        &self,
        store: usize,
        doing: &str,
        read: impl FnOnce(&Snapshot<'_>, &ColumnFamily) -> Result<T, ::rocksdb::Error>,
    ) -> ReadResult<T> {
        let owned = self.taken.get()?;
        let family = self.stores.get(store).and_then(|name| owned.borrow_database().db.cf_handle(name));
        let family = family
            .ok_or_else(|| ReadError::Failed(Error::Bug(format!("task {} has no store number {store}", self.task))))?;
        read(owned.borrow_snapshot(), family).map_err(|error| ReadError::Failed(remedy(self.task, doing, error)))
    }
}

impl TaskSnapshot for RocksSnapshot {
    fn is_open(&self) -> bool {
        lock(&self.taken.0).is_some()
    }

    fn get(&self, store: usize, key: &[u8]) -> ReadResult<Option<Vec<u8>>> {
        self.read(store, "read", |snapshot, family| snapshot.get_cf(family, key))
    }

    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> ReadResult<Vec<Option<Vec<u8>>>> {
        self.read(store, "read", |snapshot, family| {
            snapshot.multi_get_cf(keys.iter().map(|key| (family, *key))).into_iter().collect()
        })
    }

    fn entries(&self, store: usize, start: &[u8], end: Option<&[u8]>) -> ReadResult<Chunk> {
        let start = first_entry(start);
        if end.is_some_and(|end| end <= &start[..]) {
            return if self.is_open() { Ok(Chunk::default()) } else { Err(ReadError::Closed) };
        }
        self.read(store, "scan", |snapshot, family| {
            let mut options = ReadOptions::default();
            // A scan reads much once: it must not drive out what the task keeps using.
            options.fill_cache(false);
            if let Some(end) = end {
                options.set_iterate_upper_bound(end);
            }
            let mut rows = snapshot.raw_iterator_cf_opt(family, options);
            let (mut chunk, mut bytes) = (Chunk::default(), 0);
            rows.seek(&start);
            while let Some((key, value)) = rows.item() {
                if chunk.entries.len() == CHUNK_ENTRIES || bytes >= CHUNK_BYTES {
                    chunk.next = Some(key.to_vec());
                    return Ok(chunk);
                }
                bytes += key.len() + value.len();
                chunk.entries.push((key.to_vec(), value.to_vec()));
                rows.next();
            }
            rows.status().map(|()| chunk)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open_tasks::OpenTasks;
    use ::rocksdb::Options;

    const TASK: TaskId = TaskId { subtopology: 0, partition: 3 };

    #[test]
    fn closing_waits_for_no_call_and_the_last_call_closes_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Arc::new(OpenTasks::default());
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let db = DB::open_cf(&options, folder.path(), ["s"]).unwrap();
        let database = Arc::new(Database::new(db, OpenTask::begin(&tasks, TASK)));
        let snapshots = RocksSnapshots::new(TASK, &["s".to_owned()], &database);
        let snapshot = snapshots.take().unwrap();
        assert_eq!(snapshot.get(0, b"k"), Ok(None));
        // A call that has begun holds just this.
        let call = snapshots.open.lock().unwrap().taken[0].get().unwrap();
        snapshots.close();
        drop(database);
        assert_eq!(snapshot.get(0, b"k"), Err(ReadError::Closed));
        assert_eq!((snapshot.is_open(), snapshots.take().err()), (false, Some(ReadError::Closed)));
        assert!(OpenTask::begin(&tasks, TASK).is_none(), "the files are not free yet");
        assert!(call.borrow_snapshot().get(b"k").is_ok(), "the call goes on");
        drop(call);
        assert!(OpenTask::begin(&tasks, TASK).is_some());
    }
}
