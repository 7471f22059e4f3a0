//! Errors of the tools. An agent reads them, so each says what to do next, and ends with its code.

use axum::http::StatusCode;
use serde_json::Value;

use crate::answers::Memory;
use crate::exchange::Answer;

/// A fault of the node or of this program.
pub(crate) fn internal(what: &str) -> String {
    format!(
        "the request to the memory node has failed: {what}. It is not known whether anything was written; recall before you write again, \
         and tell the user [HS8104]"
    )
}

/// A write that has succeeded, with an answer that cannot be read.
pub(crate) fn written_unseen() -> String {
    "the memory was written, but the answer of the memory node cannot be read: recall the memory before you write again, and tell the user to \
     look whether node and `helixstream mcp` are of one version [HS8104]"
        .to_owned()
}

/// The node does not answer.
pub(crate) fn unreachable(node: &str, why: &str) -> String {
    format!(
        "the memory node at {node} does not answer: {why}. It is not known whether anything was written; recall before you write again, \
         and tell the user to look whether the node runs [HS8105]"
    )
}

/// The token of the node cannot be read any more.
pub(crate) fn token(error: &secret::SecretError) -> String {
    format!("the token for the memory node cannot be read, so nothing was done; tell the user: {error}")
}

/// A header that names a session and is none.
pub(crate) fn bad_session(header: &str, most: usize) -> String {
    format!(
        "the header {header} should have 1 to {most} ASCII characters; correct the configuration of the MCP host [HS8101]"
    )
}

/// Arguments that contradict each other.
pub(crate) fn arguments(what: &str) -> String {
    format!("{what}; nothing was done [HS8102]")
}

/// A text that is no clock token.
pub(crate) fn bad_clock() -> String {
    arguments("`clock` should be the `clock` of an earlier answer, with all of its letters")
}

/// A write of a memory that this session has not seen.
pub(crate) fn unseen(memory_id: &str, has_session: bool) -> String {
    let way = if has_session { "" } else { ", and send the `clock` of its answer with the write" };
    format!(
        "you have not seen the memory {memory_id:?} in this session, so writing it could overwrite what others know: first call `recall` with \
         its memory_id{way} [HS8103]"
    )
}

/// A conflict that is not there.
pub(crate) fn no_conflict(memory: &Memory) -> String {
    format!(
        "the memory has no conflict, so nothing was written; `remember` changes it. It is: {} [HS8106]",
        shown(memory)
    )
}

/// A value for a field that is not in conflict.
pub(crate) fn not_in_conflict(field: &str, memory: &Memory) -> String {
    format!(
        "{field:?} is not in conflict, so nothing was written: `values` should have fields of {}; `remember` changes other fields [HS8107]",
        memory.conflicted_fields.join(", ")
    )
}

/// A memory that has changed since the session saw it.
pub(crate) fn changed(memory: &Memory) -> String {
    format!(
        "the memory has changed since you last saw it, so nothing was written. It is now: {}. Decide what shall stand, and call the tool \
         again [HS8068]",
        shown(memory)
    )
}

/// A refusal of the node, in the words of the tools. `memory` is the one that its answer encloses.
pub(crate) fn of_node(answer: &Answer, memory: Option<&Memory>) -> String {
    let text = |name: &str| answer.body.get(name).and_then(Value::as_str);
    let Some(code) = text("code") else {
        let status = answer.status;
        return internal(&format!("the node answered {status} without a problem document; is the URL that of a node?"));
    };
    match (code, memory) {
        ("HS8068", Some(memory)) => changed(memory),
        ("HS8067", Some(memory)) => format!(
            "the memory was deleted, or merged into the one that merged_into names, and cannot be changed any more. It is: {}. For a new \
             memory, call `remember` without memory_id [{code}]",
            shown(memory)
        ),
        ("HS8066", _) => format!(
            "there is no memory with this id that you may see; `recall` finds memories, and `remember` without memory_id creates one [{code}]"
        ),
        ("HS8069", _) => format!(
            "the `clock` is not valid for this memory: recall the memory, and use the `clock` of the answer [{code}]"
        ),
        _ => {
            let hint = match answer.status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; the user can change it in the configuration",
                _ => "",
            };
            format!("{}{hint} [{code}]", text("detail").unwrap_or("the node refuses the request"))
        }
    }
}

/// A memory as JSON.
fn shown(memory: &Memory) -> String {
    serde_json::to_string(memory).unwrap_or_else(|error| format!("not shown: {error}"))
}
