//! The definition that a run is held against: what a task makes of its committed log in one go,
//! with no commit, abort or restore in between.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::batches::REFUSAL;
use super::broker::StoredRecord;
use super::world::World;
use crate::error::{Error, Result};
use crate::offset::{Offset, StartOffset};
use crate::ports::StoreEngine;
use crate::record::{InRecord, Origin, Record, TaskId, TopicPartition};
use crate::store::checkpoint::{Checkpoint, StoreCheckpoint};
use crate::store::memory::MemoryStores;
use crate::stream_time::StreamTime;
use crate::task::{Plan, RecordCollector, Sent, Task};

/// Outputs of a task by partition, in order.
pub(super) type Outputs = BTreeMap<TopicPartition, Vec<Arc<StoredRecord>>>;
/// StoreEntries of a store.
pub(super) type StoreEntries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keeps what a task sends, and refuses what the broker refuses.
struct Collector<'w> {
    outputs: Outputs,
    background_outputs: Outputs,
    is_background: bool,
    refused: &'w BTreeSet<(TopicPartition, Arc<StoredRecord>)>,
}

impl RecordCollector for Collector<'_> {
    fn begin(&mut self, _task: TaskId, _offset: Offset) {
        self.is_background = false;
    }

    fn begin_background_step(&mut self, _task: TaskId) {
        self.is_background = true;
    }

    fn send(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        let at = TopicPartition::new(topic.clone(), partition);
        let record = Arc::new(StoredRecord::of(record));
        if self.refused.contains(&(at.clone(), record.clone())) {
            return Ok(Sent::Refused(REFUSAL.to_owned()));
        }
        let outputs = if self.is_background { &mut self.background_outputs } else { &mut self.outputs };
        outputs.entry(at).or_default().push(record);
        Ok(Sent::Queued)
    }
}

/// Background work that takes more steps than this has no end.
const MOST_BACKGROUND_STEPS: usize = 100_000;

/// The outcome of a task's whole log.
pub(super) struct Fold {
    pub outputs: Outputs,
    /// The records that background work has sent.
    pub background_outputs: Outputs,
    pub has_background_work: bool,
    pub stores: Vec<StoreEntries>,
    pub stream_time: StreamTime,
}

/// Runs a task over its committed log in one go.
pub(super) fn fold(world: &World, plan: &Arc<Plan>, id: TaskId, source: &TopicPartition) -> Result<Fold> {
    let stores = MemoryStores::new();
    let db = if plan.stores.is_empty() { None } else { Some(stores.open(id, &plan.store_names())?) };
    let empty = vec![StoreCheckpoint::EMPTY; plan.stores.len()];
    let checkpoint = Checkpoint { next_offset: StartOffset::Beginning, stream_time: StreamTime::NONE, stores: empty };
    let mut task = Task::new(plan.clone(), id, db, checkpoint)?;
    let (outputs, background_outputs) = (Outputs::new(), Outputs::new());
    let mut collector = Collector { outputs, background_outputs, is_background: false, refused: &world.refused };
    for (offset, record) in world.broker.committed_records(source) {
        let timestamp_ms = record.timestamp_ms;
        let origin = Origin { topic: &source.topic, partition: source.partition, offset, timestamp_ms };
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let headers = crate::record::Headers::List(&headers);
        let record = Record { key: record.key.as_deref(), value: record.value.as_deref(), headers, timestamp_ms };
        task.process(&InRecord { origin, record }, &mut collector)?.or_retry()?;
    }
    // An empty log has an end, too.
    task.skip_to(Offset::FIRST);
    let mut steps = 0;
    while task.has_background_work()? {
        task.background_step(&mut collector)?;
        steps += 1;
        if steps > MOST_BACKGROUND_STEPS {
            return Err(Error::Bug(format!("its background work goes on after {steps} steps")));
        }
    }
    task.flush()?;
    let checkpoint = task.checkpoint(|_| None);
    let stream_time = checkpoint.stream_time;
    task.apply(checkpoint)?;
    let mut entries = vec![StoreEntries::new(); plan.stores.len()];
    if let Some(db) = task.db() {
        for (store, entries) in entries.iter_mut().enumerate() {
            db.scan(store, b"", &mut |key, value| {
                entries.insert(key.to_vec(), value.to_vec());
                ControlFlow::Continue(())
            })?;
        }
    }
    let Collector { outputs, background_outputs, .. } = collector;
    Ok(Fold { outputs, background_outputs, has_background_work: steps > 0, stores: entries, stream_time })
}

/// The entries that a changelog's committed records up to an offset (inclusive) come to.
pub(super) fn fold_changelog(records: &[(i64, Arc<StoredRecord>)], upto: i64) -> StoreEntries {
    let mut entries = StoreEntries::new();
    for (_, record) in records.iter().filter(|(offset, _)| *offset <= upto) {
        let key = record.key.clone().unwrap_or_default();
        match &record.value {
            Some(value) => entries.insert(key, value.clone()),
            None => entries.remove(&key),
        };
    }
    entries
}
