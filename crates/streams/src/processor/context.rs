//! The context of a processor: it forwards records, gives access to stores, sends dead letters, and counts.

use std::ops::ControlFlow;

use super::ProcessorError;
use super::dead_letter;
use crate::error::Error;
use crate::ports::{TaskStore, Value};
use crate::record::{InRecord, Origin, Record, TaskId};
use crate::store::Overlay;
use crate::task::{Core, OutputCollector, Plan, PlanKind, Sent, Target};

type Result<T> = std::result::Result<T, ProcessorError>;

/// Context of a processor while it processes a record.
pub struct Context<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) core: &'a mut Core,
    /// `None` during `init` and `flush`, when nothing may be sent.
    pub(crate) out: Option<&'a mut dyn OutputCollector>,
    pub(crate) source: Option<InRecord<'a>>,
    pub(crate) node: usize,
}

impl<'a> Context<'a> {
    /// The record of the source topic that is at hand, with topic, partition, offset, timestamp and headers; `None` where there is none
    /// (`init`, `flush`, `work`).
    pub fn source(&self) -> Option<InRecord<'a>> {
        self.source
    }

    /// The task that this runs in.
    pub fn task(&self) -> TaskId {
        self.core.id
    }

    /// The greatest record timestamp that the task has seen, the record at hand included; milliseconds since 1970.
    pub fn stream_time_ms(&self) -> i64 {
        self.core.stream_time_ms
    }

    /// Stream time before the current record; [`crate::store::checkpoint::NO_STREAM_TIME`] before the first one.
    pub fn stream_time_before_ms(&self) -> i64 {
        self.core.stream_time_before_ms
    }

    /// Says where the record at hand comes from, for dead letters, when that is another record than the one of the source topic (which is then
    /// a repartition topic of ours). It holds until the next record.
    pub fn set_origin(&mut self, origin: Origin<'_>) {
        self.core.origin.set(origin);
    }

    /// Forwards a record to all children, in their order of definition.
    ///
    /// # Errors
    /// The error of a child or of the sink's topic.
    pub fn forward(&mut self, record: &Record<'_>) -> Result<()> {
        let plan = self.plan;
        for &child in &plan.nodes[self.node].children {
            self.deliver(child, record)?;
        }
        Ok(())
    }

    /// Forwards a record to one child, by its name.
    ///
    /// # Errors
    /// No such child; otherwise as for [`Context::forward`].
    pub fn forward_to(&mut self, child: &str, record: &Record<'_>) -> Result<()> {
        let plan = self.plan;
        let node = &plan.nodes[self.node];
        match node.children.iter().find(|&&at| plan.nodes[at].name == child) {
            Some(&at) => self.deliver(at, record),
            None => Err(ProcessorError::Failed(format!(
                "`{}` forwards to `{child}`, which is no child of it: give `{child}` the parent `{}`",
                node.name, node.name
            ))),
        }
    }

    /// Forwards a record to all children, and through those that are sinks to every partition of their topics (KIP-837): each task behind them gets it.
    ///
    /// # Errors
    /// As for [`Context::forward`].
    pub fn broadcast(&mut self, record: &Record<'_>) -> Result<()> {
        let plan = self.plan;
        for &child in &plan.nodes[self.node].children {
            match &plan.nodes[child].kind {
                PlanKind::Sink(target) => {
                    (0..target.partitions.max(1)).try_for_each(|partition| self.send(target, partition, record))?;
                }
                _ => self.deliver(child, record)?,
            }
        }
        Ok(())
    }

    /// Whether the topics of all children that are sinks take a record of this size.
    pub fn fits(&self, record: &Record<'_>) -> bool {
        self.plan.nodes[self.node].children.iter().all(|&child| self.is_within_size_limit(child, record))
    }

    /// The same of one child, by its name.
    pub fn fits_in(&self, child: &str, record: &Record<'_>) -> bool {
        let nodes = &self.plan.nodes;
        nodes[self.node].children.iter().all(|&at| nodes[at].name != child || self.is_within_size_limit(at, record))
    }

    fn is_within_size_limit(&self, at: usize, record: &Record<'_>) -> bool {
        match &self.plan.nodes[at].kind {
            PlanKind::Sink(target) => target.size_of(record) <= target.max_bytes,
            _ => true,
        }
    }

    /// Hands a record to a node: a processor takes it at once, a sink sends it.
    pub(crate) fn deliver(&mut self, at: usize, record: &Record<'_>) -> Result<()> {
        let plan = self.plan;
        match &plan.nodes[at].kind {
            PlanKind::Source => self.with_node(at, |ctx| ctx.forward(record)),
            PlanKind::Process { .. } => self.run(at, |processor, ctx| processor.process(record, ctx)),
            PlanKind::Sink(target) => {
                let source_partition = self.source.map_or(self.core.id.partition, |source| source.origin.partition);
                self.send(target, target.partition_of(record.key, source_partition), record)
            }
        }
    }

    fn with_node<T>(&mut self, at: usize, call: impl FnOnce(&mut Self) -> T) -> T {
        let caller = std::mem::replace(&mut self.node, at);
        let result = call(self);
        self.node = caller;
        result
    }

    /// Calls a processor with this context as its own.
    pub(crate) fn run(
        &mut self,
        at: usize,
        call: impl FnOnce(&mut dyn super::Processor, &mut Self) -> Result<()>,
    ) -> Result<()> {
        let Some(mut processor) = self.core.processors[at].take() else {
            return Err(ProcessorError::Failed(format!("node `{}` has no processor", self.plan.nodes[at].name)));
        };
        let result = self.with_node(at, |ctx| call(processor.as_mut(), ctx));
        self.core.processors[at] = Some(processor);
        result
    }

    fn send(&mut self, target: &Target, partition: i32, record: &Record<'_>) -> Result<()> {
        let Some(out) = &mut self.out else {
            return Err(ProcessorError::Failed(format!(
                "`{}` forwards in `init` or `flush`: only process, punctuate and work may",
                self.plan.nodes[self.node].name
            )));
        };
        let size = target.size_of(record);
        if size > target.max_bytes {
            let what = format!(
                "a record of {size} bytes for topic `{}` is above its limit of {} bytes",
                target.topic, target.max_bytes
            );
            return self.refused("output_too_large", &what, record.key);
        }
        let timestamp_ms = record.timestamp_ms.max(1);
        match out.send(&target.topic, partition, &Record { timestamp_ms, ..*record })? {
            Sent::Queued => Ok(()),
            Sent::Refused(why) => {
                let what = format!("the broker refused a record of {size} bytes for topic `{}`: {why}", target.topic);
                self.refused("output_refused", &what, record.key)
            }
        }
    }

    /// Puts the record at hand on the dead-letter topic, its bytes, key and headers untouched, with Kafka Streams' headers (KIP-1034). Without a
    /// dead-letter topic it is dropped and counted.
    ///
    /// # Errors
    /// Called during a flush, or what the topic answered.
    pub fn dead_letter(&mut self, class: &str, message: &str) -> Result<()> {
        let Some(source) = self.source else {
            return Err(ProcessorError::Failed(
                "a dead letter without a record: only process and punctuate may".to_owned(),
            ));
        };
        self.send_dead_letter(class, message, source.record)
    }

    /// Puts another record than the one at hand on the dead-letter topic: the one that it was made of, say, with the origin that was declared.
    ///
    /// # Errors
    /// As for [`Context::dead_letter`].
    pub fn dead_letter_of(&mut self, class: &str, message: &str, record: &Record<'_>) -> Result<()> {
        self.send_dead_letter(class, message, *record)
    }

    /// An output that its topic would not take: its key goes to the dead letters with its source, not its bytes.
    fn refused(&mut self, class: &str, message: &str, key: Option<&[u8]>) -> Result<()> {
        let declared = self.core.origin.get().map_or(self.core.stream_time_ms, |origin| origin.timestamp_ms);
        let timestamp_ms = self.source.map_or(declared, |source| source.record.timestamp_ms);
        self.send_dead_letter(
            class,
            message,
            Record { key, value: None, headers: crate::record::Headers::NONE, timestamp_ms },
        )
    }

    fn send_dead_letter(&mut self, class: &str, message: &str, record: Record<'_>) -> Result<()> {
        self.core.counts.add("dead_letters", class, 1);
        let (Some(target), Some(out)) = (&self.plan.dead_letters, &mut self.out) else { return Ok(()) };
        // What comes of work, and of no record that was declared, comes of the log so far.
        let so_far = Origin {
            topic: &self.plan.source,
            partition: self.core.id.partition,
            offset: self.core.last_offset,
            timestamp_ms: self.core.stream_time_ms,
        };
        let origin = self.core.origin.get().or(self.source.map(|source| source.origin)).unwrap_or(so_far);
        Ok(dead_letter::send(*out, target, &record, &origin, class, message)?)
    }

    /// Adds to a counter that others can read (`conflicts` by type, say) once the transaction is committed.
    pub fn count(&mut self, name: &'static str, label: &str, by: u64) {
        self.core.counts.add(name, label, by);
    }

    /// The timestamp of what is written now: the record's at hand, in a flush stream time; at least 1.
    fn timestamp_ms(&self) -> i64 {
        self.source.map_or(self.core.stream_time_ms, |source| source.record.timestamp_ms).max(1)
    }

    /// One of the node's stores.
    ///
    /// # Errors
    /// The node has no store of this name.
    pub fn store(&mut self, name: &str) -> Result<StoreRef<'_>> {
        let (node, timestamp_ms) = (&self.plan.nodes[self.node], self.timestamp_ms());
        let PlanKind::Process { stores, .. } = &node.kind else {
            return Err(ProcessorError::Failed(format!("node `{}` is no processor and has no store", node.name)));
        };
        match stores.iter().find(|&&at| self.plan.stores[at].name == name) {
            Some(&index) => {
                let (overlay, db) = (&mut self.core.overlays[index], self.core.db.as_deref());
                Ok(StoreRef { overlay, db, index, timestamp_ms })
            }
            None => Err(ProcessorError::Failed(format!(
                "`{}` uses the store `{name}`, which is not one of its stores: name it among the users of `{name}`",
                node.name
            ))),
        }
    }
}

/// A store of a task: what the task has written since its last commit, above what lies in the database.
pub struct StoreRef<'a> {
    overlay: &'a mut Overlay,
    db: Option<&'a dyn TaskStore>,
    index: usize,
    timestamp_ms: i64,
}

fn not_open() -> Error {
    Error::Bug("a store is used before its task runs".to_owned())
}

impl StoreRef<'_> {
    /// The value of a key.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value<'_>>> {
        Ok(self.overlay.get(self.db.ok_or_else(not_open)?, self.index, key)?)
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value<'_>>>> {
        Ok(self.overlay.multi_get(self.db.ok_or_else(not_open)?, self.index, keys)?)
    }

    /// Writes a key, which must not be empty.
    ///
    /// # Errors
    /// The key is empty, or the store cannot be read (the old value counts in the store's checksum).
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) -> Result<()> {
        self.write(key, Some(value))
    }

    /// Deletes a key; no error when it is absent.
    ///
    /// # Errors
    /// As for [`StoreRef::put`].
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.write(key, None)
    }

    fn write(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<()> {
        if key.is_empty() {
            return Err(ProcessorError::Failed(
                "a store has no place for the empty key: give the entry a key".to_owned(),
            ));
        }
        Ok(self.overlay.put(self.db.ok_or_else(not_open)?, self.index, key, value, self.timestamp_ms)?)
    }

    /// Calls `visit` with each key that starts with `prefix` (empty: all) and its value, in key order, until it breaks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn scan(&mut self, prefix: &[u8], visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        self.scan_from(prefix, prefix, visit)
    }

    /// As [`StoreRef::scan`], of the keys from `start` on, which starts with `prefix` itself.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn scan_from(
        &mut self,
        prefix: &[u8],
        start: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let db = self.db.ok_or_else(not_open)?;
        Ok(self.overlay.scan_from(db, self.index, (prefix, start), &mut visit)?)
    }
}
