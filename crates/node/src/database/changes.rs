//! The last changes of what is shown of memories, which streams of events read.

use memory::clock::Clock;
use sqlx::query_as;

use super::connection::statement;
use super::queries::{Readers, json_array};
use super::schema::{failure, signed, unsigned};
use super::view::{MemoryRow, Shown};
use super::writer::Writer;
use crate::changes::{ChangeId, ChangePage, ChangeQuery, ChangedMemory, MemoryChange};
use crate::clock_token::ClockToken;
use crate::ports::JournalError;

/// Changes that a reader gets at a time.
const PAGE: i64 = 64;
/// Bytes of changes that a reader gets at a time; one change may be larger.
const PAGE_BYTES: i64 = 256 << 10;
/// Bytes that a change counts for beside its texts.
const ROW_BYTES: usize = 200;

/// A change as it is read: number, opening, id and whether it shows what was asked for; the memory,
/// its token, whether own events lie over it; whether it was among what was asked for.
type ChangeRow = (i64, String, Option<String>, Option<String>, Option<String>, bool, bool);

/// A change. The session before it is that of the last change of the memory where the memory has
/// none; that change may have been removed.
const PUT_CHANGE: &str = "INSERT INTO changes (number, opening, total, memory_id, user_id, session_id, was_shown,
        old_user_id, old_session_id, pending, token, memory, bytes)
    SELECT ?1, ?2, ?3, ?4, ?5, CASE WHEN ?7 THEN ?6 ELSE old_session_id END, ?8, ?9, old_session_id, ?11, ?12, ?13, ?14
    FROM (SELECT coalesce(?10, CASE WHEN ?8 THEN
        (SELECT session_id FROM changes WHERE memory_id = ?4 ORDER BY number DESC LIMIT 1) END) AS old_session_id)";

impl Writer {
    /// Notes what is shown of a memory now, where that is something else than before.
    pub(super) fn note_change(&mut self, memory_id: &str, before: &Shown, row: &MemoryRow) -> Result<(), JournalError> {
        let after = row.shown_now();
        if (after.is_any, &after.digest) == (before.is_any, &before.digest) {
            return Ok(());
        }
        let token = row.heading.as_ref().map(|heading| {
            let issuer = self.issuer();
            let clock = Clock::from_entries(issuer.own_entry_known(heading.clock.clone()));
            let (memory_id, version) = (memory_id.to_owned(), heading.version);
            ClockToken { memory_id, clock, version, issuer: issuer.name }.encode()
        });
        // A memory that is not active has no session any more, and its end belongs to the last one:
        // its deletion as well as the confirmation of that.
        let is_active = row.heading.as_ref().is_some_and(|heading| heading.status == "active");
        let memory = row.shown_json();
        let bytes = memory_id.len() + memory.map_or(0, str::len) + token.as_ref().map_or(0, String::len) + ROW_BYTES;
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let last = &mut self.state.last_change;
        last.number += 1;
        last.total = last.total.saturating_add(bytes);
        let change = statement(PUT_CHANGE)
            .bind(last.number)
            .bind(last.opening)
            .bind(last.total)
            .bind(memory_id)
            .bind(after.user_id)
            .bind(after.session_id)
            .bind(is_active)
            .bind(before.is_any)
            .bind(&before.user_id)
            .bind(&before.session_id)
            .bind(row.pending.is_some())
            .bind(token)
            .bind(memory)
            .bind(bytes);
        self.connection.queue(&change)?;
        self.has_changes = true;
        Ok(())
    }
}

impl Readers {
    /// The last change.
    pub(crate) async fn last_change(&self) -> Result<ChangeId, JournalError> {
        let row = query_as(
            "SELECT changes.number, openings.opening FROM changes
            JOIN openings ON openings.number = changes.opening ORDER BY changes.number DESC LIMIT 1",
        );
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let (number, opening): (i64, String) = row.fetch_one(connection).await.map_err(|error| failure(&error))?;
        Ok(ChangeId { number: unsigned(number)?, opening })
    }

    /// The changes after one; `None` where the database no longer has all of them, or never had
    /// that one.
    pub(crate) async fn changes(
        &self,
        after: &ChangeId,
        wanted: &ChangeQuery,
    ) -> Result<Option<ChangePage>, JournalError> {
        let rows = query_as(
            "SELECT changes.number, openings.opening, memory_id, CASE WHEN is_shown THEN memory END,
                CASE WHEN is_shown THEN token END, pending <> 0, was_shown
            FROM (
                SELECT number, opening, memory_id, memory, token, pending,
                    (memory IS NOT NULL
                        AND (?2 IS NULL OR user_id IN (SELECT value FROM json_each(?2)))
                        AND (?3 IS NULL OR session_id = ?3)) IS TRUE AS is_shown,
                    (was_shown <> 0
                        AND (?2 IS NULL OR old_user_id IN (SELECT value FROM json_each(?2)))
                        AND (?3 IS NULL OR old_session_id = ?3)) IS TRUE AS was_shown
                FROM (
                    SELECT number AS at, sum(bytes) OVER (ORDER BY number) - bytes AS bytes_before FROM (
                        SELECT number, bytes FROM changes INDEXED BY changes_sizes WHERE number > ?1
                        ORDER BY number LIMIT ?4
                    )
                ) CROSS JOIN changes ON changes.number = at WHERE bytes_before < ?5
            ) AS changes JOIN openings ON openings.number = changes.opening
            ORDER BY changes.number",
        );
        let users = wanted.users.as_ref().map(json_array);
        let rows = rows.bind(signed(after.number)?).bind(&users).bind(&wanted.session_id).bind(PAGE).bind(PAGE_BYTES);
        // This is asked after the rows: what is removed between the two statements makes this
        // answer false, so no gap goes unnoticed.
        let has_all = query_as(
            "SELECT EXISTS (
                SELECT 1 FROM openings AS own, kept_changes
                WHERE own.opening = ?1 AND own.first_change <= ?2 AND ?2 >= kept_changes.floor
                    AND ?2 <= (SELECT max(number) FROM changes)
                    AND NOT EXISTS (SELECT 1 FROM openings AS later WHERE later.number > own.number
                        AND later.first_change <= ?2)
            ) AND NOT EXISTS (
                SELECT 1 FROM removed_changes
                WHERE number > ?2 AND (?3 IS NULL OR user_id IN (SELECT value FROM json_each(?3)))
            )",
        );
        let has_all = has_all.bind(&after.opening).bind(signed(after.number)?).bind(&users);
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let rows: Vec<ChangeRow> = rows.fetch_all(&mut *connection).await.map_err(|error| failure(&error))?;
        let (has_all,): (bool,) = has_all.fetch_one(connection).await.map_err(|error| failure(&error))?;
        drop(guard);
        if !has_all {
            return Ok(None);
        }
        let mut page = ChangePage { changes: Vec::new(), next: after.clone() };
        for (number, opening, memory_id, memory, token, is_pending, was_shown) in rows {
            page.next = ChangeId { number: unsigned(number)?, opening };
            let memory = memory.zip(token);
            let memory = memory.map(|(json, token)| ChangedMemory { json: json.into_bytes(), token, is_pending });
            if let (Some(memory_id), true) = (memory_id, memory.is_some() || was_shown) {
                page.changes.push(MemoryChange { id: page.next.clone(), memory_id, memory });
            }
        }
        Ok(Some(page))
    }
}
