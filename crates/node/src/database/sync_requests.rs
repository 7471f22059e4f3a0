//! Sync requests: made here, and sent by the publisher beside the events of the outbox.
//!
//! A request is durable until Kafka has committed it. Its event has no clock, so it asks for all
//! memories of its user, or of all users; [`crate::sync`] says why.

use json::ObjectWriter;
use memory::event;
use sqlx::{query, query_as};
use uuid::Uuid;

use super::accept::timestamp_ms;
use super::failed_events::kept_reason;
use super::schema::{damage, failure};
use super::writer::Writer;
use crate::ports::JournalError;
use crate::sync::{LEAST_PAUSE, SyncError, SyncRequested};

/// The value of a request's record: canonical JSON.
fn request_json(event_id: &str, actor: &str, timestamp: u64, user: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut object = ObjectWriter::new(&mut out);
    object.str("event_id", event_id);
    object.str("event_type", "memory.sync_request");
    object.str("node_id", actor);
    object.time("timestamp", timestamp);
    if let Some(user) = user {
        object.str("user_id", user);
    }
    object.end();
    out
}

impl Writer {
    /// Accepts the request of a caller, who may also be restoring a snapshot. One for the same
    /// memories that waits is enough.
    pub(super) async fn request_sync(&mut self, user: Option<&str>) -> Result<SyncRequested, SyncError> {
        if let Some(waiting) = self.waiting_request(user).await? {
            return Ok(waiting);
        }
        self.check_pause(user).await?;
        self.put_request(user).await
    }

    /// As [`Writer::request_sync`], however soon after the last one.
    pub(super) async fn request_soon(&mut self, user: Option<&str>) -> Result<SyncRequested, SyncError> {
        match self.waiting_request(user).await? {
            Some(waiting) => Ok(waiting),
            None => self.put_request(user).await,
        }
    }

    /// Refuses a request that follows the last one for the same memories too soon.
    async fn check_pause(&mut self, user: Option<&str>) -> Result<(), SyncError> {
        let last = query_as("SELECT max(ended_at_ms) FROM sync_requests WHERE user_id IS ? AND state = 'sent'");
        let last = last.bind(user).fetch_one(self.connection.ready().await?).await;
        let (last,): (Option<i64>,) = last.map_err(|error| failure(&error))?;
        // A clock that was set back does not lock callers out.
        let since = last.and_then(|last| u128::try_from(self.now_ms() - last).ok());
        if since.is_some_and(|since| since < LEAST_PAUSE.as_millis()) {
            return Err(SyncError::TooSoon);
        }
        Ok(())
    }

    /// Notes a request of the node itself, where none for the same memories waits.
    pub(super) async fn note_request(&mut self, user: Option<&str>) -> Result<(), JournalError> {
        match self.request_soon(user).await {
            Ok(_) => Ok(()),
            Err(SyncError::Database(error)) => Err(error),
            Err(error @ (SyncError::TooSoon | SyncError::BadEvent(_))) => Err(damage(&error.to_string())),
        }
    }

    /// A request for the same memories that is not sent yet: its answer is later than now.
    async fn waiting_request(&mut self, user: Option<&str>) -> Result<Option<SyncRequested>, JournalError> {
        let row = query_as(
            "SELECT event_id, timestamp_ms FROM sync_requests WHERE user_id IS ? AND state = 'pending' LIMIT 1",
        );
        let row: Option<(String, i64)> =
            row.bind(user).fetch_optional(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        let user_id = user.map(str::to_owned);
        Ok(row.map(|(event_id, timestamp_ms)| SyncRequested { event_id, user_id, timestamp_ms, repeated: true }))
    }

    async fn put_request(&mut self, user: Option<&str>) -> Result<SyncRequested, SyncError> {
        let (event_id, now) = (Uuid::new_v4().to_string(), self.now_ns());
        let (value, timestamp_ms) = (request_json(&event_id, &self.state.actor_name(), now, user), timestamp_ms(now));
        event::decode(Some(&value), timestamp_ms, &self.settings.limits).map_err(SyncError::BadEvent)?;
        let value = String::from_utf8(value).map_err(|error| damage(&error.to_string()))?;
        let put = query(
            "INSERT INTO sync_requests (event_id, user_id, value, timestamp_ms, state) VALUES (?, ?, ?, ?, 'pending')",
        );
        let put = put.bind(&event_id).bind(user).bind(value).bind(timestamp_ms);
        put.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        self.state.requests += 1;
        Ok(SyncRequested { event_id, user_id: user.map(str::to_owned), timestamp_ms, repeated: false })
    }

    /// Marks requests as sent.
    pub(super) async fn mark_requests_sent(&mut self, event_ids: &[String]) -> Result<(), JournalError> {
        for event_id in event_ids {
            self.end_request(event_id, "sent", None).await?;
        }
        Ok(())
    }

    /// Marks a request as failed.
    pub(super) async fn mark_request_failed(&mut self, event_id: &str, reason: &str) -> Result<(), JournalError> {
        self.end_request(event_id, "failed", Some(kept_reason(reason))).await
    }

    async fn end_request(&mut self, event_id: &str, state: &str, reason: Option<&str>) -> Result<(), JournalError> {
        let ended = query(
            "UPDATE sync_requests SET state = ?, failure = ?, ended_at_ms = ? WHERE event_id = ? AND state = 'pending'",
        );
        let ended = ended.bind(state).bind(reason).bind(self.now_ms()).bind(event_id);
        let ended = ended.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        self.state.requests = self.state.requests.saturating_sub(ended.rows_affected());
        Ok(())
    }
}
