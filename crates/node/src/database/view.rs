//! The view of a memory: its row, and how that follows from the resolved memory and the events
//! that lie over it.

use memory::clock::Clock;
use xxhash_rust::xxh3::Xxh3;

use super::connection::statement;
use super::schema::{damage, signed, unsigned};
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
    /// The own events that lie over it, in their order.
    pub overlays: Vec<OverlaidRow>,
    /// The last state of its history.
    pub last_state: LastState,
}

/// The last state of a memory: its place among the states of this memory, and the bytes of all
/// states up to it; 0 where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastState {
    pub place: i64,
    pub total: i64,
}

/// An own event that lies over a memory.
#[derive(Clone, Debug)]
pub(super) struct OverlaidRow {
    /// Its row in the outbox; none where this transaction writes it.
    pub number: Option<i64>,
    /// Its writer: an actor that this node is or was, or a branch of it.
    pub actor: String,
    /// Its counter.
    pub counter: u64,
    /// Whether Kafka has committed it.
    pub is_published: bool,
    /// The event itself.
    pub event: OverlaidEvent,
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
        shown.map(Box::new).ok_or_else(|| {
            damage(&format!("the memory {memory_id:?} is to be enclosed in an answer, and nothing is shown of it"))
        })
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

/// The row of a memory. Its statement and [`OVERLAYS`] are one call.
pub(super) const ROW: &str = "SELECT resolved, resolved_partition, resolved_offset, pending, last_own, own <> 0,
        status IS NOT NULL, shown_digest, user_id, session_id,
        coalesce((SELECT place FROM history WHERE history.memory_id = memories.memory_id
            ORDER BY place DESC LIMIT 1), 0),
        coalesce((SELECT total FROM history WHERE history.memory_id = memories.memory_id
            ORDER BY place DESC LIMIT 1), 0)
    FROM memories WHERE memory_id = ?";

/// The own events that lie over a memory, in their order.
const OVERLAYS: &str = "SELECT outbox.number, incarnation, branch, counter, value, timestamp_ms,
        state = 'published', absorbed <> 0
    FROM overlays JOIN outbox ON outbox.number = overlays.event
    WHERE overlays.memory_id = ? ORDER BY outbox.number";

/// An event as [`OVERLAYS`] has it: its number, its incarnation, branch and counter, value and
/// timestamp, whether it is published, and whether it absorbs the memory.
type OverlayRow = (i64, String, i64, i64, String, i64, bool, bool);

/// A row as [`ROW`] has it: the resolved memory, partition and offset of its record, the memory
/// with own events over it, the last own counter and whether it was ever written; of what was last
/// shown whether there is anything, its digest, its user and its session; and place and total of
/// the last state of its history.
type RowOfMemory = (
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    i64,
    bool,
    bool,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
    i64,
    i64,
);

/// A memory as it was shown before a change of its row.
struct ShownBefore {
    json: Option<String>,
    heading: Option<Heading>,
}

impl Writer {
    /// The row of a memory.
    pub(super) async fn memory_row(&mut self, memory_id: &str) -> Result<MemoryRow, JournalError> {
        let (row, overlays) = (statement(ROW).bind(memory_id), statement(OVERLAYS).bind(memory_id));
        let (row, overlays): (Option<RowOfMemory>, Vec<OverlayRow>) =
            self.connection.fetch_both(&row, &overlays).await?;
        let overlays = overlays.into_iter().map(|row| self.overlay_of(row)).collect::<Result<_, _>>()?;
        let Some(row) = row else { return Ok(MemoryRow { overlays, ..MemoryRow::default() }) };
        let (resolved, partition, offset, pending, last_own, is_own, is_any, digest, user, session, place, total) = row;
        let shown = pending.as_ref().or(resolved.as_ref());
        let heading = shown.map(|json| heading_of(memory_id, json)).transpose()?;
        Ok(MemoryRow {
            resolved,
            source: partition.zip(offset),
            pending,
            heading,
            last_own: unsigned(last_own)?,
            is_own,
            last_shown: Shown { is_any, digest, user_id: user, session_id: session },
            exists: true,
            overlays,
            last_state: LastState { place, total },
        })
    }

    fn overlay_of(&self, row: OverlayRow) -> Result<OverlaidRow, JournalError> {
        let (number, incarnation, branch, counter, value, timestamp_ms, is_published, is_absorbed) = row;
        let actor = branch_name(&format!("{}.{incarnation}", self.state.actor.name), unsigned(branch)?);
        let event = OverlaidEvent { value: value.into_bytes(), timestamp_ms, is_absorbed };
        Ok(OverlaidRow { number: Some(number), actor, counter: unsigned(counter)?, is_published, event })
    }

    /// Computes anew what is shown of a memory, and writes its row and its words.
    pub(super) async fn refresh(&mut self, memory_id: &str) -> Result<MemoryRow, JournalError> {
        let row = self.memory_row(memory_id).await?;
        self.show_again(memory_id, row)
    }

    /// Shows a row that was read before with one more event of this node over it. `last_own` is the
    /// event's counter, or 0 where it is one of a branch.
    pub(super) fn lay_over_row(
        &mut self,
        memory_id: &str,
        mut row: MemoryRow,
        event: OverlaidRow,
        last_own: u64,
    ) -> Result<MemoryRow, JournalError> {
        (row.last_own, row.is_own) = (row.last_own.max(last_own), true);
        row.overlays.push(event);
        self.show_again(memory_id, row)
    }

    /// Shows a row anew, with the resolved memory that it has.
    fn show_again(&mut self, memory_id: &str, row: MemoryRow) -> Result<MemoryRow, JournalError> {
        let resolved = match &row.pending {
            Some(_) => row.resolved.as_ref().map(|json| heading_of(memory_id, json)).transpose()?,
            None => row.heading.clone(),
        };
        let before = ShownBefore { json: row.shown_json().map(str::to_owned), heading: row.heading.clone() };
        self.show(memory_id, row, resolved, &before)
    }

    /// Shows a row that was read before with another resolved memory.
    pub(super) fn resolve(
        &mut self,
        memory_id: &str,
        mut row: MemoryRow,
        resolution: Resolution,
    ) -> Result<MemoryRow, JournalError> {
        let before = ShownBefore { json: row.pending.take().or(row.resolved.take()), heading: row.heading.take() };
        (row.resolved, row.source) = (Some(resolution.json), resolution.source);
        self.show(memory_id, row, Some(resolution.heading), &before)
    }

    fn show(
        &mut self,
        memory_id: &str,
        mut row: MemoryRow,
        resolved: Option<Heading>,
        before: &ShownBefore,
    ) -> Result<MemoryRow, JournalError> {
        self.drop_covered(memory_id, &mut row, resolved.as_ref())?;
        row.pending = if row.overlays.is_empty() {
            None
        } else {
            let base = row.resolved.as_deref().map(str::as_bytes);
            let events = row.overlays.iter().map(|overlay| &overlay.event);
            let shown = lay_over(memory_id, base, events, &self.settings.resolver, &self.settings.limits);
            let shown = shown.map_err(|error| damage(&error.to_string()))?;
            Some(String::from_utf8(shown).map_err(|error| damage(&error.to_string()))?)
        };
        row.heading = match &row.pending {
            Some(json) => Some(heading_of(memory_id, json)?),
            None => resolved,
        };
        self.put_row(memory_id, &row)?;
        if row.shown_json() != before.json.as_deref() {
            self.put_words(memory_id, before.heading.as_ref(), row.heading.as_ref())?;
            let before = before.heading.as_ref().zip(before.json.as_deref());
            self.put_search_keys(memory_id, before, row.heading.as_ref().zip(row.shown_json()))?;
        }
        self.note_change(memory_id, &row.last_shown, &row)?;
        row.exists = true;
        Ok(row)
    }

    /// Removes the own events that are published and that the resolved memory covers from what lies
    /// over it.
    fn drop_covered(
        &mut self,
        memory_id: &str,
        row: &mut MemoryRow,
        resolved: Option<&Heading>,
    ) -> Result<(), JournalError> {
        let Some(heading) = resolved else { return Ok(()) };
        let is_covered =
            |overlay: &OverlaidRow| overlay.is_published && heading.entry(&overlay.actor) >= overlay.counter;
        for overlay in row.overlays.iter().filter(|overlay| is_covered(overlay)) {
            let covered = statement("DELETE FROM overlays WHERE memory_id = ? AND event = ?");
            self.connection.queue(&covered.bind(memory_id).bind(overlay.number))?;
        }
        row.overlays.retain(|overlay| !is_covered(overlay));
        Ok(())
    }

    /// Writes the row.
    fn put_row(&mut self, memory_id: &str, row: &MemoryRow) -> Result<(), JournalError> {
        let heading = row.heading.as_ref();
        let active = heading.filter(|heading| heading.status == "active");
        // A time that the database cannot hold never comes.
        let expires_at = active.and_then(|heading| i64::try_from(heading.expires_at?).ok());
        let conflicted = heading.map_or(0, |heading| heading.conflicted.len());
        let put = statement(
            "INSERT INTO memories (memory_id, resolved, resolved_partition, resolved_offset, pending, status,
                user_id, session_id, conflicted, last_own, own, shown_digest, expires_at, expiry_due)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13)
            ON CONFLICT (memory_id) DO UPDATE SET resolved = excluded.resolved,
                resolved_partition = excluded.resolved_partition, resolved_offset = excluded.resolved_offset,
                pending = excluded.pending, status = excluded.status, user_id = excluded.user_id,
                session_id = excluded.session_id, conflicted = excluded.conflicted, last_own = excluded.last_own,
                own = excluded.own, shown_digest = excluded.shown_digest, expires_at = excluded.expires_at,
                expiry_due = CASE WHEN expires_at IS excluded.expires_at THEN expiry_due ELSE excluded.expires_at END",
        );
        let put = put
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
            .bind(row.is_own)
            .bind(row.shown_now().digest)
            .bind(expires_at);
        self.connection.queue(&put)
    }

    /// Writes the words of a memory where they have changed.
    fn put_words(
        &mut self,
        memory_id: &str,
        before: Option<&Heading>,
        heading: Option<&Heading>,
    ) -> Result<(), JournalError> {
        let (old, new) = (before.and_then(words), heading.and_then(words));
        if old == new {
            return Ok(());
        }
        if old.is_some() {
            let old = "DELETE FROM memories_fts WHERE rowid = (SELECT number FROM memories WHERE memory_id = ?)";
            self.connection.queue(&statement(old).bind(memory_id))?;
        }
        let Some((content, tags)) = new else { return Ok(()) };
        let put = statement(
            "INSERT INTO memories_fts (rowid, content, tags)
            VALUES ((SELECT number FROM memories WHERE memory_id = ?), ?, ?)",
        );
        self.connection.queue(&put.bind(memory_id).bind(content).bind(tags))
    }

    /// Notes that an event of the present incarnation changes a memory: one of its actor with this
    /// counter, or, with 0, one of a branch.
    pub(super) fn put_last_own(&mut self, memory_id: &str, counter: u64) -> Result<(), JournalError> {
        let put = statement(
            "INSERT INTO memories (memory_id, last_own, own) VALUES (?, ?, 1)
            ON CONFLICT (memory_id) DO UPDATE SET last_own = max(last_own, excluded.last_own), own = 1",
        );
        self.connection.queue(&put.bind(memory_id).bind(signed(counter)?))
    }
}

/// Content and tags of an active memory that has either.
fn words(heading: &Heading) -> Option<(&Option<String>, &Option<String>)> {
    let has_words = heading.status == "active" && (heading.content.is_some() || heading.tags.is_some());
    has_words.then_some((&heading.content, &heading.tags))
}
