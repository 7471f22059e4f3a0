//! The resolved states of memories that the node has applied.

use sqlx::query_as;

use super::connection::statement;
use super::queries::{Readers, event_of, own_event_columns};
use super::schema::{damage, failure, unsigned};
use super::view::MemoryRow;
use super::writer::Writer;
use crate::history::{MemoryHistory, ResolvedState, place_events};
use crate::ports::JournalError;
use crate::resolved_state::{KeptState, StateBefore, StateSource, kept_state};

/// Bytes that a state counts for beside its texts.
const ROW_BYTES: usize = 150;
/// The oldest states that have to go until the rest has no more bytes than allowed: no others are
/// read.
pub(super) const TRIM_STATES: &str = "DELETE FROM history WHERE number IN (
    WITH RECURSIVE
        excess (bytes) AS MATERIALIZED (SELECT bytes - ?1 FROM history_size WHERE bytes > ?1),
        old (number, before) AS (
            SELECT (SELECT min(number) FROM history), 0 FROM excess
            UNION ALL
            SELECT (SELECT min(number) FROM history WHERE number > old.number),
                before + (SELECT bytes FROM history WHERE history.number = old.number)
            FROM old, excess
            WHERE before + (SELECT bytes FROM history WHERE history.number = old.number) < excess.bytes
        )
    SELECT number FROM old)";
/// The last own events of a history, and the most bytes of them.
const EVENTS: i64 = 32;
const EVENT_BYTES: i64 = 4 << 20;

/// A state as it is read: its place, whether it is the first, its user and the one before, and
/// itself.
type StateRow = (i64, bool, Option<String>, Option<String>, String);

/// An event as it is read (`queries::OwnEventRow`), and how many there are of its memory.
type EventRow = (i64, String, String, i64, i64, String, String, Option<String>, bool, String, i64);

impl Writer {
    /// Keeps a resolved state that takes the place of the one of a row. One that says the same is
    /// none.
    pub(super) fn note_state(
        &mut self,
        memory_id: &str,
        row: &MemoryRow,
        json: &str,
        source: StateSource,
        user_id: Option<&str>,
    ) -> Result<(), JournalError> {
        if self.settings.kept_states == 0 || row.resolved.as_deref() == Some(json) {
            return Ok(());
        }
        let before = row.resolved.as_ref().map(|json| StateBefore {
            json: json.as_bytes(),
            source: if row.source.is_some() { StateSource::Stream } else { StateSource::Restore },
        });
        let state = kept_state(before.as_ref(), json.as_bytes(), source, self.now_ms());
        let KeptState { old_user_id, json } = state.map_err(|problem| damage(&problem))?;
        let bytes = i64::try_from(memory_id.len() + json.len() + ROW_BYTES).unwrap_or(i64::MAX);
        let put = statement(
            "INSERT INTO history (memory_id, place, bytes, total, is_first, user_id, old_user_id, state)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let last = row.last_state;
        let (place, total) = (last.place + 1, last.total.saturating_add(bytes));
        let put = put.bind(memory_id).bind(place).bind(bytes).bind(total);
        self.connection.queue(&put.bind(before.is_none()).bind(user_id).bind(old_user_id).bind(json))?;
        self.has_states = true;
        let limit = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (states, kept_bytes) = (limit(self.settings.kept_states), limit(self.settings.kept_state_bytes));
        if place > states || total > kept_bytes {
            let old = statement(
                "DELETE FROM history WHERE memory_id = ?1 AND place < ?2 AND (place <= ?2 - ?3 OR total - bytes < ?4 - ?5)",
            );
            self.connection.queue(&old.bind(memory_id).bind(place).bind(states).bind(total).bind(kept_bytes))?;
        }
        Ok(())
    }

    /// Removes the states of a memory that the node no longer keeps.
    pub(super) fn forget_states(&mut self, memory_id: &str) -> Result<(), JournalError> {
        self.connection.queue(&statement("DELETE FROM history WHERE memory_id = ?").bind(memory_id))
    }

    /// Removes the oldest states of all memories where they have too many bytes together.
    pub(super) fn trim_states(&mut self) -> Result<(), JournalError> {
        let most = i64::try_from(self.settings.kept_history_bytes).unwrap_or(i64::MAX);
        self.connection.queue(&statement(TRIM_STATES).bind(most))
    }
}

impl Readers {
    /// The history of a memory.
    pub(crate) async fn history(&self, memory_id: &str) -> Result<MemoryHistory, JournalError> {
        let states = query_as(
            "SELECT place, is_first <> 0, user_id, old_user_id, state FROM history WHERE memory_id = ? ORDER BY place",
        );
        let events = query_as(concat!(
            "SELECT ",
            own_event_columns!(),
            ", (SELECT count(*) FROM outbox WHERE memory_id = ?1) FROM (
                SELECT number AS at, sum(octet_length(value)) OVER (ORDER BY number DESC) - octet_length(value) AS before
                FROM outbox WHERE memory_id = ?1 ORDER BY number DESC LIMIT ?2
            ) CROSS JOIN outbox ON outbox.number = at WHERE before < ?3 ORDER BY number",
        ));
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let states: Vec<StateRow> =
            states.bind(memory_id).fetch_all(&mut *connection).await.map_err(|error| failure(&error))?;
        let events = events.bind(memory_id).bind(EVENTS).bind(EVENT_BYTES);
        let events: Vec<EventRow> = events.fetch_all(connection).await.map_err(|error| failure(&error))?;
        drop(guard);
        let state = |(place, is_first, user_id, old_user_id, json): StateRow| {
            let number = unsigned(place)?;
            Ok(ResolvedState { number, is_first, user_id, old_user_id, json: json.into_bytes() })
        };
        let states = states.into_iter().map(state).collect::<Result<Vec<_>, JournalError>>()?;
        let has_all_events = events.first().is_none_or(|row| row.10 <= i64::try_from(events.len()).unwrap_or(i64::MAX));
        let event = |row: EventRow| {
            let (number, id, incarnation, branch, counter, value, state, failure, is_lifted, name, _) = row;
            event_of((number, id, incarnation, branch, counter, value, state, failure, is_lifted, name))
        };
        let events = events.into_iter().map(event).collect::<Result<Vec<_>, JournalError>>()?;
        Ok(MemoryHistory { events: place_events(events, &states)?, states, has_all_events })
    }
}
