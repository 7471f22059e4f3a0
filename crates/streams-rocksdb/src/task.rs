//! One task's database.

use std::ops::{ControlFlow, Deref};
use std::sync::Arc;

use ::rocksdb::{ColumnFamily, DB, DBPinnableSlice, FlushOptions, Options, ReadOptions, WriteBatch, WriteOptions};

use super::open_tasks::OpenTask;
use super::remedy::remedy;
use super::snapshot::{Database, RocksSnapshots};
use streams::error::{Error, Result};
use streams::ports::{SnapshotSource, StoreBatch, TaskStore, Value, Visit, end_of_prefix};
use streams::record::TaskId;

/// The key under which a store's position lies, beside its entries, so that one batch writes both
/// or neither.
const POSITION: &[u8] = &[];

/// A task's open database.
pub(super) struct RocksTask {
    /// Shared with snapshots alone, which end when it is closed, and with the calls of readers that
    /// are under way then.
    database: Arc<Database>,
    snapshots: Arc<RocksSnapshots>,
    task: TaskId,
    stores: Vec<String>,
    family: Options,
    write: WriteOptions,
}

impl RocksTask {
    /// `open` ends when the database is closed.
    pub fn new(db: DB, task: TaskId, stores: &[&str], family: Options, open: Option<OpenTask>) -> RocksTask {
        let stores: Vec<String> = stores.iter().map(|store| (*store).to_owned()).collect();
        let database = Arc::new(Database::new(db, open));
        let snapshots = Arc::new(RocksSnapshots::new(task, &stores, &database));
        RocksTask { database, snapshots, task, stores, family, write: WriteOptions::default() }
    }

    fn db(&self) -> &DB {
        &self.database.db
    }

    fn family_of(&self, store: usize) -> Result<&ColumnFamily> {
        let family = self.stores.get(store).and_then(|name| self.db().cf_handle(name));
        family.ok_or_else(|| Error::Bug(format!("task {} has no store number {store}", self.task)))
    }

    fn failed(&self, doing: &str) -> impl Fn(::rocksdb::Error) -> Error {
        let task = self.task;
        let doing = doing.to_owned();
        move |error| remedy(task, &doing, error)
    }
}

fn pinned(slice: DBPinnableSlice<'_>) -> Value<'_> {
    Value::Pinned(Box::new(slice) as Box<dyn Deref<Target = [u8]> + '_>)
}

impl Drop for RocksTask {
    fn drop(&mut self) {
        self.snapshots.close();
    }
}

impl TaskStore for RocksTask {
    fn get(&self, store: usize, key: &[u8]) -> Result<Option<Value<'_>>> {
        let found = self.db().get_pinned_cf(self.family_of(store)?, key).map_err(self.failed("read"))?;
        Ok(found.map(pinned))
    }

    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> Result<Vec<Option<Value<'_>>>> {
        let found = self.db().batched_multi_get_cf(self.family_of(store)?, keys.iter().copied(), false);
        found.into_iter().map(|one| Ok(one.map_err(self.failed("read"))?.map(pinned))).collect()
    }

    fn scan_from(&self, store: usize, prefix: &[u8], start: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let mut options = ReadOptions::default();
        // A scan reads much once: it must not drive out what point reads keep using.
        options.fill_cache(false);
        if let Some(end) = end_of_prefix(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let mut entries = self.db().raw_iterator_cf_opt(self.family_of(store)?, options);
        entries.seek(start);
        while let Some((key, value)) = entries.item() {
            if key != POSITION && visit(key, value) == ControlFlow::Break(()) {
                return Ok(());
            }
            entries.next();
        }
        entries.status().map_err(self.failed("scan"))
    }

    fn apply(&mut self, batch: &StoreBatch<'_>) -> Result<()> {
        let mut changes = WriteBatch::default();
        for put in &batch.puts {
            let family = self.family_of(put.store)?;
            match put.value {
                Some(value) => changes.put_cf(family, put.key, value),
                None => changes.delete_cf(family, put.key),
            }
        }
        for (store, position) in &batch.positions {
            changes.put_cf(self.family_of(*store)?, POSITION, position);
        }
        self.db().write_opt(changes, &self.write).map_err(self.failed("write"))
    }

    fn position(&self, store: usize) -> Result<Option<Vec<u8>>> {
        self.db().get_cf(self.family_of(store)?, POSITION).map_err(self.failed("read the position"))
    }

    fn begin_bulk_load(&mut self) -> Result<()> {
        self.write = WriteOptions::default();
        self.write.disable_wal(true);
        Ok(())
    }

    fn end_bulk_load(&mut self) -> Result<()> {
        self.write = WriteOptions::default();
        let families: Vec<_> = (0..self.stores.len()).map(|store| self.family_of(store)).collect::<Result<_>>()?;
        self.db().flush_cfs_opt(&families, &FlushOptions::default()).map_err(self.failed("flush"))
    }

    fn clear(&mut self, store: usize) -> Result<()> {
        self.family_of(store)?;
        let name = self.stores[store].clone();
        self.snapshots.close();
        let cleared = match Arc::get_mut(&mut self.database) {
            Some(Database { db, .. }) => db.drop_cf(&name).and_then(|()| db.create_cf(&name, &self.family)),
            None => {
                let busy = format!("clear a local store of task {}: a live query is reading it [HS3009]", self.task);
                self.snapshots.reopen(&self.database);
                return Err(Error::Retry(busy));
            }
        };
        self.snapshots.reopen(&self.database);
        cleared.map_err(self.failed("clear"))
    }

    fn snapshots(&self) -> Arc<dyn SnapshotSource> {
        self.snapshots.clone()
    }
}
