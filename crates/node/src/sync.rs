//! Sync requests: a node asks the stream for resolved memories once more (docs/semantics.md,
//! section 5, "Sync request").
//!
//! Every request has an empty clock, so the stream answers with all memories that it asks for. The
//! join of the clocks that a node holds would be shorter to answer, and wrong: an actor's counter
//! counts over all its memories, and the tasks of the stream resolve these at different times. A
//! node that holds counter 5 of an actor in one memory may not have seen counter 4 in another one
//! yet, and the stream would take it for seen.

use std::time::Duration;

use memory::event::BadInput;

use crate::ports::JournalError;

/// The least time between two requests of callers for the same memories: each makes the stream look
/// at every memory that it has.
pub const LEAST_PAUSE: Duration = Duration::from_secs(10);

/// A sync request that is durable on this node and will be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequested {
    /// The id of its event.
    pub event_id: String,
    /// The user whose memories it asks for; `None`: those of all.
    pub user_id: Option<String>,
    /// The time of its event, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Whether it is one that waited already.
    pub repeated: bool,
}

/// Why a sync request was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// The same memories were asked for less than [`LEAST_PAUSE`] before.
    #[error("the node has asked for these memories less than {} s before; its answer is under way", LEAST_PAUSE.as_secs())]
    TooSoon,
    /// The stream would put the request among its dead letters. The class says why.
    #[error("the request cannot become an event: {0}")]
    BadEvent(BadInput),
    /// The database is at fault.
    #[error(transparent)]
    Database(#[from] JournalError),
}
