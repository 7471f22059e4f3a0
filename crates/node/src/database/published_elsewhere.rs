//! Events of the outbox that another process has published from a copy of the folder: they are
//! noted while the events topic is searched, and taken in when the next incarnation begins.

use sqlx::{query, query_as};

use super::branches::FormerActor;
use super::publication::{WaitingRow, is_same_write};
use super::schema::{failure, signed};
use super::writer::Writer;
use crate::hybrid_clock::MAX_VERSION;
use crate::ports::{JournalError, PublishedEvent};
use crate::shown::Publishing;

impl Writer {
    /// Notes that another process has published events. They wait as before: a write that has seen
    /// them still has them in its clock under the present incarnation. Anybody who may write to the
    /// topic could use the id of an event, so one counts only if it is the same write: equal but
    /// for its writer and its clock.
    pub(super) async fn note_published_elsewhere(&mut self, events: &[PublishedEvent]) -> Result<(), JournalError> {
        for event in events {
            let own = query_as("SELECT value FROM outbox WHERE event_id = ? AND state = 'pending'");
            let own: Option<(String,)> = own
                .bind(&event.event_id)
                .fetch_optional(self.connection.ready().await?)
                .await
                .map_err(|error| failure(&error))?;
            let is_counter = event.counter <= MAX_VERSION && event.writer.branch <= MAX_VERSION;
            if !is_counter || !own.is_some_and(|(own,)| is_same_write(&event.value, own.as_bytes())) {
                tracing::warn!(
                    code = "HS8029",
                    event = %event.event_id,
                    "the events topic has another event with the id of a write of this node that waits; the node publishes its own. \
                     See who else may write to the topic"
                );
                continue;
            }
            // No other event may have its place. One that was sent twice has the same bytes.
            let noted = query(
                "INSERT INTO published_elsewhere (event_id, incarnation, branch, counter, value)
                SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM outbox
                    WHERE incarnation = ?2 AND counter = ?4 AND event_id <> ?1)
                ON CONFLICT (event_id) DO NOTHING",
            );
            let noted = noted.bind(&event.event_id).bind(event.writer.actor.incarnation.as_str());
            let noted = noted.bind(signed(event.writer.branch)?).bind(signed(event.counter)?);
            let noted = noted.bind(String::from_utf8_lossy(&event.value).into_owned());
            noted.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        }
        Ok(())
    }

    /// Takes a waiting event of a former incarnation in as another process has published it; `None`
    /// where none has. Returns the memories that it touches.
    pub(super) async fn take_in(
        &mut self,
        (number, counter, event_id, .., branch): &WaitingRow,
        old: &FormerActor<'_>,
    ) -> Result<Option<Vec<String>>, JournalError> {
        let sql = |error: sqlx::Error| failure(&error);
        // Nobody else writes under the incarnation that begins.
        let present = self.state.actor.incarnation.as_str().to_owned();
        let taken = query_as(
            "UPDATE OR IGNORE outbox SET state = 'published', incarnation = found.incarnation, branch = found.branch,
                counter = found.counter, value = found.value
            FROM published_elsewhere AS found WHERE outbox.number = ? AND found.event_id = outbox.event_id
                AND found.incarnation <> ?
            RETURNING incarnation, branch, counter",
        );
        let taken: Option<(String, i64, i64)> =
            taken.bind(number).bind(present).fetch_optional(self.connection.ready().await?).await.map_err(sql)?;
        let Some((incarnation, new_branch, new_counter)) = taken else { return Ok(None) };
        self.state.waiting = self.state.waiting.saturating_sub(1);
        self.ended.push((event_id.clone(), Publishing::Published));
        let touched = self.touched(*number).await?;
        for memory_id in &touched {
            let new = (Some(incarnation.as_str()), new_branch, new_counter);
            self.put_translation(old, memory_id, (*branch, *counter), new).await?;
        }
        Ok(Some(touched))
    }

    /// Keeps for tokens that were handed out how an event of a former incarnation counts now: its
    /// branch and counter before, and its incarnation, branch and counter. Without an incarnation
    /// it is the next one of this node.
    pub(super) async fn put_translation(
        &mut self,
        old: &FormerActor<'_>,
        memory_id: &str,
        (branch, counter): (i64, i64),
        (incarnation, new_branch, new_counter): (Option<&str>, i64, i64),
    ) -> Result<(), JournalError> {
        let renamed = query(
            "INSERT INTO translations (incarnation, memory_id, branch, counter, new_incarnation, new_branch,
                new_counter) VALUES (?, ?, ?, ?, ?, ?, ?)",
        );
        let renamed = renamed.bind(old.incarnation).bind(memory_id).bind(branch).bind(counter);
        let renamed = renamed.bind(incarnation).bind(new_branch).bind(new_counter);
        renamed.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        Ok(())
    }

    /// Forgets the notes, once the events are taken in.
    pub(super) async fn forget_published_elsewhere(&mut self) -> Result<(), JournalError> {
        let forgotten = query("DELETE FROM published_elsewhere");
        forgotten.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        Ok(())
    }
}
