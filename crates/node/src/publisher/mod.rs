//! The publisher: it sends accepted events to Kafka in order, in transactions, and writes the
//! node's record in each of them.
//!
//! ```text
//! start ─► init the producer ─► read the node's record ─► compare it with the database
//!            ▲  (fences an older process        │
//!            │   with this incarnation)         ├─ agrees ──► send, commit, mark; heartbeats
//!            │                                  └─ differs, or it is replaced ─► depart ─► start
//!            └── outcome unknown, or failed ◄── a transaction ── fenced ─► depart ─► start
//! ```
//!
//! - A transaction that may or may not have been committed is cleared up by the next start: the
//!   node's record says what was.
//! - A process that is fenced publishes no event under its incarnation again: another process has a
//!   copy of the folder, and both would take the id from each other for ever. It takes the id once
//!   more, to close the incarnation, and becomes a new one, which writes again what was not
//!   published (`departure`).
//! - Where the brokers refuse the time of an event, its record gets another one; where they
//!   refuse each, the publisher waits. No event fails for the clock of this machine.
//! - An event that the brokers refuse for its size is marked as failed, and the others go on
//!   without it.
//! - Sync requests go with the events, by the same producer. They have no counter, so the order of
//!   the outbox is not touched; one that may not have been committed is sent again.
//! - Anything else that fails is tried again, with pauses that grow to 10 s.

mod claim;
mod context;
mod departure;
mod interruption;
mod peer_monitor;
mod published_events;
mod reconciliation;
mod record_times;
mod sending_order;
mod session;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod transaction;
mod work;

use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use settings::PublisherSettings;
pub use status::PublisherStatus;

use crate::kafka::KafkaClients;
use crate::ports::Journal;
use crate::registry::NodesTopic;
use crate::stop_signal::{DROP_LIMIT, Joined, StopSignal, join_within};
use context::PublisherContext;
use status::SharedStatus;

/// How long the end of the publisher may last beyond its limit, for a call to Kafka that is under
/// way.
const CALL_LIMIT: Duration = Duration::from_secs(2);

/// A publisher on a thread of its own.
#[derive(Debug)]
pub struct Publisher {
    thread: Option<JoinHandle<()>>,
    stop: Arc<StopSignal>,
    status: Arc<SharedStatus>,
}

impl Publisher {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn start(
        kafka: KafkaClients,
        nodes: Arc<NodesTopic>,
        journal: Arc<dyn Journal>,
        settings: PublisherSettings,
    ) -> std::io::Result<Publisher> {
        let (stop, status) = (Arc::new(StopSignal::default()), Arc::new(SharedStatus::default()));
        let context = PublisherContext { kafka, nodes, journal, settings, stop: stop.clone(), status: status.clone() };
        let thread =
            std::thread::Builder::new().name("node-publisher".to_owned()).spawn(move || work::run(&context))?;
        Ok(Publisher { thread: Some(thread), stop, status })
    }

    /// Its counters and its state now.
    #[must_use]
    pub fn status(&self) -> PublisherStatus {
        self.status.lock().clone()
    }

    /// Asks it to end: it publishes what waits, for at most `limit`, and writes a record with the
    /// state `stopped`. Where Kafka is away it gives up then; a call to Kafka that is under way may
    /// last some seconds longer.
    pub fn request_stop(&self, limit: Duration) {
        self.stop.request(limit);
    }

    /// Whether its thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// As [`Publisher::request_stop`], and waits for the end of its thread, for at most two seconds
    /// more than `limit`. A call to Kafka that waits for a broker cannot be interrupted: past that
    /// time the thread is left to end behind it, as at a kill.
    pub fn stop(mut self, limit: Duration) -> PublisherStatus {
        self.stop.request(limit);
        self.join(limit + CALL_LIMIT);
        self.status()
    }

    fn join(&mut self, limit: Duration) {
        if self.thread.take().map(|thread| join_within(thread, limit)) == Some(Joined::Panicked) {
            let mut status = self.status.0.lock().unwrap_or_else(PoisonError::into_inner);
            status.last_error = Some("the publisher's thread has panicked".to_owned());
        }
    }
}

impl Drop for Publisher {
    /// Ends without publishing what waits; the next start goes on.
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop.request(Duration::ZERO);
            self.join(DROP_LIMIT);
        }
    }
}
