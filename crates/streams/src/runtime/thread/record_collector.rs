//! The record collector of a stream thread: sends the outputs of its tasks in its transaction, and
//! gives each the identity by which it is recognised when it comes again (Kafka Streams'
//! `RecordCollectorImpl`).

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::producer::ThreadProducer;
use super::refused_outputs::{Cause, OutputId};
use crate::error::Result;
use crate::offset::Offset;
use crate::planted::PlantedBug;
use crate::record::{Record, TaskId};
use crate::task::{RecordCollector, Sent};

/// Sends the outputs of a task in the transaction of its thread.
pub(super) struct TransactionalRecordCollector<'p> {
    producer: &'p mut ThreadProducer,
    task: TaskId,
    /// The source record at hand; `None` for background work.
    record: Option<SourceRecord>,
}

/// The source record at hand, and how many outputs it has brought so far.
#[derive(Clone, Copy)]
struct SourceRecord {
    offset: Offset,
    outputs: u32,
    dead_letters: u32,
}

impl<'p> TransactionalRecordCollector<'p> {
    /// Sends with this producer, which is in a transaction.
    pub fn new(producer: &'p mut ThreadProducer) -> TransactionalRecordCollector<'p> {
        TransactionalRecordCollector { producer, task: TaskId { subtopology: 0, partition: 0 }, record: None }
    }
}

impl RecordCollector for TransactionalRecordCollector<'_> {
    fn begin(&mut self, task: TaskId, offset: Offset) {
        self.task = task;
        self.record = Some(SourceRecord { offset, outputs: 0, dead_letters: 0 });
    }

    fn begin_background_step(&mut self, task: TaskId) {
        self.task = task;
        self.record = None;
    }

    fn send(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        let cause = match &mut self.record {
            Some(source) => {
                source.outputs += 1;
                Cause::Record { offset: source.offset, number: source.outputs }
            }
            None => Cause::BackgroundWork { digest: digest(topic, record) },
        };
        let output = OutputId { task: self.task, cause, is_dead_letter: false };
        self.producer.send(output, topic, partition, record)
    }

    fn dead_letter(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        let cause = match &mut self.record {
            Some(_) if PlantedBug::DeadLetterDropped.is_planted() => return Ok(Sent::Queued),
            Some(source) => {
                source.dead_letters += 1;
                Cause::Record { offset: source.offset, number: source.dead_letters }
            }
            None => Cause::BackgroundWork { digest: digest(topic, record) },
        };
        let output = OutputId { task: self.task, cause, is_dead_letter: true };
        self.producer.send(output, topic, partition, record)
    }
}

/// Identity of an output of a background step, by which it is recognised when it comes again.
fn digest(topic: &str, record: &Record<'_>) -> u64 {
    let parts = [Some(topic.as_bytes()), record.key, record.value];
    parts.into_iter().flatten().fold(0, |seed, part| xxh3_64_with_seed(part, seed))
}
