//! The kinds of errors of the routes. docs/operations.md has an entry for each code, and the
//! OpenAPI document lists for each route those that it answers with.

use axum::http::StatusCode;
use node::sync::LEAST_PAUSE;

use crate::description::ErrorKind;

/// A path, a query parameter or a header that cannot be read.
pub(crate) static MALFORMED: ErrorKind =
    ErrorKind::new(StatusCode::BAD_REQUEST, "HS8060", "The request cannot be read");
/// A path that is no route.
pub(crate) static NO_ROUTE: ErrorKind = ErrorKind::new(StatusCode::NOT_FOUND, "HS8061", "There is no such route");
/// A method that a route does not have.
pub(crate) static WRONG_METHOD: ErrorKind =
    ErrorKind::new(StatusCode::METHOD_NOT_ALLOWED, "HS8062", "The route does not have this method");
/// A body that is not JSON, or no object.
pub(crate) static NOT_JSON: ErrorKind =
    ErrorKind::new(StatusCode::BAD_REQUEST, "HS8063", "The body is not a JSON object");
/// A body of another media type.
pub(crate) static WRONG_MEDIA_TYPE: ErrorKind =
    ErrorKind::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "HS8064", "The body has another media type");
/// A body with more bytes than a route reads, or that would lead to more.
pub(crate) static LARGE_BODY: ErrorKind =
    ErrorKind::new(StatusCode::PAYLOAD_TOO_LARGE, "HS8065", "The body is too large");
/// A memory that the node does not know, or that the client may not see.
pub(crate) static UNKNOWN_MEMORY: ErrorKind = ErrorKind::new(StatusCode::NOT_FOUND, "HS8066", "The memory is unknown");
/// A memory that was deleted, or that another one has absorbed.
pub(crate) static GONE: ErrorKind =
    ErrorKind::new(StatusCode::GONE, "HS8067", "The memory is deleted or merged").with_memory();
/// A write whose clock token has not seen a later write of this node.
pub(crate) static STALE: ErrorKind =
    ErrorKind::new(StatusCode::CONFLICT, "HS8068", "The clock token is stale").with_memory();
/// A clock token that is none, or of another memory.
pub(crate) static BAD_TOKEN: ErrorKind =
    ErrorKind::new(StatusCode::BAD_REQUEST, "HS8069", "The clock token is not valid");
/// A write that the stream could not resolve.
pub(crate) static INVALID: ErrorKind =
    ErrorKind::new(StatusCode::UNPROCESSABLE_ENTITY, "HS8070", "The write is not valid");
/// A write that the stream would refuse for its size.
pub(crate) static LARGE_EVENT: ErrorKind =
    ErrorKind::new(StatusCode::PAYLOAD_TOO_LARGE, "HS8071", "The event or its memory is too large");
/// A create of a memory that is there.
pub(crate) static EXISTS: ErrorKind =
    ErrorKind::new(StatusCode::CONFLICT, "HS8072", "The memory exists already").with_memory();
/// Users that the client's token is not bound to.
pub(crate) static FOREIGN_USER: ErrorKind =
    ErrorKind::new(StatusCode::FORBIDDEN, "HS8073", "The token is bound to other users");
/// An event that a broker refuses for ever, or that the stream could not process.
pub(crate) static REFUSED_BY_BROKER: ErrorKind =
    ErrorKind::new(StatusCode::BAD_GATEWAY, "HS8074", "The event has failed");
/// An idempotency key that is too long, or that another write has.
pub(crate) static BAD_KEY: ErrorKind =
    ErrorKind::new(StatusCode::UNPROCESSABLE_ENTITY, "HS8075", "The idempotency key cannot be used");
/// A node that is stopping, or whose disk is full.
pub(crate) static UNAVAILABLE: ErrorKind =
    ErrorKind::new(StatusCode::SERVICE_UNAVAILABLE, "HS8076", "The node is not available").with_retry_after(1);
/// A fault of the node.
pub(crate) static INTERNAL: ErrorKind =
    ErrorKind::new(StatusCode::INTERNAL_SERVER_ERROR, "HS8077", "The node has failed");
/// A stream of events or a user snapshot for which no place is free.
pub(crate) static TOO_MANY_READERS: ErrorKind =
    ErrorKind::new(StatusCode::SERVICE_UNAVAILABLE, "HS8078", "Too many streams or snapshots are open")
        .with_retry_after(10);
/// A route that is not for tokens that are bound to users.
pub(crate) static BOUND_TO_USERS: ErrorKind =
    ErrorKind::new(StatusCode::FORBIDDEN, "HS8079", "The route is not for a token of users");
/// A call or a setting of Mem0's API that this node does not have.
pub(crate) static NOT_OF_MEM0: ErrorKind =
    ErrorKind::new(StatusCode::NOT_IMPLEMENTED, "HS8080", "This part of Mem0's API is not implemented");
/// A body of Mem0's API that has an unknown member or a value of the wrong kind.
pub(crate) static MEM0_REQUEST: ErrorKind =
    ErrorKind::new(StatusCode::BAD_REQUEST, "HS8081", "The request of Mem0's API is not valid");
/// A delete of many memories that says nothing about which.
pub(crate) static DELETE_OF_ALL: ErrorKind =
    ErrorKind::new(StatusCode::BAD_REQUEST, "HS8082", "The delete names no memories");
/// A page of Mem0's API that would be too large to answer.
pub(crate) static LARGE_MEM0_PAGE: ErrorKind =
    ErrorKind::new(StatusCode::UNPROCESSABLE_ENTITY, "HS8083", "The page is too large");
/// A relationship that the memory does not have.
pub(crate) static UNKNOWN_PART: ErrorKind =
    ErrorKind::new(StatusCode::NOT_FOUND, "HS8085", "The relationship is unknown");
/// A search by an embedding that would read too many of them.
pub(crate) static LARGE_SEARCH: ErrorKind =
    ErrorKind::new(StatusCode::UNPROCESSABLE_ENTITY, "HS8086", "The search is too large");
/// A sync request that repeats one of a moment ago.
pub(crate) static TOO_SOON: ErrorKind =
    ErrorKind::new(StatusCode::TOO_MANY_REQUESTS, "HS8090", "The memories were asked for a moment ago")
        .with_retry_after(LEAST_PAUSE.as_secs());
/// A user snapshot that is none, or not whole.
pub(crate) static BAD_SNAPSHOT: ErrorKind =
    ErrorKind::new(StatusCode::UNPROCESSABLE_ENTITY, "HS8091", "The snapshot cannot be restored");
/// A user whose snapshot nobody could restore.
pub(crate) static LARGE_SNAPSHOT: ErrorKind =
    ErrorKind::new(StatusCode::UNPROCESSABLE_ENTITY, "HS8092", "The snapshot is too large");
/// An extractor that has found no facts in a conversation.
pub(crate) static NO_FACTS: ErrorKind = ErrorKind::new(StatusCode::BAD_GATEWAY, "HS8093", "The extractor has failed");
/// An extractor that did not answer in time.
pub(crate) static SLOW_EXTRACTOR: ErrorKind =
    ErrorKind::new(StatusCode::GATEWAY_TIMEOUT, "HS8094", "The extractor is too slow");

/// The errors of every request that looks into the database.
pub(crate) const READING: &[&ErrorKind] = &[&MALFORMED, &UNAVAILABLE, &INTERNAL];
/// The errors of a body.
pub(crate) const BODY: &[&ErrorKind] = &[&NOT_JSON, &WRONG_MEDIA_TYPE, &LARGE_BODY];
/// The errors of a body of Mem0's API.
pub(crate) const MEM0_BODY: &[&ErrorKind] = &[&NOT_JSON, &WRONG_MEDIA_TYPE, &LARGE_BODY, &MEM0_REQUEST, &NOT_OF_MEM0];
/// The errors of a write by Mem0's API.
pub(crate) const MEM0_WRITING: &[&ErrorKind] =
    &[&MALFORMED, &UNKNOWN_MEMORY, &LARGE_EVENT, &INVALID, &UNAVAILABLE, &INTERNAL];
/// The errors of a write by a client that may bring a clock token and an idempotency key.
pub(crate) const WRITING: &[&ErrorKind] = &[
    &MALFORMED,
    &BAD_TOKEN,
    &FOREIGN_USER,
    &UNKNOWN_MEMORY,
    &STALE,
    &LARGE_EVENT,
    &INVALID,
    &BAD_KEY,
    &REFUSED_BY_BROKER,
    &UNAVAILABLE,
    &INTERNAL,
];
