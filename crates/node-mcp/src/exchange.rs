//! Requests and answers of the node's HTTP/JSON interface, on either way.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use serde_json::Value;
use serde_json::value::RawValue;

/// The media type of bodies.
pub(crate) const JSON: &str = "application/json";
/// The header of a key by which the node recognises a repeated write.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The largest answer that is read, in bytes. The node ends an answer of several memories at about
/// 4 MiB, and one memory has at most about 8 MiB.
pub(crate) const MAX_ANSWER: usize = 32 << 20;
/// The outermost levels of an answer: those that enclose a memory (`{"hits": [{"memory": …}]}`),
/// and the memory itself.
const OUTER_LEVELS: usize = 4;

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
    /// The body as JSON; null where it cannot be read.
    pub body: Value,
}

impl Answer {
    /// The answer with these bytes.
    pub fn new(status: StatusCode, body: &[u8]) -> Answer {
        let body = serde_json::from_slice::<&RawValue>(body).ok();
        Answer { status, body: body.and_then(|body| read(body, OUTER_LEVELS)).unwrap_or(Value::Null) }
    }
}

/// Reads JSON, whose outermost levels are read one by one. The parser reads 127 levels at once,
/// which bounds its stack, and a memory may have 128 within those that enclose it.
fn read(json: &RawValue, levels: usize) -> Option<Value> {
    let text = json.get();
    match (text.bytes().next(), levels.checked_sub(1)) {
        (Some(b'{'), Some(left)) => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            let members = members.into_iter().map(|(name, member)| Some((name, read(member, left)?)));
            members.collect::<Option<_>>().map(Value::Object)
        }
        (Some(b'['), Some(left)) => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            items.into_iter().map(|item| read(item, left)).collect::<Option<_>>().map(Value::Array)
        }
        _ => serde_json::from_str(text).ok(),
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
    fn an_answer_is_read_as_deep_as_a_memory_can_be() {
        let nested = |levels: usize| format!("{}7{}", "[".repeat(levels), "]".repeat(levels));
        // The memory and its metadata are two of the 128 levels.
        let memory = format!(r#"{{"content":"\u00e9","metadata":{{"a":{},"b":0.1}}}}"#, nested(126));
        let one = format!(r#"{{"memory":{memory},"pending":true}}"#);
        let hits = format!(r#" {{"hits": [ {one}, {{}} ]}} "#);
        for (body, pointer) in [(&one, "/memory"), (&hits, "/hits/0/memory")] {
            let answer = Answer::new(StatusCode::OK, body.as_bytes());
            let memory = answer.body.pointer(pointer).unwrap();
            assert_eq!((&memory["content"], &memory["metadata"]["b"]), (&Value::from("é"), &Value::from(0.1)));
            assert_eq!(memory["metadata"]["a"].to_string(), nested(126));
        }
        for body in [nested(1_000_000), "[".repeat(1_000_000), "{} {}".to_owned(), String::new()] {
            assert!(Answer::new(StatusCode::OK, body.as_bytes()).body.is_null());
        }
    }

    #[test]
    fn the_path_of_a_memory_leads_to_it() {
        for (id, path) in [("a-1", "a-1"), ("a/b ü.", "a%2Fb%20%C3%BC%2E"), ("search", "%73earch"), ("..", "%2E%2E")] {
            assert_eq!(memory_path(id), format!("/memories/{path}"), "{id}");
        }
    }
}
