//! From a record's bytes to an event, or to the class of what is wrong with it (docs/semantics.md,
//! section 1). Fields are checked in the order of the table of that section, and the first thing
//! wrong is the one reported.

use super::json::{self, Json, ParseError};
use super::{Record, Settings, time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::{BTreeMap, BTreeSet};

/// A refused record: its class (docs/semantics.md, section 1), and a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Its class.
    pub class: &'static str,
    /// Description of the problem of the record.
    pub message: String,
}

/// Where an event was first read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Topic of the record.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// A decoded event. `None` is *not written*; `Some(Json::Null)` is *cleared*.
#[derive(Clone, Debug)]
pub struct Event {
    /// `event_id`: identifies the event.
    pub event_id: String,
    /// `event_type`, such as `memory.updated`.
    pub event_type: String,
    /// `memory_id`; `None` for an event that belongs to no memory.
    pub memory_id: Option<String>,
    /// The event's own time, in nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// `node_id`: the node that wrote the event.
    pub node_id: Option<String>,
    /// `user_id`.
    pub user_id: Option<Json>,
    /// `session_id`.
    pub session_id: Option<Json>,
    /// `content`.
    pub content: Option<Json>,
    /// `embedding`.
    pub embedding: Option<Json>,
    /// `importance`.
    pub importance: Option<Json>,
    /// `tags`.
    pub tags: Option<Json>,
    /// `merged_from`: the memories that a `memory.merged` absorbs.
    pub merged_from: Option<Json>,
    /// `entities`, by id.
    pub entities: BTreeMap<String, Json>,
    /// `relationships`, by id.
    pub relationships: BTreeMap<String, Json>,
    /// `metadata`, by key.
    pub metadata: BTreeMap<String, Json>,
    /// `version`; 0 when the event has none.
    pub version: u64,
    /// As docs/semantics.md, section 2, has it: with the synthetic `~` when the record named
    /// nobody.
    pub clock: BTreeMap<String, u64>,
    /// Whether the record named anybody; where not, `clock` is the synthetic one. Only a sync
    /// request asks.
    pub clock_written: bool,
    /// The record that held the event.
    pub source: Source,
    /// Canonical JSON of everything above but the source and `clock_written`: two records carry the
    /// same event iff these are equal.
    pub identity: String,
}

const STATE_TYPES: [&str; 10] = [
    "memory.created",
    "memory.updated",
    "memory.deleted",
    "memory.merged",
    "entity.created",
    "entity.updated",
    "entity.linked",
    "relationship.created",
    "relationship.updated",
    "relationship.deleted",
];

impl Event {
    /// The memory whose state the event changes as its own; `None` for events that are mirrored
    /// only.
    pub fn own_memory(&self) -> Option<&str> {
        if STATE_TYPES.contains(&self.event_type.as_str()) { self.memory_id.as_deref() } else { None }
    }

    /// The memories that the event absorbs, sorted.
    pub fn absorbed(&self) -> Vec<&str> {
        let (Some(own), Some(Json::Arr(ids)), "memory.merged") =
            (self.own_memory(), &self.merged_from, self.event_type.as_str())
        else {
            return Vec::new();
        };
        let ids = ids.iter().filter_map(|id| if let Json::Str(id) = id { Some(id.as_str()) } else { None });
        ids.filter(|id| !id.is_empty() && *id != own).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn identify(&self) -> String {
        let optional = |v: &Option<Json>| Json::Arr(v.iter().cloned().collect());
        let text = |v: &Option<String>| v.as_ref().map_or(Json::Null, |s| Json::str(s));
        Json::obj([
            ("event_id", Json::str(&self.event_id)),
            ("event_type", Json::str(&self.event_type)),
            ("memory_id", text(&self.memory_id)),
            ("timestamp", Json::Int(self.timestamp_ns.into())),
            ("node_id", text(&self.node_id)),
            ("user_id", optional(&self.user_id)),
            ("session_id", optional(&self.session_id)),
            ("content", optional(&self.content)),
            ("embedding", optional(&self.embedding)),
            ("importance", optional(&self.importance)),
            ("tags", optional(&self.tags)),
            ("merged_from", optional(&self.merged_from)),
            ("entities", Json::Obj(self.entities.clone())),
            ("relationships", Json::Obj(self.relationships.clone())),
            ("metadata", Json::Obj(self.metadata.clone())),
            ("version", Json::Int(self.version.into())),
            ("clock", clock_json(&self.clock)),
        ])
        .canonical()
    }
}

/// A clock as a JSON object.
pub fn clock_json(clock: &BTreeMap<String, u64>) -> Json {
    Json::Obj(clock.iter().map(|(node, counter)| (node.clone(), Json::Int((*counter).into()))).collect())
}

fn bad<T>(class: &'static str, message: &str) -> Result<T, Bad> {
    Err(Bad { class, message: message.to_owned() })
}

const MAX_DEPTH: usize = 128;

fn read_json(bytes: &[u8]) -> Result<Json, Bad> {
    json::parse(bytes, MAX_DEPTH).or_else(|error| match error {
        ParseError::Malformed => bad("malformed_json", "not JSON"),
        ParseError::TooDeep => bad("too_deep", "nested deeper than 128"),
    })
}

fn read_object(bytes: &[u8]) -> Result<BTreeMap<String, Json>, Bad> {
    match read_json(bytes)? {
        Json::Obj(members) => Ok(members),
        _ => bad("wrong_type", "not an object"),
    }
}

/// Decodes one record.
pub fn decode(record: &Record, settings: &Settings) -> Result<Event, Bad> {
    let value = record.value.as_deref().unwrap_or_default();
    if value.is_empty() {
        return bad("empty_value", "no value");
    }
    if value.len() > settings.max_value_bytes {
        return bad("too_large", "more bytes than the limit");
    }
    if value[0] == 0 {
        // Avro has no registry here, so every schema id is unknown; less than a whole prefix names
        // no schema at all.
        return bad(if value.len() < 5 { "malformed_avro" } else { "unknown_schema" }, "Avro");
    }
    let mut fields = read_object(value)?;
    if fields.contains_key("payload") && !fields.contains_key("event_id") {
        let Json::Str(payload) = &fields["payload"] else {
            return bad("bad_envelope", "payload is no string");
        };
        let Ok(inner) = STANDARD.decode(payload) else {
            return bad("bad_envelope", "payload is not base64");
        };
        fields = read_object(&inner)?;
    }
    decode_fields(&fields, record, settings)
}

fn decode_fields(fields: &BTreeMap<String, Json>, record: &Record, settings: &Settings) -> Result<Event, Bad> {
    let Some(event_id) = text(fields, "event_id")?.filter(|id| !id.is_empty()) else {
        return bad("missing_field", "event_id");
    };
    let Some(event_type) = text(fields, "event_type")? else {
        return bad("missing_field", "event_type");
    };
    let memory_id = text(fields, "memory_id")?.filter(|id| !id.is_empty());
    if memory_id.is_none() && event_type.starts_with("memory.") && event_type != "memory.sync_request" {
        return bad("missing_field", "memory_id");
    }
    let timestamp_ns = timestamp(fields, record)?;
    let mut event = Event {
        event_id,
        event_type,
        memory_id,
        timestamp_ns,
        node_id: text(fields, "node_id")?.filter(|id| !id.is_empty()),
        user_id: name_register(fields, "user_id")?,
        session_id: name_register(fields, "session_id")?,
        content: register(fields, "content", |v| matches!(v, Json::Str(_)))?,
        embedding: register(fields, "embedding", |v| all_items(v, is_number))?,
        importance: register(fields, "importance", is_number)?,
        tags: string_set(fields, "tags")?,
        merged_from: string_set(fields, "merged_from")?,
        entities: keyed(fields, "entities", "confidence")?,
        relationships: keyed(fields, "relationships", "strength")?,
        metadata: metadata(fields)?,
        version: match fields.get("version") {
            None | Some(Json::Null) => 0,
            Some(value) => counter(value)?,
        },
        clock: clock(fields, settings)?,
        clock_written: false,
        source: Source { topic: record.topic.clone(), partition: record.partition, offset: record.offset },
        identity: String::new(),
    };
    event.clock_written = !event.clock.is_empty();
    if !event.clock_written {
        event.clock.insert("~".to_owned(), timestamp_ns as u64);
    }
    event.identity = event.identify();
    Ok(event)
}

/// A string member; null is absent.
fn text(fields: &BTreeMap<String, Json>, name: &str) -> Result<Option<String>, Bad> {
    match fields.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Str(s)) => Ok(Some(s.clone())),
        Some(_) => bad("wrong_type", name),
    }
}

/// A field that null clears, with a check of any other value.
fn register(fields: &BTreeMap<String, Json>, name: &str, fits: impl Fn(&Json) -> bool) -> Result<Option<Json>, Bad> {
    match fields.get(name) {
        None => Ok(None),
        Some(Json::Null) => Ok(Some(Json::Null)),
        Some(value) if fits(value) => Ok(Some(value.clone())),
        Some(_) => bad("wrong_type", name),
    }
}

/// `user_id` and `session_id`: null clears, empty is absent.
fn name_register(fields: &BTreeMap<String, Json>, name: &str) -> Result<Option<Json>, Bad> {
    let written = register(fields, name, |v| matches!(v, Json::Str(_)))?;
    Ok(written.filter(|v| !matches!(v, Json::Str(s) if s.is_empty())))
}

fn is_number(value: &Json) -> bool {
    matches!(value, Json::Int(_) | Json::Float(_))
}

fn all_items(value: &Json, fits: impl Fn(&Json) -> bool) -> bool {
    matches!(value, Json::Arr(items) if items.iter().all(fits))
}

/// `tags` and `merged_from`: sorted, no repeats.
fn string_set(fields: &BTreeMap<String, Json>, name: &str) -> Result<Option<Json>, Bad> {
    let written = register(fields, name, |v| all_items(v, |item| matches!(item, Json::Str(_))))?;
    Ok(written.map(|value| union([&value])))
}

/// The union of sets of strings, sorted; null adds nothing, and only nulls are null.
pub fn union<'a>(sets: impl IntoIterator<Item = &'a Json>) -> Json {
    let mut all: Option<BTreeSet<&str>> = None;
    for set in sets {
        if let Json::Arr(items) = set {
            let strings = items.iter().filter_map(|i| if let Json::Str(s) = i { Some(s.as_str()) } else { None });
            all.get_or_insert_default().extend(strings);
        }
    }
    all.map_or(Json::Null, |set| Json::Arr(set.into_iter().map(Json::str).collect()))
}

/// `entities` and `relationships`, by id; of an id that stands twice the last.
fn keyed(fields: &BTreeMap<String, Json>, name: &str, weight: &str) -> Result<BTreeMap<String, Json>, Bad> {
    let mut by_id = BTreeMap::new();
    let items = match fields.get(name) {
        None | Some(Json::Null) => return Ok(by_id),
        Some(Json::Arr(items)) => items,
        Some(_) => return bad("wrong_type", name),
    };
    for item in items {
        let Json::Obj(members) = item else {
            return bad("wrong_type", name);
        };
        let Some(id) = text(members, "id")?.filter(|id| !id.is_empty()) else {
            return bad("missing_field", name);
        };
        let mut members = members.clone();
        match members.get(weight) {
            None => {}
            Some(Json::Null) => _ = members.remove(weight),
            Some(value) if is_number(value) => {}
            Some(_) => return bad("wrong_type", weight),
        }
        by_id.insert(id, Json::Obj(members));
    }
    Ok(by_id)
}

fn metadata(fields: &BTreeMap<String, Json>) -> Result<BTreeMap<String, Json>, Bad> {
    match fields.get("metadata") {
        None | Some(Json::Null) => Ok(BTreeMap::new()),
        Some(Json::Obj(members)) => Ok(members.clone()),
        Some(_) => bad("wrong_type", "metadata"),
    }
}

fn counter(value: &Json) -> Result<u64, Bad> {
    match value {
        Json::Int(i) if (0..=i128::from(i64::MAX)).contains(i) => Ok(*i as u64),
        Json::Int(_) | Json::Float(_) => bad("bad_counter", "not an integer from 0 to 2^63-1"),
        _ => bad("wrong_type", "counter is no number"),
    }
}

/// The clock as written, without zero entries; the limit counts the entries that are written, zero
/// or not.
fn clock(fields: &BTreeMap<String, Json>, settings: &Settings) -> Result<BTreeMap<String, u64>, Bad> {
    let entries = match fields.get("vector_clock") {
        None | Some(Json::Null) => return Ok(BTreeMap::new()),
        Some(Json::Str(text)) if text.is_empty() => return Ok(BTreeMap::new()),
        Some(Json::Str(text)) => read_object(text.as_bytes())?,
        Some(Json::Obj(entries)) => entries.clone(),
        Some(_) => return bad("wrong_type", "vector_clock"),
    };
    if entries.len() > settings.max_clock_entries {
        return bad("too_many_clock_entries", "vector_clock");
    }
    let mut clock = BTreeMap::new();
    for (node, value) in &entries {
        clock.insert(node.clone(), counter(value)?);
    }
    clock.retain(|_, count| *count > 0);
    Ok(clock)
}

fn timestamp(fields: &BTreeMap<String, Json>, record: &Record) -> Result<i64, Bad> {
    match text(fields, "timestamp")?.as_deref() {
        None | Some("0001-01-01T00:00:00Z") => {
            let nanos = i128::from(record.timestamp_ms) * 1_000_000;
            match i64::try_from(nanos) {
                Ok(nanos) if nanos >= 0 => Ok(nanos),
                _ => bad("bad_timestamp", "the record's timestamp is out of range"),
            }
        }
        Some(written) => time::parse(written).map_or_else(|| bad("bad_timestamp", written), Ok),
    }
}
