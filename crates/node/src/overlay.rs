//! The view while its own events are not resolved: the resolved memory, and over it the
//! events that the stream has not resolved yet.
//!
//! The resolved memory counts as one event with its clock, its version and all its fields. The
//! node's events follow it in their order, by the stream's own rules (`memory::step`).

use std::collections::{BTreeMap, BTreeSet};

use json::{ObjectWriter, Value, ValueKind, rfc3339};
use memory::clock;
use memory::event::wire::{self, EventRef, Source};
use memory::event::{self, EventKind, Limits};
use memory::settings::ResolverSettings;
use memory::state::{ReadFailure, Rows};
use memory::step;
use memory::view::ResolutionContext;

use crate::expiry::{EXPIRES_AT, EXPIRES_BY};

/// The id of the event that the resolved memory counts as. No event has this id: it is replaced by
/// the ids of the resolved memory.
const RESOLVED_ID: &str = "\u{0}resolved";

/// An event of this node that lies over a memory.
#[derive(Clone, Debug)]
pub(crate) struct OverlaidEvent {
    /// The value of its record.
    pub value: Vec<u8>,
    /// The timestamp of its record, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Whether it is a merge that absorbs this memory.
    pub is_absorbed: bool,
}

/// Why a memory cannot be shown: the database holds what this program has not written.
#[derive(Debug, thiserror::Error)]
#[error("the memory {memory:?} cannot be read: {problem}")]
pub(crate) struct OverlayError {
    /// The memory.
    pub memory: String,
    /// The problem.
    pub problem: String,
}

/// The heading of a resolved memory: all members but its larger fields.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heading {
    /// `active`, `deleted` or `merged`.
    pub status: String,
    /// The memory that has absorbed it.
    pub merged_into: Option<String>,
    /// Its user.
    pub user_id: Option<String>,
    /// Its session.
    pub session_id: Option<String>,
    /// Its vector clock, by name.
    pub clock: Vec<(String, u64)>,
    /// Its version.
    pub version: u64,
    /// The time of its first event, in nanoseconds since 1970.
    pub created_at: u64,
    /// The time of its last event, in nanoseconds since 1970.
    pub updated_at: u64,
    /// The ids of its frontier.
    pub event_ids: Vec<String>,
    /// The paths in conflict.
    pub conflicted: Vec<String>,
    /// Content and tags: what a search looks through.
    pub content: Option<String>,
    /// The tags, with a blank between them.
    pub tags: Option<String>,
    /// When it expires, in nanoseconds since 1970; `None` also where that is no time.
    pub expires_at: Option<u64>,
    /// The node that has set this time.
    pub expires_by: Option<String>,
}

impl Heading {
    /// Reads a resolved memory.
    ///
    /// # Errors
    /// The problem, for a person: the text is no resolved memory.
    pub fn of(text: &[u8]) -> Result<Heading, String> {
        let document = json::parse(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let root = document.root();
        let text_of = |name: &str| root.get(name).and_then(Value::as_str).map(str::to_owned);
        let required = |name: &str| text_of(name).ok_or_else(|| format!("it has no `{name}`"));
        let time = |name: &str| rfc3339::parse(&required(name)?).map_err(|error| format!("its `{name}` {error}"));
        let texts = |name: &str| -> Vec<String> {
            let items = root.get(name).into_iter().flat_map(Value::items);
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let clock = root.get("vector_clock").ok_or("it has no `vector_clock`")?;
        let clock: Option<Vec<_>> =
            clock.sorted_members().map(|(name, n)| Some((name.to_owned(), counter(n)?))).collect();
        let version = root.get("version").and_then(counter).ok_or("it has no `version`")?;
        let tags = texts("tags");
        let metadata = root.get("metadata").filter(|metadata| metadata.kind() == ValueKind::Object);
        let metadata_text = |key: &str| metadata?.get(key).and_then(Value::as_str);
        Ok(Heading {
            status: required("status")?,
            merged_into: text_of("merged_into"),
            user_id: text_of("user_id"),
            session_id: text_of("session_id"),
            clock: clock.ok_or("a counter of its `vector_clock` is none")?,
            version,
            created_at: time("created_at")?,
            updated_at: time("updated_at")?,
            event_ids: texts("event_ids"),
            conflicted: texts("conflicted_fields"),
            content: text_of("content"),
            tags: (!tags.is_empty()).then(|| tags.join(" ")),
            expires_at: metadata_text(EXPIRES_AT).and_then(|text| rfc3339::parse(text).ok()),
            expires_by: metadata_text(EXPIRES_BY).map(str::to_owned),
        })
    }

    /// The entry of an actor in its clock; 0 where there is none.
    pub fn entry(&self, actor: &str) -> u64 {
        self.clock.iter().find(|(name, _)| name == actor).map_or(0, |(_, counter)| *counter)
    }

    /// Its clock as it is compared.
    pub fn clock_entries(&self) -> impl Iterator<Item = (&str, u64)> {
        self.clock.iter().map(|(name, counter)| (name.as_str(), *counter))
    }
}

fn counter(value: Value<'_>) -> Option<u64> {
    value.number_text()?.parse().ok().filter(|n| *n <= crate::hybrid_clock::MAX_VERSION)
}

/// The rows of one memory while it is computed.
#[derive(Default)]
struct MapRows(BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows for MapRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        Ok(self.0.get(key).cloned())
    }
}

/// The computation of one view.
struct Overlay<'s> {
    memory_id: &'s str,
    rows: MapRows,
    context: ResolutionContext<'s>,
    /// Paths in conflict in the resolved memory that no event of the node has decided.
    conflicted: BTreeSet<String>,
}

/// Lays events over a resolved memory, and returns the memory as it is shown: canonical JSON.
///
/// # Errors
/// [`OverlayError`]
pub(crate) fn lay_over<'e>(
    memory_id: &str,
    resolved: Option<&[u8]>,
    events: impl IntoIterator<Item = &'e OverlaidEvent>,
    settings: &ResolverSettings,
    limits: &Limits,
) -> Result<Vec<u8>, OverlayError> {
    let failed = |problem: String| OverlayError { memory: memory_id.to_owned(), problem };
    let context = ResolutionContext { settings, custom: None };
    let mut overlay = Overlay { memory_id, rows: MapRows::default(), context, conflicted: BTreeSet::new() };
    let heading = match resolved {
        Some(text) => Some(overlay.put_resolved(text).map_err(failed)?),
        None => None,
    };
    for event in events {
        overlay.put_event(event, heading.as_ref(), limits).map_err(failed)?;
    }
    let shown = step::read(&overlay.rows, memory_id, &context).map_err(|error| failed(error.to_string()))?;
    let shown = shown.ok_or_else(|| failed("there is nothing to show".to_owned()))?.json;
    match heading {
        Some(heading) => overlay.with_resolved_members(&shown, &heading).map_err(failed),
        None => Ok(shown),
    }
}

impl Overlay<'_> {
    fn put(&mut self, event: &EventRef<'_>) -> Result<(), String> {
        let outcome =
            step::step(&self.rows, self.memory_id, event, &self.context).map_err(|error| error.to_string())?;
        for (key, value) in outcome.puts {
            match value {
                Some(value) => self.rows.0.insert(key, value),
                None => self.rows.0.remove(&key),
            };
        }
        Ok(())
    }

    /// Lets the resolved memory in, as one event.
    fn put_resolved(&mut self, text: &[u8]) -> Result<Heading, String> {
        let heading = Heading::of(text)?;
        let document = json::parse(text).map_err(|error| error.to_string())?;
        let root = document.root();
        let is_active = heading.status == "active";
        let writes = writes_of(root, is_active);
        let mut clock: Vec<(&str, u64)> = heading.clock_entries().filter(|(_, n)| *n > 0).collect();
        if clock.is_empty() {
            clock.push((clock::UNCLOCKED, heading.updated_at));
        }
        self.put(&EventRef {
            event_id: RESOLVED_ID,
            timestamp: heading.updated_at,
            node_id: None,
            importance: root.get("importance").and_then(Value::as_number),
            version: heading.version,
            clock,
            digest: xxhash_rust::xxh3::xxh3_128(text),
            is_delete: !is_active,
            absorb_into: heading.merged_into.as_deref(),
            source: Source { topic: "", partition: 0, offset: 0 },
            source_timestamp_ms: 1,
            writes: writes.iter().map(|(path, value)| (path.as_str(), value.as_slice())).collect(),
        })?;
        self.conflicted = heading.conflicted.iter().cloned().collect();
        Ok(heading)
    }

    fn put_event(&mut self, event: &OverlaidEvent, heading: Option<&Heading>, limits: &Limits) -> Result<(), String> {
        let decoded =
            event::decode(Some(&event.value), event.timestamp_ms, limits).map_err(|error| error.to_string())?;
        let into = if event.is_absorbed { decoded.memory_id.as_deref() } else { None };
        let mut form = Vec::with_capacity(event.value.len() + 64);
        let source = Source { topic: "", partition: 0, offset: 0 };
        wire::encode(&decoded, &source, event.timestamp_ms, into, &mut form);
        let read = wire::decode(&form).map_err(|error| error.to_string())?;
        self.put(&read)?;
        if let Some(heading) = heading {
            let order = clock::compare(heading.clock_entries(), read.clock.iter().copied());
            if order == Some(std::cmp::Ordering::Less) && heading.version <= read.version {
                let is_delete = into.is_some() || decoded.kind == EventKind::Deleted;
                self.conflicted.retain(|path| !is_delete && read.writes.iter().all(|(written, _)| written != path));
            }
        }
        Ok(())
    }

    /// The view with the members that the one event of the resolved memory could not carry.
    fn with_resolved_members(&self, shown: &[u8], heading: &Heading) -> Result<Vec<u8>, String> {
        let document = json::parse(shown).map_err(|error| error.to_string())?;
        let mut out = Vec::with_capacity(shown.len() + 64);
        let mut object = ObjectWriter::new(&mut out);
        for (name, value) in document.root().sorted_members() {
            let texts = || value.items().filter_map(Value::as_str);
            match name {
                "created_at" => {
                    let shown = value.as_str().and_then(|text| rfc3339::parse(text).ok());
                    object.time(name, shown.map_or(heading.created_at, |time| time.min(heading.created_at)));
                }
                "event_ids" => {
                    let own = texts().filter(|id| *id != RESOLVED_ID);
                    let kept: &[String] = if texts().any(|id| id == RESOLVED_ID) { &heading.event_ids } else { &[] };
                    let ids: BTreeSet<&str> = own.chain(kept.iter().map(String::as_str)).collect();
                    object.array(name, ids, json::write_string);
                }
                "conflicted_fields" => {
                    let paths: BTreeSet<&str> = texts().chain(self.conflicted.iter().map(String::as_str)).collect();
                    object.array(name, paths, json::write_string);
                }
                _ => value.write_canonical(object.key(name)),
            }
        }
        object.end();
        Ok(out)
    }
}

/// The fields of a resolved memory as writes, sorted by path. A memory that is not active writes
/// its user alone, as a delete does.
pub(crate) fn writes_of(root: Value<'_>, is_active: bool) -> Vec<(String, Vec<u8>)> {
    let plain: &[&str] = if is_active {
        &["content", "embedding", "importance", "merged_from", "session_id", "tags", "user_id"]
    } else {
        &["user_id"]
    };
    let mut writes: Vec<(String, Vec<u8>)> =
        plain.iter().filter_map(|name| Some(((*name).to_owned(), root.get(name)?.canonical()))).collect();
    if is_active {
        for name in ["entities", "relationships"] {
            let items = root.get(name).into_iter().flat_map(Value::items);
            let with_id = items.filter_map(|item| Some((item.get("id")?.as_str()?, item)));
            writes.extend(with_id.map(|(id, item)| (format!("{name}.{id}"), item.canonical())));
        }
        let metadata = root.get("metadata").into_iter().flat_map(Value::members);
        writes.extend(metadata.map(|(key, value)| (format!("metadata.{key}"), value.canonical())));
    }
    writes.sort();
    writes.dedup_by(|later, kept| later.0 == kept.0);
    writes
}
