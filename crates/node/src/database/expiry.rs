//! Memories that expire: which are due, and their deletes ([`crate::expiry`]).

use std::collections::BTreeMap;

use json::{ObjectWriter, Value, ValueKind, rfc3339};
use memory::event::{BadInput, Class};
use sqlx::{query, query_as};

use super::queries::Readers;
use super::schema::{failure, signed};
use super::writer::Writer;
use crate::actor::Actor;
use crate::expiry::{AFTER_FAILURE, EXPIRES_AT, EXPIRES_BY, ExpiryTerms, LOOK_AGAIN, nanos};
use crate::ports::JournalError;
use crate::write::{Fields, MemoryWrite, Refusal, WriteError, WriteKind};

/// Memories that are looked for at a time.
const DUE_AT_A_TIME: i64 = 256;

impl Readers {
    /// The memories that the node is to look at by now, the first ones of them.
    pub(crate) async fn due_expiries(&self, now_ns: u64) -> Result<Vec<String>, JournalError> {
        let rows = query_as("SELECT memory_id FROM memories WHERE expiry_due <= ? ORDER BY expiry_due LIMIT ?");
        let rows = rows.bind(signed(now_ns)?).bind(DUE_AT_A_TIME);
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let rows: Vec<(String,)> = rows.fetch_all(connection).await.map_err(|error| failure(&error))?;
        Ok(rows.into_iter().map(|(memory_id,)| memory_id).collect())
    }
}

impl Writer {
    /// Deletes a memory if it is still due and this node is to do it, or says when to look again.
    /// Whether it was deleted.
    pub(super) async fn expire(&mut self, memory_id: &str, terms: &ExpiryTerms) -> Result<bool, JournalError> {
        let row = self.memory_row(memory_id).await?;
        let heading = row.heading.filter(|heading| heading.status == "active");
        let Some((expires_at, setter)) = heading.and_then(|heading| Some((heading.expires_at?, heading.expires_by)))
        else {
            let over = query("UPDATE memories SET expiry_due = NULL WHERE memory_id = ?").bind(memory_id);
            over.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
            return Ok(false);
        };
        let setter: Option<Actor> = setter.and_then(|setter| setter.parse().ok());
        let is_own = setter.as_ref().is_some_and(|setter| self.has_been(setter));
        match terms.turn(expires_at, is_own, setter.as_ref()) {
            Some(turn) if turn <= terms.now_ns => {}
            turn => {
                let again = terms.now_ns.saturating_add(nanos(LOOK_AGAIN));
                self.postpone_expiry(memory_id, turn.map_or(again, |turn| turn.min(again))).await?;
                return Ok(false);
            }
        }
        let delete = MemoryWrite::new(memory_id, WriteKind::Delete, Fields::new());
        // A refusal may come after rows were written, and this request goes on.
        match self.within_savepoint(async |writer| writer.accept_at(&delete, Some(expires_at)).await).await {
            Ok(_) => Ok(true),
            Err(WriteError::Database(error)) => Err(error),
            Err(WriteError::Refused(refusal)) => {
                tracing::debug!("the memory {memory_id:?} that has expired is not deleted: {refusal}");
                self.postpone_expiry(memory_id, terms.now_ns.saturating_add(nanos(AFTER_FAILURE))).await?;
                Ok(false)
            }
        }
    }

    /// Whether this node is the actor, or was it before.
    fn has_been(&self, actor: &Actor) -> bool {
        let is_former = || self.state.former.iter().any(|former| former.incarnation == actor.incarnation);
        actor.name == self.state.actor.name && (actor.incarnation == self.state.actor.incarnation || is_former())
    }

    async fn postpone_expiry(&mut self, memory_id: &str, until: u64) -> Result<(), JournalError> {
        let later = query("UPDATE memories SET expiry_due = max(expiry_due, ?) WHERE memory_id = ?");
        let later = later.bind(i64::try_from(until).unwrap_or(i64::MAX)).bind(memory_id);
        later.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        Ok(())
    }

    /// Where the event that has failed is the delete of a memory, the node does not try again at
    /// once.
    pub(super) async fn rest_after_failure(&mut self, memory_id: &str, event: i64) -> Result<(), JournalError> {
        let is_delete = query_as("SELECT json_extract(value, '$.event_type') = ? FROM outbox WHERE number = ?");
        let is_delete = is_delete.bind(WriteKind::Delete.event_type()).bind(event);
        let (is_delete,): (bool,) =
            is_delete.fetch_one(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        if is_delete {
            self.postpone_expiry(memory_id, self.now_ns().saturating_add(nanos(AFTER_FAILURE))).await?;
        }
        Ok(())
    }
}

/// Checks the time at which a memory is to expire where a write sets or clears it, and notes who
/// has set it.
pub(super) fn note_setter(fields: &mut BTreeMap<&'static str, Vec<u8>>, actor: &str) -> Result<(), Refusal> {
    let Some(document) = fields.get("metadata").and_then(|text| json::parse(text).ok()) else { return Ok(()) };
    let metadata = document.root();
    if metadata.kind() != ValueKind::Object {
        return Ok(());
    }
    let Some(expires_at) = metadata.get(EXPIRES_AT) else { return Ok(()) };
    let mut setter = b"null".to_vec();
    if expires_at.kind() != ValueKind::Null {
        let time = expires_at.as_str().ok_or_else(|| "it is no text".to_owned());
        time.and_then(|text| rfc3339::parse(text).map_err(|error| error.to_string())).map_err(|problem| {
            let message = format!(
                "`expires_at` should be a time such as 2026-12-31T00:00:00Z, or null for a memory that does not expire: {problem}"
            );
            Refusal::BadEvent(BadInput::new(Class::BadTimestamp, message))
        })?;
        setter.clear();
        json::write_string(&mut setter, actor);
    }
    let mut members: BTreeMap<&str, Vec<u8>> =
        metadata.sorted_members().map(|(key, value)| (key, Value::canonical(value))).collect();
    members.insert(EXPIRES_BY, setter);
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    members.iter().for_each(|(key, value)| object.raw(key, value));
    object.end();
    fields.insert("metadata", out);
    Ok(())
}
