//! An event as the rest of the domain sees it: decoded, checked, defaults applied, sets sorted.

use super::{clock::Clock, number::Number};

/// What an event does, by its `event_type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Created,
    Updated,
    Deleted,
    Merged,
    SyncRequest,
    EntityCreated,
    EntityUpdated,
    EntityLinked,
    RelationshipCreated,
    RelationshipUpdated,
    RelationshipDeleted,
    /// Any other type: mirrored and counted, changes no state.
    Other(String),
}

/// One decoded event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Never empty.
    pub event_id: String,
    pub kind: Kind,
    /// `None` when absent or empty, which only a sync request, an entity or relationship event, or another type may have.
    pub memory_id: Option<String>,
    /// Nanoseconds since 1970, at most 2^63-1; the record's when the event carries none.
    pub timestamp: u64,
    /// `None` when absent or empty.
    pub node_id: Option<String>,
    /// The importance that the event carries; `None` also when it clears it.
    pub importance: Option<Number>,
    /// At most 2^63-1; 0 when absent.
    pub version: u64,
    /// Never empty: an event without a clock has `{"~": timestamp}`.
    pub clock: Clock,
    /// Every field path that the event carries, sorted by path, each once. What an event of its kind really writes is
    /// for [`crate::domain`]'s state to say (a delete writes its `user_id` alone).
    pub writes: Vec<Write>,
    /// Ids absorbed by a `memory.merged`, as the field holds them: sorted, no repeats. Empty for other kinds too when absent.
    pub merged_from: Vec<String>,
    /// Digest of the decoded event, all known fields: two records carry the same event iff it is equal.
    pub digest: u128,
}

/// A value written to a field path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// `content`, `embedding`, `importance`, `session_id`, `user_id`, `tags`, `merged_from`, `metadata.<key>`,
    /// `entities.<id>`, `relationships.<id>`.
    pub path: String,
    /// Canonical JSON; `null` clears.
    pub value: Vec<u8>,
}
