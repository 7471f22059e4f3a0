//! Requests and answers of the node's HTTP/JSON interface, on either way.

use axum::http::{Method, StatusCode};
use serde_json::Value;

/// The media type of bodies.
pub(crate) const JSON: &str = "application/json";
/// The header of a key by which the node recognises a repeated write.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The largest answer that is read, in bytes. The node ends an answer of several memories at about
/// 4 MiB, and one memory has at most about 8 MiB.
pub(crate) const MAX_ANSWER: usize = 32 << 20;

/// A request of the node's interface.
#[derive(Debug)]
pub(crate) struct NodeRequest {
    /// The method.
    pub method: Method,
    /// The path behind `/v1`, with its query.
    pub path: String,
    /// The clock token of what the caller has seen.
    pub clock: Option<String>,
    /// The body.
    pub body: Option<Value>,
    /// A key by which the node recognises the request when it comes twice; only for writes.
    pub idempotency_key: Option<String>,
}

impl NodeRequest {
    /// A read.
    pub fn read(path: String) -> NodeRequest {
        NodeRequest { method: Method::GET, path, clock: None, body: None, idempotency_key: None }
    }

    /// A write by a caller who has seen what a clock token says.
    pub fn write(method: Method, path: String, clock: Option<String>, body: Option<Value>) -> NodeRequest {
        let idempotency_key = Some(uuid::Uuid::new_v4().to_string());
        NodeRequest { method, path, clock, body, idempotency_key }
    }
}

/// An answer of the node.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body as JSON; null where it is none.
    pub body: Value,
}

impl Answer {
    /// The answer with these bytes.
    pub fn new(status: StatusCode, body: &[u8]) -> Answer {
        Answer { status, body: serde_json::from_slice(body).unwrap_or(Value::Null) }
    }
}

/// The path of a memory.
pub(crate) fn memory_path(memory_id: &str) -> String {
    let mut path = String::from("/memories/");
    for (index, byte) in memory_id.bytes().enumerate() {
        // `/memories/search` is the search.
        if byte.is_ascii_alphanumeric() && (memory_id != "search" || index > 0) || byte == b'-' {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_memory_leads_to_it() {
        for (id, path) in [("a-1", "a-1"), ("a/b ü.", "a%2Fb%20%C3%BC%2E"), ("search", "%73earch"), ("..", "%2E%2E")] {
            assert_eq!(memory_path(id), format!("/memories/{path}"), "{id}");
        }
    }
}
