//! Finds the operator that is impure among those of a task: each processor is run behind an
//! observer, which keeps digests of what it is given and of what it makes of that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::processor::{Processor, ProcessorContext, ProcessorError, StoreRef};
use crate::record::{InRecord, Origin, Record, TaskId};
use crate::stream_time::StreamTime;
use crate::task::Plan;
use crate::topology::ProcessorFactory;

type Result<T> = std::result::Result<T, ProcessorError>;

/// Digests of what a node was given, and of what it forwarded and put on the dead-letter topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct NodeDigest {
    given: u64,
    made: u64,
}

/// The digests of the nodes of one run, by the place of each in its sub-topology.
#[derive(Clone, Debug, Default)]
pub(super) struct Observations(Arc<Mutex<Vec<NodeDigest>>>);

impl Observations {
    /// A plan whose processors are observed.
    pub fn observe(&self, plan: &Plan) -> Arc<Plan> {
        *self.digests() = vec![NodeDigest::default(); plan.nodes.len()];
        Arc::new(plan.with_processors(|node, factory| {
            let (observations, factory) = (self.clone(), factory.clone());
            let make = move || -> Box<dyn Processor> {
                Box::new(ObservedProcessor { inner: factory(), node, observations: observations.clone() })
            };
            Arc::new(make) as ProcessorFactory
        }))
    }

    fn digests(&self) -> MutexGuard<'_, Vec<NodeDigest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, node: usize, parts: &[Option<&[u8]>], is_made: bool) {
        let mut digests = self.digests();
        let digest = &mut digests[node];
        let sum = if is_made { &mut digest.made } else { &mut digest.given };
        for part in parts {
            *sum = xxh3_64_with_seed(part.unwrap_or_default(), sum.rotate_left(7) ^ u64::from(part.is_some()));
        }
    }

    /// The first node that made something else of the same in the other run.
    pub fn first_difference(&self, other: &Observations) -> Option<usize> {
        let (ours, others) = (self.digests().clone(), other.digests().clone());
        ours.iter().zip(&others).position(|(one, two)| one.given == two.given && one.made != two.made)
    }
}

struct ObservedProcessor {
    inner: Box<dyn Processor>,
    node: usize,
    observations: Observations,
}

impl ObservedProcessor {
    fn given(&self, record: &Record<'_>) {
        self.observations.add(self.node, &[record.key, record.value, Some(&record.timestamp_ms.to_le_bytes())], false);
    }
}

impl Processor for ObservedProcessor {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<()> {
        self.given(record);
        self.inner.process(record, &mut ObservedContext { ctx, node: self.node, observations: &self.observations })
    }

    fn punctuate(&mut self, boundary_ms: i64, ctx: &mut dyn ProcessorContext<'_>) -> Result<()> {
        self.observations.add(self.node, &[Some(&boundary_ms.to_le_bytes())], false);
        let mut ctx = ObservedContext { ctx, node: self.node, observations: &self.observations };
        self.inner.punctuate(boundary_ms, &mut ctx)
    }

    fn init(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<()> {
        self.inner.init(ctx)
    }

    fn has_background_work(&self) -> bool {
        self.inner.has_background_work()
    }

    fn background_step(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<()> {
        let mut ctx = ObservedContext { ctx, node: self.node, observations: &self.observations };
        self.inner.background_step(&mut ctx)
    }

    fn flush(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<()> {
        self.inner.flush(ctx)
    }

    fn unflushed_bytes(&self) -> usize {
        self.inner.unflushed_bytes()
    }
}

/// The context of an observed processor: passes everything on.
struct ObservedContext<'c, 'r> {
    ctx: &'c mut dyn ProcessorContext<'r>,
    node: usize,
    observations: &'c Observations,
}

impl ObservedContext<'_, '_> {
    fn made(&self, to: &str, record: &Record<'_>) {
        let time = record.timestamp_ms.to_le_bytes();
        let parts = [Some(to.as_bytes()), record.key, record.value, Some(&time[..])];
        self.observations.add(self.node, &parts, true);
        for (name, value) in record.headers {
            self.observations.add(self.node, &[Some(name.as_bytes()), value], true);
        }
    }
}

impl<'r> ProcessorContext<'r> for ObservedContext<'_, 'r> {
    fn source(&self) -> Option<InRecord<'r>> {
        self.ctx.source()
    }

    fn task(&self) -> TaskId {
        self.ctx.task()
    }

    fn stream_time(&self) -> StreamTime {
        self.ctx.stream_time()
    }

    fn stream_time_before(&self) -> StreamTime {
        self.ctx.stream_time_before()
    }

    fn set_origin(&mut self, origin: Origin<'_>) {
        self.ctx.set_origin(origin);
    }

    fn forward(&mut self, record: &Record<'_>) -> Result<()> {
        self.made("", record);
        self.ctx.forward(record)
    }

    fn forward_to(&mut self, child: &str, record: &Record<'_>) -> Result<()> {
        self.made(child, record);
        self.ctx.forward_to(child, record)
    }

    fn broadcast(&mut self, record: &Record<'_>) -> Result<()> {
        self.made("*", record);
        self.ctx.broadcast(record)
    }

    fn fits(&self, record: &Record<'_>) -> bool {
        self.ctx.fits(record)
    }

    fn fits_in(&self, child: &str, record: &Record<'_>) -> bool {
        self.ctx.fits_in(child, record)
    }

    fn dead_letter(&mut self, class: &str, message: &str) -> Result<()> {
        self.observations.add(self.node, &[Some(class.as_bytes()), Some(message.as_bytes())], true);
        self.ctx.dead_letter(class, message)
    }

    fn dead_letter_of(&mut self, class: &str, message: &str, record: &Record<'_>) -> Result<()> {
        self.observations.add(self.node, &[Some(class.as_bytes()), Some(message.as_bytes())], true);
        self.made("", record);
        self.ctx.dead_letter_of(class, message, record)
    }

    fn count(&mut self, name: &'static str, label: &str, by: u64) {
        self.ctx.count(name, label, by);
    }

    fn store(&mut self, name: &str) -> Result<StoreRef<'_>> {
        self.ctx.store(name)
    }
}
