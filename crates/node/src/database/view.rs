//! The view of a memory: its row, and how that follows from the resolved memory and the events
//! that lie over it.

use memory::clock::Clock;
use sqlx::{query, query_as};
use xxhash_rust::xxh3::Xxh3;

use super::schema::{damage, failure, signed, unsigned};
use super::writer::Writer;
use crate::actor::{branch_name, branch_of};
use crate::clock_token::ClockToken;
use crate::overlay::{Heading, OverlaidEvent, lay_over};
use crate::ports::JournalError;
use crate::shown::{MemoryStatus, ShownMemory};

/// A memory as its row has it.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryRow {
    /// The resolved memory, as the snapshots topic has it.
    pub resolved: Option<String>,
    /// Partition and offset of its record.
    pub source: Option<(i64, i64)>,
    /// The resolved memory with the node's own events over it.
    pub pending: Option<String>,
    /// The heading of the memory as it is shown.
    pub heading: Option<Heading>,
    /// The counter of the last event of the present incarnation to this memory.
    pub last_own: u64,
    /// Whether this node has ever written the memory.
    pub is_own: bool,
    /// The view of it when it was last computed.
    pub last_shown: Shown,
    /// Whether there is a row at all.
    pub exists: bool,
    /// Whether own events lie over it.
    pub has_overlays: bool,
}

/// A resolved memory that takes the place of the one that a row has.
pub(super) struct Resolution {
    /// The memory as canonical JSON.
    pub json: String,
    /// Its heading.
    pub heading: Heading,
    /// Partition and offset of its record; `None` where a user snapshot has it.
    pub source: Option<(i64, i64)>,
}

/// The view of a memory, as its row notes it when it is computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shown {
    /// Whether anything is shown.
    pub is_any: bool,
    /// A digest of it; none also in a row that an earlier version has written.
    pub digest: Option<Vec<u8>>,
    /// Its user.
    pub user_id: Option<String>,
    /// Its session.
    pub session_id: Option<String>,
}

impl MemoryRow {
    /// The JSON of the memory as it is shown; `None` where nothing is.
    pub fn shown_json(&self) -> Option<&str> {
        self.pending.as_deref().or(self.resolved.as_deref())
    }

    /// The memory as it is shown; `None` where nothing is.
    pub fn shown(&self, memory_id: &str, issuer: &Issuer) -> Result<Option<ShownMemory>, JournalError> {
        let json = self.shown_json();
        json.map(|json| shown_memory(memory_id, json.to_owned(), self.pending.is_some(), issuer)).transpose()
    }

    /// The memory as it is shown, for an answer that encloses it.
    pub fn enclosed(&self, memory_id: &str, issuer: &Issuer) -> Result<Box<ShownMemory>, JournalError> {
        let shown = self.shown(memory_id, issuer)?;
        shown.map(Box::new).ok_or_else(|| damage("a memory is not shown that should be"))
    }

    /// The view of it now.
    pub fn shown_now(&self) -> Shown {
        let heading = self.heading.as_ref();
        let digest = self.shown_json().map(|json| {
            let mut hasher = Xxh3::new();
            hasher.update(&[u8::from(self.pending.is_some())]);
            hasher.update(json.as_bytes());
            hasher.digest128().to_be_bytes().to_vec()
        });
        Shown {
            is_any: digest.is_some(),
            digest,
            user_id: heading.and_then(|heading| heading.user_id.clone()),
            session_id: heading.and_then(|heading| heading.session_id.clone()),
        }
    }
}

/// The node as the issuer of a token.
pub(super) struct Issuer {
    /// Its incarnation and its opening.
    pub name: String,
    /// Its present actor.
    pub actor: String,
    /// The counter of its last accepted event.
    pub counter: u64,
}

impl Issuer {
    /// A clock as it is handed out. A resolved memory may have a greater counter of this actor, or
    /// of a branch of it, than the node itself: a copy of its folder has published it. Events that
    /// the node accepts later get the same counters, so the token must not claim them.
    pub fn own_entry_known(&self, mut clock: Vec<(String, u64)>) -> Vec<(String, u64)> {
        for (_, entry) in clock.iter_mut().filter(|(name, _)| branch_of(&self.actor, name).is_some()) {
            *entry = self.counter.min(*entry);
        }
        clock
    }
}

/// A memory as it is shown.
pub(super) fn shown_memory(
    memory_id: &str,
    json: String,
    is_pending: bool,
    issuer: &Issuer,
) -> Result<ShownMemory, JournalError> {
    let heading = heading_of(memory_id, &json)?;
    let status = match heading.status.as_str() {
        "active" => MemoryStatus::Active,
        "deleted" => MemoryStatus::Deleted,
        "merged" => MemoryStatus::Merged,
        other => return Err(damage(&format!("the memory {memory_id:?} has the status {other:?}"))),
    };
    let token = ClockToken {
        memory_id: memory_id.to_owned(),
        clock: Clock::from_entries(issuer.own_entry_known(heading.clock)),
        version: heading.version,
        issuer: issuer.name.clone(),
    };
    let (memory_id, user_id) = (memory_id.to_owned(), heading.user_id);
    Ok(ShownMemory { memory_id, json: json.into_bytes(), status, user_id, is_pending, token })
}

fn heading_of(memory_id: &str, json: &str) -> Result<Heading, JournalError> {
    Heading::of(json.as_bytes())
        .map_err(|problem| damage(&format!("the memory {memory_id:?} cannot be read: {problem}")))
}

/// An event that lies over a memory: its number, its incarnation, branch and counter, value,
/// timestamp and state, and whether it absorbs the memory.
type OverlayRow = (i64, String, i64, i64, String, i64, String, bool);

/// A row of a memory: the resolved memory, partition and offset of its record, the memory with own
/// events over it, the last own counter, whether it was ever written and whether own events lie
/// over it; and of what was last shown whether there is anything, its digest, its user and its
/// session.
type RowOfMemory = (
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    i64,
    bool,
    bool,
    bool,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
);

impl Writer {
    /// The row of a memory.
    pub(super) async fn memory_row(&mut self, memory_id: &str) -> Result<MemoryRow, JournalError> {
        let row = query_as(
            "SELECT resolved, resolved_partition, resolved_offset, pending, last_own, own <> 0,
            EXISTS (SELECT 1 FROM overlays WHERE overlays.memory_id = memories.memory_id), status IS NOT NULL,
            shown_digest, user_id, session_id FROM memories WHERE memory_id = ?",
        );
        let row: Option<RowOfMemory> =
            row.bind(memory_id).fetch_optional(&mut self.connection).await.map_err(|error| failure(&error))?;
        let Some(row) = row else { return Ok(MemoryRow::default()) };
        let (resolved, partition, offset, pending, last_own, is_own, has_overlays, is_any, digest, user, session) = row;
        let shown = pending.as_ref().or(resolved.as_ref());
        let heading = shown.map(|json| heading_of(memory_id, json)).transpose()?;
        let (source, last_own) = (partition.zip(offset), unsigned(last_own)?);
        let last_shown = Shown { is_any, digest, user_id: user, session_id: session };
        Ok(MemoryRow { resolved, source, pending, heading, last_own, is_own, last_shown, exists: true, has_overlays })
    }

    /// Computes anew what is shown of a memory, and writes its row and its words.
    pub(super) async fn refresh(&mut self, memory_id: &str) -> Result<MemoryRow, JournalError> {
        let row = self.memory_row(memory_id).await?;
        let resolved = row.resolved.as_ref().map(|json| heading_of(memory_id, json)).transpose()?;
        let shown_before = row.shown_json().map(str::to_owned);
        self.show(memory_id, row, resolved, shown_before).await
    }

    /// The same with another resolved memory, for a row as it was read.
    pub(super) async fn resolve(
        &mut self,
        memory_id: &str,
        mut row: MemoryRow,
        resolution: Resolution,
    ) -> Result<MemoryRow, JournalError> {
        let shown_before = row.pending.take().or(row.resolved.take());
        (row.resolved, row.source) = (Some(resolution.json), resolution.source);
        self.show(memory_id, row, Some(resolution.heading), shown_before).await
    }

    /// Each call of the database is handed to its thread, which costs more than most statements do:
    /// what has not changed is not written again.
    async fn show(
        &mut self,
        memory_id: &str,
        mut row: MemoryRow,
        resolved: Option<Heading>,
        shown_before: Option<String>,
    ) -> Result<MemoryRow, JournalError> {
        let events = match row.has_overlays {
            true => self.overlaid(memory_id, resolved.as_ref()).await?,
            false => Vec::new(),
        };
        row.pending = if events.is_empty() {
            None
        } else {
            let base = row.resolved.as_deref().map(str::as_bytes);
            let shown = lay_over(memory_id, base, &events, &self.settings.resolver, &self.settings.limits);
            let shown = shown.map_err(|error| damage(&error.to_string()))?;
            Some(String::from_utf8(shown).map_err(|error| damage(&error.to_string()))?)
        };
        row.heading = match &row.pending {
            Some(json) => Some(heading_of(memory_id, json)?),
            None => resolved,
        };
        let number = self.put_row(memory_id, &row).await?;
        if row.shown_json() != shown_before.as_deref() {
            self.put_words(number, shown_before.is_some(), row.heading.as_ref()).await?;
            self.put_search_keys(number, memory_id, &row).await?;
        }
        self.note_change(memory_id, &row.last_shown, &row).await?;
        row.exists = true;
        Ok(row)
    }

    /// The events that lie over a memory, in their order. One that is published and that the
    /// resolved memory covers lies over it no longer.
    async fn overlaid(
        &mut self,
        memory_id: &str,
        resolved: Option<&Heading>,
    ) -> Result<Vec<OverlaidEvent>, JournalError> {
        let rows = query_as(
            "SELECT outbox.number, incarnation, branch, counter, value, timestamp_ms, state, absorbed <> 0
            FROM overlays JOIN outbox ON outbox.number = overlays.event
            WHERE overlays.memory_id = ? ORDER BY outbox.number",
        );
        let rows: Vec<OverlayRow> =
            rows.bind(memory_id).fetch_all(&mut self.connection).await.map_err(|error| failure(&error))?;
        let mut events = Vec::with_capacity(rows.len());
        for (number, incarnation, branch, counter, value, timestamp_ms, state, is_absorbed) in rows {
            let actor = branch_name(&format!("{}.{incarnation}", self.state.actor.name), unsigned(branch)?);
            let is_covered = resolved.is_some_and(|heading| heading.entry(&actor) >= counter.unsigned_abs());
            if state == "published" && is_covered {
                let covered = query("DELETE FROM overlays WHERE memory_id = ? AND event = ?");
                let covered = covered.bind(memory_id).bind(number);
                covered.execute(&mut self.connection).await.map_err(|error| failure(&error))?;
            } else {
                events.push(OverlaidEvent { value: value.into_bytes(), timestamp_ms, is_absorbed });
            }
        }
        Ok(events)
    }

    /// Writes the row, and returns its number.
    async fn put_row(&mut self, memory_id: &str, row: &MemoryRow) -> Result<i64, JournalError> {
        let heading = row.heading.as_ref();
        let active = heading.filter(|heading| heading.status == "active");
        // A time that the database cannot hold never comes.
        let expires_at = active.and_then(|heading| i64::try_from(heading.expires_at?).ok());
        let conflicted = heading.map_or(0, |heading| heading.conflicted.len());
        let put = query_as(
            "INSERT INTO memories (memory_id, resolved, resolved_partition, resolved_offset, pending, status,
                user_id, session_id, conflicted, last_own, shown_digest, expires_at, expiry_due)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?12, ?12)
            ON CONFLICT (memory_id) DO UPDATE SET resolved = excluded.resolved,
                resolved_partition = excluded.resolved_partition, resolved_offset = excluded.resolved_offset,
                pending = excluded.pending, status = excluded.status, user_id = excluded.user_id,
                session_id = excluded.session_id, conflicted = excluded.conflicted, last_own = excluded.last_own,
                shown_digest = excluded.shown_digest, expires_at = excluded.expires_at,
                expiry_due = CASE WHEN expires_at IS excluded.expires_at THEN expiry_due ELSE excluded.expires_at END
            RETURNING number",
        );
        let (number,): (i64,) = put
            .bind(memory_id)
            .bind(&row.resolved)
            .bind(row.source.map(|(partition, _)| partition))
            .bind(row.source.map(|(_, offset)| offset))
            .bind(&row.pending)
            .bind(heading.map(|heading| &heading.status))
            .bind(heading.and_then(|heading| heading.user_id.as_ref()))
            .bind(heading.and_then(|heading| heading.session_id.as_ref()))
            .bind(i64::try_from(conflicted).unwrap_or(i64::MAX))
            .bind(signed(row.last_own)?)
            .bind(row.shown_now().digest)
            .bind(expires_at)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| failure(&error))?;
        Ok(number)
    }

    /// Writes the words of a memory, in place of older ones where there may be any.
    async fn put_words(&mut self, number: i64, has_older: bool, heading: Option<&Heading>) -> Result<(), JournalError> {
        if has_older {
            let old = query("DELETE FROM memories_fts WHERE rowid = ?").bind(number);
            old.execute(&mut self.connection).await.map_err(|error| failure(&error))?;
        }
        let Some(heading) = heading.filter(|heading| heading.status == "active") else { return Ok(()) };
        if heading.content.is_none() && heading.tags.is_none() {
            return Ok(());
        }
        let new = query("INSERT INTO memories_fts (rowid, content, tags) VALUES (?, ?, ?)");
        let new = new.bind(number).bind(&heading.content).bind(&heading.tags);
        new.execute(&mut self.connection).await.map_err(|error| failure(&error))?;
        Ok(())
    }

    /// Notes that an event of the present incarnation changes a memory: one of its actor with this
    /// counter, or, with 0, one of a branch.
    pub(super) async fn put_last_own(&mut self, memory_id: &str, counter: u64) -> Result<(), JournalError> {
        let put = query(
            "INSERT INTO memories (memory_id, last_own, own) VALUES (?, ?, 1)
            ON CONFLICT (memory_id) DO UPDATE SET last_own = max(last_own, excluded.last_own), own = 1",
        );
        let put = put.bind(memory_id).bind(signed(counter)?);
        put.execute(&mut self.connection).await.map_err(|error| failure(&error))?;
        Ok(())
    }
}
