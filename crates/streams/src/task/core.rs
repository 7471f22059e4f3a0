//! The core of a task: it processes a record through a sub-topology, independent of the origin of
//! records and the target of outputs.

use std::sync::Arc;

use super::context::{Core, DeclaredOrigin, TaskContext};
use super::counts::Counts;
use super::plan::{Plan, PlanKind};
use super::{RecordCollector, offset_of};
use crate::error::{Error, Result};
use crate::offset::{Offset, StartOffset};
use crate::planted::PlantedBug;
use crate::ports::{Put, StoreBatch, TaskStore};
use crate::processor::{Processor, ProcessorContext, ProcessorError};
use crate::record::{InRecord, TaskId};
use crate::store::checkpoint::{Checkpoint, Position, StoreCheckpoint};
use crate::store::{Change, Overlay};
use crate::stream_time::StreamTime;

/// Whether a task got past a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Processed {
    /// It did, now or before.
    Yes,
    /// The record waits for something that it needs of others, and nothing was done with it.
    NotBegun {
        /// The words of the processor.
        what: String,
    },
}

impl Processed {
    /// For who has no later moment at which to try again.
    ///
    /// # Errors
    /// [`Error::Retry`] where the record was not begun.
    pub(crate) fn or_retry(self) -> Result<()> {
        match self {
            Processed::Yes => Ok(()),
            Processed::NotBegun { what } => Err(Error::Retry(what)),
        }
    }
}

/// A task that is ready to process: its stores stand where its log was last committed.
pub struct Task {
    plan: Arc<Plan>,
    core: Core,
    next_offset: StartOffset,
    /// Whether the processors have looked into their stores.
    is_initialised: bool,
    /// The next commit is to bear it, moved or not.
    is_to_be_committed: bool,
    /// State to which a rollback returns.
    committed: Checkpoint,
    /// The position bytes of each store as this task read or last wrote them; a commit finds just
    /// these, or the store is another's.
    positions: Vec<Option<Vec<u8>>>,
}

fn make_processors(plan: &Plan) -> Vec<Option<Box<dyn Processor>>> {
    let make = |kind: &PlanKind| match kind {
        PlanKind::Process { factory, .. } => Some(factory()),
        PlanKind::Source | PlanKind::Sink(_) => None,
    };
    plan.nodes.iter().map(|node| make(&node.kind)).collect()
}

impl Task {
    /// A task at a checkpoint. `db` holds the stores at that same checkpoint and is absent when the
    /// sub-topology has none.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn new(plan: Arc<Plan>, id: TaskId, db: Option<Box<dyn TaskStore>>, checkpoint: Checkpoint) -> Result<Task> {
        let mut positions = Vec::new();
        if let Some(db) = &db {
            for store in 0..plan.stores.len() {
                positions.push(db.position(store)?);
            }
        }
        let overlays = checkpoint.stores.iter().map(|store| Overlay::new(store.checksum)).collect();
        let core = Core {
            id,
            processors: make_processors(&plan),
            overlays,
            db,
            stream_time: checkpoint.stream_time,
            stream_time_before: checkpoint.stream_time,
            last_offset: checkpoint.next_offset.offset().and_then(Offset::previous),
            origin: DeclaredOrigin::default(),
            counts: Counts::default(),
            has_acted: false,
        };
        let next_offset = checkpoint.next_offset;
        let is_initialised = false;
        let is_to_be_committed = false;
        Ok(Task { plan, core, next_offset, is_initialised, is_to_be_committed, committed: checkpoint, positions })
    }

    /// Which task it is.
    pub fn id(&self) -> TaskId {
        self.core.id
    }

    /// Its sub-topology.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The next record that it takes.
    pub fn next_offset(&self) -> StartOffset {
        self.next_offset
    }

    /// Stream time after the records that it has processed.
    pub fn stream_time(&self) -> StreamTime {
        self.core.stream_time
    }

    /// The checkpoint that it last committed, and goes back to.
    pub fn last_checkpoint(&self) -> &Checkpoint {
        &self.committed
    }

    /// The next record is this one, whatever came before (of a driver, whose input need not be a
    /// log).
    pub(crate) fn take_any_record(&mut self) {
        self.next_offset = StartOffset::Beginning;
    }

    /// Nothing but transaction markers lies between the last record and this offset.
    pub fn skip_to(&mut self, offset: Offset) {
        if !PlantedBug::EndNotCommitted.is_planted() {
            self.next_offset = self.next_offset.max(offset.into());
        }
    }

    /// Memory that uncommitted state takes, about.
    pub fn uncommitted_bytes(&self) -> usize {
        let unflushed = self.core.processors.iter().flatten().map(|p| p.unflushed_bytes()).sum::<usize>();
        unflushed + self.core.overlays.iter().map(Overlay::bytes).sum::<usize>()
    }

    /// Runs one record through, and the punctuation that it brings about. A record below the next
    /// offset was seen before and is left out.
    ///
    /// Where the first processor that takes it answers [`Error::Retry`] before it has used its
    /// context, the record was not begun: it waits, and the task stands where it stood before.
    ///
    /// # Errors
    /// The task cannot go on from here; it must be rolled back.
    pub fn process(&mut self, record: &InRecord<'_>, out: &mut dyn RecordCollector) -> Result<Processed> {
        let offset = offset_of(record)?;
        if StartOffset::At(offset) < self.next_offset {
            return Ok(Processed::Yes);
        }
        self.init()?;
        let stood_at = (self.next_offset, self.core.last_offset, self.core.stream_time_before);
        self.next_offset = offset.next().into();
        self.core.last_offset = Some(offset);
        self.core.has_acted = false;
        out.begin(self.core.id, offset);
        self.core.origin.clear();
        let before = self.core.stream_time;
        let now = before.after(record.origin.timestamp_ms);
        (self.core.stream_time_before, self.core.stream_time) = (before, now);
        let plan = &*self.plan;
        let core = &mut self.core;
        let mut ctx = TaskContext { plan, core, out: Some(out), source: Some(*record), node: 0 };
        match ctx.forward(&record.record).and_then(|()| punctuate(&mut ctx, before, now)) {
            Ok(()) => Ok(Processed::Yes),
            Err(ProcessorError::Engine(Error::Retry(what))) if !self.core.has_acted => {
                self.core.stream_time = before;
                (self.next_offset, self.core.last_offset, self.core.stream_time_before) = stood_at;
                Ok(Processed::NotBegun { what })
            }
            Err(error) => Err(self.failed(error, Some(record))),
        }
    }

    /// Lets processors write back what they keep, before a commit.
    ///
    /// # Errors
    /// As for [`Task::process`].
    pub fn flush(&mut self) -> Result<()> {
        self.each_processor(None, |processor, ctx| processor.flush(ctx))
    }

    /// Lets processors look into their stores, once after each checkpoint that the task begins at.
    fn init(&mut self) -> Result<()> {
        if !self.is_initialised {
            self.each_processor(None, |processor, ctx| processor.init(ctx))?;
            self.is_initialised = true;
        }
        Ok(())
    }

    /// Whether a processor has work that no record brings about.
    ///
    /// # Errors
    /// As for [`Task::process`].
    pub fn has_background_work(&mut self) -> Result<bool> {
        self.init()?;
        // What it writes is committed with an offset, which is not known before the log was looked
        // at.
        let has_place = self.next_offset != StartOffset::Beginning;
        Ok(has_place && self.core.processors.iter().flatten().any(|processor| processor.has_background_work()))
    }

    /// One slice of the work of each processor that has some.
    ///
    /// # Errors
    /// As for [`Task::process`].
    pub fn background_step(&mut self, out: &mut dyn RecordCollector) -> Result<()> {
        self.init()?;
        out.begin_background_step(self.core.id);
        self.core.origin.clear();
        self.each_processor(Some(out), |processor, ctx| {
            if processor.has_background_work() { processor.background_step(ctx) } else { Ok(()) }
        })
    }

    fn each_processor(
        &mut self,
        mut out: Option<&mut dyn RecordCollector>,
        call: impl Fn(&mut dyn Processor, &mut TaskContext<'_>) -> std::result::Result<(), ProcessorError>,
    ) -> Result<()> {
        let plan = &*self.plan;
        let nodes = plan.nodes.iter().enumerate().filter(|(_, node)| matches!(node.kind, PlanKind::Process { .. }));
        for (at, _) in nodes {
            let out = out.as_mut().map(|out| &mut **out as &mut dyn RecordCollector);
            let mut ctx = TaskContext { plan, core: &mut self.core, out, source: None, node: 0 };
            let result = ctx.run(at, |processor, ctx| call(processor, ctx));
            result.map_err(|error| self.failed(error, None))?;
        }
        Ok(())
    }

    fn failed(&self, error: ProcessorError, record: Option<&InRecord<'_>>) -> Error {
        match (error, record) {
            (ProcessorError::Engine(error), _) => error,
            (ProcessorError::Failed(what), Some(InRecord { origin, .. })) => Error::Fatal(format!(
                "task {} failed at {}-{} offset {}: {what} [HS1024]",
                self.core.id, origin.topic, origin.partition, origin.offset
            )),
            (ProcessorError::Failed(what), None) => {
                Error::Fatal(format!("task {} failed at a commit: {what} [HS1024]", self.core.id))
            }
        }
    }

    /// The changes of a store since the last commit, in key order.
    pub fn changes(&self, store: usize) -> Vec<Change<'_>> {
        self.core.overlays[store].changes()
    }

    /// The task takes part in the next commit, nothing may have moved in it.
    pub fn commit_anyway(&mut self) {
        self.is_to_be_committed = true;
    }

    /// Whether anything moved since the last commit, or is to be committed all the same.
    pub fn is_dirty(&self) -> bool {
        self.is_to_be_committed
            || self.next_offset != self.committed.next_offset
            || (self.core.overlays.iter().any(|overlay| !overlay.is_empty()) && !PlantedBug::SliceRepeated.is_planted())
    }

    /// The checkpoint as of now; `changelog` answers the offset of the last changelog record sent
    /// for a store since the last commit.
    pub fn checkpoint(&self, changelog: impl Fn(usize) -> Option<Offset>) -> Checkpoint {
        let stores = self.core.overlays.iter().enumerate().map(|(at, overlay)| StoreCheckpoint {
            changelog_offset: changelog(at).or(self.committed.stores[at].changelog_offset),
            checksum: overlay.checksum(),
        });
        let next_offset = match self.next_offset {
            StartOffset::At(next) if PlantedBug::OffsetTooHigh.is_planted() => next.next().into(),
            StartOffset::At(next) if PlantedBug::OffsetTooLow.is_planted() => next.previous().unwrap_or(next).into(),
            next => next,
        };
        Checkpoint { next_offset, stream_time: self.core.stream_time, stores: stores.collect() }
    }

    /// The transaction with this checkpoint is committed: writes it to the stores in one batch and
    /// begins anew above it.
    ///
    /// # Errors
    /// [`Error::Corrupted`] when a store stands elsewhere than where this task left it: another
    /// wrote it, so it is not overwritten.
    pub fn apply(&mut self, checkpoint: Checkpoint) -> Result<()> {
        if let Some(db) = &mut self.core.db {
            let new: Vec<Vec<u8>> =
                checkpoint.stores.iter().map(|store| Position::at(&checkpoint, store).encode()).collect();
            for (store, expected) in self.positions.iter().enumerate() {
                if db.position(store)? != *expected {
                    let what = format!("store `{}` was written by another", self.plan.stores[store].name);
                    return Err(Error::Corrupted { task: self.core.id, what });
                }
            }
            let mut batch = StoreBatch::default();
            for (store, overlay) in self.core.overlays.iter().enumerate() {
                let changes = overlay.changes().into_iter();
                batch.puts.extend(changes.map(|change| Put { store, key: change.key, value: change.value }));
                batch.positions.push((store, &new[store]));
            }
            if PlantedBug::PositionInSeparateBatch.is_planted() {
                db.apply(&StoreBatch { puts: Vec::new(), positions: std::mem::take(&mut batch.positions) })?;
            }
            db.apply(&batch)?;
            self.positions = new.into_iter().map(Some).collect();
        }
        for (overlay, store) in self.core.overlays.iter_mut().zip(&checkpoint.stores) {
            overlay.committed(store.checksum);
        }
        if !PlantedBug::CheckpointForgotten.is_planted() {
            self.committed = checkpoint;
        }
        self.is_to_be_committed = false;
        Ok(())
    }

    /// Goes back to the last commit: drops uncommitted state, stream time, counts and the
    /// processors with all that they keep.
    pub fn rollback(&mut self) {
        if !PlantedBug::OverlayKeptOverAbort.is_planted() {
            self.core.overlays.iter_mut().for_each(Overlay::discard);
        }
        if !PlantedBug::ProcessorsKeptOverAbort.is_planted() {
            self.core.processors = make_processors(&self.plan);
        }
        if !PlantedBug::StreamTimeKeptOverAbort.is_planted() {
            self.core.stream_time = self.committed.stream_time;
        }
        self.core.stream_time_before = self.committed.stream_time;
        self.core.last_offset = self.committed.next_offset.offset().and_then(Offset::previous);
        self.is_initialised &= PlantedBug::BackgroundWorkLostOverAbort.is_planted();
        self.core.counts.reset();
        if !PlantedBug::NextOffsetKeptOverAbort.is_planted() {
            self.next_offset = self.committed.next_offset;
        }
    }

    /// Additions to counters since the last commit.
    pub fn counts(&mut self) -> &mut Counts {
        &mut self.core.counts
    }

    /// Its open stores, for reading; `None` when the sub-topology has none.
    pub fn db(&self) -> Option<&dyn TaskStore> {
        self.core.db.as_deref()
    }
}

/// Calls the processors whose interval's multiple lies in `(before, now]`, in the order of the
/// nodes. The first record of all only starts the count: before it there is no time to cross from.
/// The schedule needs no state beside stream time.
fn punctuate(
    ctx: &mut TaskContext<'_>,
    before: StreamTime,
    now: StreamTime,
) -> std::result::Result<(), ProcessorError> {
    let (Some(before), Some(now)) = (before.ms(), now.ms()) else { return Ok(()) };
    if before == now {
        return Ok(());
    }
    let plan = ctx.plan;
    for (at, node) in plan.nodes.iter().enumerate() {
        if let PlanKind::Process { punctuate_ms: Some(interval), .. } = node.kind {
            let boundary = now.div_euclid(interval);
            if boundary > before.div_euclid(interval) {
                ctx.run(at, |processor, ctx| processor.punctuate(boundary * interval, ctx))?;
            }
        }
    }
    Ok(())
}
