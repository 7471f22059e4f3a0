//! A conflict record as HelixAgent's `ConflictReport`. A report knows two versions, so the event
//! and the greatest of the others stand in it as far as the record tells of them; all that the
//! record says besides is in its details.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::Envelope;
use super::members::raw;
use super::memory::{Act, Memory};
use memory::view::ObjectWriter;

/// The type of the message around a report. It is no event's, so a node that takes it for one
/// passes over it.
const TYPE: &str = "memory.conflict";

/// A conflict record.
#[derive(Deserialize)]
struct Record<'r> {
    conflict_id: String,
    conflict_type: String,
    memory_id: String,
    local_event_id: String,
    remote_event_id: String,
    resolution_strategy: String,
    status: String,
    #[serde(borrow)]
    detected_at: &'r RawValue,
    #[serde(borrow)]
    resolved_at: &'r RawValue,
    #[serde(borrow, default)]
    fields: Option<&'r RawValue>,
    #[serde(borrow, default)]
    delete_update: Option<&'r RawValue>,
    #[serde(borrow, default)]
    resolved_by: Option<&'r RawValue>,
    #[serde(borrow, default)]
    resolved_version: Option<&'r RawValue>,
    #[serde(borrow, default)]
    superseded_by: Option<&'r RawValue>,
    #[serde(borrow, default)]
    user_id: Option<&'r RawValue>,
}

/// A field in conflict.
#[derive(Deserialize)]
struct Field<'r> {
    path: String,
    #[serde(borrow)]
    contenders: Vec<Contender<'r>>,
}

/// A contender of a field.
#[derive(Deserialize)]
struct Contender<'r> {
    event_id: String,
    #[serde(default)]
    node_id: Option<String>,
    version: u64,
    #[serde(borrow)]
    timestamp: &'r RawValue,
    #[serde(borrow)]
    vector_clock: &'r RawValue,
    #[serde(borrow)]
    value: &'r RawValue,
}

/// The delete and the update of a conflict.
#[derive(Deserialize)]
struct DeleteUpdate {
    deletes: Vec<String>,
}

/// The part of a record about one of its two participants.
struct Version<'r> {
    memory: Memory<'r>,
    node_id: Option<String>,
}

/// The report of a conflict record, in its envelope.
pub(super) fn conflict(json: &[u8], node_id: &str) -> serde_json::Result<Vec<u8>> {
    let record: Record<'_> = serde_json::from_slice(json)?;
    let fields: Vec<Field<'_>> = record.fields.map_or(Ok(Vec::new()), |raw| serde_json::from_str(raw.get()))?;
    let pair: Option<DeleteUpdate> = record.delete_update.map(|raw| serde_json::from_str(raw.get())).transpose()?;
    let is_delete = |id: &String| pair.as_ref().is_some_and(|pair| pair.deletes.contains(id));
    let mut payload = Vec::with_capacity(2 * json.len());
    let mut o = ObjectWriter::new(&mut payload);
    o.str("conflict_type", &record.conflict_type);
    details(&record, o.key("details"));
    let is_remote =
        |c: &Contender<'_>| c.event_id == record.remote_event_id && c.timestamp.get() == record.detected_at.get();
    let local = version(&record, &fields, |c| c.event_id == record.local_event_id && !is_remote(c));
    local.memory.write_memory(o.key("local_version"))?;
    o.str("memory_id", &record.memory_id);
    let remote = version(&record, &fields, is_remote);
    let act = Act {
        event_id: &record.remote_event_id,
        event_type: if is_delete(&record.remote_event_id) { "memory.deleted" } else { "memory.updated" },
        node_id: remote.node_id.as_deref().unwrap_or_default(),
        timestamp: Some(record.detected_at),
    };
    remote.memory.write_event(&act, o.key("remote_version"))?;
    match record.resolved_version {
        None => o.raw("resolution", b"null"),
        Some(resolved) => serde_json::from_str::<Memory<'_>>(resolved.get())?.write_memory(o.key("resolution"))?,
    }
    o.str("resolved_with", &record.resolution_strategy);
    raw(&mut o, "timestamp", Some(record.resolved_at));
    o.end();
    // A conflict has a second record once it stands no more, and each message an id of its own.
    let id = match record.superseded_by {
        None => record.conflict_id.clone(),
        Some(_) => format!("{}:superseded", record.conflict_id),
    };
    let envelope = Envelope {
        id: &id,
        kind: TYPE,
        timestamp: Some(record.resolved_at),
        memory_id: Some(&record.memory_id),
        node_id,
        user_id: record.user_id,
    };
    Ok(envelope.seal(&payload))
}

fn details(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut o = ObjectWriter::new(out);
    o.str("conflict_id", &record.conflict_id);
    raw(&mut o, "delete_update", record.delete_update);
    raw(&mut o, "detected_at", Some(record.detected_at));
    raw(&mut o, "fields", record.fields);
    o.str("local_event_id", &record.local_event_id);
    o.str("remote_event_id", &record.remote_event_id);
    raw(&mut o, "resolved_by", record.resolved_by);
    o.str("status", &record.status);
    raw(&mut o, "superseded_by", record.superseded_by);
    raw(&mut o, "user_id", record.user_id);
    o.end();
}

/// Values of the contenders of one participant.
fn version<'r>(record: &Record<'r>, fields: &[Field<'r>], is_of: impl Fn(&Contender<'r>) -> bool) -> Version<'r> {
    let mut memory = Memory { memory_id: record.memory_id.clone(), user_id: record.user_id, ..Memory::default() };
    let mut node_id = None;
    for field in fields {
        let Some(found) = field.contenders.iter().find(|c| is_of(c)) else { continue };
        memory.put(&field.path, found.value);
        memory.version = found.version;
        memory.vector_clock = Some(found.vector_clock);
        memory.updated_at = Some(found.timestamp);
        node_id.clone_from(&found.node_id);
    }
    Version { memory, node_id }
}
