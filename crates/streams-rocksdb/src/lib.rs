//! Task stores on RocksDB: one database a task, a column family a store, and one budget of memory
//! and threads for all of them.
//!
//! A task's directory is its database: dropped by removing it, and what happens to one (a stall, a
//! corrupt file) stays in it.

mod log_files;
mod open_tasks;
mod options;
mod remedy;
mod snapshot;
mod task;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::rocksdb::{ColumnFamilyDescriptor, DB, Options};

use open_tasks::{OpenTask, OpenTasks};
use options::Shared;
pub use options::StoreMemory;
use streams::error::{Error, Result};
use streams::ports::{StoreEngine, TaskStore};
use streams::record::TaskId;
use task::RocksTask;

/// The version of RocksDB that is compiled in; its C interface does not tell it.
pub const VERSION: &str = env!("HELIXSTREAM_ROCKSDB_VERSION");

/// The databases of an instance's tasks, each in its task directory under one folder.
pub struct RocksStores {
    folder: PathBuf,
    shared: Shared,
    open: Arc<OpenTasks>,
}

impl RocksStores {
    /// Stores under `folder`, which is made if missing.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the folder cannot be made or RocksDB's environment cannot be set up.
    pub fn new(folder: &Path, memory: &StoreMemory) -> Result<RocksStores> {
        let failed =
            |why: String| Error::Fatal(format!("open the state directory {}: {why} [HS3004]", folder.display()));
        fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
        let shared = Shared::new(memory).map_err(|error| failed(error.into_string()))?;
        Ok(RocksStores { folder: folder.to_owned(), shared, open: Arc::default() })
    }

    /// The tasks that have a database here, in order. One without any store is left out: the
    /// process ended while it was made, and nothing was ever written to it.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the folder cannot be read.
    pub fn tasks(&self) -> Result<Vec<TaskId>> {
        let failed = |error: std::io::Error| {
            Error::Fatal(format!("read the state directory {}: {error} [HS3004]", self.folder.display()))
        };
        let mut tasks = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            tasks.extend(name.to_str().and_then(task_of_folder));
        }
        // What cannot be listed is reported by whoever opens it.
        let has_store = |task: &TaskId| {
            let names = DB::list_cf(&self.shared.database(), self.path(*task));
            names.map_or(true, |names| names.iter().any(|name| name != DEFAULT_FAMILY))
        };
        tasks.retain(has_store);
        tasks.sort_unstable();
        Ok(tasks)
    }

    /// Opens the database of a stopped instance's task for reading only.
    ///
    /// # Errors
    /// [`Error::Fatal`] when there is none or it lacks a store, [`Error::Corrupted`] when it cannot
    /// be read.
    pub fn open_read_only(&self, task: TaskId, stores: &[&str]) -> Result<Box<dyn TaskStore>> {
        let path = self.path(task);
        let options = self.shared.database();
        self.check_log_files(task)?;
        let names = DB::list_cf(&options, &path).map_err(|error| remedy::remedy(task, "open", error))?;
        if let Some(missing) = stores.iter().find(|store| !names.iter().any(|name| name == *store)) {
            return Err(Error::Fatal(format!(
                "{} has no store {missing}: use the topology file with which the state was written [HS3020]",
                path.display()
            )));
        }
        let families = names.iter().map(|name| ColumnFamilyDescriptor::new(name, self.shared.family()));
        let db = DB::open_cf_descriptors_read_only(&options, &path, families, false);
        let db = db.map_err(|error| remedy::remedy(task, "open", error))?;
        Ok(Box::new(RocksTask::new(db, task, stores, self.shared.family(), None)))
    }

    fn check_log_files(&self, task: TaskId) -> Result<()> {
        match log_files::damage(&self.path(task)) {
            Some(what) => Err(Error::Corrupted { task, what: format!("open: {what}") }),
            None => Ok(()),
        }
    }

    fn path(&self, task: TaskId) -> PathBuf {
        self.folder.join(task.to_string())
    }

    fn database(&self, task: TaskId, stores: &[&str]) -> std::result::Result<DB, ::rocksdb::Error> {
        let path = self.path(task);
        let mut options = self.shared.database();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // RocksDB wants every column family that is there, also one whose store the topology has no
        // more.
        let mut names = vec![DEFAULT_FAMILY.to_owned()];
        if path.join("CURRENT").exists() {
            names = DB::list_cf(&Options::default(), &path)?;
        }
        let added: Vec<_> = stores.iter().filter(|store| !names.iter().any(|name| name == *store)).collect();
        let names = names.iter().map(String::as_str).chain(added.into_iter().copied());
        let families: Vec<_> = names.map(|name| ColumnFamilyDescriptor::new(name, self.shared.family())).collect();
        DB::open_cf_descriptors(&options, path, families)
    }
}

/// Makes the file by which RocksDB locks a database, as the umask has it. RocksDB itself makes
/// every file with mode 0644, less the umask, and opens this one for writing: on a volume that
/// users of a group share, another one of them could then not take the task over.
fn make_lock_file(database: &Path) {
    let made = fs::create_dir_all(database)
        .and_then(|()| OpenOptions::new().write(true).create(true).truncate(false).open(database.join("LOCK")));
    // Where it cannot be made, RocksDB fails at the same and says why.
    drop(made);
}

/// The column family that every database has; no store lies in it.
const DEFAULT_FAMILY: &str = "default";

impl StoreEngine for RocksStores {
    fn open(&self, task: TaskId, stores: &[&str]) -> Result<Box<dyn TaskStore>> {
        let Some(open) = OpenTask::begin(&self.open, task) else {
            return Err(Error::Retry(format!("open the local store of task {task}: it is open already [HS3009]")));
        };
        make_lock_file(&self.path(task));
        self.check_log_files(task)?;
        let db = self.database(task, stores).map_err(|error| remedy::remedy(task, "open", error))?;
        Ok(Box::new(RocksTask::new(db, task, stores, self.shared.family(), Some(open))))
    }

    fn destroy(&self, task: TaskId) -> Result<()> {
        let open = self.open.lock();
        if open.contains(&task) {
            return Err(Error::Retry(format!("remove the local store of task {task}: it is open [HS3009]")));
        }
        let path = self.path(task);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Fatal(format!("remove {}: {error} [HS3004]", path.display())))
            }
            _ => Ok(()),
        }
    }

    fn idle_time(&self, task: TaskId) -> Result<Option<Duration>> {
        let path = self.path(task);
        let failed =
            |error: std::io::Error| Error::Fatal(format!("read the metadata of {}: {error} [HS3004]", path.display()));
        let files = match fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            files => files.map_err(failed)?,
        };
        let mut newest = None;
        for file in files {
            newest = newest.max(Some(file.and_then(|file| file.metadata()?.modified()).map_err(failed)?));
        }
        // A file from the future (the machine's clock was set back) counts as written now.
        Ok(newest.map(|written| written.elapsed().unwrap_or_default()))
    }

    fn positions(&self, task: TaskId, stores: &[&str]) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        if !self.path(task).join("CURRENT").exists() {
            return Ok(None);
        }
        let db = self.open_read_only(task, stores)?;
        let position = |store| Ok(db.position(store)?.map(|position| position.to_vec()));
        (0..stores.len()).map(position).collect::<Result<Vec<_>>>().map(Some)
    }

    fn shrink_cache(&self, bytes: usize) {
        self.shared.shrink_cache(bytes);
    }
}

/// The task whose folder has this name.
fn task_of_folder(name: &str) -> Option<TaskId> {
    let (subtopology, partition) = name.split_once('_')?;
    let task = TaskId { subtopology: subtopology.parse().ok()?, partition: partition.parse().ok()? };
    (task.to_string() == name).then_some(task)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use streams::ports::{Put, StoreBatch};
    use streams::testing::{snapshot_contract, store_contract};

    const TASK: TaskId = TaskId { subtopology: 2, partition: 11 };

    fn stores(folder: &Path) -> RocksStores {
        RocksStores::new(folder, &StoreMemory { cache_bytes: 8 << 20, write_buffer_bytes: 4 << 20, threads: 1 })
            .unwrap()
    }

    fn batch<'a>(key: &'a [u8], value: &'a [u8], position: &'a [u8]) -> StoreBatch<'a> {
        StoreBatch { puts: vec![Put { store: 0, key, value: Some(value) }], positions: vec![(0, position)] }
    }

    #[test]
    fn keeps_the_contract_of_stores() {
        let folders = Mutex::new(Vec::new());
        store_contract::check(&|| {
            let folder = tempfile::tempdir().unwrap();
            let engine = stores(folder.path());
            folders.lock().unwrap().push(folder);
            Box::new(engine)
        });
    }

    #[test]
    fn a_database_is_open_once_and_not_destroyed_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let engine = stores(folder.path());
        let open = engine.open(TASK, &["s"]).unwrap();
        assert!(matches!(engine.open(TASK, &["s"]), Err(Error::Retry(_))));
        assert!(matches!(engine.destroy(TASK), Err(Error::Retry(_))));
        drop(open);
        engine.destroy(TASK).unwrap();
        assert!(engine.idle_time(TASK).unwrap().is_none());
    }

    /// Calls until no reader is in the way.
    fn try_until_free<T>(mut call: impl FnMut() -> Result<T>) -> T {
        let started = std::time::Instant::now();
        loop {
            match call() {
                Err(Error::Retry(_)) if started.elapsed() < Duration::from_secs(60) => std::thread::yield_now(),
                other => return other.unwrap(),
            }
        }
    }

    #[test]
    fn readers_beside_a_writer_see_whole_batches_and_let_the_database_be_closed_and_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let engine = stores(folder.path());
        for life in 0..5 {
            let mut db = engine.open(TASK, &["s"]).unwrap();
            let source = db.snapshots();
            std::thread::scope(|scope| {
                // Two read in turn, one keeps a snapshot for as long as it can be read.
                for _ in 0..2 {
                    scope.spawn(|| while snapshot_contract::check_round(&*source).is_some() {});
                }
                let kept = source.take().unwrap();
                scope.spawn(move || while kept.entries(0, b"", None).is_ok() {});
                for round in 1..40 {
                    snapshot_contract::write_round(&mut *db, life * 100 + round);
                }
                try_until_free(|| db.clear(0));
                snapshot_contract::write_round(&mut *db, life * 100 + 50);
                while snapshot_contract::check_round(&*source) != Some(life * 100 + 50) {}
                drop(db);
                // The readers go on, and each gets to the end of one call at most.
                drop(try_until_free(|| engine.open(TASK, &["s"])));
                engine.destroy(TASK).unwrap();
            });
        }
    }

    #[test]
    fn a_damaged_file_is_a_corrupted_task() {
        let folder = tempfile::tempdir().unwrap();
        let engine = stores(folder.path());
        let mut db = engine.open(TASK, &["s"]).unwrap();
        db.begin_bulk_load().unwrap();
        db.apply(&batch(b"k", b"v", b"1")).unwrap();
        db.end_bulk_load().unwrap();
        drop(db);
        let files = fs::read_dir(folder.path().join("2_11")).unwrap().map(|file| file.unwrap().path());
        let tables: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "sst")).collect();
        assert!(!tables.is_empty(), "leaving restore mode flushes");
        tables.iter().for_each(|table| fs::write(table, b"no table").unwrap());
        let read = engine.open(TASK, &["s"]).and_then(|db| db.get(0, b"k").map(|value| value.is_some()));
        assert!(matches!(read, Err(Error::Corrupted { task: TASK, .. })), "{read:?}");
    }

    #[test]
    fn what_a_compaction_finds_damaged_is_told_by_the_next_writes() {
        let folder = tempfile::tempdir().unwrap();
        let write_out = |db: &mut Box<dyn TaskStore>, round: u32| {
            db.begin_bulk_load()?;
            for key in 0..200_u32 {
                db.apply(&batch(&key.to_be_bytes(), &round.to_be_bytes().repeat(20), b"1"))?;
            }
            db.end_bulk_load()
        };
        let engine = stores(folder.path());
        let mut db = engine.open(TASK, &["s"]).unwrap();
        write_out(&mut db, 0).unwrap();
        drop(db);
        let files = fs::read_dir(folder.path().join("2_11")).unwrap().map(|file| file.unwrap().path());
        let tables: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "sst")).collect();
        for table in tables {
            let mut bytes = fs::read(&table).unwrap();
            // The first block, which nothing but a read of its keys looks at.
            bytes[100] ^= 1;
            fs::write(table, bytes).unwrap();
        }
        let mut db = engine.open(TASK, &["s"]).unwrap();
        // Nothing is read here but by compactions, which begin with the fourth table.
        let failed = (1..10_000).find_map(|round| write_out(&mut db, round).err());
        assert!(matches!(failed, Some(Error::Corrupted { task: TASK, .. })), "{failed:?}");
    }

    #[test]
    fn a_stopped_instance_can_be_read_and_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut db = stores(folder.path()).open(TASK, &["s"]).unwrap();
        db.apply(&batch(b"k", b"v", b"1")).unwrap();
        drop(db);
        let engine = stores(folder.path());
        let begun = TaskId { partition: TASK.partition + 1, ..TASK };
        drop(engine.database(begun, &[]).unwrap());
        assert_eq!(engine.tasks().unwrap(), [TASK], "the process ended while the other database was made");
        let mut db = engine.open_read_only(TASK, &["s"]).unwrap();
        assert_eq!(db.get(0, b"k").unwrap().as_deref(), Some(&b"v"[..]));
        assert_eq!(db.position(0).unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(engine.positions(TASK, &["s"]).unwrap(), Some(vec![Some(b"1".to_vec())]));
        assert_eq!(engine.positions(TaskId { partition: 99, ..TASK }, &["s"]).unwrap(), None);
        assert!(db.apply(&batch(b"k", b"w", b"2")).is_err());
        assert!(engine.open_read_only(TASK, &["other"]).is_err());
    }

    #[test]
    fn the_version_is_the_one_that_rocksdb_writes_into_its_options() {
        let folder = tempfile::tempdir().unwrap();
        drop(stores(folder.path()).open(TASK, &["s"]).unwrap());
        let files = fs::read_dir(folder.path().join("2_11")).unwrap().map(|file| file.unwrap().path());
        let options =
            files.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("OPTIONS-"));
        let text = fs::read_to_string(options.unwrap()).unwrap();
        assert!(text.contains(&format!("rocksdb_version={VERSION}\n")), "{VERSION}\n{text}");
    }

    #[test]
    fn a_release_without_the_chain_of_logs_reads_what_this_one_writes_and_the_other_way_round() {
        let folder = tempfile::tempdir().unwrap();
        let engine = stores(folder.path());
        let earlier = |key: &[u8]| {
            let mut options = Options::default();
            options.create_if_missing(true);
            options.create_missing_column_families(true);
            let db = DB::open_cf(&options, folder.path().join("2_11"), ["s"]).unwrap();
            db.put_cf(db.cf_handle("s").unwrap(), key, b"earlier").unwrap();
            db
        };
        drop(earlier(b"a"));
        let mut db = engine.open(TASK, &["s"]).unwrap();
        assert_eq!(db.get(0, b"a").unwrap().as_deref(), Some(&b"earlier"[..]));
        db.apply(&batch(b"b", b"now", b"1")).unwrap();
        drop(db);
        let db = earlier(b"c");
        let family = db.cf_handle("s").unwrap();
        assert_eq!(db.get_cf(family, b"b").unwrap().as_deref(), Some(&b"now"[..]));
        db.flush_cf(family).unwrap();
        db.put_cf(family, b"d", b"earlier").unwrap();
        drop(db);
        let db = engine.open(TASK, &["s"]).unwrap();
        let keys = [&b"a"[..], b"b", b"c", b"d"];
        assert!(keys.into_iter().all(|key| db.get(0, key).unwrap().is_some()), "logs with and without the chain");
    }

    #[test]
    fn only_folders_of_tasks_are_tasks() {
        assert_eq!(task_of_folder("2_11"), Some(TASK));
        for name in ["2_011", "2", "_", "2_11.old", "lock"] {
            assert_eq!(task_of_folder(name), None, "{name}");
        }
    }
}
