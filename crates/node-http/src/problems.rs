//! The errors of the routes as problem documents (RFC 9457), each of one of the kinds in
//! `error_kinds`.

use axum::http::header;
use http::Problem;
use memory::event::{BadInput, Class};
use node::ports::JournalError;
use node::restore::{RestoreError, SnapshotFault};
use node::search::MAX_COMPARED;
use node::shown::{MAX_PAGE_BYTES, MemoryStatus, ShownMemory};
use node::sync::SyncError;
use node::write::{Refusal, WriteError};

use crate::answers;
use crate::error_kinds::{
    BAD_KEY, BAD_SNAPSHOT, BAD_TOKEN, BOUND_TO_USERS, DELETE_OF_ALL, EXISTS, FOREIGN_USER, GONE, INTERNAL, INVALID,
    LARGE_BODY, LARGE_EVENT, LARGE_MEM0_PAGE, LARGE_SEARCH, LARGE_SNAPSHOT, MALFORMED, MEM0_REQUEST, NO_FACTS,
    NO_ROUTE, NOT_JSON, NOT_OF_MEM0, REFUSED_BY_BROKER, SLOW_EXTRACTOR, STALE, TOO_MANY_READERS, TOO_SOON, UNAVAILABLE,
    UNKNOWN_MEMORY, UNKNOWN_PART, WRONG_MEDIA_TYPE, WRONG_METHOD,
};
use crate::extractor::ExtractionFailure;

/// A path, a query parameter or a header that cannot be read.
pub(crate) fn malformed(detail: impl Into<String>) -> Problem {
    MALFORMED.problem(detail)
}

/// A path that is no route.
pub(crate) fn no_route() -> Problem {
    let detail = "the path is none of the routes of the node, which GET /v1/openapi.json lists";
    NO_ROUTE.problem(detail)
}

/// A method that a route does not have.
pub(crate) fn wrong_method(method: &str) -> Problem {
    let detail = format!("this route has no {method}; the header Allow lists its methods");
    WRONG_METHOD.problem(detail)
}

/// A body that is not JSON, or no object.
pub(crate) fn not_json(detail: impl Into<String>) -> Problem {
    NOT_JSON.problem(detail)
}

/// A body of another media type.
pub(crate) fn wrong_content_type(accepted: &str) -> Problem {
    let detail = format!("send the body as JSON, with the header Content-Type: {accepted}");
    WRONG_MEDIA_TYPE.problem(detail)
}

/// A body with more bytes than a route reads.
pub(crate) fn large_body(limit: usize) -> Problem {
    let detail = format!("the body has more than {limit} bytes, which is the limit");
    LARGE_BODY.problem(detail)
}

/// An add whose memories would have too many bytes together.
pub(crate) fn large_add(shared: usize, messages: usize, limit: usize) -> Problem {
    let detail = format!(
        "each of the {messages} messages would have {shared} bytes of metadata, categories and names, together more than \
         {limit} bytes, which is the limit; send fewer messages at a time"
    );
    LARGE_BODY.problem(detail)
}

/// A conversation that an extractor is not asked about.
pub(crate) fn large_conversation(limit: usize) -> Problem {
    let detail = format!(
        "the messages, instructions, metadata and names have more than {limit} bytes together, which is the limit where facts \
         are extracted; send fewer messages at a time, or `infer` as false, which stores them as they are"
    );
    LARGE_BODY.problem(detail)
}

/// A memory that the node does not know, or that the client may not see.
pub(crate) fn unknown_memory() -> Problem {
    let detail = "this node knows no memory with this id that your token may see; POST /v1/memories creates one";
    UNKNOWN_MEMORY.problem(detail)
}

/// A memory that was deleted, or that another one has absorbed.
pub(crate) fn gone(memory: &ShownMemory) -> Problem {
    let detail = match memory.status {
        MemoryStatus::Merged => "another memory has absorbed this one; merged_into of the enclosed memory names it",
        MemoryStatus::Active | MemoryStatus::Deleted => "the memory was deleted; PUT creates it again",
    };
    let problem = GONE.problem(detail);
    with_memory(problem, memory)
}

fn stale(memory: &ShownMemory) -> Problem {
    let detail = "this node has a later write of the memory that the clock token of the request has not seen; \
                  look at the enclosed memory, and repeat the request with its clock in If-Match, or in `clocks` where it is a \
                  memory that a merge absorbs";
    let problem = STALE.problem(detail);
    with_memory(problem, memory)
}

fn bad_token(refusal: &Refusal) -> Problem {
    BAD_TOKEN.problem(refusal.to_string())
}

fn invalid(detail: impl Into<String>) -> Problem {
    INVALID.problem(detail)
}

/// A merge whose clock tokens are none.
pub(crate) fn invalid_clocks() -> Problem {
    invalid("`clocks` should be an object with the clock token of each memory that is absorbed, by its id")
}

/// A merge whose body does not name the memories.
pub(crate) fn invalid_merge() -> Problem {
    invalid("`merged_from` should be a list of the ids of at least one memory, each of them a text")
}

/// A create whose id is no text.
pub(crate) fn invalid_memory_id() -> Problem {
    invalid("`memory_id` should be a text that is not empty; leave it out, and the node draws an id")
}

/// A body of an entity or a relationship that is not valid.
pub(crate) fn invalid_part(detail: impl Into<String>) -> Problem {
    invalid(detail)
}

/// A search by an embedding that would read too many of them.
pub(crate) fn large_search() -> Problem {
    let detail = format!(
        "the search would compare more embeddings than a node does for one request, {MAX_COMPARED} numbers together; name a \
         user, a session, a type, a category or a time"
    );
    LARGE_SEARCH.problem(detail)
}

/// A user whose snapshot nobody could restore.
pub(crate) fn large_snapshot(limit: usize) -> Problem {
    let detail = format!(
        "the snapshot of this user would have more than {} MiB, which is what POST /v1/restore takes; page through \
         GET /v1/memories with user_id, or take the snapshot from the topic of resolved memories",
        limit >> 20
    );
    LARGE_SNAPSHOT.problem(detail)
}

/// A relationship that the memory does not have.
pub(crate) fn unknown_part() -> Problem {
    let detail = "the memory has no relationship with this id; GET /v1/memories/{id}/relationships lists them";
    UNKNOWN_PART.problem(detail)
}

fn large_event(detail: impl Into<String>) -> Problem {
    LARGE_EVENT.problem(detail)
}

fn exists(memory: &ShownMemory) -> Problem {
    let detail = "a memory with this id exists already; update it with PATCH or PUT, or create one with another id";
    let problem = EXISTS.problem(detail);
    with_memory(problem, memory)
}

/// Users that the client's token is not bound to.
pub(crate) fn foreign_user(detail: impl Into<String>) -> Problem {
    FOREIGN_USER.problem(detail)
}

/// The nodes, which are shown to no client that is bound to users.
pub(crate) fn nodes_of_others() -> Problem {
    bound_to_users(
        "your token is bound to users, and names and figures of nodes are shown to tokens without users only",
    )
}

/// A user snapshot, which no client that is bound to users restores.
pub(crate) fn restore_for_users() -> Problem {
    bound_to_users(
        "your token is bound to users, and snapshots are restored with tokens without users only, since the node believes \
         what a snapshot says; POST /v1/sync/force asks the stream for the memories of your users",
    )
}

fn bound_to_users(detail: &str) -> Problem {
    BOUND_TO_USERS.problem(detail)
}

/// An event that a broker refuses for ever, or that the stream could not process.
pub(crate) fn refused_by_broker(event_id: &str, reason: &str) -> Problem {
    let detail = format!(
        "the node has accepted the event {event_id}, and it has failed for ever, so no other node will see it: {reason}"
    );
    REFUSED_BY_BROKER.problem(detail)
}

fn bad_key(refusal: &Refusal) -> Problem {
    BAD_KEY.problem(refusal.to_string())
}

/// A stream for which no place is free.
pub(crate) fn too_many_streams() -> Problem {
    let detail = "as many streams of events are open as the node, or the users of your token, may have; close one, or try again later";
    TOO_MANY_READERS.problem(detail)
}

/// A snapshot of a user for which no place is free.
pub(crate) fn too_many_snapshots() -> Problem {
    let detail = "as many snapshots are being read as the node, or the users of your token, may read; try again later";
    TOO_MANY_READERS.problem(detail)
}

/// A call or a setting of Mem0's API that this node does not have.
pub(crate) fn not_of_mem0(detail: impl Into<String>) -> Problem {
    NOT_OF_MEM0.problem(detail)
}

/// A body of Mem0's API that has an unknown member or a value of the wrong kind.
pub(crate) fn mem0_request(detail: impl Into<String>) -> Problem {
    MEM0_REQUEST.problem(detail)
}

/// A delete of many memories that says nothing about which.
pub(crate) fn delete_of_all() -> Problem {
    let detail =
        "name at least one of user_id, agent_id, app_id, run_id and session_id; the value * stands for every name";
    DELETE_OF_ALL.problem(detail)
}

/// A page of Mem0's API that would be too large to answer.
pub(crate) fn large_mem0_page() -> Problem {
    let detail = format!(
        "the memories of this page have more than {} MiB; ask for a smaller page_size, or for fewer members with `fields`",
        MAX_PAGE_BYTES >> 20
    );
    LARGE_MEM0_PAGE.problem(detail)
}

/// Why no facts were found in a conversation.
pub(crate) fn of_extraction(failure: &ExtractionFailure) -> Problem {
    let detail = format!("{failure}; nothing was written, so the request may be repeated");
    match failure {
        ExtractionFailure::NoFacts(_) => {
            tracing::warn!(code = "HS8093", %failure, "the facts of a conversation were not extracted, and nothing of it is stored");
            NO_FACTS.problem(detail)
        }
        ExtractionFailure::TooSlow => {
            tracing::warn!(code = "HS8094", %failure, "the facts of a conversation were not extracted, and nothing of it is stored");
            SLOW_EXTRACTOR.problem(detail)
        }
    }
}

/// A request that the routes themselves cannot serve, although it is right.
pub(crate) fn internal(detail: impl Into<String>) -> Problem {
    INTERNAL.problem(detail)
}

/// An event in the database that cannot be read.
pub(crate) fn damaged_event(error: json::JsonError) -> Problem {
    internal(format!("an event in the database of the node is not JSON: {error}"))
}

/// A file that cannot be written.
pub(crate) fn full_disk(detail: String) -> Problem {
    UNAVAILABLE.problem(detail)
}

/// An error of the database, which could not be asked.
pub(crate) fn of_database(error: &JournalError) -> Problem {
    match error {
        JournalError::Unavailable(_) | JournalError::Stopped => {
            let detail = format!("{error}; nothing was written, try again in a moment");
            UNAVAILABLE.problem(detail)
        }
        JournalError::Fatal(what) => internal(format!("the database of the node has failed: {what}")),
    }
}

/// Why a write was not accepted. `may_see` says whether the client may see a memory that is
/// enclosed.
pub(crate) fn of_write(error: &WriteError, may_see: impl Fn(&ShownMemory) -> bool) -> Problem {
    let refusal = match error {
        WriteError::Database(error) => return of_database(error),
        WriteError::Refused(refusal) => refusal,
    };
    match refusal {
        Refusal::Stale(memory) if may_see(memory) => stale(memory),
        Refusal::Exists(memory) if may_see(memory) => exists(memory),
        Refusal::Inactive(memory) if may_see(memory) => gone(memory),
        // The user that the request itself sets was looked at before, so it is that of the memory.
        Refusal::Stale(_) | Refusal::Exists(_) | Refusal::Inactive(_) | Refusal::ForbiddenUser => unknown_memory(),
        Refusal::InvalidToken | Refusal::TokenOfAnotherMemory { .. } => bad_token(refusal),
        Refusal::BadEvent(bad) => of_bad_event(bad),
        Refusal::LargeMemory { .. } => large_event(refusal.to_string()),
        Refusal::UnknownField(_)
        | Refusal::LongMemoryId
        | Refusal::NoMemoryId
        | Refusal::TooManyAbsorbed
        | Refusal::UnabsorbedToken(_) => invalid(refusal.to_string()),
        Refusal::BadIdempotencyKey | Refusal::KeyReused => bad_key(refusal),
    }
}

/// Why a sync request was not accepted.
pub(crate) fn of_sync(error: &SyncError) -> Problem {
    match error {
        SyncError::TooSoon => TOO_SOON.problem(error.to_string()),
        SyncError::BadEvent(bad) => of_bad_event(bad),
        SyncError::Database(error) => of_database(error),
    }
}

/// Why a user snapshot was not restored.
pub(crate) fn of_restore(error: &RestoreError) -> Problem {
    match error {
        RestoreError::Snapshot(SnapshotFault::NotJson(_)) => not_json(error.to_string()),
        RestoreError::Snapshot(_) => BAD_SNAPSHOT.problem(error.to_string()),
        RestoreError::Request(error) => of_sync(error),
        RestoreError::Database(error) => of_database(error),
    }
}

fn of_bad_event(bad: &BadInput) -> Problem {
    let detail = format!("the write cannot become an event: {bad}");
    match bad.class {
        Class::TooLarge | Class::TooManyClockEntries => large_event(detail),
        _ => invalid(detail),
    }
}

/// Why the fields of a body cannot be read.
pub(crate) fn of_fields(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::BadEvent(bad) => not_json(bad.message),
        other => invalid(other.to_string()),
    }
}

/// Encloses a memory with its clock, as a read answers.
fn with_memory(problem: Problem, memory: &ShownMemory) -> Problem {
    let mut problem = problem;
    for (name, value) in answers::members(memory) {
        problem = problem.with_member(name, value);
    }
    match answers::etag(&memory.token) {
        Some(etag) => problem.with_header(header::ETAG, etag),
        None => problem,
    }
}
