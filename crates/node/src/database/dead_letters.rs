//! Events of this node that the stream could not process and has sent to the dead letters.
//!
//! Such an event was published, so its state stays with the publisher: the chain of published
//! values has it. Beside that it has the reason, and is shown as failed.

use json::ObjectWriter;
use sqlx::{query, query_as};
use xxhash_rust::xxh3::xxh3_128;

use super::connection::statement;
use super::failed_events::{FailedEvent, kept_reason};
use super::schema::{damage, failure};
use super::writer::{Batch, Writer};
use crate::overlay::Heading;
use crate::ports::{DeadLetter, JournalError};

/// Events are found by their ids, of which a memory lists few. A memory may have many events of a
/// day, which would be read for each record of it, so the index of its id is not used (`+`). A
/// memory also lists the event of a merge that absorbs it, which is one of another memory.
const LISTED: &str = "UPDATE outbox SET listed = 1, dead_letter = NULL
    WHERE (+memory_id = ?1 OR part_of IS NOT NULL) AND listed = 0 AND state <> 'failed'
    AND event_id IN (SELECT value FROM json_each(?2, '$.ids'))";

/// A memory that shows an event again has it as a last own one, if no later one is.
const LISTED_AGAIN: &str = "UPDATE memories SET last_own = again.counter
    FROM (SELECT max(counter) AS counter FROM outbox
        WHERE (+memory_id = ?1 OR part_of IS NOT NULL) AND listed = 0 AND state <> 'failed'
        AND dead_letter IS NOT NULL
        AND branch = 0 AND +incarnation = ?3 AND event_id IN (SELECT value FROM json_each(?2, '$.ids'))) AS again
    WHERE memory_id = ?1 AND again.counter > last_own";

impl Writer {
    /// Marks the events of this node that are among the dead letters, and moves the position of
    /// the partition behind these. Returns how many events were marked.
    pub(super) async fn fail_dead_letters(&mut self, batch: &Batch<DeadLetter>) -> Result<u64, JournalError> {
        let mut failed = 0;
        for letter in &batch.records {
            failed += u64::from(self.fail_dead_letter(letter).await?);
        }
        self.put_position(&batch.topic, batch.partition, batch.next_offset)?;
        Ok(failed)
    }

    /// An event is known by its bytes, which no other writer has: its id and its counter are among
    /// them. One that a resolved memory has listed was processed, whatever the letter says.
    async fn fail_dead_letter(&mut self, letter: &DeadLetter) -> Result<bool, JournalError> {
        // All events of a merge have the memory that absorbs as their key.
        let rows = query_as(
            "SELECT number, event_id, value, memory_id FROM outbox
            WHERE (memory_id = ?1
                OR part_of IN (SELECT part_of FROM outbox WHERE memory_id = ?1 AND part_of IS NOT NULL))
            AND state <> 'failed' AND dead_letter IS NULL AND listed = 0 AND octet_length(value) = ?2",
        );
        let rows = rows.bind(&letter.memory_id).bind(i64::from(letter.bytes));
        let rows: Vec<(i64, String, String, String)> =
            rows.fetch_all(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        let own = rows.into_iter().find(|(_, _, value, _)| xxh3_128(value.as_bytes()) == letter.digest);
        let Some((number, event_id, _, memory_id)) = own else { return Ok(false) };
        let reason = kept_reason(&letter.reason);
        let marked = query("UPDATE outbox SET dead_letter = ? WHERE number = ?").bind(reason).bind(number);
        marked.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        let reason = reason.to_owned();
        self.failed_events.push(FailedEvent { memory_id, event_id: event_id.clone(), reason: reason.clone() });
        self.lift(number, event_id, &reason).await?;
        Ok(true)
    }

    /// Notes which events of this node a resolved memory lists, so that the stream has processed
    /// them, and takes back a mark of a dead letter that was forged or of another branch of the
    /// topology. The clock of the memory shows less: it covers a failed event, too, once a later
    /// event of this node is resolved.
    pub(super) fn note_listed(&mut self, memory_id: &str, heading: &Heading) -> Result<(), JournalError> {
        let name = self.state.actor.name.to_string();
        let is_own = |actor: &str| actor.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.'));
        if !heading.clock_entries().any(|(actor, _)| is_own(actor)) {
            return Ok(());
        }
        let mut ids = Vec::new();
        let mut object = ObjectWriter::new(&mut ids);
        object.array("ids", &heading.event_ids, |out, id| json::write_string(out, id));
        object.end();
        let ids = String::from_utf8(ids).map_err(|error| damage(&error.to_string()))?;
        let incarnation = self.state.actor.incarnation.as_str();
        let raised = statement(LISTED_AGAIN).bind(memory_id).bind(&ids).bind(incarnation);
        self.connection.queue(&raised)?;
        self.connection.queue(&statement(LISTED).bind(memory_id).bind(ids))
    }

    /// Before waiting events are written again under a new incarnation: one that came back as a
    /// dead letter was published, whether the publisher knows of it or not.
    pub(super) async fn mark_dead_letters_published(&mut self) -> Result<(), JournalError> {
        let marked = query("UPDATE outbox SET state = 'published' WHERE state = 'pending' AND dead_letter IS NOT NULL");
        let marked = marked.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        self.state.waiting = self.state.waiting.saturating_sub(marked.rows_affected());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::schema::tests::plan_of;

    #[test]
    fn the_events_that_a_memory_lists_are_found_by_their_ids() {
        for listed in [LISTED, LISTED_AGAIN] {
            let plan = plan_of(listed);
            let is_by_id = |step: &String| step.starts_with("SEARCH outbox") && step.contains("(event_id=?)");
            assert!(plan.iter().any(is_by_id), "{plan:?}");
        }
    }
}
