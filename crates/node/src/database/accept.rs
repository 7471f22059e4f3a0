//! A write becomes an event: checked, numbered, written to the outbox, laid over its memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use json::{ObjectWriter, Value};
use memory::clock::{Clock, write_clock};
use memory::event::{self, BadInput, Class, Event};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use super::connection::statement;
use super::expiry::note_setter;
use super::schema::{damage, signed, unsigned};
use super::seen::SeenMemory;
use super::state::actor_of;
use super::view::{MemoryRow, OverlaidRow};
use super::writer::{KEPT_MS, Writer};
use crate::actor::{EventActor, branch_name};
use crate::clock_token::ClockToken;
use crate::hybrid_clock::MAX_VERSION;
use crate::overlay::{Heading, OverlaidEvent};
use crate::ports::JournalError;
use crate::write::{
    Accepted, FIELDS, MAX_IDEMPOTENCY_KEY, MAX_MEMORY_ID, MemoryWrite, Refusal, Seen, WriteError, WriteKind,
};

/// The parts of an event that neither its request nor the memory says.
pub(super) struct Stamp {
    branch: u64,
    event_id: String,
    /// The id of the last event of the write, where it is several.
    part_of: Option<String>,
    /// The time at which the memory has expired, for the delete of one that has.
    expired_at: Option<u64>,
}

impl Stamp {
    /// That of an event of a write whose last event has this id.
    pub fn of_part(branch: u64, last_id: &str) -> Stamp {
        Stamp { branch, event_id: Uuid::new_v4().to_string(), part_of: Some(last_id.to_owned()), expired_at: None }
    }
}

/// The request that an event answers, as the row of the event keeps it.
#[derive(Clone, Copy, Default)]
pub(super) struct OwnRequest<'w> {
    key: Option<&'w str>,
    digest: u128,
    assumed: bool,
}

/// An event before it is written.
pub(super) struct NewEvent<'w> {
    memory_id: &'w str,
    event_id: String,
    part_of: Option<String>,
    event_type: &'static str,
    actor: String,
    pub branch: u64,
    timestamp: u64,
    version: u64,
    clock: BTreeMap<String, u64>,
    fields: BTreeMap<&'static str, Vec<u8>>,
}

impl NewEvent<'_> {
    /// The value of its record: canonical JSON.
    fn json(&self) -> Vec<u8> {
        let mut members: BTreeMap<&str, Vec<u8>> =
            self.fields.iter().map(|(name, value)| (*name, value.clone())).collect();
        let text = |text: &str| {
            let mut out = Vec::with_capacity(text.len() + 2);
            json::write_string(&mut out, text);
            out
        };
        let mut time = vec![b'"'];
        json::rfc3339::write(&mut time, self.timestamp);
        time.push(b'"');
        let mut clock = Vec::new();
        let entries: Vec<(&str, u64)> = self.clock.iter().map(|(name, counter)| (name.as_str(), *counter)).collect();
        write_clock(&mut clock, &entries);
        members.insert("event_id", text(&self.event_id));
        members.insert("event_type", text(self.event_type));
        members.insert("memory_id", text(self.memory_id));
        members.insert("node_id", text(&self.actor));
        members.insert("timestamp", time);
        members.insert("vector_clock", clock);
        members.insert("version", self.version.to_string().into_bytes());
        let mut out = Vec::with_capacity(256);
        let mut object = ObjectWriter::new(&mut out);
        members.iter().for_each(|(name, value)| object.raw(name, value));
        object.end();
        out
    }
}

impl Writer {
    /// Accepts a write, or says why not.
    pub(super) async fn accept(&mut self, write: &MemoryWrite) -> Result<Accepted, WriteError> {
        self.accept_at(write, None).await
    }

    /// Accepts a write, or the delete of a memory that has expired at a time.
    pub(super) async fn accept_at(
        &mut self,
        write: &MemoryWrite,
        expired_at: Option<u64>,
    ) -> Result<Accepted, WriteError> {
        let digest = request_digest(write);
        if let Some(answer) = self.repeated(write, digest).await? {
            return Ok(answer);
        }
        let memory_id = memory_id_of(write)?;
        let row = self.memory_row(&memory_id).await?;
        // A caller learns nothing of memories of other users, not even whether its token is stale.
        check_users(write, row.heading.as_ref())?;
        let mut seen = self.seen(&memory_id, &row, write).await?;
        let is_active = row.heading.as_ref().is_some_and(|heading| heading.status == "active");
        if write.requires_active && row.heading.is_some() && !is_active {
            return Err(Refusal::Inactive(row.enclosed(&memory_id, &self.issuer())?).into());
        }
        let absorbed = self.absorbed(write, &memory_id).await?;
        seen.assumed |= absorbed.iter().any(|memory| memory.is_assumed());
        let first = self.state.counter + absorbed.len() as u64 + 1;
        let Some(branch) = self.branch_of_write(write.kind, &row, &seen.clock, first) else {
            return Err(self.stale(&memory_id, &row));
        };
        if write.kind == WriteKind::Create && is_active {
            return Err(Refusal::Exists(row.enclosed(&memory_id, &self.issuer())?).into());
        }
        let (key, event_id) = (write.idempotency_key.as_deref(), Uuid::new_v4().to_string());
        let (update, part_of);
        let (write, part_of) = match write.kind {
            WriteKind::Merge => {
                update = self.put_merge(write, &memory_id, &row, &absorbed, (branch, &event_id)).await?;
                part_of = Some(event_id.clone());
                (&update, part_of)
            }
            _ => (write, None),
        };
        let stamp = Stamp { branch, event_id, part_of, expired_at };
        let (event, value, decoded) = self.new_event(write, &memory_id, &row, &seen, stamp)?;
        let request = OwnRequest { key, digest, assumed: seen.assumed };
        self.put_event(&event, &value, request)?;
        let size = |row: &MemoryRow| row.shown_json().map_or(0, str::len);
        let size_before = size(&row);
        let row = Some(row).filter(|_| event.part_of.is_none());
        let row = self.lay(&decoded, &event, value, row).await?;
        // A memory that is too large already may be made smaller.
        let most = self.settings.max_memory_bytes;
        if size(&row) > most.max(size_before) {
            return Err(Refusal::LargeMemory { most, bytes: size(&row) }.into());
        }
        let token = ClockToken {
            memory_id: memory_id.clone(),
            clock: Clock::from_entries(event.clock.clone()),
            version: event.version,
            issuer: self.state.issuer(),
        };
        if let Seen::Session(session) = &write.seen {
            self.remember_shown(session, &token)?;
        }
        let memory = *row.enclosed(&memory_id, &self.issuer())?;
        let (event_id, version, timestamp) = (event.event_id, event.version, event.timestamp);
        let actor = EventActor { actor: self.state.actor.clone(), branch };
        let (counter, assumed) = (self.state.counter, seen.assumed);
        Ok(Accepted {
            memory_id,
            event_id,
            actor,
            counter,
            version,
            timestamp,
            token,
            assumed,
            repeated: false,
            memory,
        })
    }

    /// The answer of an earlier write with the same idempotency key.
    async fn repeated(&mut self, write: &MemoryWrite, digest: u128) -> Result<Option<Accepted>, WriteError> {
        let Some(key) = &write.idempotency_key else { return Ok(None) };
        if key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY {
            return Err(Refusal::BadIdempotencyKey.into());
        }
        // A failed event can be sent again with its key.
        let old = statement(
            "UPDATE outbox SET idempotency_key = NULL
            WHERE idempotency_key = ? AND (accepted_at_ms < ? OR state = 'failed' OR dead_letter IS NOT NULL
                OR part_of IN (SELECT part_of FROM outbox WHERE dead_letter IS NOT NULL))",
        );
        self.connection.queue(&old.bind(key).bind(self.now_ms() - KEPT_MS))?;
        let row = statement(
            "SELECT memory_id, event_id, incarnation, branch, counter, value, request_digest, assumed <> 0
            FROM outbox WHERE idempotency_key = ?",
        );
        type Row = (String, String, String, i64, i64, String, Option<Vec<u8>>, bool);
        let row: Option<Row> = self.connection.fetch_optional(&row.bind(key)).await?;
        let Some(row) = row else { return Ok(None) };
        let (memory_id, event_id, incarnation, branch, counter, value, request, assumed) = row;
        if request.as_deref() != Some(&digest.to_be_bytes()[..]) {
            return Err(Refusal::KeyReused.into());
        }
        let event = event::decode(Some(value.as_bytes()), 1, &self.settings.limits)
            .map_err(|error| damage(&format!("the event {event_id} cannot be read: {error}")))?;
        let issuer = self.issuer();
        let memory = *self.memory_row(&memory_id).await?.enclosed(&memory_id, &issuer)?;
        let (version, timestamp) = (event.version, event.timestamp);
        let token = ClockToken { memory_id: memory_id.clone(), clock: event.clock, version, issuer: issuer.name };
        let actor = actor_of(self.state.actor.name.as_str(), &incarnation)?;
        let (actor, counter) = (EventActor { actor, branch: unsigned(branch)? }, unsigned(counter)?);
        Ok(Some(Accepted {
            memory_id,
            event_id,
            actor,
            counter,
            version,
            timestamp,
            token,
            assumed,
            repeated: true,
            memory,
        }))
    }

    /// Builds the event, and lets the stream's own decoder decide whether it can be one.
    pub(super) fn new_event<'w>(
        &mut self,
        write: &MemoryWrite,
        memory_id: &'w str,
        row: &MemoryRow,
        seen: &SeenMemory,
        Stamp { branch, event_id, part_of, expired_at }: Stamp,
    ) -> Result<(NewEvent<'w>, Vec<u8>, Event), WriteError> {
        let now = self.now_ns();
        self.follow_version(memory_id, seen.version);
        self.state.counter += 1;
        if self.state.counter > MAX_VERSION {
            return Err(damage("the counter of the node has reached its end").into());
        }
        let actor = branch_name(&self.state.actor_name(), branch);
        let mut clock: BTreeMap<String, u64> = seen.clock.clone();
        clock.insert(actor.clone(), self.state.counter);
        let mut fields: BTreeMap<&'static str, Vec<u8>> =
            FIELDS.iter().filter_map(|name| Some((*name, write.fields.get(name)?.to_vec()))).collect();
        if write.kind == WriteKind::Replace {
            clear_others(&mut fields, row);
        }
        note_setter(&mut fields, &self.state.actor_name())?;
        // The delete of a memory that has expired is no later than what it deletes and the time
        // (`crate::expiry`).
        let deleted_at = |time: u64| row.heading.as_ref().map_or(time, |heading| heading.updated_at.max(time));
        let timestamp = expired_at.map_or(now, deleted_at);
        let event = NewEvent {
            memory_id,
            event_id,
            part_of,
            event_type: write.kind.event_type(),
            actor,
            branch,
            timestamp,
            version: self.state.clock.tick(now),
            clock,
            fields,
        };
        let value = event.json();
        let decoded = event::decode(Some(&value), timestamp_ms(timestamp), &self.settings.limits);
        let decoded = decoded.map_err(Refusal::BadEvent)?;
        if write.kind == WriteKind::Merge && decoded.absorbed().next().is_none() {
            let message = "`merged_from` should name the memories that are merged into this one";
            return Err(Refusal::BadEvent(BadInput::new(Class::MissingField, message)).into());
        }
        Ok((event, value, decoded))
    }

    /// Writes an event to the outbox.
    pub(super) fn put_event(
        &mut self,
        event: &NewEvent<'_>,
        value: &[u8],
        request: OwnRequest<'_>,
    ) -> Result<(), JournalError> {
        let value = std::str::from_utf8(value).map_err(|error| damage(&error.to_string()))?;
        let insert = statement(
            "INSERT INTO outbox (incarnation, branch, counter, memory_id, event_id, value, timestamp_ms, state,
                accepted_at_ms, part_of, idempotency_key, request_digest, assumed)
            VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?)",
        );
        let insert = insert
            .bind(self.state.actor.incarnation.as_str())
            .bind(signed(event.branch)?)
            .bind(signed(self.state.counter)?)
            .bind(event.memory_id)
            .bind(&event.event_id)
            .bind(value)
            .bind(timestamp_ms(event.timestamp))
            .bind(self.now_ms())
            .bind(&event.part_of)
            .bind(request.key)
            .bind(request.key.map(|_| request.digest.to_be_bytes().to_vec()))
            .bind(request.assumed);
        self.connection.queue(&insert)?;
        self.state.waiting += 1;
        Ok(())
    }

    /// Lays a part of a write that is several events over its memories. Of its own memory nothing
    /// is shown before the last part, since nobody has ever seen what it would be.
    pub(super) async fn lay_part(&mut self, event: &Event, new: &NewEvent<'_>) -> Result<(), JournalError> {
        let last_own = if new.branch == 0 { self.state.counter } else { 0 };
        self.put_overlay(new.memory_id, false)?;
        self.put_last_own(new.memory_id, last_own)?;
        for id in event.absorbed() {
            self.put_overlay(id, true)?;
            self.put_last_own(id, last_own)?;
            self.refresh(id).await?;
        }
        Ok(())
    }

    /// Lays the event that was written last over the memories that it changes. `row` is that of its
    /// own memory, where nothing was laid over it since it was read. The new row is returned.
    pub(super) async fn lay(
        &mut self,
        event: &Event,
        new: &NewEvent<'_>,
        value: Vec<u8>,
        row: Option<MemoryRow>,
    ) -> Result<MemoryRow, JournalError> {
        let counter = self.state.counter;
        let last_own = if new.branch == 0 { counter } else { 0 };
        let Some(row) = row else {
            self.lay_part(event, new).await?;
            return self.refresh(new.memory_id).await;
        };
        self.put_overlay(new.memory_id, false)?;
        let event = OverlaidEvent { value, timestamp_ms: timestamp_ms(new.timestamp), is_absorbed: false };
        let overlay = OverlaidRow { number: None, actor: new.actor.clone(), counter, is_published: false, event };
        self.lay_over_row(new.memory_id, row, overlay, last_own)
    }

    fn put_overlay(&mut self, memory_id: &str, is_absorbed: bool) -> Result<(), JournalError> {
        let over = "INSERT INTO overlays (memory_id, event, absorbed) SELECT ?, max(number), ? FROM outbox";
        self.connection.queue(&statement(over).bind(memory_id).bind(is_absorbed))
    }
}

/// The memory of a write.
fn memory_id_of(write: &MemoryWrite) -> Result<String, Refusal> {
    match &write.memory_id {
        Some(id) if id.is_empty() => Err(Refusal::NoMemoryId),
        Some(id) if id.len() > MAX_MEMORY_ID => Err(Refusal::LongMemoryId),
        Some(id) => Ok(id.clone()),
        None if write.kind == WriteKind::Create => Ok(Uuid::new_v4().to_string()),
        None => Err(Refusal::NoMemoryId),
    }
}

/// The timestamp of a record, in milliseconds and at least 1.
pub(super) fn timestamp_ms(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX).max(1)
}

/// A digest of all that a request says besides its key.
fn request_digest(write: &MemoryWrite) -> u128 {
    let mut text = String::new();
    let MemoryWrite { memory_id, kind, fields, seen, absorbed_tokens, allowed_users, .. } = write;
    // Writing to a text does not fail.
    let _ = write!(text, "{memory_id:?} {kind:?} {seen:?} {allowed_users:?}");
    for token in absorbed_tokens {
        let _ = write!(text, " {token:?}");
    }
    for name in FIELDS {
        let _ = write!(text, " {name} {:?}", fields.get(name).map(String::from_utf8_lossy));
    }
    xxh3_128(text.as_bytes())
}

/// A replacement clears the fields that it lacks.
fn clear_others(fields: &mut BTreeMap<&'static str, Vec<u8>>, row: &MemoryRow) {
    for name in ["content", "embedding", "importance", "session_id", "tags"] {
        fields.entry(name).or_insert_with(|| b"null".to_vec());
    }
    let shown = row.pending.as_ref().or(row.resolved.as_ref());
    let Some(shown) = shown.and_then(|text| json::parse(text.as_bytes()).ok()) else { return };
    let Some(metadata) = shown.root().get("metadata") else { return };
    let given = fields.get("metadata").cloned().unwrap_or_else(|| b"{}".to_vec());
    let Ok(given) = json::parse(&given) else { return };
    // The decoder refuses metadata that is neither an object nor null.
    if !matches!(given.root().kind(), json::ValueKind::Object | json::ValueKind::Null) {
        return;
    }
    let mut members: BTreeMap<&str, Vec<u8>> = metadata.members().map(|(key, _)| (key, b"null".to_vec())).collect();
    members.extend(given.root().sorted_members().map(|(key, value)| (key, Value::canonical(value))));
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    members.iter().for_each(|(key, value)| object.raw(key, value));
    object.end();
    fields.insert("metadata", out);
}

/// Whether the caller may write a memory of this user.
pub(super) fn check_user(write: &MemoryWrite, user: Option<&str>) -> Result<(), Refusal> {
    match &write.allowed_users {
        Some(allowed) if !user.is_some_and(|user| allowed.contains(user)) => Err(Refusal::ForbiddenUser),
        _ => Ok(()),
    }
}

/// Whether the caller may write this memory, and the user that the write sets. A memory that the
/// node does not know gets a user that the caller may write for.
fn check_users(write: &MemoryWrite, shown: Option<&Heading>) -> Result<(), Refusal> {
    if write.allowed_users.is_none() {
        return Ok(());
    }
    if let Some(heading) = shown {
        check_user(write, heading.user_id.as_deref())?;
    }
    match write.fields.get("user_id").and_then(|text| json::parse(text).ok()) {
        Some(document) => check_user(write, document.root().as_str()),
        None if shown.is_none() => check_user(write, None),
        None => Ok(()),
    }
}
