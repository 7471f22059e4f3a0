//! Memories, writes, events and the status of the node as JSON. Members come sorted by name.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use json::{Number, ObjectWriter, Value};
use node::changes::ChangedMemory;
use node::clock_token::ClockToken;
use node::loops::NodeLoops;
use node::registry::{RegisteredNode, now_ms};
use node::restore::Restored;
use node::search::SearchHit;
use node::shown::{EventState, NodeStatus, OwnEvent, ShownMemory};
use node::sync::SyncRequested;
use node::write::{Accepted, FIELDS};

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer of one memory, with its clock as an entity tag.
pub(crate) fn of_memory(status: StatusCode, body: Vec<u8>, memory: &ShownMemory) -> Response {
    with_etag(json(status, body), &memory.token)
}

/// The answer of a write, with the clock of what its caller has seen now as an entity tag.
pub(crate) fn of_write(status: StatusCode, body: Vec<u8>, accepted: &Accepted) -> Response {
    with_etag(json(status, body), &accepted.token)
}

fn with_etag(mut response: Response, token: &ClockToken) -> Response {
    if let Some(etag) = etag(token) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// A clock token as an entity tag. Its text is base64url, which a header can hold.
pub(crate) fn etag(token: &ClockToken) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{}\"", token.encode())).ok()
}

/// The members by which a memory is shown, sorted by name.
pub(crate) fn members(memory: &ShownMemory) -> [(&'static str, Vec<u8>); 3] {
    let mut clock = Vec::new();
    json::write_string(&mut clock, &memory.token.encode());
    [("clock", clock), ("memory", memory.json.clone()), ("pending", boolean(memory.is_pending))]
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// A memory as a read answers.
pub(crate) fn memory(memory: &ShownMemory) -> Vec<u8> {
    let mut body = Vec::new();
    write_memory(&mut body, memory);
    body
}

fn write_memory(out: &mut Vec<u8>, memory: &ShownMemory) {
    let mut object = ObjectWriter::new(out);
    for (name, value) in members(memory) {
        object.raw(name, &value);
    }
    object.end();
}

/// The parts of a memory: the field with their list, as canonical JSON.
pub(crate) fn parts(memory: &ShownMemory, field: &str, parts: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    let mut all =
        members(memory).map(|(name, value)| if name == "memory" { (field, parts.to_vec()) } else { (name, value) });
    all.sort_by(|one, other| one.0.cmp(other.0));
    all.iter().for_each(|(name, value)| object.raw(name, value));
    object.end();
    body
}

/// A memory after a change, as a read of it has answered then.
pub(crate) fn changed_memory(memory: &ChangedMemory) -> Vec<u8> {
    let mut body = Vec::with_capacity(memory.json.len() + memory.token.len() + 64);
    let mut object = ObjectWriter::new(&mut body);
    object.str("clock", &memory.token);
    object.raw("memory", &memory.json);
    object.raw("pending", &boolean(memory.is_pending));
    object.end();
    body
}

/// The id of a memory that a client no longer sees.
pub(crate) fn left_memory(memory_id: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.str("memory_id", memory_id);
    object.end();
    body
}

/// A write and the memory after it.
pub(crate) fn accepted(accepted: &Accepted, state: &EventState) -> Vec<u8> {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.raw("assumed", &boolean(accepted.assumed));
    object.str("clock", &accepted.token.encode());
    let mut event = Vec::new();
    let mut members = ObjectWriter::new(&mut event);
    members.integer("counter", accepted.counter);
    members.str("event_id", &accepted.event_id);
    members.str("node_id", &accepted.actor.to_string());
    members.str("state", state.as_str());
    members.time("timestamp", accepted.timestamp);
    members.integer("version", accepted.version);
    members.end();
    object.raw("event", &event);
    object.raw("memory", &accepted.memory.json);
    object.raw("pending", &boolean(accepted.memory.is_pending));
    object.raw("repeated", &boolean(accepted.repeated));
    object.end();
    body
}

/// A page of memories; `next` is the last id of it where there are more.
pub(crate) fn page(memories: &[ShownMemory], next: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.array("memories", memories, write_memory);
    if let Some(id) = next {
        object.str("next", &cursor(id));
    }
    object.end();
    body
}

/// A cursor of the pages: the last id of a page in base64url.
fn cursor(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(id)
}

/// The id of a cursor; `None` where the text is no cursor.
pub(crate) fn read_cursor(text: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// The hits of a search, the best first; `truncated` where a hit was left out for the size of the
/// answer. A search by an embedding counts the embeddings that it has compared, and the memories
/// that it has skipped.
pub(crate) fn hits(hits: &[SearchHit], truncated: bool, counts: Option<(u64, u64)>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    counts.iter().for_each(|(compared, _)| object.integer("compared", *compared));
    object.array("hits", hits, |out, hit| {
        let mut object = ObjectWriter::new(out);
        for (name, value) in members(&hit.memory) {
            object.raw(name, &value);
        }
        json::write_number(object.key("score"), Number::from_double(hit.score));
        object.end();
    });
    counts.iter().for_each(|(_, skipped)| object.integer("skipped", *skipped));
    object.raw("truncated", &boolean(truncated));
    object.end();
    body
}

/// An event of this node to a memory. It is shown with its order and its way, and with the names of
/// the fields that it writes; not with their values, which the memory may not have any more.
pub(crate) fn event(event: &OwnEvent) -> Result<Vec<u8>, json::JsonError> {
    let document = json::parse(&event.value)?;
    let root = document.root();
    let copy = |name| root.get(name).map(Value::canonical);
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.integer("counter", event.counter);
    object.str("event_id", &event.event_id);
    copy("event_type").iter().for_each(|value| object.raw("event_type", value));
    let written = FIELDS.iter().filter(|name| root.get(name).is_some());
    object.array("fields", written, |out, name| json::write_string(out, name));
    object.str("node_id", &event.actor.to_string());
    if let EventState::Failed(reason) = &event.state {
        object.str("reason", reason);
    }
    object.raw("resolved", &boolean(event.is_resolved));
    object.str("state", event.state.as_str());
    for name in ["timestamp", "vector_clock", "version"] {
        copy(name).iter().for_each(|value| object.raw(name, value));
    }
    object.end();
    Ok(body)
}

/// The events of a memory; `truncated` where some are left out for the size of the answer.
pub(crate) fn events(events: &[Vec<u8>], truncated: bool) -> Vec<u8> {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.array("events", events, |out, event| out.extend_from_slice(event));
    object.raw("truncated", &boolean(truncated));
    object.end();
    body
}

/// The user that an event names.
pub(crate) fn user_of(event: &OwnEvent) -> Option<String> {
    let document = json::parse(&event.value).ok()?;
    document.root().get("user_id")?.as_str().map(str::to_owned)
}

/// The status of the node and of its threads, with the other nodes where the client may see them.
pub(crate) fn status(status: &NodeStatus, loops: &NodeLoops, nodes: Option<Vec<RegisteredNode>>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.integer("conflicted", status.conflicted);
    object.integer("consumed", loops.follower_status().followed);
    object.integer("counter", status.counter);
    object.integer("dead_letters", status.dead_letters);
    object.integer("failed", status.failed);
    object.array("former", &status.former, |out, former| {
        let mut object = ObjectWriter::new(out);
        object.time("ended_at", nanoseconds(former.ended_at_ms));
        object.str("node_id", &former.actor.to_string());
        object.integer("published", former.published);
        object.str("reason", &former.reason);
        object.end();
    });
    object.integer("memories", status.memories);
    object.str("node_id", &status.actor.to_string());
    let waiting = object.key("outbox");
    let mut members = ObjectWriter::new(waiting);
    members.integer("depth", status.outbox_depth);
    if let Some(oldest) = status.outbox_oldest_ms {
        members.time("oldest", nanoseconds(oldest));
    }
    members.end();
    if let Some(nodes) = nodes {
        let is_own = |node: &RegisteredNode| {
            let actor = &node.record.actor;
            *actor == status.actor || status.former.iter().any(|former| former.actor == *actor)
        };
        let (peers, now_ms) = (nodes.iter().filter(|node| !is_own(node)), now_ms());
        object.array("peers", peers, |out, node| write_peer(out, node, now_ms));
    }
    object.integer("pending", status.pending);
    object.array("positions", positions(status, loops), |out, ((topic, partition), (next_offset, lag))| {
        let mut object = ObjectWriter::new(out);
        if let Some(lag) = lag {
            object.integer("lag", lag);
        }
        json::write_number(object.key("next_offset"), Number::Int(next_offset.into()));
        json::write_number(object.key("partition"), Number::Int(partition.into()));
        object.str("topic", &topic);
        object.end();
    });
    object.integer("published", status.published);
    object.integer("sync_requests", status.sync_requests);
    object.integer("version", status.version);
    object.end();
    body
}

/// A sync request that was accepted.
pub(crate) fn sync_requested(requested: &SyncRequested) -> Vec<u8> {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.raw("repeated", &boolean(requested.repeated));
    object.str("request_id", &requested.event_id);
    object.time("timestamp", nanoseconds(requested.timestamp_ms));
    if let Some(user) = &requested.user_id {
        object.str("user_id", user);
    }
    object.end();
    body
}

/// A user snapshot that was restored.
pub(crate) fn restored(restored: &Restored) -> Vec<u8> {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.integer("memories", restored.memories);
    object.integer("not_subscribed", restored.not_subscribed);
    object.raw("request", &sync_requested(&restored.request));
    object.integer("restored", restored.restored);
    object.str("user_id", &restored.user_id);
    object.end();
    body
}

/// A node in the status of another one.
fn write_peer(out: &mut Vec<u8>, node: &RegisteredNode, now_ms: i64) {
    let mut object = ObjectWriter::new(out);
    object.time("last_heartbeat", nanoseconds(node.record_ms));
    object.str("name", node.record.actor.name.as_str());
    object.str("node_id", &node.record.actor.to_string());
    object.str("status", node.liveness(now_ms).as_str());
    object.end();
}

/// The next offset of each partition as the database has it, or, of a partition without a record
/// yet, as the follower has it; and the offsets from the follower to the end of the log, where it
/// has heard of that since the start.
fn positions(status: &NodeStatus, loops: &NodeLoops) -> BTreeMap<(String, i32), (i64, Option<u64>)> {
    let stored = status.positions.iter();
    let stored = stored.map(|one| ((one.topic.clone(), one.partition), (one.next_offset, None)));
    let mut positions: BTreeMap<(String, i32), (i64, Option<u64>)> = stored.collect();
    for (topic, partition, progress) in loops.progress() {
        let of_partition = positions.entry((topic.to_string(), partition)).or_insert((progress.position, None));
        of_partition.1 = Some(progress.lag());
    }
    positions
}

/// A time in milliseconds since 1970 in nanoseconds; one before 1970 is shown as 1970.
pub(crate) fn nanoseconds(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000)
}

/// The path of a memory.
pub(crate) fn location(memory_id: &str) -> Option<HeaderValue> {
    let mut path = String::from("/v1/memories/");
    for (index, byte) in memory_id.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'.');
        // `/v1/memories/search` is the search.
        if is_plain && (memory_id != "search" || index > 0) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    HeaderValue::try_from(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for id in ["", "m", "a/b ü\u{0}"] {
            assert_eq!(read_cursor(&cursor(id)).as_deref(), Some(id));
        }
        assert_eq!((read_cursor("%"), read_cursor("_w")), (None, None));
    }

    #[test]
    fn a_location_is_one_segment_that_leads_to_the_memory() {
        for (id, path) in
            [("a-1", "a-1"), ("a/b ü", "a%2Fb%20%C3%BC"), ("search", "%73earch"), ("research", "research")]
        {
            assert_eq!(location(id).unwrap(), format!("/v1/memories/{path}"), "{id}");
        }
    }
}
