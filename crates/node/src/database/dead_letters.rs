//! Events of this node that the stream could not process and has sent to the dead letters.
//!
//! Such an event was published, so its state stays with the publisher: the chain of published
//! values has it. Beside that it has the reason, and is shown as failed.

use sqlx::{query, query_as};
use xxhash_rust::xxh3::xxh3_128;

use super::schema::{failure, signed};
use super::writer::{Batch, Writer};
use crate::ports::{DeadLetter, JournalError};

impl Writer {
    /// Marks the events of this node that are among the dead letters, and moves the position of
    /// the partition behind these. Returns how many events were marked.
    pub(super) async fn fail_dead_letters(&mut self, batch: &Batch<DeadLetter>) -> Result<u64, JournalError> {
        let mut failed = 0;
        for letter in &batch.records {
            failed += u64::from(self.fail_dead_letter(letter).await?);
        }
        self.put_position(&batch.topic, batch.partition, batch.next_offset).await?;
        Ok(failed)
    }

    /// An event is known by its bytes, which no other writer has: its id and its counter are among
    /// them.
    async fn fail_dead_letter(&mut self, letter: &DeadLetter) -> Result<bool, JournalError> {
        let rows = query_as(
            "SELECT number, event_id, value FROM outbox
            WHERE memory_id = ? AND state <> 'failed' AND dead_letter IS NULL AND octet_length(value) = ?",
        );
        let rows = rows.bind(&letter.memory_id).bind(signed(letter.bytes)?);
        let rows: Vec<(i64, String, String)> =
            rows.fetch_all(&mut self.connection).await.map_err(|error| failure(&error))?;
        let own = rows.into_iter().find(|(_, _, value)| xxh3_128(value.as_bytes()) == letter.digest);
        let Some((number, event_id, _)) = own else { return Ok(false) };
        tracing::warn!(
            code = "HS8120",
            memory = %letter.memory_id,
            event = %event_id,
            "an event of this node came back as a dead letter and is shown as failed; the events after it go on: {}",
            letter.reason
        );
        let marked = query("UPDATE outbox SET dead_letter = ? WHERE number = ?").bind(&letter.reason).bind(number);
        marked.execute(&mut self.connection).await.map_err(|error| failure(&error))?;
        self.lift(number, event_id, &letter.reason).await?;
        Ok(true)
    }

    /// Before waiting events are written again under a new incarnation: one that came back as a
    /// dead letter was published, whether the publisher knows of it or not.
    pub(super) async fn mark_dead_letters_published(&mut self) -> Result<(), JournalError> {
        let marked = query("UPDATE outbox SET state = 'published' WHERE state = 'pending' AND dead_letter IS NOT NULL");
        let marked = marked.execute(&mut self.connection).await.map_err(|error| failure(&error))?;
        self.state.waiting = self.state.waiting.saturating_sub(marked.rows_affected());
        Ok(())
    }
}
