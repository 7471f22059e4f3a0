//! Decodes a record's value to an [`Event`], or to the reason why it is a dead letter:
//! docs/semantics.md, section 1.

use super::super::clock::Clock;
use super::fields::{self, Fields};
use super::fieldwrites::{FieldWrites, clear_relationships};
use super::rejection::{BadInput, Class};
use super::{Event, digest, envelope};
use json::{self, Document, Value, ValueKind};

/// Limits of accepted events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one vector clock, zeros too.
    pub max_clock_entries: usize,
    /// Bytes of one record's value.
    pub max_value_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_clock_entries: 10_000, max_value_bytes: 8 << 20 }
    }
}

/// Reads a record's value: a bare event object, or HelixAgent's envelope of one.
/// `record_timestamp_ms` stands in for a timestamp that the event does not tell.
///
/// # Errors
/// [`BadInput`]: of several faults malformed JSON comes first, then the fields in the order of
/// the table in docs/semantics.md, section 1.
pub fn decode(value: Option<&[u8]>, record_timestamp_ms: i64, limits: &Limits) -> Result<Event, BadInput> {
    let value = value.ok_or_else(|| BadInput::new(Class::EmptyValue, "the record has no value"))?;
    if value.len() > limits.max_value_bytes {
        let message = format!("the value has {} bytes, the limit is {}", value.len(), limits.max_value_bytes);
        return Err(BadInput::new(Class::TooLarge, message));
    }
    match value.first() {
        None => return Err(BadInput::new(Class::EmptyValue, "the record's value has no bytes")),
        // No JSON text starts with this byte: it is the magic byte of Confluent's wire format.
        Some(0) => return Err(avro(value)),
        Some(_) => {}
    }
    let payload = {
        let document = parse("the value", value)?;
        let object = object("the value", document.root())?;
        match envelope::payload(object)? {
            None => return event(object, record_timestamp_ms, limits),
            Some(payload) => payload,
        }
    };
    let document = parse("the `payload`", &payload)?;
    event(object("the `payload`", document.root())?, record_timestamp_ms, limits)
}

/// Why a value in Confluent's wire format can't be read: nothing knows its schema id, if it has
/// one.
fn avro(value: &[u8]) -> BadInput {
    match value.get(1..).and_then(|rest| rest.first_chunk()) {
        Some(id) => {
            let id = u32::from_be_bytes(*id);
            let message =
                format!("the value is Avro of schema id {id}, and no schema registry is set up to ask for it");
            BadInput::new(Class::UnknownSchema, message)
        }
        None => {
            let message = format!("the value starts as Avro does (magic byte 0), but ends after {} bytes", value.len());
            BadInput::new(Class::MalformedAvro, message)
        }
    }
}

fn parse<'t>(place: &str, text: &'t [u8]) -> Result<Document<'t>, BadInput> {
    json::parse(text).map_err(|e| BadInput::json(place, &e))
}

fn object<'d>(place: &str, value: Value<'d>) -> Result<Value<'d>, BadInput> {
    if value.kind() == ValueKind::Object { Ok(value) } else { Err(BadInput::wrong_root(place, value)) }
}

/// Checks the fields in the order of the table in docs/semantics.md, section 1, so that the class
/// of an event with several faults is one.
fn event(object: Value<'_>, record_timestamp_ms: i64, limits: &Limits) -> Result<Event, BadInput> {
    let fields = Fields::of(object);
    let event_id = fields::required(|| "event_id".to_owned(), fields.event_id)?;
    let event_type = fields::event_type(fields.event_type)?;
    let needs_memory = event_type.starts_with("memory.") && event_type != "memory.sync_request";
    let memory_id = match fields::optional("memory_id", fields.memory_id)? {
        None if needs_memory => Some(fields::required(|| "memory_id".to_owned(), fields.memory_id)?),
        other => other,
    };
    let timestamp = fields::timestamp(fields.timestamp, record_timestamp_ms)?;
    let node_id = fields::optional("node_id", fields.node_id)?;

    let mut writes = FieldWrites::new();
    writes.name("user_id", fields.user_id)?;
    writes.name("session_id", fields.session_id)?;
    writes.text("content", fields.content)?;
    writes.numbers("embedding", fields.embedding)?;
    let importance = writes.number("importance", fields.importance)?;
    writes.set("tags", fields.tags)?;
    let merged_from = writes.set("merged_from", fields.merged_from)?;
    writes.objects("entities", "confidence", fields.entities)?;
    writes.objects("relationships", "strength", fields.relationships)?;
    writes.map("metadata", fields.metadata)?;

    let version = fields::version(fields.version)?;
    let clock = fields::clock(fields.vector_clock, limits.max_clock_entries)?;
    let mut event = Event {
        event_id: event_id.to_owned(),
        kind: super::EventKind::of(event_type),
        memory_id: memory_id.map(str::to_owned),
        timestamp,
        node_id: node_id.map(str::to_owned),
        importance,
        version,
        tells_clock: !clock.is_empty(),
        clock: if clock.is_empty() { Clock::unclocked(timestamp) } else { clock },
        writes: writes.sorted(),
        merged_from: merged_from.into_iter().map(str::to_owned).collect(),
        digest: 0,
    };
    event.digest = digest::digest(&event);
    if event.kind == super::EventKind::RelationshipDeleted {
        clear_relationships(&mut event.writes);
    }
    Ok(event)
}

#[cfg(test)]
mod tests;
