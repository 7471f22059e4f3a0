//! A task: one sub-topology on one partition of its source topic, with its stores. It is a function
//! of that partition's log.

mod context;
mod core;
mod counts;
mod dead_letter;
mod partitioner;
mod plan;
pub mod state;

pub use self::core::{Processed, Task};
pub use counts::Counts;
pub use partitioner::{murmur2, partition_for};
pub use plan::{Plan, PlanStore, Sizes, Target};
pub(crate) use plan::{PlanKind, PlanNode};

use std::sync::Arc;

use super::error::{Error, Result};
use super::offset::Offset;
use super::record::{InRecord, Origin, Record, TaskId};

/// The offset of a record that was read.
///
/// # Errors
/// [`Error::Bug`] where its origin has a number that is none.
pub(crate) fn offset_of(record: &InRecord<'_>) -> Result<Offset> {
    let Origin { topic, partition, offset, .. } = record.origin;
    Offset::new(offset).ok_or_else(|| Error::Bug(format!("a record of {topic}-{partition} has the offset {offset}")))
}

/// Outcome of sending a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Queued,
    /// This record can never be sent, for this reason.
    Refused(String),
}

/// Collects the outputs of a task and sends them (Kafka Streams' `RecordCollector`): a stream
/// thread in its transaction, the driver into memory.
pub trait RecordCollector {
    /// The outputs that follow come from this record of the task's source topic.
    fn begin(&mut self, task: TaskId, offset: Offset);

    /// The outputs that follow come of a step of background work, and of no record: see
    /// `Processor::background_step`.
    fn begin_background_step(&mut self, task: TaskId);

    /// Sends a record to an explicit partition.
    fn send(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent>;

    /// Sends a dead letter to an explicit partition.
    fn dead_letter(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        self.send(topic, partition, record)
    }
}
