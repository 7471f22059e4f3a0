//! The arguments of the tools. Their comments are the descriptions that an agent reads.

use rmcp::schemars::{self, JsonSchema};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Arguments of `remember`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remember {
    /// The memory to change, by its id. Leave it out for a new memory
    #[serde(default)]
    pub memory_id: Option<String>,
    /// The text to remember, which can be understood by itself. A new memory needs it
    #[serde(default)]
    pub content: Option<String>,
    /// The user whom a new memory is about. A memory keeps its user
    #[serde(default)]
    pub user_id: Option<String>,
    /// The conversation that the memory comes from
    #[serde(default)]
    pub session_id: Option<String>,
    /// Words to find it by. They replace all tags that the memory has
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// How important it is, from 0 to 1
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub importance: Option<f64>,
    /// When it is to be forgotten by itself, such as 2026-12-31T00:00:00Z; it is deleted then
    #[serde(default)]
    pub expires_at: Option<String>,
    /// Further values by key. Keys that are absent stay, and null clears a key
    #[serde(default)]
    pub metadata: Option<Map<String, Value>>,
    /// The `clock` of the memory as you last saw it. It is needed only where the answers of these
    /// tools show a `clock`
    #[serde(default)]
    pub clock: Option<String>,
}

/// Arguments of `recall`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recall {
    /// Words to search for in contents and tags. A memory with one of them is found; more and rarer
    /// words come first. Without it, and without memory_id, memories are listed by their ids
    #[serde(default)]
    pub query: Option<String>,
    /// One memory, by its id
    #[serde(default)]
    pub memory_id: Option<String>,
    /// Memories about this user alone
    #[serde(default)]
    pub user_id: Option<String>,
    /// Memories of this conversation alone
    #[serde(default)]
    pub session_id: Option<String>,
    /// How many memories at most; 10 if it is left out
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub limit: Option<u32>,
    /// The `next` of an earlier answer, for the memories that follow in a list
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Arguments of `forget`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forget {
    /// The memory, by its id
    pub memory_id: String,
    /// The `clock` of the memory as you last saw it. It is needed only where the answers of these
    /// tools show a `clock`
    #[serde(default)]
    pub clock: Option<String>,
}

/// Arguments of `resolve_conflict`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolveConflict {
    /// The memory, by its id
    pub memory_id: String,
    /// The values that shall stand: each field that is in conflict, by its name, with its value,
    /// such as {"content": "likes green tea"}. For the conflict `metadata.mood` it is
    /// {"metadata": {"mood": "calm"}}
    pub values: Map<String, Value>,
    /// The `clock` of the memory as you last saw it. It is needed only where the answers of these
    /// tools show a `clock`
    #[serde(default)]
    pub clock: Option<String>,
}
