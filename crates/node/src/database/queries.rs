//! Questions of readers. Each is one statement, so that it sees one commit whole.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::executor::block_on;
use futures::lock::{Mutex, MutexGuard};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, query_as};

use super::schema::{damage, failure, open_reader, signed, unsigned};
use super::state::{actor_of, identity};
use super::view::{Issuer, shown_memory};
use crate::actor::EventActor;
use crate::ports::{Identity, JournalError, OutboxEvent, SyncRequest};
use crate::shown::{
    EventPage, EventState, FormerIncarnation, ListQuery, MAX_PAGE, MAX_PAGE_BYTES, NodeStatus, OwnEvent, Page,
    Position, Publishing, ShownMemory,
};

/// How many questions are answered at a time; each connection takes a thread and its pages.
const READERS: usize = 2;

/// Own events that are read at a time.
const EVENTS_AT_A_TIME: i64 = 16;

/// Sync requests that are sent in one transaction.
const REQUESTS_AT_A_TIME: i64 = 100;

/// The connections of readers.
pub(crate) struct Readers {
    connections: [Mutex<Option<SqliteConnection>>; READERS],
    /// Held by the one search by an embedding that reads them all.
    pub(super) near_searches: Mutex<()>,
    next: AtomicUsize,
    is_closed: AtomicBool,
}

/// A memory as it is read: id, JSON, whether own events lie over it, the issuer of its token, the
/// node's actor and its counter.
pub(super) type ShownRow = (String, String, bool, String, String, i64);

/// A [`ShownRow`], and of how many memories it is one before they are cut by their bytes.
pub(super) type CountedRow = (String, String, bool, String, String, i64, i64);

/// An event as it is read: its number, id, incarnation, branch, counter, value, state, failure,
/// whether no overlay has it any more, and the name of the node.
pub(super) type OwnEventRow = (i64, String, String, i64, i64, String, String, Option<String>, bool, String);

/// The columns of an [`OwnEventRow`].
macro_rules! own_event_columns {
    () => {
        "number, event_id, incarnation, branch, counter, value, state, coalesce(dead_letter, failure),
        NOT EXISTS (SELECT 1 FROM overlays WHERE event = number AND overlays.memory_id = outbox.memory_id),
        (SELECT name FROM identity)"
    };
}
pub(super) use own_event_columns;

/// A waiting event: its counter, memory and id, the id of the last event of its write where that is
/// several, its value and its timestamp.
type OutboxRow = (i64, String, String, Option<String>, String, i64);

/// Each count is that of an index, which has what is counted and nothing else.
pub(super) const COUNTS: &str = "SELECT (SELECT version FROM identity),
    (SELECT count(*) FROM outbox WHERE state = 'pending'),
    (SELECT accepted_at_ms FROM outbox WHERE state = 'pending' ORDER BY counter LIMIT 1),
    (SELECT count(*) FROM outbox WHERE state = 'failed' OR dead_letter IS NOT NULL),
    (SELECT count(*) FROM outbox WHERE dead_letter IS NOT NULL),
    (SELECT count(*) FROM memories WHERE status IS NOT NULL),
    (SELECT count(*) FROM memories WHERE conflicted > 0),
    (SELECT count(*) FROM memories WHERE pending IS NOT NULL),
    (SELECT count(*) FROM sync_requests WHERE state = 'pending')";

/// The counts of the status: version, waiting events, the oldest of them, failed
/// ones, dead letters among these, memories, those in conflict, those with own events over them,
/// sync requests that wait.
type CountsRow = (i64, i64, Option<i64>, i64, i64, i64, i64, i64, i64);

/// The columns of a [`ShownRow`].
macro_rules! shown_columns {
    () => {
        "memories.memory_id, coalesce(memories.pending, memories.resolved), memories.pending IS NOT NULL,
        (SELECT issuer FROM identity), (SELECT name || '.' || incarnation FROM identity),
        (SELECT counter FROM identity)"
    };
}
pub(super) use shown_columns;

/// Bytes of a memory as it is shown. SQLite reads no text for `octet_length` of a column.
macro_rules! shown_bytes {
    () => {
        "coalesce(octet_length(memories.pending), octet_length(memories.resolved))"
    };
}
pub(super) use shown_bytes;

/// The statement of a list, with one more condition. Memories are picked by their lengths before
/// the text of any is read.
macro_rules! listed {
    ($condition:literal) => {
        concat!(
            "WITH picked AS (SELECT number, memory_id, ",
            shown_bytes!(),
            " AS bytes FROM memories WHERE ",
            $condition,
            " status IS NOT NULL AND (?1 OR status = 'active') AND (?2 IS NULL OR memory_id > ?2)
            AND (?3 IS NULL OR user_id IN (SELECT value FROM json_each(?3)))
            AND (?4 IS NULL OR session_id = ?4) ORDER BY memory_id LIMIT ?5 + 1),
            summed AS (SELECT number AS at, sum(bytes) OVER places - bytes AS before, row_number() OVER places AS place,
                count(*) OVER () AS total FROM picked WINDOW places AS (ORDER BY memory_id ROWS UNBOUNDED PRECEDING))
            SELECT ",
            shown_columns!(),
            ", total FROM summed CROSS JOIN memories ON memories.number = at
            WHERE place <= ?5 AND before < ?6 ORDER BY place"
        )
    };
}

/// A memory as it is shown.
pub(super) fn shown(
    (memory_id, json, is_pending, name, actor, counter): ShownRow,
) -> Result<ShownMemory, JournalError> {
    shown_memory(&memory_id, json, is_pending, &Issuer { name, actor, counter: unsigned(counter)? })
}

/// Texts as a JSON array, which SQLite reads with `json_each`.
pub(super) fn json_array<'t>(texts: impl IntoIterator<Item = &'t String>) -> String {
    let mut out = vec![b'['];
    for (at, text) in texts.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::write_string(&mut out, text);
    }
    out.push(b']');
    String::from_utf8_lossy(&out).into_owned()
}

/// The state of an event: its column `state`, and why it has failed. A published event that came
/// back as a dead letter has failed, too.
fn event_state(state: &str, failure: Option<String>) -> Result<EventState, JournalError> {
    match state {
        "pending" | "published" if failure.is_some() => Ok(EventState::Failed(failure.unwrap_or_default())),
        "pending" => Ok(EventState::Pending),
        "published" => Ok(EventState::Published),
        "failed" => Ok(EventState::Failed(failure.unwrap_or_default())),
        other => Err(damage(&format!("an event has the state {other:?}"))),
    }
}

/// An event of this node.
pub(super) fn event_of(row: OwnEventRow) -> Result<OwnEvent, JournalError> {
    let (_, event_id, incarnation, branch, counter, value, state, failure, is_lifted, name) = row;
    let state = event_state(&state, failure)?;
    Ok(OwnEvent {
        event_id,
        actor: EventActor { actor: actor_of(&name, &incarnation)?, branch: unsigned(branch)? },
        counter: unsigned(counter)?,
        value: value.into_bytes(),
        is_resolved: is_lifted && state == EventState::Published,
        state,
    })
}

/// [`MAX_PAGE_BYTES`] as the database has it.
pub(super) fn page_bytes() -> i64 {
    i64::try_from(MAX_PAGE_BYTES).unwrap_or(i64::MAX)
}

/// Whether rows were left out because of their bytes; each row has the number of all.
pub(super) fn is_cut<R>(rows: &[R], total: impl Fn(&R) -> i64) -> bool {
    let read = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    rows.first().is_some_and(|row| total(row) > read)
}

pub(super) fn limit_of(limit: usize) -> usize {
    limit.clamp(1, MAX_PAGE)
}

impl Readers {
    /// Opens the connections.
    pub(crate) fn open(file: &Path) -> Result<Readers, JournalError> {
        let open = || block_on(open_reader(file)).map(|connection| Mutex::new(Some(connection)));
        Ok(Readers {
            connections: [open()?, open()?],
            near_searches: Mutex::new(()),
            next: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Closes the connections; later questions end with [`JournalError::Stopped`]. One that is in
    /// use is closed by its next user, so that nothing here waits for a caller.
    pub(crate) async fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        for connection in &self.connections {
            if let Some(open) = connection.try_lock().and_then(|mut free| free.take()) {
                // It has changed nothing.
                let _ = open.close().await;
            }
        }
    }

    /// A connection, once one is free; none after [`Readers::close`].
    pub(super) async fn lock(&self) -> MutexGuard<'_, Option<SqliteConnection>> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % READERS;
        let mut guard = match self.connections.iter().find_map(Mutex::try_lock) {
            Some(free) => free,
            None => self.connections[next].lock().await,
        };
        if self.is_closed.load(Ordering::SeqCst) {
            *guard = None;
        }
        guard
    }

    /// A memory as it is shown.
    pub(crate) async fn memory(&self, memory_id: &str) -> Result<Option<ShownMemory>, JournalError> {
        let row =
            query_as(concat!("SELECT ", shown_columns!(), " FROM memories WHERE memory_id = ? AND status IS NOT NULL"));
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let row: Option<ShownRow> =
            row.bind(memory_id).fetch_optional(connection).await.map_err(|error| failure(&error))?;
        row.map(shown).transpose()
    }

    /// A page of memories.
    pub(crate) async fn list(&self, query: &ListQuery) -> Result<Page, JournalError> {
        let limit = limit_of(query.limit);
        // The index of memories in conflict is used where the statement itself asks for them.
        let rows = query_as(if query.conflicted { listed!("conflicted > 0 AND") } else { listed!("") });
        let rows = rows
            .bind(query.with_inactive)
            .bind(&query.after)
            .bind(query.users.as_ref().map(json_array))
            .bind(&query.session_id)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(page_bytes());
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let rows: Vec<CountedRow> = rows.fetch_all(connection).await.map_err(|error| failure(&error))?;
        drop(guard);
        let has_more = is_cut(&rows, |(.., total)| *total);
        let memories = rows
            .into_iter()
            .map(|(id, json, is_pending, name, actor, counter, _)| shown((id, json, is_pending, name, actor, counter)));
        let memories = memories.collect::<Result<Vec<_>, _>>()?;
        let next = memories.last().filter(|_| has_more).map(|memory| memory.memory_id.clone());
        Ok(Page { memories, next })
    }

    /// The own events of a memory after the one of this place.
    pub(crate) async fn events_of(&self, memory_id: &str, after: u64) -> Result<EventPage, JournalError> {
        let rows = query_as(concat!(
            "SELECT ",
            own_event_columns!(),
            " FROM (
                SELECT number AS at, sum(octet_length(value)) OVER (ORDER BY number) - octet_length(value) AS before
                FROM outbox WHERE memory_id = ?1 AND number > ?2 ORDER BY number LIMIT ?3
            ) CROSS JOIN outbox ON outbox.number = at WHERE before < ?4 ORDER BY number",
        ));
        let rows = rows.bind(memory_id).bind(signed(after)?).bind(EVENTS_AT_A_TIME).bind(page_bytes());
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let rows: Vec<OwnEventRow> = rows.fetch_all(connection).await.map_err(|error| failure(&error))?;
        drop(guard);
        let next = rows.last().map(|(number, ..)| unsigned(*number)).transpose()?;
        Ok(EventPage { events: rows.into_iter().map(event_of).collect::<Result<_, JournalError>>()?, next })
    }

    /// How far an event has come; `None` while it waits.
    pub(crate) async fn publishing(&self, event_id: &str) -> Result<Option<Publishing>, JournalError> {
        let row =
            query_as("SELECT state, coalesce(dead_letter, failure) FROM outbox WHERE event_id = ?").bind(event_id);
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let row: Option<(String, Option<String>)> =
            row.fetch_optional(connection).await.map_err(|error| failure(&error))?;
        let Some((state, reason)) = row else { return Ok(Some(Publishing::Unknown)) };
        Ok(match event_state(&state, reason)? {
            EventState::Pending => None,
            EventState::Published => Some(Publishing::Published),
            EventState::Failed(reason) => Some(Publishing::Failed(reason)),
        })
    }

    /// The state of the node. Its parts are read one after the other, so a change may lie between.
    pub(crate) async fn status(&self, commits: u64) -> Result<NodeStatus, JournalError> {
        let sql = |error: sqlx::Error| failure(&error);
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let Identity { actor, counter, published, .. } = identity(connection).await?;
        let counts: CountsRow = query_as(COUNTS).fetch_one(&mut *connection).await.map_err(sql)?;
        let positions: Vec<(String, i32, i64)> =
            query_as("SELECT topic, partition, next_offset FROM positions ORDER BY topic, partition")
                .fetch_all(&mut *connection)
                .await
                .map_err(sql)?;
        let former: Vec<(String, i64, String, i64)> =
            query_as("SELECT incarnation, published, reason, ended_at_ms FROM former_incarnations ORDER BY number")
                .fetch_all(&mut *connection)
                .await
                .map_err(sql)?;
        drop(guard);
        let position = |(topic, partition, next_offset)| Position { topic, partition, next_offset };
        let ended = |(incarnation, published, reason, ended_at_ms): (String, i64, String, i64)| {
            let actor = actor_of(actor.name.as_str(), &incarnation)?;
            Ok(FormerIncarnation { actor, published: unsigned(published)?, reason, ended_at_ms })
        };
        let (version, waiting, outbox_oldest_ms, failed, dead_letters, memories, conflicted, pending, requests) =
            counts;
        Ok(NodeStatus {
            counter,
            published,
            version: unsigned(version)?,
            outbox_depth: unsigned(waiting)?,
            outbox_oldest_ms,
            failed: unsigned(failed)?,
            dead_letters: unsigned(dead_letters)?,
            memories: unsigned(memories)?,
            conflicted: unsigned(conflicted)?,
            pending: unsigned(pending)?,
            sync_requests: unsigned(requests)?,
            positions: positions.into_iter().map(position).collect(),
            former: former.into_iter().map(ended).collect::<Result<_, JournalError>>()?,
            commits,
            actor,
        })
    }

    /// The identity as the last commit has it.
    pub(crate) async fn identity(&self) -> Result<Identity, JournalError> {
        let mut guard = self.lock().await;
        identity(guard.as_mut().ok_or(JournalError::Stopped)?).await
    }

    /// The first waiting events, in their order, up to so many and about so many bytes. A write
    /// that is several events is returned whole.
    pub(crate) async fn unpublished(
        &self,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<OutboxEvent>, JournalError> {
        // Waiting events are of one incarnation. Only the publisher begins another one, and it
        // makes this call.
        let rows = query_as(
            "SELECT counter, memory_id, event_id, part_of, value, timestamp_ms FROM (
                SELECT counter, memory_id, event_id, part_of, value, timestamp_ms,
                    sum(length(CAST(value AS BLOB))) OVER (ORDER BY counter) - length(CAST(value AS BLOB)) AS before
                FROM (SELECT * FROM outbox WHERE state = 'pending' ORDER BY counter LIMIT ?)
            ) WHERE before = 0 OR before < ? ORDER BY counter",
        );
        let rows = rows
            .bind(i64::try_from(max_records.max(1)).unwrap_or(i64::MAX))
            .bind(i64::try_from(max_bytes).unwrap_or(i64::MAX));
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let mut rows: Vec<OutboxRow> = rows.fetch_all(&mut *connection).await.map_err(|error| failure(&error))?;
        // The last write is whole.
        if let Some((counter, _, event_id, Some(part_of), ..)) = rows.last()
            && event_id != part_of
        {
            let rest = query_as(
                "SELECT counter, memory_id, event_id, part_of, value, timestamp_ms FROM outbox
                WHERE part_of = ? AND state = 'pending' AND counter > ? ORDER BY counter",
            );
            let rest = rest.bind(part_of.clone()).bind(*counter);
            let rest: Vec<OutboxRow> = rest.fetch_all(connection).await.map_err(|error| failure(&error))?;
            rows.extend(rest);
        }
        drop(guard);
        let event = |(counter, memory_id, _, part_of, value, timestamp_ms): OutboxRow| {
            let (counter, value) = (unsigned(counter)?, value.into_bytes());
            Ok(OutboxEvent { counter, memory_id, part_of, value, timestamp_ms })
        };
        rows.into_iter().map(event).collect()
    }

    /// The counter and the id of the first waiting events behind a counter.
    pub(crate) async fn waiting_ids(&self, after: u64, max_events: usize) -> Result<Vec<(u64, String)>, JournalError> {
        let rows = query_as(
            "SELECT counter, event_id FROM outbox WHERE state = 'pending' AND counter > ? ORDER BY counter LIMIT ?",
        );
        let rows = rows.bind(signed(after)?).bind(i64::try_from(max_events).unwrap_or(i64::MAX));
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let rows: Vec<(i64, String)> = rows.fetch_all(connection).await.map_err(|error| failure(&error))?;
        rows.into_iter().map(|(counter, event_id)| Ok((unsigned(counter)?, event_id))).collect()
    }

    /// The first sync requests that wait.
    pub(crate) async fn unsent_requests(&self) -> Result<Vec<SyncRequest>, JournalError> {
        let rows = query_as(
            "SELECT event_id, value, timestamp_ms FROM sync_requests WHERE state = 'pending' ORDER BY number LIMIT ?",
        );
        let rows = rows.bind(REQUESTS_AT_A_TIME);
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let rows: Vec<(String, String, i64)> = rows.fetch_all(connection).await.map_err(|error| failure(&error))?;
        let request = |(event_id, value, timestamp_ms): (String, String, i64)| SyncRequest {
            event_id,
            value: value.into_bytes(),
            timestamp_ms,
        };
        Ok(rows.into_iter().map(request).collect())
    }

    /// How many events wait, and when the oldest was accepted.
    pub(crate) async fn outbox_depth(&self) -> Result<(u64, Option<i64>), JournalError> {
        // Each transaction of the publisher asks, so no row is read but the first.
        let row = query_as(
            "SELECT (SELECT count(*) FROM outbox WHERE state = 'pending'),
            (SELECT accepted_at_ms FROM outbox WHERE state = 'pending' ORDER BY counter LIMIT 1)",
        );
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let (waiting, oldest): (i64, Option<i64>) = row.fetch_one(connection).await.map_err(|error| failure(&error))?;
        Ok((unsigned(waiting)?, oldest))
    }

    /// The next offset to read of a partition.
    pub(crate) async fn position(&self, topic: &str, partition: i32) -> Result<Option<i64>, JournalError> {
        let row = query_as("SELECT next_offset FROM positions WHERE topic = ? AND partition = ?");
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let row: Option<(i64,)> =
            row.bind(topic).bind(partition).fetch_optional(connection).await.map_err(|error| failure(&error))?;
        row.map_or(
            Ok(None),
            |(offset,)| if offset < 0 { Err(damage("an offset is below 0")) } else { Ok(Some(offset)) },
        )
    }
}
