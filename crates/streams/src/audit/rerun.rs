//! One task, re-run from its log above a copy of its stores.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use super::{AuditRules, DecidedBy, Rows, WorkDone};
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::ports::{Put, StoreBatch, StoreEngine as _};
use crate::record::{InRecord, Record, TaskId, TopicPartition};
use crate::store::checkpoint::{Checkpoint, Position};
use crate::store::memory::MemoryStores;
use crate::stream_time::StreamTime;
use crate::task::{Plan, RecordCollector, Sent, Task};

/// A record that a task sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedRecord {
    /// The offset of the record of the task's log that it comes of.
    pub offset: i64,
    /// The hash of all of it.
    pub hash: u128,
    /// The hash of its key.
    pub key: u64,
}

/// The hash of a record: its time, key, value and headers, with their lengths.
pub(super) fn hash_of(record: &Record<'_>) -> u128 {
    let mut hash = Xxh3::new();
    let mut add = |bytes: Option<&[u8]>| {
        hash.update(&bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
        hash.update(bytes.unwrap_or_default());
    };
    add(Some(&record.timestamp_ms.to_le_bytes()));
    add(record.key);
    add(record.value);
    for (name, value) in record.headers.iter() {
        add(Some(name.as_bytes()));
        add(value);
    }
    hash.digest128()
}

/// The hash of a key; a null key has one too.
pub(super) fn key_hash(key: Option<&[u8]>) -> u64 {
    key.map_or(0, xxh3_64)
}

/// The hash of a row's value in a history; that of a deletion is 0.
pub(super) fn value_hash(value: Option<&[u8]>) -> u128 {
    value.map_or(0, |value| xxh3_128(value).max(1))
}

/// The records that a task sends, by partition.
#[derive(Default)]
struct RerunCollector {
    sent: BTreeMap<TopicPartition, Vec<ExpectedRecord>>,
    /// Those that background work decides: they count where no such work was done.
    apart: BTreeMap<(&'static str, TopicPartition), Vec<ExpectedRecord>>,
    offset: i64,
    is_background: bool,
    work: WorkDone,
}

/// A collector with the rules for what it collects.
struct Collecting<'c> {
    to: &'c mut RerunCollector,
    rules: &'c dyn AuditRules,
}

impl RecordCollector for Collecting<'_> {
    fn begin(&mut self, _task: TaskId, offset: Offset) {
        self.to.offset = offset.number();
        self.to.is_background = false;
    }

    fn begin_background_step(&mut self, _task: TaskId) {
        self.to.is_background = true;
    }

    fn send(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        let expected = ExpectedRecord { offset: self.to.offset, hash: hash_of(record), key: key_hash(record.key) };
        let partition = TopicPartition::new(topic.clone(), partition);
        let list = match self.rules.output(topic, record) {
            DecidedBy::Log => self.to.sent.entry(partition).or_default(),
            DecidedBy::BackgroundWork(name) => {
                if self.to.is_background {
                    self.to.work.insert(name);
                }
                self.to.apart.entry((name, partition)).or_default()
            }
        };
        list.push(expected);
        Ok(Sent::Queued)
    }
}

/// The values that rows of a store had, by key.
pub(super) type History = BTreeMap<Box<[u8]>, Vec<u128>>;

/// As the offset of a record of the task's log: it has none before the checkpoint.
const NO_RECORD: i64 = -1;

/// A task that is re-run.
pub struct Rerun {
    task: Task,
    collector: RerunCollector,
    histories: Vec<History>,
    /// The rows of each store that background work has written or deleted last.
    touched: Vec<BTreeSet<Box<[u8]>>>,
    records: u64,
}

impl Rerun {
    /// A task at a checkpoint, with the rows of its stores there. Background work that waits is
    /// done at once.
    ///
    /// # Errors
    /// A processor stopped.
    pub fn new(
        plan: &Arc<Plan>,
        id: TaskId,
        checkpoint: Checkpoint,
        rows: &[&Rows],
        rules: &dyn AuditRules,
    ) -> Result<Rerun> {
        let db = if plan.stores.is_empty() {
            None
        } else {
            let mut db = MemoryStores::new().open(id, &plan.store_names())?;
            for (store, (rows, at)) in rows.iter().zip(&checkpoint.stores).enumerate() {
                let puts = rows.iter().map(|(key, value)| Put { store, key, value: Some(value) }).collect();
                let position = Position::at(&checkpoint, at).encode();
                db.apply(&StoreBatch { puts, positions: vec![(store, &position)] })?;
            }
            Some(db)
        };
        let stores = plan.stores.len();
        let last = checkpoint.next_offset.offset().and_then(Offset::previous);
        let collector = RerunCollector { offset: last.map_or(NO_RECORD, Offset::number), ..RerunCollector::default() };
        let mut rerun = Rerun {
            task: Task::new(plan.clone(), id, db, checkpoint)?,
            collector,
            histories: vec![History::new(); stores],
            touched: vec![BTreeSet::new(); stores],
            records: 0,
        };
        rerun.background(rules)?;
        Ok(rerun)
    }

    /// Which task it is.
    pub fn id(&self) -> TaskId {
        self.task.id()
    }

    /// Its sub-topology.
    pub fn plan(&self) -> &Arc<Plan> {
        self.task.plan()
    }

    /// Records that it has processed.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Stream time after the records that it has processed.
    pub fn stream_time(&self) -> StreamTime {
        self.task.stream_time()
    }

    /// The kinds of background work that it has done.
    pub fn work_done(&self) -> &WorkDone {
        &self.collector.work
    }

    /// Runs the next record of the log through, and all background work that follows.
    ///
    /// # Errors
    /// A processor stopped.
    pub fn process(&mut self, record: &InRecord<'_>, rules: &dyn AuditRules) -> Result<()> {
        self.task.process(record, &mut Collecting { to: &mut self.collector, rules })?.or_retry()?;
        self.records += 1;
        self.note_changes(None)?;
        self.background(rules)
    }

    fn background(&mut self, rules: &dyn AuditRules) -> Result<()> {
        while self.task.has_background_work()? {
            self.task.background_step(&mut Collecting { to: &mut self.collector, rules })?;
            self.note_changes(Some(rules))?;
        }
        Ok(())
    }

    /// Writes what has changed to the stores, and notes it. With rules it comes of background work.
    fn note_changes(&mut self, background: Option<&dyn AuditRules>) -> Result<()> {
        self.task.flush()?;
        for (at, store) in self.task.plan().stores.iter().enumerate() {
            for change in self.task.changes(at) {
                let history = self.histories[at].entry(change.key.into()).or_default();
                let hash = value_hash(change.value);
                if history.last() != Some(&hash) {
                    history.push(hash);
                }
                let Some(rules) = background else {
                    self.touched[at].remove(change.key);
                    continue;
                };
                self.touched[at].insert(change.key.into());
                if let DecidedBy::BackgroundWork(name) = rules.row(&store.name, change.key) {
                    self.collector.work.insert(name);
                }
            }
        }
        let checkpoint = self.task.checkpoint(|_| None);
        self.task.apply(checkpoint)?;
        self.task.counts().reset();
        Ok(())
    }

    /// Adds what it has sent to the lists of the partitions. What background work decides is sent
    /// where no such work was done.
    pub fn sent(&self, work: &WorkDone) -> BTreeMap<TopicPartition, Vec<ExpectedRecord>> {
        let mut all = self.collector.sent.clone();
        for ((name, partition), list) in &self.collector.apart {
            if !work.contains(name) {
                let merged = all.entry(partition.clone()).or_default();
                merged.extend(list);
                // In the order of the log again; what one record sends keeps its order but for the
                // two kinds.
                merged.sort_by_key(|expected| expected.offset);
            }
        }
        all
    }

    /// The values that rows of a store had.
    pub(super) fn history(&self, store: usize) -> &History {
        &self.histories[store]
    }

    /// Whether background work has written or deleted a row last.
    pub(super) fn is_touched(&self, store: usize, key: &[u8]) -> bool {
        self.touched[store].contains(key)
    }

    /// The value of a row.
    pub(super) fn row(&self, store: usize, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.db()?.get(store, key)?.map(|value| value.to_vec()))
    }

    /// Visits all rows of a store in key order.
    pub(super) fn each_row(&self, store: usize, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        self.db()?.scan(store, b"", &mut |key, value| {
            visit(key, value);
            ControlFlow::Continue(())
        })
    }

    fn db(&self) -> Result<&dyn crate::ports::TaskStore> {
        self.task.db().ok_or_else(|| Error::Bug(format!("task {} has no store to compare", self.task.id())))
    }
}
