//! The resolved memories of a user, for snapshots that are taken.

use sqlx::query_as;

use super::queries::Readers;
use super::schema::{failure, unsigned};
use super::state::identity;
use crate::ports::JournalError;
use crate::settings::system_clock;
use crate::taken_snapshot::TakenSnapshot;

/// The condition of a user's active resolved memories. What is shown of a memory may be another
/// user's, or deleted, by an own event that lies over it.
macro_rules! of_user {
    () => {
        "memories WHERE resolved IS NOT NULL AND (
            (pending IS NULL AND status = 'active' AND user_id = ?1)
            OR (pending IS NOT NULL AND json_extract(resolved, '$.user_id') = ?1
                AND json_extract(resolved, '$.status') = 'active'))"
    };
}

impl Readers {
    /// Bytes of a user's resolved memories.
    pub(crate) async fn snapshot_bytes(&self, user: &str) -> Result<u64, JournalError> {
        let bytes = query_as(concat!("SELECT coalesce(sum(octet_length(resolved)), 0) FROM ", of_user!()));
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let (bytes,): (i64,) = bytes.bind(user).fetch_one(connection).await.map_err(|error| failure(&error))?;
        unsigned(bytes)
    }

    /// The resolved memories of a user; `None` where they have more bytes than that.
    pub(crate) async fn user_snapshot(
        &self,
        user: &str,
        most_bytes: u64,
    ) -> Result<Option<TakenSnapshot>, JournalError> {
        // A text is read only where all of them may be.
        let rows = query_as(concat!(
            "WITH ids AS MATERIALIZED (SELECT number AS at, octet_length(resolved) AS bytes FROM ",
            of_user!(),
            ") SELECT memory_id, resolved FROM ids CROSS JOIN memories ON memories.number = at
            WHERE (SELECT sum(bytes) FROM ids) <= ?2 ORDER BY memory_id",
        ));
        let rows = rows.bind(user).bind(i64::try_from(most_bytes).unwrap_or(i64::MAX));
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let memories: Vec<(String, String)> =
            rows.fetch_all(&mut *connection).await.map_err(|error| failure(&error))?;
        let actor = identity(connection).await?.actor;
        drop(guard);
        if memories.is_empty() && self.snapshot_bytes(user).await? > most_bytes {
            return Ok(None);
        }
        Ok(Some(TakenSnapshot { actor, user_id: user.to_owned(), timestamp: system_clock(), memories }))
    }
}
