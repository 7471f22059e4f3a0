//! An event as the rest of the domain sees it: decoded, checked, defaults applied, sets sorted.

use super::clock::Clock;
use json::Number;

mod decode;
mod digest;
mod encoding;
mod envelope;
mod fields;
mod fieldwrites;
mod rejection;
pub mod wire;

pub use decode::{Limits, decode};
pub use encoding::Encoding;
pub use rejection::{BadInput, Class};

/// Kind of an event, by its `event_type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// `memory.created`
    Created,
    /// `memory.updated`
    Updated,
    /// `memory.deleted`
    Deleted,
    /// `memory.merged`: updates its memory and absorbs others.
    Merged,
    /// `memory.sync_request`: asks for what its clock has not seen.
    SyncRequest,
    /// `entity.created`
    EntityCreated,
    /// `entity.updated`
    EntityUpdated,
    /// `entity.linked`
    EntityLinked,
    /// `relationship.created`
    RelationshipCreated,
    /// `relationship.updated`
    RelationshipUpdated,
    /// `relationship.deleted`: writes null to each relationship that it lists.
    RelationshipDeleted,
    /// Any other type: mirrored and counted, changes no state.
    Other(String),
}

impl EventKind {
    /// The kind that an `event_type` names.
    pub fn of(event_type: &str) -> EventKind {
        match event_type {
            "memory.created" => EventKind::Created,
            "memory.updated" => EventKind::Updated,
            "memory.deleted" => EventKind::Deleted,
            "memory.merged" => EventKind::Merged,
            "memory.sync_request" => EventKind::SyncRequest,
            "entity.created" => EventKind::EntityCreated,
            "entity.updated" => EventKind::EntityUpdated,
            "entity.linked" => EventKind::EntityLinked,
            "relationship.created" => EventKind::RelationshipCreated,
            "relationship.updated" => EventKind::RelationshipUpdated,
            "relationship.deleted" => EventKind::RelationshipDeleted,
            other => EventKind::Other(other.to_owned()),
        }
    }

    /// The `event_type`.
    pub fn as_str(&self) -> &str {
        match self {
            EventKind::Created => "memory.created",
            EventKind::Updated => "memory.updated",
            EventKind::Deleted => "memory.deleted",
            EventKind::Merged => "memory.merged",
            EventKind::SyncRequest => "memory.sync_request",
            EventKind::EntityCreated => "entity.created",
            EventKind::EntityUpdated => "entity.updated",
            EventKind::EntityLinked => "entity.linked",
            EventKind::RelationshipCreated => "relationship.created",
            EventKind::RelationshipUpdated => "relationship.updated",
            EventKind::RelationshipDeleted => "relationship.deleted",
            EventKind::Other(name) => name,
        }
    }

    /// Whether an event of this kind changes the memory that it names. A sync request asks only,
    /// and an unknown type is mirrored and counted only.
    pub fn changes_state(&self) -> bool {
        !matches!(self, EventKind::SyncRequest | EventKind::Other(_))
    }
}

/// One decoded event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Never empty.
    pub event_id: String,
    /// Its kind.
    pub kind: EventKind,
    /// `None` when absent or empty, which only a sync request, an entity or relationship event, or
    /// another type may have.
    pub memory_id: Option<String>,
    /// Nanoseconds since 1970, at most 2^63-1; the record's when the event carries none.
    pub timestamp: u64,
    /// `None` when absent or empty.
    pub node_id: Option<String>,
    /// The importance that the event carries; `None` also when it clears it.
    pub importance: Option<Number>,
    /// At most 2^63-1; 0 when absent.
    pub version: u64,
    /// Never empty: an event without a clock has `{"~": timestamp}`, whose entry may be zero as no
    /// other may.
    pub clock: Clock,
    /// Whether the event itself has a clock with an entry: only a sync request means something else
    /// without one.
    pub tells_clock: bool,
    /// Every field path that the event carries, sorted by path, each once. A `relationship.deleted`
    /// has `null` for each relationship that it lists. Of a delete only the `user_id` is really
    /// written: [`wire::encode`] leaves out the rest.
    pub writes: Vec<FieldWrite>,
    /// Ids absorbed by a `memory.merged`, as the field holds them: sorted, no repeats. Empty for
    /// other kinds too when absent.
    pub merged_from: Vec<String>,
    /// Digest of the decoded event, all known fields: two records carry the same event iff it is
    /// equal.
    pub digest: u128,
}

impl Event {
    /// The memory that the event changes, if it changes any: the key of its record on the
    /// repartition topic.
    pub fn target(&self) -> Option<&str> {
        self.memory_id.as_deref().filter(|_| self.kind.changes_state())
    }

    /// The other memories that a `memory.merged` absorbs: each gets an absorb. Its own id and an
    /// empty one absorb nothing.
    pub fn absorbed(&self) -> impl Iterator<Item = &str> {
        let is_merge = self.kind == EventKind::Merged;
        let absorbs = move |id: &&str| is_merge && !id.is_empty() && self.memory_id.as_deref() != Some(*id);
        self.merged_from.iter().map(String::as_str).filter(absorbs)
    }
}

/// A value written to a field path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldWrite {
    /// `content`, `embedding`, `importance`, `session_id`, `user_id`, `tags`, `merged_from`,
    /// `metadata.<key>`, `entities.<id>`, `relationships.<id>`.
    pub path: String,
    /// Canonical JSON; `null` clears.
    pub value: Vec<u8>,
}
