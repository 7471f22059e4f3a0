//! The answers of the tools. Their comments are the descriptions that an agent reads.
//!
//! Embeddings, vector clocks and ids of events are left out: they say nothing to an agent, and
//! would fill its context.

use rmcp::schemars::{self, JsonSchema};
use serde::Serialize;
use serde_json::{Map, Value};

/// A memory.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Memory {
    /// Its id
    pub memory_id: String,
    /// active, deleted or merged
    pub status: String,
    /// The remembered text
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The user whom it is about
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The conversation that it comes from
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Words to find it by
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How important it is, from 0 to 1
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<f64>,
    /// Further values by key
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Entities that occur in it
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Value>,
    /// Relationships of these entities
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub relationships: Vec<Value>,
    /// The memory that has absorbed it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<String>,
    /// When it was created
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When it was last changed
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// Fields that agents have written without having seen each other's writes. The values shown
    /// are those that the system has picked; `resolve_conflict` settles them
    pub conflicted_fields: Vec<String>,
    /// Whether a write of this node is not shared with the others yet
    pub pending: bool,
    /// How well a search has found it; greater is better
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// A token of what you have seen by this answer: send it with the next write of this memory
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
}

/// Answer of `recall`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Recalled {
    /// The memories: the best first after a search, else by their ids
    pub memories: Vec<Memory>,
    /// The `cursor` for the memories that follow in a list; absent on the last page
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Whether hits of a search were left out because the answer would be too large
    pub truncated: bool,
}

/// Answer of a tool that writes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Written {
    /// The memory after the write
    pub memory: Memory,
}

/// A memory of an answer of the node that encloses one (`memory`, `clock`, `pending`), and its
/// clock token. `None` where there is none.
pub(crate) fn memory_of(answer: &Value) -> Option<(Memory, String)> {
    let shown = answer.get("memory")?.as_object()?;
    let text = |name: &str| shown.get(name).and_then(Value::as_str).map(str::to_owned);
    let list = |name: &str| shown.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let texts = |name: &str| list(name).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let memory = Memory {
        memory_id: text("memory_id")?,
        status: text("status")?,
        content: text("content"),
        user_id: text("user_id"),
        session_id: text("session_id"),
        tags: texts("tags"),
        importance: shown.get("importance").and_then(Value::as_f64),
        metadata: shown.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default(),
        entities: list("entities"),
        relationships: list("relationships"),
        merged_into: text("merged_into"),
        created_at: text("created_at"),
        updated_at: text("updated_at"),
        conflicted_fields: texts("conflicted_fields"),
        pending: answer.get("pending")?.as_bool()?,
        score: answer.get("score").and_then(Value::as_f64),
        clock: None,
    };
    Some((memory, answer.get("clock")?.as_str()?.to_owned()))
}
