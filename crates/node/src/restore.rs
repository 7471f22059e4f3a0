//! User snapshots that are brought back (docs/semantics.md, section 5, "User snapshot").
//!
//! A snapshot comes from a client, so it is checked for all that the node relies on later: its
//! parts belong together and are all there, its id and its clock are those of its memories, and
//! each memory is one that the stream could have resolved, by the stream's own decoder.

use std::collections::{BTreeMap, BTreeSet};

use json::{ObjectWriter, Value, ValueKind, rfc3339};
use memory::event::{self, Limits};
use memory::settings::ResolverSettings;
use memory::users::snapshot_id;

use crate::overlay::{Heading, lay_over};
use crate::ports::JournalError;
use crate::sync::{SyncError, SyncRequested};
use crate::write::MAX_MEMORY_ID;

/// The most bytes of a memory of a snapshot, as canonical JSON. The largest event that a node
/// accepts by default has 8 MiB, and a resolved memory holds the fields of several.
const MAX_MEMORY_BYTES: usize = 16 << 20;

/// The members of an active memory that an event carries under the same name.
const EVENT_FIELDS: [&str; 13] = [
    "content",
    "embedding",
    "entities",
    "importance",
    "memory_id",
    "merged_from",
    "metadata",
    "relationships",
    "session_id",
    "tags",
    "user_id",
    "vector_clock",
    "version",
];

/// The members of an active memory that it has beside these.
const OTHER_MEMBERS: [&str; 5] = ["conflicted_fields", "created_at", "event_ids", "status", "updated_at"];

/// The caller's share of a limit on memory, in a type of its own. It is dropped when nothing of the
/// snapshot is in memory any more, also where the caller has given up before.
pub type Place = Box<dyn Send>;

/// A user snapshot that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The user.
    pub user_id: String,
    /// How many memories the snapshot has.
    pub memories: u64,
    /// How many of them the node shows by the snapshot now.
    pub restored: u64,
    /// How many the node does not keep by its subscription. It has the others as new or newer.
    pub not_subscribed: u64,
    /// The request for what has changed since.
    pub request: SyncRequested,
}

/// Why a snapshot cannot be brought back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFault {
    /// The text is no JSON.
    #[error("the snapshot is not JSON: {0}")]
    NotJson(String),
    /// It is neither one snapshot nor a list of parts, or a part lacks what each has.
    #[error("{0}")]
    NoSnapshot(String),
    /// The parts are those of several snapshots.
    #[error("the parts belong to different snapshots: part {part} has another {member} than the first one")]
    Mixed {
        /// The place of the part in the list, from 1.
        part: usize,
        /// The member that differs.
        member: &'static str,
    },
    /// Parts are missing, or are there twice.
    #[error("{0}")]
    Incomplete(String),
    /// Something was changed or lost.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
}

/// Why a snapshot was not restored. Where the database is at fault, some of its memories may be.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot is at fault.
    #[error(transparent)]
    Snapshot(#[from] SnapshotFault),
    /// The request for what has changed since was not accepted.
    #[error(transparent)]
    Request(#[from] SyncError),
    /// The database is at fault.
    #[error(transparent)]
    Database(#[from] JournalError),
}

/// A memory of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotMemory {
    /// Its id.
    pub memory_id: String,
    /// The resolved memory as canonical JSON.
    pub json: String,
}

/// Memories of a snapshot that are restored in one transaction.
pub(crate) struct Chunk {
    /// Their user.
    pub user_id: String,
    /// The memories.
    pub memories: Vec<SnapshotMemory>,
    /// The state after the chunk before; `None`: this is the first one.
    pub before: Option<RestoredChunk>,
}

/// The state of a snapshot of which some chunks are restored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RestoredChunk {
    /// How many memories the node shows by the snapshot now.
    pub restored: u64,
    /// How many the node does not keep by its subscription.
    pub not_subscribed: u64,
    /// Whether all memories are asked for.
    pub asks_for_all: bool,
    /// The request for what has changed since.
    pub request: SyncRequested,
}

/// A user snapshot that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSnapshot {
    user_id: String,
    memories: Vec<SnapshotMemory>,
}

impl UserSnapshot {
    /// Reads a snapshot: JSON of one, or an array of its parts in any order.
    ///
    /// # Errors
    /// [`SnapshotFault`]
    pub fn read(text: &[u8]) -> Result<UserSnapshot, SnapshotFault> {
        let document = json::parse(text).map_err(|error| SnapshotFault::NotJson(error.to_string()))?;
        let root = document.root();
        let parts: Vec<Value<'_>> = match root.kind() {
            ValueKind::Object => vec![root],
            ValueKind::Array => root.items().collect(),
            _ => Vec::new(),
        };
        let parts = parts.into_iter().enumerate().map(|(at, part)| {
            Part::read(part).map_err(|problem| SnapshotFault::NoSnapshot(format!("part {}: {problem}", at + 1)))
        });
        let parts = parts.collect::<Result<Vec<Part<'_>>, _>>()?;
        let Some(first) = parts.first() else {
            let problem = "the body should be a user snapshot, or an array of all its parts";
            return Err(SnapshotFault::NoSnapshot(problem.to_owned()));
        };
        check_together(first, &parts)?;
        check_complete(first, &parts)?;
        let mut memories = BTreeMap::new();
        let mut joined: BTreeMap<&str, u64> = BTreeMap::new();
        for value in parts.iter().flat_map(|part| part.memories.items()) {
            let memory = memory_of(value, first.user_id).map_err(SnapshotFault::Damaged)?;
            for (name, counter) in clock_of(value).unwrap_or_default() {
                let entry = joined.entry(name).or_default();
                *entry = counter.max(*entry);
            }
            if let Some(twin) = memories.insert(memory.memory_id.clone(), memory) {
                return Err(SnapshotFault::Damaged(format!("it has the memory {:?} twice", twin.memory_id)));
            }
        }
        if parts.iter().any(|part| part.clock != joined) {
            let problem = "its vector_clock is not the join of its memories' clocks, so memories are missing";
            return Err(SnapshotFault::Damaged(problem.to_owned()));
        }
        Ok(UserSnapshot { user_id: first.user_id.to_owned(), memories: memories.into_values().collect() })
    }

    /// Its user.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Its memories, by id.
    pub(crate) fn into_memories(self) -> Vec<SnapshotMemory> {
        self.memories
    }
}

/// A part of a snapshot, or a whole one.
struct Part<'d> {
    snapshot_id: &'d str,
    timestamp: &'d str,
    node_id: &'d str,
    user_id: &'d str,
    memories: Value<'d>,
    clock: BTreeMap<&'d str, u64>,
    /// Its number and that of all parts; 1 and 1 where it is the whole.
    number: u64,
    of: u64,
}

impl<'d> Part<'d> {
    fn read(part: Value<'d>) -> Result<Part<'d>, String> {
        if part.kind() != ValueKind::Object {
            return Err("it is not a JSON object".to_owned());
        }
        let text = |name: &str| {
            let text = part.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            text.ok_or_else(|| format!("it has no `{name}`, as a user snapshot has"))
        };
        let memories = part.get("memories").filter(|list| list.kind() == ValueKind::Array);
        let numbers = part.get("metadata").filter(|metadata| !metadata.is_null());
        let (number, of) = match numbers {
            None => (1, 1),
            Some(metadata) => {
                let number = |name: &str| metadata.get(name).and_then(counter).filter(|number| *number > 0);
                let is_object = metadata.kind() == ValueKind::Object;
                let numbers = if is_object { number("part").zip(number("parts")) } else { None };
                numbers.ok_or("its `metadata` does not have the numbers `part` and `parts`")?
            }
        };
        Ok(Part {
            snapshot_id: text("snapshot_id")?,
            timestamp: text("timestamp")?,
            node_id: text("node_id")?,
            user_id: text("user_id")?,
            memories: memories.ok_or("it has no list of `memories`, as a user snapshot has")?,
            clock: clock_of(part).ok_or("it has no `vector_clock`, as a user snapshot has")?.into_iter().collect(),
            number,
            of,
        })
    }
}

fn counter(value: Value<'_>) -> Option<u64> {
    value.number_text()?.parse().ok()
}

/// The clock of a snapshot or a memory; `None` where it has none that can be read.
fn clock_of(value: Value<'_>) -> Option<Vec<(&str, u64)>> {
    let clock = value.get("vector_clock").filter(|clock| clock.kind() == ValueKind::Object)?;
    clock.members().map(|(name, entry)| Some((name, counter(entry)?))).collect()
}

/// Whether the parts are those of one snapshot, whose id is that of its user and its time.
fn check_together(first: &Part<'_>, parts: &[Part<'_>]) -> Result<(), SnapshotFault> {
    for (at, part) in parts.iter().enumerate() {
        let members = [
            ("user_id", part.user_id == first.user_id),
            ("snapshot_id", part.snapshot_id == first.snapshot_id),
            ("timestamp", part.timestamp == first.timestamp),
            ("node_id", part.node_id == first.node_id),
            ("number of parts", part.of == first.of),
        ];
        if let Some((member, _)) = members.into_iter().find(|(_, is_same)| !is_same) {
            return Err(SnapshotFault::Mixed { part: at + 1, member });
        }
    }
    let timestamp =
        rfc3339::parse(first.timestamp).map_err(|error| SnapshotFault::Damaged(format!("its `timestamp` {error}")))?;
    if snapshot_id(first.user_id, timestamp) == first.snapshot_id {
        return Ok(());
    }
    Err(SnapshotFault::Damaged("its `snapshot_id` is not that of its user and its timestamp".to_owned()))
}

/// Whether each part is there once.
fn check_complete(first: &Part<'_>, parts: &[Part<'_>]) -> Result<(), SnapshotFault> {
    let numbers: BTreeSet<u64> = parts.iter().map(|part| part.number).collect();
    if numbers.len() < parts.len() {
        return Err(SnapshotFault::Incomplete("a part of the snapshot is there twice".to_owned()));
    }
    let is_complete = parts.len() as u64 == first.of && numbers.last().is_some_and(|last| *last == first.of);
    if is_complete {
        return Ok(());
    }
    let there: Vec<String> = numbers.iter().map(u64::to_string).collect();
    Err(SnapshotFault::Incomplete(format!(
        "the snapshot has {} parts, and these are there: {}; send all of them in one array",
        first.of,
        there.join(", ")
    )))
}

/// A memory of a user's snapshot, if the stream could have resolved it.
fn memory_of(value: Value<'_>, user: &str) -> Result<SnapshotMemory, String> {
    if value.kind() != ValueKind::Object {
        return Err("a memory of it is not a JSON object".to_owned());
    }
    let id = value.get("memory_id").and_then(Value::as_str).unwrap_or_default();
    let wrong = |problem: String| {
        let id: String = id.chars().take(100).collect();
        format!("the memory {id:?}: {problem}")
    };
    if id.is_empty() || id.len() > MAX_MEMORY_ID {
        return Err(wrong(format!("its id should have 1 to {MAX_MEMORY_ID} bytes")));
    }
    let is_known = |name: &str| EVENT_FIELDS.contains(&name) || OTHER_MEMBERS.contains(&name);
    if let Some((name, _)) = value.members().find(|(name, member)| !is_known(name) || member.is_null()) {
        return Err(wrong(format!("a resolved memory has no such member {name:?}")));
    }
    let json = value.canonical();
    if json.len() > MAX_MEMORY_BYTES {
        return Err(wrong(format!("it has more than {} MiB", MAX_MEMORY_BYTES >> 20)));
    }
    let heading = Heading::of(&json).map_err(&wrong)?;
    let is_list = |name: &str, read: usize| {
        value.get(name).is_some_and(|list| list.kind() == ValueKind::Array && list.items().count() == read)
    };
    if heading.status != "active" || heading.user_id.as_deref() != Some(user) {
        return Err(wrong("it is not an active memory of the snapshot's user".to_owned()));
    }
    if heading.clock.is_empty() || heading.event_ids.is_empty() {
        return Err(wrong("it has no clock or no events".to_owned()));
    }
    let lists_are_texts =
        is_list("event_ids", heading.event_ids.len()) && is_list("conflicted_fields", heading.conflicted.len());
    if !lists_are_texts {
        return Err(wrong("its `event_ids` and `conflicted_fields` are not lists of texts".to_owned()));
    }
    // An event may be smaller than a resolved memory, so its limits do not count here.
    let limits = Limits { max_clock_entries: usize::MAX, max_value_bytes: usize::MAX };
    event::decode(Some(&as_event(value)), 1, &limits).map_err(|error| wrong(error.to_string()))?;
    lay_over(id, Some(&json), &[], &ResolverSettings::default(), &limits).map_err(|error| wrong(error.problem))?;
    let json = String::from_utf8(json).map_err(|error| wrong(error.to_string()))?;
    Ok(SnapshotMemory { memory_id: id.to_owned(), json })
}

/// An event with the fields of a memory, which the stream's decoder checks.
fn as_event(memory: Value<'_>) -> Vec<u8> {
    let mut members: BTreeMap<&str, Vec<u8>> =
        EVENT_FIELDS.iter().filter_map(|name| Some((*name, memory.get(name)?.canonical()))).collect();
    members.insert("event_id", b"\"restored\"".to_vec());
    members.insert("event_type", b"\"memory.updated\"".to_vec());
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    members.iter().for_each(|(name, value)| object.raw(name, value));
    object.end();
    out
}

#[cfg(test)]
mod tests;
