//! The JSON of conflict records (docs/semantics.md, section 5).

use uuid::Uuid;

use super::detect::{Conflict, Contested, DeleteUpdate};
use crate::causality::EventHeader;
use crate::state::{Applied, ConflictType, Field, Memory, OpenConflict, OpenField, RegisterWrite, StateError};
use crate::strategy::{Picked, sort_by_last_write};
use crate::view::{ObjectWriter, ResolutionContext, write_clock};

/// How a conflict stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictStatus {
    /// The strategy decided.
    AutoResolved,
    /// A custom resolver deferred.
    Pending,
    /// It stands no more.
    Superseded,
}

impl ConflictStatus {
    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            ConflictStatus::AutoResolved => "auto_resolved",
            ConflictStatus::Pending => "pending",
            ConflictStatus::Superseded => "superseded",
        }
    }
}

/// A conflict record to be emitted.
#[derive(Clone, Debug)]
pub struct ConflictRecord {
    /// Its kind, for counters.
    pub conflict_type: ConflictType,
    /// How it stands.
    pub status: ConflictStatus,
    /// The record, canonical JSON.
    pub json: Vec<u8>,
}

/// Id of the conflict that an event made: UUIDv5, so that whoever computes it again finds the same.
fn conflict_id(memory: &str, event_id: &str, timestamp: u64) -> Uuid {
    let name = format!("helixstream:conflict:{memory}:{event_id}:{timestamp}");
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
}

/// The record of a conflict that an event made, and what the state keeps of it.
pub(super) fn new<'a>(
    memory: &Memory<'a>,
    applied: &Applied<'a>,
    conflict: &Conflict<'a>,
    context: &ResolutionContext<'_>,
    resolved: &[u8],
) -> Result<(ConflictRecord, OpenConflict<'a>), StateError> {
    let event = memory.header(applied.event);
    let user = context.field(memory, Field::UserId)?;
    let user_id: &'a [u8] = match &user {
        Some(picked) => memory.allocate(&picked.bytes(memory)?),
        None => b"null",
    };
    let mut fields = Vec::new();
    let mut pending = false;
    for field in &conflict.fields {
        let (json, deferred) = field_json(memory, field, context)?;
        pending |= deferred;
        fields.push(json);
    }
    let status = if pending { ConflictStatus::Pending } else { ConflictStatus::AutoResolved };
    let open = OpenConflict {
        event_id: event.event_id,
        timestamp: event.timestamp,
        seq: event.seq,
        conflict_type: conflict.conflict_type,
        local_event_id: memory.header(conflict.local).event_id,
        user_id: if user_id == b"null" { b"" } else { user_id },
        strategy: context.settings.strategy,
        fields: conflict
            .fields
            .iter()
            .map(|f| OpenField { path: f.path, stands: true, shadowed: f.shadowed.clone() })
            .collect(),
        delete_update: conflict.delete_update.as_ref().map(|d| d.shadowed.clone()),
    };
    let mut out = Vec::with_capacity(1024 + resolved.len() + fields.iter().map(Vec::len).sum::<usize>());
    let mut o = ObjectWriter::new(&mut out);
    o.str("conflict_id", &conflict_id(memory.id(), event.event_id, event.timestamp).to_string());
    o.str("conflict_type", conflict.conflict_type.as_str());
    if let Some(delete_update) = &conflict.delete_update {
        write_delete_update(o.key("delete_update"), memory, event, delete_update);
    }
    o.time("detected_at", event.timestamp);
    o.array("fields", &fields, |out, field| out.extend_from_slice(field));
    o.str("local_event_id", open.local_event_id);
    o.str("memory_id", memory.id());
    o.str("remote_event_id", event.event_id);
    o.str("resolution_strategy", open.strategy.as_str());
    o.time("resolved_at", event.timestamp);
    o.str("resolved_by", &context.settings.application_id);
    o.raw("resolved_version", resolved);
    o.str("status", status.as_str());
    if !open.user_id.is_empty() {
        o.raw("user_id", open.user_id);
    }
    o.end();
    Ok((ConflictRecord { conflict_type: conflict.conflict_type, status, json: out }, open))
}

/// The record by which an open conflict ends; `event` did it.
pub(super) fn superseded(
    memory: &str,
    conflict: &OpenConflict<'_>,
    event: &EventHeader<'_>,
    application_id: &str,
) -> ConflictRecord {
    let mut out = Vec::with_capacity(512);
    let mut o = ObjectWriter::new(&mut out);
    o.str("conflict_id", &conflict_id(memory, conflict.event_id, conflict.timestamp).to_string());
    o.str("conflict_type", conflict.conflict_type.as_str());
    o.time("detected_at", conflict.timestamp);
    o.str("local_event_id", conflict.local_event_id);
    o.str("memory_id", memory);
    o.str("remote_event_id", conflict.event_id);
    o.str("resolution_strategy", conflict.strategy.as_str());
    o.time("resolved_at", event.timestamp);
    o.str("resolved_by", application_id);
    o.str("status", ConflictStatus::Superseded.as_str());
    o.str("superseded_by", event.event_id);
    if !conflict.user_id.is_empty() {
        o.raw("user_id", conflict.user_id);
    }
    o.end();
    ConflictRecord { conflict_type: conflict.conflict_type, status: ConflictStatus::Superseded, json: out }
}

/// One field of a record, and whether its resolver deferred.
fn field_json<'a>(
    memory: &Memory<'a>,
    field: &Contested<'a>,
    context: &ResolutionContext<'_>,
) -> Result<(Vec<u8>, bool), StateError> {
    let mut sorted = field.contenders.clone();
    sort_by_last_write(memory, &mut sorted)?;
    let picked = match field.path.field {
        Field::Embedding => {
            let content = context.field(memory, Field::Content)?;
            context.embedding(memory, &field.contenders, content.as_ref())?
        }
        _ => context.pick(memory, field.path, &field.contenders)?,
    };
    let listed = &sorted[sorted.len().saturating_sub(context.settings.max_contenders)..];
    let mut values = Vec::with_capacity(listed.len());
    for write in listed {
        values.push((write, memory.bytes(&write.value)?));
    }
    let mut out = Vec::new();
    let mut o = ObjectWriter::new(&mut out);
    o.array("contenders", values, |out, (write, value)| write_contender(out, memory, write, value));
    if listed.len() < sorted.len() {
        o.integer("contenders_total", sorted.len() as u64);
    }
    o.str("path", &field.path.to_string());
    o.str("reason", picked.as_ref().map_or("no contender belongs to the resolved content", |p| &p.reason));
    match &picked {
        Some(picked) => o.raw("value", &picked.bytes(memory)?),
        None => o.raw("value", b"null"),
    }
    match picked.as_ref().and_then(|p| p.winner) {
        Some(winner) => o.str("winner_event_id", memory.header(winner.by).event_id),
        None => o.raw("winner_event_id", b"null"),
    }
    o.end();
    Ok((out, picked.as_ref().is_some_and(|p: &Picked<'_>| p.deferred)))
}

fn write_contender(out: &mut Vec<u8>, memory: &Memory<'_>, write: &RegisterWrite<'_>, value: &[u8]) {
    let h = memory.header(write.by);
    let mut o = ObjectWriter::new(out);
    o.str("event_id", h.event_id);
    if let Some(importance) = h.importance {
        json::write_number(o.key("importance"), importance);
    }
    if let Some(node) = h.node_id {
        o.str("node_id", node);
    }
    let mut source = ObjectWriter::new(o.key("source"));
    source.key("offset").extend_from_slice(h.source.offset.to_string().as_bytes());
    source.key("partition").extend_from_slice(h.source.partition.to_string().as_bytes());
    source.str("topic", h.source.topic);
    source.end();
    o.time("timestamp", h.timestamp);
    o.raw("value", value);
    write_clock(o.key("vector_clock"), &h.clock);
    o.integer("version", h.version);
    o.end();
}

/// One id for each participant, sorted, repeats kept.
fn write_delete_update(out: &mut Vec<u8>, memory: &Memory<'_>, event: &EventHeader<'_>, conflict: &DeleteUpdate) {
    let mut others: Vec<&str> = conflict.others.iter().map(|h| memory.header(*h).event_id).collect();
    others.sort_unstable();
    let own = vec![event.event_id];
    let (deletes, updates) = if event.is_delete { (own, others) } else { (others, own) };
    let mut o = ObjectWriter::new(out);
    o.array("deletes", deletes, json::write_string);
    o.array("updates", updates, json::write_string);
    o.end();
}
