//! The [`ProcessorContext`] that a task gives its processors for the current record.

use super::counts::Counts;
use super::dead_letter;
use super::plan::{Plan, PlanKind, Target};
use super::{RecordCollector, Sent};
use crate::offset::Offset;
use crate::ports::TaskStore;
use crate::processor::{Processor, ProcessorContext, ProcessorError, StoreRef};
use crate::record::{Headers, InRecord, Origin, Record, TaskId};
use crate::store::Overlay;
use crate::stream_time::StreamTime;

type Result<T> = std::result::Result<T, ProcessorError>;

/// As the offset of a dead letter's origin: the log has no record so far.
const NO_RECORD: i64 = -1;

/// The origin that a processor declared for the record at hand; its buffer is used again.
#[derive(Default)]
pub(crate) struct DeclaredOrigin {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    is_set: bool,
}

impl DeclaredOrigin {
    pub fn set(&mut self, origin: Origin<'_>) {
        self.topic.clear();
        self.topic.push_str(origin.topic);
        (self.partition, self.offset, self.timestamp_ms) = (origin.partition, origin.offset, origin.timestamp_ms);
        self.is_set = true;
    }

    /// Nothing is declared for the next record.
    pub fn clear(&mut self) {
        self.is_set = false;
    }

    pub fn get(&self) -> Option<Origin<'_>> {
        let partition = self.partition;
        let offset = self.offset;
        let timestamp_ms = self.timestamp_ms;
        self.is_set.then_some(Origin { topic: &self.topic, partition, offset, timestamp_ms })
    }
}

/// State of a task that a context reads and changes.
pub(crate) struct Core {
    pub id: TaskId,
    pub processors: Vec<Option<Box<dyn Processor>>>,
    pub overlays: Vec<Overlay>,
    pub db: Option<Box<dyn TaskStore>>,
    pub stream_time: StreamTime,
    /// Stream time before the record at hand.
    pub stream_time_before: StreamTime,
    /// The offset of the last record of the log.
    pub last_offset: Option<Offset>,
    pub origin: DeclaredOrigin,
    pub counts: Counts,
    /// Whether anything was done for the record at hand that could not be taken back: a processor
    /// has finished with it, or has used its context.
    pub has_acted: bool,
}

impl Core {
    /// The timestamp of what comes of no record; 0 before the first one.
    fn stream_time_ms(&self) -> i64 {
        self.stream_time.ms().unwrap_or_default()
    }
}

/// The context of a task's processors while it has a record, or none.
pub(super) struct TaskContext<'a> {
    pub plan: &'a Plan,
    pub core: &'a mut Core,
    /// `None` during `init` and `flush`, when nothing may be sent.
    pub out: Option<&'a mut dyn RecordCollector>,
    pub source: Option<InRecord<'a>>,
    /// The node that is at work.
    pub node: usize,
}

impl TaskContext<'_> {
    fn is_within_size_limit(&self, at: usize, record: &Record<'_>) -> bool {
        match &self.plan.nodes[at].kind {
            PlanKind::Sink(target) => target.size_of(record) <= target.max_bytes,
            _ => true,
        }
    }

    /// Hands a record to a node: a processor takes it at once, a sink sends it.
    fn deliver(&mut self, at: usize, record: &Record<'_>) -> Result<()> {
        let plan = self.plan;
        self.core.has_acted |= !matches!(plan.nodes[self.node].kind, PlanKind::Source);
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
    pub(super) fn run(
        &mut self,
        at: usize,
        call: impl FnOnce(&mut dyn Processor, &mut Self) -> Result<()>,
    ) -> Result<()> {
        let Some(mut processor) = self.core.processors[at].take() else {
            return Err(ProcessorError::Failed(format!("node `{}` has no processor", self.plan.nodes[at].name)));
        };
        let result = self.with_node(at, |ctx| call(processor.as_mut(), ctx));
        self.core.processors[at] = Some(processor);
        self.core.has_acted |= result.is_ok();
        result
    }

    fn send(&mut self, target: &Target, partition: i32, record: &Record<'_>) -> Result<()> {
        self.core.has_acted = true;
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

    /// An output that its topic would not take: its key goes to the dead letters with its source,
    /// not its bytes.
    fn refused(&mut self, class: &str, message: &str, key: Option<&[u8]>) -> Result<()> {
        let declared = self.core.origin.get().map_or(self.core.stream_time_ms(), |origin| origin.timestamp_ms);
        let timestamp_ms = self.source.map_or(declared, |source| source.record.timestamp_ms);
        self.send_dead_letter(class, message, Record { key, value: None, headers: Headers::NONE, timestamp_ms })
    }

    fn send_dead_letter(&mut self, class: &str, message: &str, record: Record<'_>) -> Result<()> {
        self.core.has_acted = true;
        self.core.counts.add("dead_letters", class, 1);
        let (Some(target), Some(out)) = (&self.plan.dead_letters, &mut self.out) else { return Ok(()) };
        // What comes of work, and of no record that was declared, comes of the log so far.
        let so_far = Origin {
            topic: &self.plan.source,
            partition: self.core.id.partition,
            offset: self.core.last_offset.map_or(NO_RECORD, Offset::number),
            timestamp_ms: self.core.stream_time_ms(),
        };
        let origin = self.core.origin.get().or(self.source.map(|source| source.origin)).unwrap_or(so_far);
        Ok(dead_letter::send(*out, target, &record, &origin, class, message)?)
    }

    /// The timestamp of what is written now: the record's at hand, in a flush stream time; at least
    /// 1.
    fn timestamp_ms(&self) -> i64 {
        self.source.map_or(self.core.stream_time_ms(), |source| source.record.timestamp_ms).max(1)
    }
}

impl<'a> ProcessorContext<'a> for TaskContext<'a> {
    fn source(&self) -> Option<InRecord<'a>> {
        self.source
    }

    fn task(&self) -> TaskId {
        self.core.id
    }

    fn stream_time(&self) -> StreamTime {
        self.core.stream_time
    }

    fn stream_time_before(&self) -> StreamTime {
        self.core.stream_time_before
    }

    fn set_origin(&mut self, origin: Origin<'_>) {
        self.core.origin.set(origin);
    }

    fn forward(&mut self, record: &Record<'_>) -> Result<()> {
        let plan = self.plan;
        for &child in &plan.nodes[self.node].children {
            self.deliver(child, record)?;
        }
        Ok(())
    }

    fn forward_to(&mut self, child: &str, record: &Record<'_>) -> Result<()> {
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

    fn broadcast(&mut self, record: &Record<'_>) -> Result<()> {
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

    fn fits(&self, record: &Record<'_>) -> bool {
        self.plan.nodes[self.node].children.iter().all(|&child| self.is_within_size_limit(child, record))
    }

    fn fits_in(&self, child: &str, record: &Record<'_>) -> bool {
        let nodes = &self.plan.nodes;
        nodes[self.node].children.iter().all(|&at| nodes[at].name != child || self.is_within_size_limit(at, record))
    }

    fn dead_letter(&mut self, class: &str, message: &str) -> Result<()> {
        let Some(source) = self.source else {
            return Err(ProcessorError::Failed(
                "a dead letter without a record: only process and punctuate may".to_owned(),
            ));
        };
        self.send_dead_letter(class, message, source.record)
    }

    fn dead_letter_of(&mut self, class: &str, message: &str, record: &Record<'_>) -> Result<()> {
        self.send_dead_letter(class, message, *record)
    }

    fn count(&mut self, name: &'static str, label: &str, by: u64) {
        self.core.has_acted = true;
        self.core.counts.add(name, label, by);
    }

    fn store(&mut self, name: &str) -> Result<StoreRef<'_>> {
        self.core.has_acted = true;
        let node = &self.plan.nodes[self.node];
        let timestamp_ms = self.timestamp_ms();
        let PlanKind::Process { stores, .. } = &node.kind else {
            return Err(ProcessorError::Failed(format!("node `{}` is no processor and has no store", node.name)));
        };
        match stores.iter().find(|&&at| self.plan.stores[at].name == name) {
            Some(&index) => {
                let overlay = &mut self.core.overlays[index];
                let db = self.core.db.as_deref();
                Ok(StoreRef::new(overlay, db, index, timestamp_ms))
            }
            None => Err(ProcessorError::Failed(format!(
                "`{}` uses the store `{name}`, which is not one of its stores: name it among the users of `{name}`",
                node.name
            ))),
        }
    }
}
