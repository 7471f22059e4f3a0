//! The parts that the sessions of a publisher share, and what each of them does with these.

use std::sync::Arc;
use std::time::Duration;

use super::interruption::Interruption;
use super::settings::PublisherSettings;
use super::status::SharedStatus;
use crate::back_off::BackOff;
use crate::kafka::KafkaClients;
use crate::ports::{Journal, JournalError, OutboxEvent, Publication, SyncRequest};
use crate::registry::NodesTopic;
use crate::stop_signal::StopSignal;

/// The first pause after a failure.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after a failure.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest wait for deliveries, a commit, or one more record where a topic is read to its end.
pub(super) const CALL: Duration = Duration::from_secs(20);
/// The least time for a call where the end is near.
const LEAST_CALL: Duration = Duration::from_millis(100);

/// The parts of a publisher on its thread.
pub(super) struct PublisherContext {
    pub kafka: KafkaClients,
    pub nodes: Arc<NodesTopic>,
    pub journal: Arc<dyn Journal>,
    pub settings: PublisherSettings,
    pub stop: Arc<StopSignal>,
    pub status: Arc<SharedStatus>,
}

impl PublisherContext {
    pub fn note_failure(&self, text: &str) {
        let mut status = self.status.lock();
        status.failures += 1;
        status.is_connected = false;
        status.last_error = Some(text.to_owned());
    }

    pub fn note_commit(&self, events: u64, requests: u64, published: Publication, heartbeat_ms: i64) {
        let mut status = self.status.lock();
        status.is_connected = true;
        status.events += events;
        status.sync_requests += requests;
        status.transactions += 1;
        status.published = Some(published);
        status.heartbeat_ms = Some(heartbeat_ms);
        status.last_error = None;
    }

    /// Marks an event that the brokers refuse.
    pub fn mark_refused(&self, event: &OutboxEvent, reason: &str) -> Result<(), Interruption> {
        self.retried(|| self.journal.mark_failed(event.counter, reason))?;
        self.status.lock().refused += 1;
        tracing::warn!(
            code = "HS8024",
            memory = %event.memory_id,
            counter = event.counter,
            "the brokers refuse an event of this node; its write, with all events of it, is shown as failed, and later events are \
             published: {reason}. Raise max.message.bytes of the events topic, and write the memory again"
        );
        Ok(())
    }

    /// Gives up a sync request that the brokers refuse.
    pub fn drop_request(&self, request: &SyncRequest, reason: &str) -> Result<(), Interruption> {
        self.retried(|| self.journal.mark_request_failed(&request.event_id, reason))?;
        tracing::warn!(
            code = "HS8048",
            request = %request.event_id,
            "the brokers refuse a sync request of this node, which is not sent again: {reason}; correct the settings of \
             the events topic, and ask again with POST /v1/sync/force"
        );
        Ok(())
    }

    /// Makes a call to the database again while it cannot answer: after a commit there is no other
    /// way to go on.
    pub fn retried<T>(&self, mut call: impl FnMut() -> Result<T, JournalError>) -> Result<T, Interruption> {
        let mut back_off = BackOff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            match call() {
                Err(JournalError::Unavailable(text)) if !self.stop.is_overdue() => {
                    self.note_failure(&text);
                    self.stop.wait(back_off.next_pause());
                }
                other => return Ok(other?),
            }
        }
    }

    /// The longest time for a call to Kafka.
    pub fn limit(&self) -> Duration {
        self.stop.remaining().map_or(CALL, |left| left.clamp(LEAST_CALL, CALL))
    }

    /// The machine's time, in milliseconds since 1970; at least 1, since librdkafka takes 0 for
    /// "now".
    pub fn now_ms(&self) -> i64 {
        i64::try_from((self.settings.wall_clock)() / 1_000_000).unwrap_or(i64::MAX).max(1)
    }

    pub fn goes_on(&self) -> bool {
        !self.stop.is_overdue()
    }
}
