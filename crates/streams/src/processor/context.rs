//! The context of a processor: it forwards records, gives access to stores, sends dead letters, and
//! counts.

use super::error::ProcessorError;
use super::store_ref::StoreRef;
use crate::record::{InRecord, Origin, Record, TaskId};
use crate::stream_time::StreamTime;

type Result<T> = std::result::Result<T, ProcessorError>;

/// Context of a processor while it processes a record (Kafka Streams' `ProcessorContext`). The task
/// implements it; `'r` is the lifetime of the record of the source topic.
pub trait ProcessorContext<'r> {
    /// The record of the source topic that is at hand, with topic, partition, offset, timestamp and
    /// headers; `None` where there is none (`init`, `flush`, `background_step`).
    fn source(&self) -> Option<InRecord<'r>>;

    /// The task that this runs in.
    fn task(&self) -> TaskId;

    /// The greatest record timestamp that the task has seen, the record at hand included.
    fn stream_time(&self) -> StreamTime;

    /// Stream time before the current record.
    fn stream_time_before(&self) -> StreamTime;

    /// Says where the record at hand comes from, for dead letters, when that is another record than
    /// the one of the source topic (which is then a repartition topic of ours). It holds until the
    /// next record.
    fn set_origin(&mut self, origin: Origin<'_>);

    /// Forwards a record to all children, in their order of definition.
    ///
    /// # Errors
    /// The error of a child or of the sink's topic.
    fn forward(&mut self, record: &Record<'_>) -> Result<()>;

    /// Forwards a record to one child, by its name.
    ///
    /// # Errors
    /// No such child; otherwise as for [`ProcessorContext::forward`].
    fn forward_to(&mut self, child: &str, record: &Record<'_>) -> Result<()>;

    /// Forwards a record to all children, and through those that are sinks to every partition of
    /// their topics (KIP-837): each task behind them gets it.
    ///
    /// # Errors
    /// As for [`ProcessorContext::forward`].
    fn broadcast(&mut self, record: &Record<'_>) -> Result<()>;

    /// Whether the topics of all children that are sinks take a record of this size.
    fn fits(&self, record: &Record<'_>) -> bool;

    /// The same of one child, by its name.
    fn fits_in(&self, child: &str, record: &Record<'_>) -> bool;

    /// Puts the record at hand on the dead-letter topic, its bytes, key and headers untouched, with
    /// Kafka Streams' headers (KIP-1034). Without a dead-letter topic it is dropped and counted.
    ///
    /// # Errors
    /// Called during a flush, or what the topic answered.
    fn dead_letter(&mut self, class: &str, message: &str) -> Result<()>;

    /// Puts another record than the one at hand on the dead-letter topic: the one that it was made
    /// of, say, with the origin that was declared.
    ///
    /// # Errors
    /// As for [`ProcessorContext::dead_letter`].
    fn dead_letter_of(&mut self, class: &str, message: &str, record: &Record<'_>) -> Result<()>;

    /// Adds to a counter that others can read (`conflicts` by type, say) once the transaction is
    /// committed.
    fn count(&mut self, name: &'static str, label: &str, by: u64);

    /// One of the node's stores.
    ///
    /// # Errors
    /// The node has no store of this name.
    fn store(&mut self, name: &str) -> Result<StoreRef<'_>>;
}
