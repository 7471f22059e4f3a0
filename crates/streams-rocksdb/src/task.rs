//! One task's database.

use std::ops::{ControlFlow, Deref};

use ::rocksdb::{
    ColumnFamily, DB, DBPinnableSlice, ErrorKind, FlushOptions, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::open_tasks::OpenTask;
use streams::error::{Error, Result};
use streams::ports::{StoreBatch, TaskStore, Value, Visit};
use streams::record::TaskId;

/// The key under which a store's position lies, beside its entries, so that one batch writes both
/// or neither.
const POSITION: &[u8] = &[];

/// A task's open database.
pub(super) struct RocksTask {
    db: DB,
    task: TaskId,
    stores: Vec<String>,
    family: Options,
    write: WriteOptions,
    /// Dropped after the database, so that it reports the end only when the files are free.
    _open: Option<OpenTask>,
}

impl RocksTask {
    /// `open` ends when the database is closed.
    pub fn new(db: DB, task: TaskId, stores: &[&str], family: Options, open: Option<OpenTask>) -> RocksTask {
        let stores = stores.iter().map(|store| (*store).to_owned()).collect();
        RocksTask { db, task, stores, family, write: WriteOptions::default(), _open: open }
    }

    fn family_of(&self, store: usize) -> Result<&ColumnFamily> {
        let family = self.stores.get(store).and_then(|name| self.db.cf_handle(name));
        family.ok_or_else(|| Error::Bug(format!("task {} has no store number {store}", self.task)))
    }

    fn failed(&self, doing: &str) -> impl Fn(::rocksdb::Error) -> Error {
        let task = self.task;
        let doing = doing.to_owned();
        move |error| remedy(task, &doing, error)
    }
}

/// Turns an error of RocksDB into one with a remedy.
pub(super) fn remedy(task: TaskId, doing: &str, error: ::rocksdb::Error) -> Error {
    let kind = error.kind();
    let text = error.into_string();
    let says = |what: &str| text.contains(what);
    let what = format!("{doing}: {text}");
    match kind {
        ErrorKind::IOError if says("No space left") || says("quota exceeded") => {
            Error::Fatal(format!("{what}; free some space on the disk of the state directory [HS3007]"))
        }
        ErrorKind::IOError if says("Permission denied") || says("Read-only file system") => {
            Error::Fatal(format!("{what}; let this user write to the state directory [HS3004]"))
        }
        ErrorKind::IOError if says("Too many open files") => {
            Error::Fatal(format!("{what}; raise the limit of open files (ulimit -n) [HS3008]"))
        }
        ErrorKind::IOError if says("/LOCK") => Error::Retry(format!("{what} [HS3009]")),
        ErrorKind::Busy | ErrorKind::TryAgain | ErrorKind::TimedOut => Error::Retry(format!("{what} [HS3009]")),
        ErrorKind::NotSupported => {
            Error::Fatal(format!("{what}; a newer version has written this store: run that version [HS3006]"))
        }
        _ => Error::Corrupted { task, what },
    }
}

fn pinned(slice: DBPinnableSlice<'_>) -> Value<'_> {
    Value::Pinned(Box::new(slice) as Box<dyn Deref<Target = [u8]> + '_>)
}

impl TaskStore for RocksTask {
    fn get(&self, store: usize, key: &[u8]) -> Result<Option<Value<'_>>> {
        let found = self.db.get_pinned_cf(self.family_of(store)?, key).map_err(self.failed("read"))?;
        Ok(found.map(pinned))
    }

    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> Result<Vec<Option<Value<'_>>>> {
        let found = self.db.batched_multi_get_cf(self.family_of(store)?, keys.iter().copied(), false);
        found.into_iter().map(|one| Ok(one.map_err(self.failed("read"))?.map(pinned))).collect()
    }

    fn scan_from(&self, store: usize, prefix: &[u8], start: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let mut options = ReadOptions::default();
        // A scan reads much once: it must not drive out what point reads keep using.
        options.fill_cache(false);
        if let Some(end) = end_of_prefix(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let mut entries = self.db.raw_iterator_cf_opt(self.family_of(store)?, options);
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
        self.db.write_opt(changes, &self.write).map_err(self.failed("write"))
    }

    fn position(&self, store: usize) -> Result<Option<Vec<u8>>> {
        self.db.get_cf(self.family_of(store)?, POSITION).map_err(self.failed("read the position"))
    }

    fn begin_bulk_load(&mut self) -> Result<()> {
        self.write = WriteOptions::default();
        self.write.disable_wal(true);
        Ok(())
    }

    fn end_bulk_load(&mut self) -> Result<()> {
        self.write = WriteOptions::default();
        let families: Vec<_> = (0..self.stores.len()).map(|store| self.family_of(store)).collect::<Result<_>>()?;
        self.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(self.failed("flush"))
    }

    fn clear(&mut self, store: usize) -> Result<()> {
        self.family_of(store)?;
        let name = self.stores[store].clone();
        self.db.drop_cf(&name).map_err(self.failed("clear"))?;
        self.db.create_cf(&name, &self.family).map_err(self.failed("clear"))
    }
}

/// The least key above all that start with `prefix`; `None` when there is none such.
fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
