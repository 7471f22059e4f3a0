//! How a publisher stands, for pages and metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::actor::Actor;
use crate::ports::Publication;

/// Counters of a publisher since its start, and its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublisherStatus {
    /// The actor that it publishes as; `None` before its first session.
    pub actor: Option<Actor>,
    /// Whether its producer is initialised and its last transaction was committed.
    pub is_connected: bool,
    /// The published events, by the node's record on the nodes topic.
    pub published: Option<Publication>,
    /// Events published.
    pub events: u64,
    /// Sync requests sent.
    pub sync_requests: u64,
    /// Transactions committed, heartbeats among them.
    pub transactions: u64,
    /// Sessions that ended by a failure: a broker away, a transaction that failed or timed out.
    pub failures: u64,
    /// Events that the brokers refused, which are marked as failed.
    pub refused: u64,
    /// New incarnations that it has begun.
    pub incarnations: u64,
    /// When the node's record was last written, in milliseconds since 1970.
    pub heartbeat_ms: Option<i64>,
    /// The last failure; `None` after a transaction was committed.
    pub last_error: Option<String>,
}

/// A status that the publisher's thread changes and others read.
#[derive(Debug, Default)]
pub(super) struct SharedStatus(pub Mutex<PublisherStatus>);

impl SharedStatus {
    pub fn lock(&self) -> MutexGuard<'_, PublisherStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
