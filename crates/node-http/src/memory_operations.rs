//! The descriptions of the routes of one memory.

use crate::answer_shapes::{ETAG, EVENTS as EVENT_LIST, LOCATION, MEMORY, WRITTEN_AND_WAITING, written};
use crate::body::{JSON, PATCH};
use crate::description::{AnswerDescription, Operation, Parameter, RequestBody, Shape, Tag};
use crate::error_kinds::{BODY, EXISTS, GONE, READING, UNKNOWN_MEMORY, WRITING};
use crate::field_shapes::{FIELDS, MERGE as MERGE_BODY, NEW_MEMORY};
use crate::publishing::{ACK, ACK_TIMEOUT};
use crate::request::{CLOCK, IDEMPOTENCY_KEY, MEMORY_ID, SESSION};

/// GET /v1/memories/{id}.
pub(crate) static READ: Operation = Operation {
    id: "readMemory",
    summary: "Read a memory",
    description: "The resolved memory, and over it the writes of this node that the stream has not resolved yet.",
    parameters: &[&MEMORY_ID, &SESSION],
    answers: &[AnswerDescription::ok("The memory.", Shape::Component(&MEMORY)).with_headers(&[&ETAG])],
    errors: &[READING, &[&UNKNOWN_MEMORY, &GONE]],
    ..Operation::EMPTY
};

/// GET /v1/memories/{id}/events.
pub(crate) static EVENTS: Operation = Operation {
    id: "listEvents",
    tag: Tag::Changes,
    summary: "List this node's own events to a memory",
    description: "The events that the database of the node still has, the oldest first: a published one stays for \
                  {PUBLISHED_KEPT} at least, and until it is resolved; a failed one is removed {FAILED_KEPT} after it \
                  was accepted. An event is shown without the values of its fields.",
    parameters: &[&MEMORY_ID],
    answers: &[AnswerDescription::ok("The events.", Shape::Component(&EVENT_LIST))],
    errors: &[READING, &[&UNKNOWN_MEMORY]],
    ..Operation::EMPTY
};

/// POST /v1/memories.
pub(crate) static CREATE: Operation = Operation {
    id: "createMemory",
    summary: "Create a memory",
    description: "The node draws an id (UUIDv4) where the body has no `memory_id`. A token that is bound to users \
                  cannot choose an id; where it is bound to one user, that is the default of `user_id`.",
    parameters: &[&SESSION, &IDEMPOTENCY_KEY, &ACK, &ACK_TIMEOUT],
    body: Some(RequestBody {
        description: "The fields of the memory.",
        media_types: JSON,
        shape: Shape::Component(&NEW_MEMORY),
    }),
    answers: &[
        written(201, "The write is durable on this node.").with_headers(&[&ETAG, &LOCATION]),
        WRITTEN_AND_WAITING.with_headers(&[&ETAG, &LOCATION]),
    ],
    errors: &[WRITING, BODY, &[&EXISTS]],
    ..Operation::EMPTY
};

/// PUT /v1/memories/{id}.
pub(crate) static REPLACE: Operation = Operation {
    id: "replaceMemory",
    summary: "Create or replace a memory",
    description: "Content, embedding, importance, session, tags and metadata that the body lacks are cleared; user, \
                  entities, relationships and merged_from stay.",
    parameters: &[&MEMORY_ID, &CLOCK, &SESSION, &IDEMPOTENCY_KEY, &ACK, &ACK_TIMEOUT],
    body: Some(RequestBody {
        description: "The fields of the memory.",
        media_types: JSON,
        shape: Shape::Component(&FIELDS),
    }),
    answers: &[
        written(200, "The memory is replaced."),
        written(201, "The memory is created.").with_headers(&[&ETAG, &LOCATION]),
        WRITTEN_AND_WAITING,
    ],
    errors: &[WRITING, BODY, &[&EXISTS]],
    ..Operation::EMPTY
};

/// PATCH /v1/memories/{id}.
pub(crate) static UPDATE: Operation = Operation {
    id: "updateMemory",
    summary: "Update fields of a memory",
    description: "Fields that the body lacks stay, and null clears. Metadata is written key by key, entities and \
                  relationships by their ids.",
    parameters: &[&MEMORY_ID, &CLOCK, &SESSION, &IDEMPOTENCY_KEY, &ACK, &ACK_TIMEOUT],
    body: Some(RequestBody {
        description: "The fields to write.",
        media_types: PATCH,
        shape: Shape::Component(&FIELDS),
    }),
    answers: &[written(200, "The memory is updated."), WRITTEN_AND_WAITING],
    errors: &[WRITING, BODY, &[&GONE]],
    ..Operation::EMPTY
};

/// The query parameter of a delete of a memory that this node does not know.
pub(crate) static WITH_UNKNOWN: Parameter = Parameter::query(
    "also_unknown",
    Shape::Flag,
    "Whether a memory that this node does not know is deleted as well, for example one of a user whom it is not \
     subscribed to. A client whose token is bound to users is answered with 404 all the same.",
);

/// DELETE /v1/memories/{id}.
pub(crate) static DELETE: Operation = Operation {
    id: "deleteMemory",
    summary: "Delete a memory",
    parameters: &[&MEMORY_ID, &WITH_UNKNOWN, &CLOCK, &SESSION, &IDEMPOTENCY_KEY, &ACK, &ACK_TIMEOUT],
    answers: &[written(200, "The memory is deleted."), WRITTEN_AND_WAITING],
    errors: &[WRITING, &[&GONE]],
    ..Operation::EMPTY
};

/// POST /v1/memories/{id}/merge.
pub(crate) static MERGE: Operation = Operation {
    id: "mergeMemories",
    summary: "Merge other memories into a memory",
    description: "The memories in `merged_from` get the status `merged`. The body may write fields of the memory, too.",
    parameters: &[&MEMORY_ID, &CLOCK, &SESSION, &IDEMPOTENCY_KEY, &ACK, &ACK_TIMEOUT],
    body: Some(RequestBody {
        description: "The memories to absorb, and fields to write.",
        media_types: JSON,
        shape: Shape::Component(&MERGE_BODY),
    }),
    answers: &[written(200, "The memories are merged."), WRITTEN_AND_WAITING],
    errors: &[WRITING, BODY, &[&GONE]],
    ..Operation::EMPTY
};
