//! The interface of a program's processors: a [`Processor`] receives records one by one and acts
//! through its [`ProcessorContext`].

mod context;
mod dead_letter;
mod error;
mod retained;
mod store_ref;

pub use context::ProcessorContext;
pub use dead_letter::{
    HEADER_CLASS, HEADER_DIGEST, HEADER_MESSAGE, HEADER_OFFSET, HEADER_PARTITION, HEADER_SIZE, HEADER_TIMESTAMP,
    HEADER_TOPIC, size_and_digest,
};
pub use error::ProcessorError;
pub use retained::Retained;
pub use store_ref::StoreRef;

use super::record::Record;

/// Works on records, one at a time, in the order of its task's log.
///
/// Its outputs and its state must be a function of that log alone: no wall clock, no random number,
/// no order of a hash map. It is dropped and made anew whenever the task goes back to its last
/// commit, so it may keep what it likes between records (a cache of decoded values, say).
pub trait Processor: Send {
    /// Takes a record. A record that cannot be processed is no error:
    /// [`ProcessorContext::dead_letter`] it.
    ///
    /// A processor that needs something of others which is not there (the answer of a schema
    /// registry, say) answers [`Error::Retry`](crate::error::Error::Retry), and gets the record
    /// again after a wait. It should do so before it uses its context or changes anything of its
    /// own: as the first processor of its sub-topology it then stops its task alone, before that
    /// record, and nothing is aborted. Otherwise the transaction of the thread is aborted, and the
    /// task goes back to its last commit.
    ///
    /// # Errors
    /// The error of the context, or a failure after which the program must stop (an unknown version
    /// of an internal format).
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError>;

    /// Stream time crossed multiples of the node's interval; `boundary_ms` is the last of them.
    /// Called straight after the record that did it.
    ///
    /// # Errors
    /// As for [`Processor::process`].
    fn punctuate(&mut self, boundary_ms: i64, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let _ = (boundary_ms, ctx);
        Ok(())
    }

    /// The task begins at a checkpoint: looks into its stores for work that waits there (Kafka
    /// Streams' `init`). Called before anything else, and again after each way back to the last
    /// commit. Nothing is to be written, and forwarding is refused.
    ///
    /// # Errors
    /// As for [`Processor::process`].
    fn init(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let _ = ctx;
        Ok(())
    }

    /// Whether there is work that no record brings about: the task is then given a turn at each
    /// commit, also while nothing comes.
    fn has_background_work(&self) -> bool {
        false
    }

    /// One slice of what would take too long within one record (a scan of a store). It is called
    /// once a commit, so what it sends lies between the records of the log as commits do: what a
    /// store holds in the end must not depend on that. How far it is must lie in a store.
    ///
    /// # Errors
    /// As for [`Processor::process`].
    fn background_step(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let _ = ctx;
        Ok(())
    }

    /// A commit is near: writes what it has kept back into its stores. Forwarding is refused here,
    /// since commits are no part of the log.
    ///
    /// # Errors
    /// As for [`Processor::process`].
    fn flush(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let _ = ctx;
        Ok(())
    }

    /// Bytes that it keeps back until [`Processor::flush`]; they count towards the cap that forces
    /// a commit.
    fn unflushed_bytes(&self) -> usize {
        0
    }
}
