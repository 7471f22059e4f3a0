//! Writes: what a caller asks for, the answer, and why a write is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use memory::event::{BadInput, Class};

use crate::actor::EventActor;
use crate::clock_token::ClockToken;
use crate::expiry::EXPIRES_AT;
use crate::ports::JournalError;
use crate::shown::ShownMemory;

/// The longest id of a memory, in bytes: it is the key of its records.
pub const MAX_MEMORY_ID: usize = 1024;

/// The longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The most memories that one merge absorbs.
pub const MAX_ABSORBED: usize = 100;

/// How long the database keeps a published event at least, and an idempotency key.
pub const PUBLISHED_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the database keeps an event that has failed, with its reason: 24 hours and 30 days.
pub const FAILED_KEPT: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// The `event_type` of the event that lets a memory absorb others.
const MERGED: &str = "memory.merged";

/// The change that a write asks for, which is the `event_type` of its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// `memory.created`; refused where the node shows the memory as active.
    Create,
    /// `memory.updated`: the fields of the request alone are written.
    Update,
    /// `memory.updated` that also clears each field of the memory that the request lacks: content,
    /// embedding, importance, session, tags, and the keys of the metadata that the node shows. The
    /// user, entities, relationships and `merged_from` stay.
    Replace,
    /// `memory.deleted`; also of a memory that the node does not know.
    Delete,
    /// The memories of the field `merged_from` become part of this one. It is several events: a
    /// `memory.deleted` for each of them, `memory.merged`, and a `memory.updated` with the fields
    /// (`docs/node.md`, "Merge memories").
    Merge,
    /// `entity.created`
    CreateEntity,
    /// `entity.updated`
    UpdateEntity,
    /// `entity.linked`
    LinkEntity,
    /// `relationship.created`
    CreateRelationship,
    /// `relationship.updated`
    UpdateRelationship,
    /// `relationship.deleted`: clears the relationships that the request lists.
    DeleteRelationship,
}

impl WriteKind {
    /// The `event_type` of its event; of a merge, that of the event which absorbs.
    #[must_use]
    pub fn event_type(self) -> &'static str {
        match self {
            WriteKind::Create => "memory.created",
            WriteKind::Update | WriteKind::Replace => "memory.updated",
            WriteKind::Delete => "memory.deleted",
            WriteKind::Merge => MERGED,
            WriteKind::CreateEntity => "entity.created",
            WriteKind::UpdateEntity => "entity.updated",
            WriteKind::LinkEntity => "entity.linked",
            WriteKind::CreateRelationship => "relationship.created",
            WriteKind::UpdateRelationship => "relationship.updated",
            WriteKind::DeleteRelationship => "relationship.deleted",
        }
    }
}

/// The fields of an event that a caller may write, in the order of their names.
pub const FIELDS: [&str; 10] = [
    "content",
    "embedding",
    "entities",
    "importance",
    "merged_from",
    "metadata",
    "relationships",
    "session_id",
    "tags",
    "user_id",
];

/// The member of a JSON object of fields that sets when the memory expires.
const EXPIRES_AT_FIELD: &str = "expires_at";

/// The fields that a write carries: the name of each, and its value as canonical JSON. A field that
/// is absent is not written, and `null` clears it (docs/semantics.md, section 1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    values: BTreeMap<&'static str, Vec<u8>>,
}

impl Fields {
    /// No field.
    #[must_use]
    pub fn new() -> Fields {
        Fields::default()
    }

    /// Reads the fields from a JSON object. The types of their values are checked when the write is
    /// accepted. A member `expires_at` sets the time at which the memory expires, which lies among
    /// the metadata ([`crate::expiry`]).
    ///
    /// # Errors
    /// [`Refusal::BadEvent`] where the text is no JSON object, [`Refusal::UnknownField`] where it
    /// has a member that is none of [`FIELDS`].
    pub fn from_json(text: &[u8]) -> Result<Fields, Refusal> {
        let document = json::parse(text).map_err(|error| {
            let message = format!("the body is not JSON: {error}");
            Refusal::BadEvent(BadInput::new(Class::of_json(error.fault), message))
        })?;
        if document.root().kind() != json::ValueKind::Object {
            let message = "the body should be a JSON object with the fields of the memory";
            return Err(Refusal::BadEvent(BadInput::new(Class::WrongType, message)));
        }
        let mut fields = Fields::new();
        let mut expires_at = None;
        for (name, value) in document.root().members() {
            if name == EXPIRES_AT_FIELD {
                expires_at = Some(value.canonical());
                continue;
            }
            let known = FIELDS.iter().find(|field| **field == name);
            let field = known.ok_or_else(|| Refusal::UnknownField(name.chars().take(100).collect()))?;
            fields.values.insert(field, value.canonical());
        }
        match expires_at {
            Some(expires_at) => Ok(fields.with_expiry(&expires_at)),
            None => Ok(fields),
        }
    }

    /// These fields with the time at which the memory expires, as JSON, among the metadata.
    fn with_expiry(mut self, expires_at: &[u8]) -> Fields {
        let metadata = self.values.get("metadata").and_then(|text| json::parse(text).ok());
        let root = metadata.as_ref().map(json::Document::root);
        // The decoder refuses metadata that is neither an object nor null.
        if root.is_some_and(|root| !matches!(root.kind(), json::ValueKind::Object | json::ValueKind::Null)) {
            return self;
        }
        let members = root.into_iter().flat_map(json::Value::sorted_members);
        let mut members: BTreeMap<&str, Vec<u8>> = members.map(|(key, value)| (key, value.canonical())).collect();
        members.insert(EXPIRES_AT, expires_at.to_vec());
        let mut out = Vec::new();
        let mut object = json::ObjectWriter::new(&mut out);
        members.iter().for_each(|(key, value)| object.raw(key, value));
        object.end();
        self.values.insert("metadata", out);
        self
    }

    /// These fields with another one, which is a text.
    ///
    /// # Errors
    /// [`Refusal::UnknownField`] where the name is none of [`FIELDS`].
    pub fn with_text(self, name: &str, value: &str) -> Result<Fields, Refusal> {
        let mut text = Vec::with_capacity(value.len() + 2);
        json::write_string(&mut text, value);
        self.with_json(name, &text)
    }

    /// These fields with another one, whose value is canonical JSON.
    ///
    /// # Errors
    /// [`Refusal::UnknownField`] where the name is none of [`FIELDS`].
    pub fn with_json(mut self, name: &str, value: &[u8]) -> Result<Fields, Refusal> {
        let known = FIELDS.iter().find(|field| **field == name);
        let field = known.ok_or_else(|| Refusal::UnknownField(name.chars().take(100).collect()))?;
        self.values.insert(field, value.to_vec());
        Ok(self)
    }

    /// The value of a field as canonical JSON.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The memory as the caller of a write has seen it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// As the node shows it when the write is accepted.
    #[default]
    Present,
    /// As the node last showed it to this session; where it showed nothing, as
    /// [`Seen::Present`].
    Session(String),
    /// As a token says, as text: exactly that.
    Token(String),
}

/// A write of one memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryWrite {
    /// The memory; the node draws an id (UUIDv4) where there is none, which [`WriteKind::Create`]
    /// alone allows.
    pub memory_id: Option<String>,
    /// The change.
    pub kind: WriteKind,
    /// The fields that are written.
    pub fields: Fields,
    /// The memory as the caller has seen it.
    pub seen: Seen,
    /// The memories that a merge absorbs, as the caller has seen them: their tokens as text, by
    /// their ids. One without a token counts as seen as the caller's session, or else the node,
    /// shows it.
    pub absorbed_tokens: BTreeMap<String, String>,
    /// A key of the caller's own choice: a second write with the same key and the same request is
    /// answered as the first was, and is not accepted again.
    pub idempotency_key: Option<String>,
    /// The users whose memories the caller may write; `None` is all. The user of the memory as the
    /// node shows it, and the one that the write sets, must be among them.
    pub allowed_users: Option<BTreeSet<String>>,
    /// Whether the memory must be active where the node shows it: an update of a deleted memory
    /// would bring back the fields of the update alone.
    pub requires_active: bool,
}

impl MemoryWrite {
    /// A write by a caller who may write for all users, has seen what the node shows, and names no
    /// idempotency key.
    #[must_use]
    pub fn new(memory_id: impl Into<String>, kind: WriteKind, fields: Fields) -> MemoryWrite {
        MemoryWrite {
            memory_id: Some(memory_id.into()),
            kind,
            fields,
            seen: Seen::default(),
            absorbed_tokens: BTreeMap::new(),
            idempotency_key: None,
            allowed_users: None,
            requires_active: false,
        }
    }

    /// The same write by a caller who has seen this.
    #[must_use]
    pub fn with_seen(self, seen: Seen) -> MemoryWrite {
        MemoryWrite { seen, ..self }
    }
}

/// A write that is durable on this node and will be published. Of a merge, which is several events,
/// the event is the last one: the update of the memory with the fields of the merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The memory.
    pub memory_id: String,
    /// The id of its event.
    pub event_id: String,
    /// The writer of its event; a branch where the write was stale and is concurrent.
    pub actor: EventActor,
    /// The counter of its event.
    pub counter: u64,
    /// The version of its event.
    pub version: u64,
    /// The time of its event, in nanoseconds since 1970.
    pub timestamp: u64,
    /// The caller has seen this now: what it had seen before, and this write.
    pub token: ClockToken,
    /// Whether the write carried no token, or a merge none for a memory that it absorbs, so that
    /// the node assumed what the caller has seen.
    pub assumed: bool,
    /// Whether this is the answer of an earlier write with the same idempotency key.
    pub repeated: bool,
    /// The memory as the node shows it now.
    pub memory: ShownMemory,
}

/// Why a write is not accepted. Nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text is no token of this program, or one of a write that this node has never accepted.
    #[error(
        "this is no clock token that this node could have answered with; read the memory and use the token of the answer"
    )]
    InvalidToken,
    /// The token belongs to another memory.
    #[error("the clock token belongs to the memory {of:?}, and the write is for {write:?}")]
    TokenOfAnotherMemory {
        /// The memory of the token.
        of: String,
        /// The memory of the write.
        write: String,
    },
    /// The caller has not seen a write of this node to the memory, and the node accepts no such
    /// write beside it ([`crate::settings::StaleWrites`]). The memory as the node shows it now is
    /// enclosed, with a token.
    #[error(
        "the memory has a later write of this node that the clock token has not seen; read the memory again and repeat the write with the new token"
    )]
    Stale(Box<ShownMemory>),
    /// A merge names too many memories.
    #[error("a merge absorbs at most {MAX_ABSORBED} memories; merge the others by further requests")]
    TooManyAbsorbed,
    /// A merge has a token for a memory that it does not absorb.
    #[error(
        "`clocks` has a clock token for the memory {0:?}, which `merged_from` does not name; leave the token out, or name the memory in \
         `merged_from`"
    )]
    UnabsorbedToken(String),
    /// A memory that is to be created is there already. It is enclosed as the node shows it.
    #[error("the memory exists already; update it, or create one with another id")]
    Exists(Box<ShownMemory>),
    /// A memory that is to be active was deleted or absorbed. It is enclosed as the node shows it.
    #[error("the memory was deleted or merged; create it again, or use the memory that has absorbed it")]
    Inactive(Box<ShownMemory>),
    /// The stream would put the event among its dead letters. The class says why.
    #[error("the write cannot become an event: {0}")]
    BadEvent(BadInput),
    /// The write would make the memory so large that no topic of ours takes it resolved.
    #[error(
        "the memory would have {bytes} bytes with this write, and at most {most} can be published; clear fields of it, or write another memory"
    )]
    LargeMemory {
        /// [`NodeSettings::max_memory_bytes`](crate::NodeSettings::max_memory_bytes).
        most: usize,
        /// The size of the memory with the write, as canonical JSON.
        bytes: usize,
    },
    /// The fields have a name that no memory has.
    #[error(
        "a memory has no field {0:?}; its fields are content, embedding, entities, expires_at, importance, merged_from, metadata, relationships, session_id, tags and user_id"
    )]
    UnknownField(String),
    /// The id of the memory is too long.
    #[error("the id of a memory has at most {MAX_MEMORY_ID} bytes")]
    LongMemoryId,
    /// The write needs the id of a memory and has none.
    #[error("the write names no memory")]
    NoMemoryId,
    /// The idempotency key is empty or too long.
    #[error("an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY} bytes")]
    BadIdempotencyKey,
    /// The idempotency key was used for another request within the last 24 hours.
    #[error("the idempotency key was used for another request; use a new key for each request")]
    KeyReused,
    /// The caller may not write memories of this user, or the write would set a user that the
    /// caller may not write for.
    #[error("the caller may not write memories of this user")]
    ForbiddenUser,
}

/// Why a write was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The request is at fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database is. After [`JournalError::Unavailable`] the write may be tried again.
    #[error(transparent)]
    Database(#[from] JournalError),
}
