//! The shapes of the answers that are about memories, for the OpenAPI document. Tests hold the
//! answers against it.

use node::shown::MemoryStatus;

use crate::description::{AnswerDescription, AnswerHeader, Component, Member, Shape, optional, required};
use crate::field_shapes::{ENTITIES, RELATIONSHIPS};

/// The header with the clock of a memory.
pub(crate) static ETAG: AnswerHeader =
    AnswerHeader { name: "ETag", description: "The clock token of the memory in quotes, for If-Match." };
/// The header that leads to a new memory.
pub(crate) static LOCATION: AnswerHeader = AnswerHeader { name: "Location", description: "The path of the memory." };

const WITH_CLOCK: &[&AnswerHeader] = &[&ETAG];

/// The answer of a write.
pub(crate) const fn written(status: u16, description: &'static str) -> AnswerDescription {
    AnswerDescription::ok(description, Shape::Component(&WRITTEN)).with_status(status).with_headers(WITH_CLOCK)
}

/// The answer of a write that Kafka has not committed in time.
pub(crate) const WRITTEN_AND_WAITING: AnswerDescription = written(
    202,
    "With ack=kafka: the write is durable on this node, and Kafka has not committed its event in time. The node goes \
     on trying.",
);

const STATUS_WORDS: Shape =
    Shape::Words(&[MemoryStatus::Active.as_str(), MemoryStatus::Deleted.as_str(), MemoryStatus::Merged.as_str()]);
/// A list of texts.
pub(crate) const TEXTS: Shape = Shape::List { items: &Shape::Text, least: 0 };
const VECTOR_CLOCK: Shape = Shape::Map(&Shape::Count);

/// The member by which a memory says which writes it covers.
pub(crate) const CLOCK_MEMBER: Member = required(
    "clock",
    Shape::Pattern("^[A-Za-z0-9_-]+$"),
    "The clock token, by which a later write says what its caller has seen.",
);
/// The member that says whether own writes lie over a memory.
pub(crate) const PENDING_MEMBER: Member = required(
    "pending",
    Shape::Boolean,
    "Whether the memory shows a write of this node that the stream has not resolved yet.",
);
/// The members by which a memory is shown.
pub(crate) const SHOWN_MEMBERS: &[Member] =
    &[CLOCK_MEMBER, required("memory", Shape::Component(&RESOLVED_MEMORY), ""), PENDING_MEMBER];

/// A memory as the stream resolves it.
pub(crate) static RESOLVED_MEMORY: Component = Component {
    name: "ResolvedMemory",
    description: "The resolved memory (docs/semantics.md, section 5). A deleted or merged one has no content.",
    shape: Shape::OpenObject(&[&[
        required("memory_id", Shape::Name, ""),
        optional("user_id", Shape::Name, ""),
        optional("session_id", Shape::Name, ""),
        optional("content", Shape::Text, ""),
        optional("embedding", Shape::List { items: &Shape::Number, least: 0 }, ""),
        optional("importance", Shape::Number, ""),
        optional("tags", TEXTS, ""),
        optional("entities", ENTITIES, ""),
        optional("relationships", RELATIONSHIPS, ""),
        optional("metadata", Shape::Map(&Shape::Any), ""),
        optional("merged_from", TEXTS, ""),
        required("status", STATUS_WORDS, ""),
        optional("merged_into", Shape::Name, ""),
        required("created_at", Shape::Time, ""),
        required("updated_at", Shape::Time, ""),
        required("version", Shape::Count, ""),
        required("vector_clock", VECTOR_CLOCK, ""),
        required("event_ids", TEXTS, ""),
        optional("conflicted_fields", TEXTS, ""),
    ]]),
};

/// A memory as a read answers it.
pub(crate) static MEMORY: Component =
    Component { name: "Memory", description: "A memory.", shape: Shape::Object(&[SHOWN_MEMBERS]) };

/// The members of every event of this node.
const EVENT_MEMBERS: &[Member] = &[
    required("counter", Shape::Count, "The counter of the event, which is its writer's entry in its vector clock."),
    required("event_id", Shape::Name, ""),
    required("node_id", Shape::Name, "The writer of the event: the name of the node and its incarnation."),
    required(
        "state",
        Shape::Words(&["pending", "published", "failed"]),
        "pending: it waits for Kafka. published: Kafka has committed it. failed: a broker refuses it for ever, or the \
         stream could not process it.",
    ),
    required("timestamp", Shape::Time, ""),
    required("version", Shape::Count, "Its version, a hybrid logical clock."),
];

/// The answer of a write.
pub(crate) static WRITTEN: Component = Component {
    name: "Written",
    description: "A write, and the memory after it.",
    shape: Shape::Object(&[
        &[
            required(
                "assumed",
                Shape::Boolean,
                "Whether the write carried no clock token, or a merge none for a memory that it absorbs, so that the node \
                 assumed what its caller has seen.",
            ),
            required("event", Shape::Object(&[EVENT_MEMBERS]), ""),
            required(
                "repeated",
                Shape::Boolean,
                "Whether this is the answer of an earlier write with the same idempotency key.",
            ),
        ],
        SHOWN_MEMBERS,
    ]),
};

/// A page of memories.
pub(crate) static PAGE: Component = Component {
    name: "Page",
    description: "A page of memories.",
    shape: Shape::Object(&[&[
        required("memories", Shape::List { items: &Shape::Component(&MEMORY), least: 0 }, ""),
        optional("next", Shape::Name, "The cursor of the next page."),
    ]]),
};

/// The hits of a search.
pub(crate) static HITS: Component = Component {
    name: "Hits",
    description: "The hits of a search, the best first.",
    shape: Shape::Object(&[&[
        required("hits", Shape::List { items: &Shape::Component(&HIT), least: 0 }, ""),
        required(
            "truncated",
            Shape::Boolean,
            "Whether hits were left out because the answer would have become too large.",
        ),
        optional("compared", Shape::Count, "With an embedding: how many embeddings were compared."),
        optional(
            "skipped",
            Shape::Count,
            "With an embedding: how many memories were skipped, because their embeddings have another number of \
             dimensions, or more than {MAX_DIMENSIONS}.",
        ),
    ]]),
};

static HIT: Component = Component {
    name: "Hit",
    description: "A memory that a search has found.",
    shape: Shape::Object(&[SHOWN_MEMBERS, &[required("score", Shape::Number, "")]]),
};

/// The entities of a memory.
pub(crate) static ENTITY_LIST: Component = Component {
    name: "Entities",
    description: "The entities of a memory, by their ids.",
    shape: Shape::Object(&[&[CLOCK_MEMBER, PENDING_MEMBER, required("entities", ENTITIES, "")]]),
};

/// The relationships of a memory.
pub(crate) static RELATIONSHIP_LIST: Component = Component {
    name: "Relationships",
    description: "The relationships of a memory, by their ids.",
    shape: Shape::Object(&[&[CLOCK_MEMBER, PENDING_MEMBER, required("relationships", RELATIONSHIPS, "")]]),
};

/// The further members of an event that is listed.
const LISTED_MEMBERS: &[Member] = &[
    required("event_type", Shape::Name, ""),
    required("fields", TEXTS, "The names of the fields that it writes."),
    optional("reason", Shape::Text, "Why it has failed."),
    required("resolved", Shape::Boolean, "Whether the resolved memory that the node has covers it."),
    required("vector_clock", VECTOR_CLOCK, ""),
];

/// The own events to a memory.
pub(crate) static EVENTS: Component = Component {
    name: "Events",
    description: "Events of this node to a memory, the oldest first.",
    shape: Shape::Object(&[&[
        required("events", Shape::List { items: &Shape::Component(&EVENT), least: 0 }, ""),
        required(
            "truncated",
            Shape::Boolean,
            "Whether the later events were left out because the answer would have become too large.",
        ),
    ]]),
};

static EVENT: Component = Component {
    name: "Event",
    description: "An event of this node to a memory, without the values of its fields.",
    shape: Shape::Object(&[EVENT_MEMBERS, LISTED_MEMBERS]),
};

/// The history of a memory.
pub(crate) static HISTORY: Component = Component {
    name: "History",
    description: "How a memory has become what it is.",
    shape: Shape::Object(&[&[
        required(
            "complete",
            Shape::Boolean,
            "Whether the node still keeps the first state that it has applied, and the client may see it.",
        ),
        required("events", Shape::List { items: &Shape::Component(&EVENT_IN_HISTORY), least: 0 }, ""),
        required("memory_id", Shape::Name, ""),
        optional("next", Shape::Name, "The cursor of the next page, of earlier states."),
        required("states", Shape::List { items: &Shape::Component(&RESOLVED_STATE), least: 0 }, ""),
        required(
            "truncated",
            Shape::Boolean,
            "Whether the database has earlier own events, which are left out; GET /v1/memories/{id}/events has them.",
        ),
    ]]),
};

static EVENT_IN_HISTORY: Component = Component {
    name: "EventInHistory",
    description: "An event of this node with its place among the resolved states.",
    shape: Shape::Object(&[
        EVENT_MEMBERS,
        LISTED_MEMBERS,
        &[
            optional("in_state", Shape::Ordinal, "The first state whose `event_ids` list it."),
            optional(
                "seen_state",
                Shape::Ordinal,
                "The last state of which it has seen everything: it supersedes all that is resolved there.",
            ),
            required(
                "supersedes",
                Shape::List { items: &Shape::Name, least: 0 },
                "Ids of own events that it supersedes directly.",
            ),
        ],
    ]),
};

static RESOLVED_STATE: Component = Component {
    name: "ResolvedState",
    description: "A resolved state of a memory that this node has applied.",
    shape: Shape::Object(&[&[
        required("applied_at", Shape::Time, "When this node has applied it, by its clock."),
        required(
            "changed",
            Shape::List { items: &Shape::Component(&CHANGED_FIELD), least: 0 },
            "The fields that differ from the state before, by path.",
        ),
        required("conflicted_fields", TEXTS, ""),
        optional(
            "cut",
            TEXTS,
            "The members that are not whole, or are absent, because they would have become too large.",
        ),
        optional("entered", TEXTS, "The ids of `event_ids` that the state before does not have."),
        required(
            "event_ids",
            TEXTS,
            "The ids of the frontier. Of these events none has seen another one: they are concurrent.",
        ),
        optional(
            "follows",
            Shape::Boolean,
            "Whether it holds all events of the state before. False after a stream was reset or has forgotten a deleted \
             memory, and beside a state that a client has restored.",
        ),
        optional("merged_into", Shape::Name, ""),
        required("number", Shape::Ordinal, ""),
        optional("session_id", Shape::Text, ""),
        required(
            "source",
            Shape::Words(&["stream", "restore"]),
            "Whether the topic of resolved memories has brought it, or a client by POST /v1/restore.",
        ),
        required("status", STATUS_WORDS, ""),
        optional(
            "superseded",
            TEXTS,
            "The ids of the frontier before that are in this one no longer. Each of these events was superseded by at \
             least one of those that have `entered`, or, where two different events have one id, by one of `event_ids`.",
        ),
        required("updated_at", Shape::Time, ""),
        optional("user_id", Shape::Text, ""),
        optional("vector_clock", VECTOR_CLOCK, ""),
        required("version", Shape::Count, ""),
    ]]),
};

static CHANGED_FIELD: Component = Component {
    name: "ChangedField",
    description: "A field of a memory after a change.",
    shape: Shape::Object(&[&[
        optional("bytes", Shape::Count, "The size of a value that is not kept."),
        required("path", Shape::Text, ""),
        optional("removed", Shape::True, "True where the field has no value any more; absent otherwise."),
        optional("value", Shape::Any, ""),
    ]]),
};

/// A sync request.
pub(crate) static SYNC_REQUESTED: Component = Component {
    name: "SyncRequested",
    description: "A request to the stream for resolved memories.",
    shape: Shape::Object(&[&[
        required("repeated", Shape::Boolean, "Whether the same request waited already and is enough."),
        required("request_id", Shape::Name, "The id of its event."),
        required("timestamp", Shape::Time, ""),
        optional("user_id", Shape::Name, "Absent where it asks for all memories."),
    ]]),
};

/// A snapshot that was restored.
pub(crate) static RESTORED: Component = Component {
    name: "Restored",
    description: "The outcome of restoring a user snapshot.",
    shape: Shape::Object(&[&[
        required("memories", Shape::Count, "Memories of the snapshot."),
        required("not_subscribed", Shape::Count, "Memories that the node does not keep by its subscription."),
        required("request", Shape::Component(&SYNC_REQUESTED), ""),
        required(
            "restored",
            Shape::Count,
            "Memories that the node shows as the snapshot has them. The rest it has as new or newer.",
        ),
        required("user_id", Shape::Name, ""),
    ]]),
};

/// A user snapshot.
pub(crate) static USER_SNAPSHOT: Component = Component {
    name: "UserSnapshot",
    description: "A user snapshot, or one of its parts, as the snapshots topic has it \
                  (schemas/user-snapshot.schema.json). A snapshot above the record limit has several parts, and all of \
                  them are sent in one array.",
    shape: Shape::OpenObject(&[&[
        required("memories", Shape::List { items: &Shape::Component(&RESOLVED_MEMORY), least: 0 }, ""),
        optional(
            "metadata",
            Shape::OpenObject(&[&[
                required("part", Shape::Ordinal, ""),
                required("parts", Shape::Range { least: 2, most: u32::MAX as usize, default: None }, ""),
            ]]),
            "",
        ),
        required("node_id", Shape::Name, ""),
        required("snapshot_id", Shape::Uuid, ""),
        required("timestamp", Shape::Time, ""),
        required("user_id", Shape::Name, ""),
        required("vector_clock", VECTOR_CLOCK, ""),
    ]]),
};
