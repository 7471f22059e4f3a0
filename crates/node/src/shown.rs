//! Memories as the node shows them, and the questions that a caller can ask.

use std::collections::BTreeSet;

use crate::actor::{Actor, EventActor};
use crate::clock_token::ClockToken;

/// The status of a memory (docs/semantics.md, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryStatus {
    /// It is there.
    Active,
    /// It was deleted.
    Deleted,
    /// Another memory has absorbed it.
    Merged,
}

impl MemoryStatus {
    /// Its name in a resolved memory.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MemoryStatus::Active => "active",
            MemoryStatus::Deleted => "deleted",
            MemoryStatus::Merged => "merged",
        }
    }
}

/// A memory as the node shows it: the resolved memory of the stream, and over it the node's own
/// events that the stream has not resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownMemory {
    /// Its id.
    pub memory_id: String,
    /// The resolved memory (docs/semantics.md, section 5) as canonical JSON. Where nothing is
    /// pending these are the bytes of the snapshots topic.
    pub json: Vec<u8>,
    /// Its status.
    pub status: MemoryStatus,
    /// Its user, if it has one.
    pub user_id: Option<String>,
    /// Whether an event of this node lies over it that the stream has not resolved yet.
    pub is_pending: bool,
    /// The token of a caller that has seen this.
    pub token: ClockToken,
}

/// Which memories are listed. The order is that of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Memories of these users alone; `None` is all, also those without a user.
    pub users: Option<BTreeSet<String>>,
    /// Memories of this session alone.
    pub session_id: Option<String>,
    /// Whether deleted and merged memories are listed, too.
    pub with_inactive: bool,
    /// Memories with a field in conflict alone.
    pub conflicted: bool,
    /// Memories with a greater id than this one: the last id of the page before.
    pub after: Option<String>,
    /// How many at most; at least 1, and no more than [`MAX_PAGE`]. A page has fewer where it ends
    /// at [`MAX_PAGE_BYTES`].
    pub limit: usize,
}

/// The most memories of a page, and the most hits of a search.
pub const MAX_PAGE: usize = 1000;

/// A page of memories or of events, and the hits of a search, get no further one once they have so
/// many bytes of JSON: each may have several MiB.
pub const MAX_PAGE_BYTES: usize = 4 << 20;

/// A page of memories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The memories, by id.
    pub memories: Vec<ShownMemory>,
    /// The last id of this page where there are more: [`ListQuery::after`] of the next one.
    pub next: Option<String>,
}

/// The way of an event of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventState {
    /// It waits in the outbox.
    Pending,
    /// Kafka has committed it.
    Published,
    /// A broker refuses it for ever, or the stream could not process it; the text says why.
    Failed(String),
}

impl EventState {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            EventState::Pending => "pending",
            EventState::Published => "published",
            EventState::Failed(_) => "failed",
        }
    }
}

/// An event of this node that its database still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEvent {
    /// Its id.
    pub event_id: String,
    /// Its writer, which is this node in its present or an earlier incarnation, or a branch of it.
    pub actor: EventActor,
    /// Its counter.
    pub counter: u64,
    /// The event as JSON: the value of its record.
    pub value: Vec<u8>,
    /// Its way.
    pub state: EventState,
    /// Whether the resolved memory that this node has covers it.
    pub is_resolved: bool,
}

/// Events of this node to a memory, some at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The events, the oldest first.
    pub events: Vec<OwnEvent>,
    /// Where the next ones begin; `None` after the last.
    pub next: Option<u64>,
}

/// How far an event has come that a caller waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// Kafka has committed it.
    Published,
    /// A broker refuses it for ever, or the stream could not process it; the text says why.
    Failed(String),
    /// The node knows no event of this id: none was accepted, or it was published long ago.
    Unknown,
}

/// How far the node has read a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub next_offset: i64,
}

/// An earlier incarnation of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerIncarnation {
    /// The actor that it was.
    pub actor: Actor,
    /// The greatest counter that it has published, as this node knows it.
    pub published: u64,
    /// Why it ended.
    pub reason: String,
    /// When it ended, in milliseconds since 1970.
    pub ended_at_ms: i64,
}

/// The state of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The writer of new events.
    pub actor: Actor,
    /// The counter of the last accepted event.
    pub counter: u64,
    /// The counter of the last event that Kafka is known to have committed.
    pub published: u64,
    /// The greatest version that the node has seen or written.
    pub version: u64,
    /// How many events wait in the outbox.
    pub outbox_depth: u64,
    /// When the oldest of them was accepted, in milliseconds since 1970.
    pub outbox_oldest_ms: Option<i64>,
    /// How many events have failed: a broker refuses them for ever, or the stream could not process
    /// them.
    pub failed: u64,
    /// How many of these came back as dead letters.
    pub dead_letters: u64,
    /// How many memories the node holds, also deleted and merged ones.
    pub memories: u64,
    /// How many of them have a field in conflict.
    pub conflicted: u64,
    /// How many of them have an event of this node that is not resolved yet.
    pub pending: u64,
    /// How many sync requests wait to be sent.
    pub sync_requests: u64,
    /// How far the node has read the snapshots topic.
    pub positions: Vec<Position>,
    /// Earlier incarnations, the oldest first.
    pub former: Vec<FormerIncarnation>,
    /// Transactions of the database since the node was opened: fewer than writes where many come
    /// at a time.
    pub commits: u64,
}
