//! Runs a topology's real tasks with no broker (Kafka Streams' `TopologyTestDriver`): tests use it,
//! and `replay` is it.
//!
//! Records are piped in one by one. What a task sends to a repartition topic is taken up at once,
//! in order; what it sends elsewhere waits as outputs, in order of emission, until the caller
//! clears them, so memory stays bounded.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::error::{Error, Result};
use super::offset::{Offset, StartOffset};
use super::ports::StoreEngine;
use super::record::{InRecord, Origin, Record, RecordBatch, TaskId};
use super::store::checkpoint::Checkpoint;
use super::store::checkpoint::StoreCheckpoint;
use super::store::memory::MemoryStores;
use super::stream_time::StreamTime;
use super::task::{Plan, RecordCollector, Sent, Sizes, Task};
use super::topology::Topology;

/// Uncommitted state of a task above which it is committed to the stores in memory.
const COMMIT_BYTES: usize = 4 << 20;
/// How often that is looked at, in records.
const COMMIT_CHECK: u64 = 256;

/// Runs a topology in memory.
pub struct TopologyDriver {
    plans: Vec<Arc<Plan>>,
    tasks: BTreeMap<TaskId, Task>,
    stores: MemoryStores,
    wires: Wires,
    spare: RecordBatch,
    counters: BTreeMap<(&'static str, String), u64>,
    piped: u64,
}

/// Where outputs go: round to another sub-topology, or out.
struct Wires {
    inner: Vec<Arc<str>>,
    offsets: BTreeMap<(Arc<str>, i32), i64>,
    round: RecordBatch,
    out: RecordBatch,
}

impl RecordCollector for Wires {
    fn begin(&mut self, _task: TaskId, _offset: Offset) {}

    fn begin_background_step(&mut self, _task: TaskId) {}

    fn send(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        let offset = match self.offsets.get_mut(&(topic.clone(), partition)) {
            Some(next) => next,
            None => self.offsets.entry((topic.clone(), partition)).or_insert(0),
        };
        let origin = Origin { topic, partition, offset: *offset, timestamp_ms: record.timestamp_ms };
        *offset += 1;
        let batch = if self.inner.contains(topic) { &mut self.round } else { &mut self.out };
        batch.push(origin, record.key, record.value, record.headers);
        Ok(Sent::Queued)
    }
}

impl TopologyDriver {
    /// A driver of empty stores. `sizes` holds the partition counts (1 where it names none) and
    /// record limits of the topics that are written.
    pub fn new(topology: &Topology, application_id: &str, sizes: &Sizes) -> TopologyDriver {
        let plans = Plan::all(topology, application_id, sizes);
        let inner = plans.iter().map(|plan| plan.source.clone()).collect();
        let wires = Wires { inner, offsets: BTreeMap::new(), round: RecordBatch::new(), out: RecordBatch::new() };
        let tasks = BTreeMap::new();
        let counters = BTreeMap::new();
        TopologyDriver {
            plans,
            tasks,
            stores: MemoryStores::new(),
            wires,
            spare: RecordBatch::new(),
            counters,
            piped: 0,
        }
    }

    /// Runs a record of a source topic through, and all that follows from it. The full name of a
    /// repartition topic is a source topic too, so that a sub-topology can be run on its own log
    /// alone. Records count in the order in which they come, whatever their offsets: a file is no
    /// log.
    ///
    /// # Errors
    /// The topic is no source, or a processor stopped.
    pub fn pipe(&mut self, record: &InRecord<'_>) -> Result<()> {
        self.process(record)?;
        while !self.wires.round.is_empty() {
            // What is sent meanwhile goes into the other arena.
            let mut batch = std::mem::replace(&mut self.wires.round, std::mem::take(&mut self.spare));
            for record in batch.iter() {
                self.process(&record)?;
            }
            batch.clear();
            self.spare = batch;
        }
        Ok(())
    }

    fn process(&mut self, record: &InRecord<'_>) -> Result<()> {
        let Some(at) = self.plans.iter().position(|plan| *plan.source == *record.origin.topic) else {
            return Err(Error::Fatal(format!(
                "topic `{}` is no source of the topology: pipe records into one of its sources [HS1030]",
                record.origin.topic
            )));
        };
        let id = TaskId { subtopology: at as u32, partition: record.origin.partition };
        if !self.tasks.contains_key(&id) {
            let task = open(&self.stores, &self.plans[at], id)?;
            self.tasks.insert(id, task);
        }
        let Some(task) = self.tasks.get_mut(&id) else { return Ok(()) };
        task.take_any_record();
        task.process(record, &mut self.wires)?.or_retry()?;
        // There are no commits to spread it over, so all of it is done at once.
        while task.has_background_work()? {
            task.background_step(&mut self.wires)?;
        }
        self.piped += 1;
        if self.piped.is_multiple_of(COMMIT_CHECK) && task.uncommitted_bytes() > COMMIT_BYTES {
            commit(task, &mut self.counters)?;
        }
        Ok(())
    }

    /// Records sent to external topics and not cleared yet, in order of emission. Offsets count
    /// from 0 in each partition.
    pub fn outputs(&self) -> &RecordBatch {
        &self.wires.out
    }

    /// Drops the outputs that were read.
    pub fn clear_outputs(&mut self) {
        self.wires.out.clear();
    }

    /// Commits all tasks: processors flush, and what they wrote lies in the stores.
    ///
    /// # Errors
    /// A processor stopped.
    pub fn commit(&mut self) -> Result<()> {
        self.tasks.values_mut().try_for_each(|task| commit(task, &mut self.counters))
    }

    /// Takes all tasks back to their last commit, as an aborted transaction does. Outputs that were
    /// not cleared are dropped.
    pub fn abort(&mut self) {
        self.tasks.values_mut().for_each(Task::rollback);
        self.wires.out.clear();
    }

    /// Visits a store's committed entries, task by task, in key order; commits first.
    ///
    /// # Errors
    /// No such store, or as for [`TopologyDriver::commit`].
    pub fn scan_store(&mut self, store: &str, mut visit: impl FnMut(TaskId, &[u8], &[u8])) -> Result<()> {
        self.commit()?;
        let known = self.plans.iter().any(|plan| plan.store_names().contains(&store));
        if !known {
            return Err(Error::Fatal(format!("the topology has no store `{store}`: name one that it has [HS1030]")));
        }
        for task in self.tasks.values() {
            let at = task.plan().stores.iter().position(|known| known.name == store);
            if let (Some(at), Some(db)) = (at, task.db()) {
                db.scan(at, b"", &mut |key, value| {
                    visit(task.id(), key, value);
                    ControlFlow::Continue(())
                })?;
            }
        }
        Ok(())
    }

    /// Counters of the processors, by name and label; commits first.
    ///
    /// # Errors
    /// As for [`TopologyDriver::commit`].
    pub fn counters(&mut self) -> Result<&BTreeMap<(&'static str, String), u64>> {
        self.commit()?;
        Ok(&self.counters)
    }
}

fn open(stores: &MemoryStores, plan: &Arc<Plan>, id: TaskId) -> Result<Task> {
    let db = if plan.stores.is_empty() { None } else { Some(stores.open(id, &plan.store_names())?) };
    let stores = vec![StoreCheckpoint::EMPTY; plan.stores.len()];
    Task::new(
        plan.clone(),
        id,
        db,
        Checkpoint { next_offset: StartOffset::Beginning, stream_time: StreamTime::NONE, stores },
    )
}

fn commit(task: &mut Task, counters: &mut BTreeMap<(&'static str, String), u64>) -> Result<()> {
    task.flush()?;
    let checkpoint = task.checkpoint(|_| None);
    task.apply(checkpoint)?;
    for (name, label, by) in task.counts().iter() {
        *counters.entry((name, label.to_owned())).or_default() += by;
    }
    task.counts().reset();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::{Processor, ProcessorContext, ProcessorError};
    use crate::record::Headers;

    /// Appends each value to what is stored under the key, and forwards the whole.
    struct Append;

    impl Processor for Append {
        fn process(
            &mut self,
            record: &Record<'_>,
            ctx: &mut dyn ProcessorContext<'_>,
        ) -> std::result::Result<(), ProcessorError> {
            let key = record.key.unwrap_or(b"none");
            let mut store = ctx.store("texts")?;
            let mut text = store.get(key)?.map_or(Vec::new(), |value| value.to_vec());
            text.extend_from_slice(record.value.unwrap_or_default());
            store.put(key, text.clone())?;
            ctx.count("appended", "all", 1);
            ctx.forward(&Record { value: Some(&text), ..*record })
        }
    }

    fn driver() -> TopologyDriver {
        let topology = Topology::builder()
            .source("in", "in")
            .repartition("by-key", ["in"])
            .process("append", ["by-key"], || Box::new(Append))
            .store("texts", ["append"])
            .sink("out", "out", ["append"])
            .build();
        let partitions = [("out".to_owned(), 3), ("app-by-key-repartition".to_owned(), 2)].into();
        TopologyDriver::new(&topology.unwrap(), "app", &Sizes { partitions, ..Sizes::default() })
    }

    fn pipe(driver: &mut TopologyDriver, offset: i64, key: Option<&str>, value: &str) {
        let origin = Origin { topic: "in", partition: 5, offset, timestamp_ms: 7 };
        let key = key.map(str::as_bytes);
        let value = Some(value.as_bytes());
        let record = Record { key, value, headers: Headers::List(&[("h", Some(b"x"))]), timestamp_ms: 7 };
        driver.pipe(&InRecord { origin, record }).unwrap();
    }

    fn outputs(driver: &TopologyDriver) -> Vec<String> {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned();
        let show = |out: InRecord<'_>| {
            let Origin { topic, partition, offset, timestamp_ms } = out.origin;
            let headers = out.record.headers.iter().count();
            format!(
                "{topic}-{partition}@{offset} {}={} {timestamp_ms} {headers}",
                text(out.record.key),
                text(out.record.value)
            )
        };
        driver.outputs().iter().map(show).collect()
    }

    #[test]
    fn records_go_round_through_a_repartition_topic_and_out_by_their_key() {
        let mut driver = driver();
        for (offset, (key, value)) in [(Some("21"), "x"), (None, "n"), (Some("21"), "y")].into_iter().enumerate() {
            pipe(&mut driver, offset as i64, key, value);
        }
        // murmur2("21") is -973932308, so partition 0 of 2 and 0 of 3; a null key follows its
        // source, 5 and then 1.
        let partition = (-973_932_308 & 0x7fff_ffff) % 3;
        let expected = [
            format!("out-{partition}@0 21=x 7 1"),
            "out-1@0 -=n 7 1".to_owned(),
            format!("out-{partition}@1 21=xy 7 1"),
        ];
        assert_eq!(outputs(&driver), expected);
        driver.clear_outputs();
        assert!(driver.outputs().is_empty());
        assert_eq!(driver.counters().unwrap()[&("appended", "all".to_owned())], 3);
    }

    #[test]
    fn a_sub_topology_runs_alone_on_its_log_and_an_abort_forgets() {
        let mut driver = driver();
        let at = |offset| Origin { topic: "app-by-key-repartition", partition: 0, offset, timestamp_ms: 7 };
        let record = |value| Record { key: Some(b"k"), value: Some(value), headers: Headers::NONE, timestamp_ms: 7 };
        driver.pipe(&InRecord { origin: at(0), record: record(b"a") }).unwrap();
        driver.commit().unwrap();
        driver.pipe(&InRecord { origin: at(1), record: record(b"b") }).unwrap();
        driver.abort();
        driver.pipe(&InRecord { origin: at(1), record: record(b"c") }).unwrap();
        let mut found = Vec::new();
        driver.scan_store("texts", |_, key, value| found.push((key.to_vec(), value.to_vec()))).unwrap();
        assert_eq!(found, [(b"k".to_vec(), b"ac".to_vec())]);
        assert_eq!(driver.counters().unwrap()[&("appended", "all".to_owned())], 2, "what was aborted is not counted");
        assert_eq!(
            driver.tasks[&TaskId { subtopology: 1, partition: 0 }].last_checkpoint().stores[0].changelog_offset,
            None
        );
        let stranger = Origin { topic: "elsewhere", ..at(0) };
        assert!(driver.pipe(&InRecord { origin: stranger, record: record(b"a") }).is_err());
    }
}
