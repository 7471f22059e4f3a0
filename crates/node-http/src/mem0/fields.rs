//! Where the fields of Mem0's and HelixAgent's clients lie in a memory of ours.
//!
//! | client | memory |
//! |---|---|
//! | `memory` (Mem0), `content` (HelixAgent) | `content` |
//! | `user_id` | `user_id` |
//! | `session_id` (HelixAgent), `run_id` (Mem0) | `session_id` |
//! | `agent_id`, `app_id`, `categories`, and the `role` of a message that is not `user` | `metadata`, the name under [`PREFIX`] |
//! | `type`, `category` and `summary` among the metadata: fields of HelixAgent's memories | `metadata`, the name under [`PREFIX`] |
//! | any other metadata | `metadata`, under the same key |
//!
//! Events have no such fields of their own, and HelixAgent's nodes do not send them. The prefix is
//! the node's, whose search filters by `type` and `category`.

use std::collections::{BTreeMap, BTreeSet};

use http::Problem;
use json::{ObjectWriter, Value};
use node::clock_token::ClockToken;
pub(super) use node::search::METADATA_PREFIX as PREFIX;
use node::settings::system_clock;
use node::shown::ShownMemory;

use super::expiration;
use crate::problems;

/// Fields that clients have among the metadata.
const AMONG_METADATA: [&str; 3] = ["category", "summary", "type"];

/// The key of a field in the metadata of a memory.
fn stored(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The part of a write besides text, user and session: metadata keys as they are stored, with
/// their values as canonical JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata(BTreeMap<String, Vec<u8>>);

impl Metadata {
    /// The metadata of a client.
    pub fn of_client(metadata: Option<Value<'_>>) -> Result<Metadata, Problem> {
        let mut all = BTreeMap::new();
        for (key, value) in metadata.into_iter().flat_map(Value::sorted_members) {
            if key.starts_with(PREFIX) {
                let detail = format!("keys of metadata that begin with `{PREFIX}` are the node's own");
                return Err(problems::mem0_request(detail));
            }
            let key = if AMONG_METADATA.contains(&key) { stored(key) } else { key.to_owned() };
            all.insert(key, value.canonical());
        }
        Ok(Metadata(all))
    }

    /// Adds a field that clients have beside the metadata.
    pub fn set_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            let mut text = Vec::new();
            json::write_string(&mut text, value);
            self.0.insert(stored(name), text);
        }
    }

    /// Adds a field of the node, as canonical JSON.
    pub fn set(&mut self, name: &str, value: Vec<u8>) {
        self.0.insert(stored(name), value);
    }

    /// Adds the categories.
    pub fn set_categories(&mut self, categories: &BTreeSet<String>) {
        if !categories.is_empty() {
            self.0.insert(stored("categories"), texts(categories));
        }
    }

    /// The category, as canonical JSON.
    pub fn category(&self) -> Option<&[u8]> {
        self.0.get(&stored("category")).map(Vec::as_slice)
    }

    /// Bytes of the keys and values.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys whose values a memory does not have.
    pub fn unlike(&self, memory: &Mem0Memory) -> Metadata {
        let is_new = |(key, value): &(&String, &Vec<u8>)| {
            let there = memory.stored.get(*key);
            if value.as_slice() == b"null" { there.is_some() } else { there != Some(*value) }
        };
        Metadata(self.0.iter().filter(is_new).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// The metadata that an add writes to a memory that exists. Where its last day is over and the
    /// add has no date, the memory expires no more, since the node would delete it.
    pub fn for_existing(&self, memory: &Mem0Memory) -> Metadata {
        let mut metadata = self.clone();
        if memory.expires_at.is_some_and(|at| at <= system_clock()) && !self.0.contains_key(&stored(expiration::STORED))
        {
            metadata.set(expiration::STORED, b"null".to_vec());
        }
        metadata
    }

    /// As canonical JSON.
    pub fn json(&self) -> Vec<u8> {
        object(&self.0)
    }
}

fn object(members: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    members.iter().for_each(|(key, value)| object.raw(key, value));
    object.end();
    out
}

fn texts(all: &BTreeSet<String>) -> Vec<u8> {
    let mut out = vec![b'['];
    for (at, text) in all.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::write_string(&mut out, text);
    }
    out.push(b']');
    out
}

/// A memory as these clients see it.
#[derive(Clone, Debug)]
pub(super) struct Mem0Memory {
    /// Its id.
    pub id: String,
    /// Its text; empty where it has none.
    pub text: String,
    /// Its user.
    pub user_id: Option<String>,
    /// Its session, which Mem0 calls a run.
    pub session_id: Option<String>,
    /// Its agent.
    pub agent_id: Option<String>,
    /// Its app.
    pub app_id: Option<String>,
    /// Its categories.
    pub categories: BTreeSet<String>,
    /// The role of the message that it was added by, where that is not `user`.
    role: Option<String>,
    /// Its metadata as clients know it: names without the prefix.
    pub metadata: BTreeMap<String, Vec<u8>>,
    /// The time of its first event, in nanoseconds since 1970.
    pub created_at: u64,
    /// The time of its last event, in nanoseconds since 1970.
    pub updated_at: u64,
    /// The time at which it expires, in nanoseconds since 1970.
    pub expires_at: Option<u64>,
    /// Bytes of the memory as the node has it.
    pub bytes: usize,
    /// The token of a caller that has seen it so.
    pub token: ClockToken,
    stored: BTreeMap<String, Vec<u8>>,
}

impl Mem0Memory {
    /// Reads a memory that the node shows.
    pub fn of(shown: &ShownMemory) -> Result<Mem0Memory, Problem> {
        let damaged = |what: &str| problems::internal(format!("a memory in the database of the node {what}"));
        let document = json::parse(&shown.json).map_err(|error| damaged(&format!("is not JSON: {error}")))?;
        let root = document.root();
        let text_of = |name: &str| root.get(name).and_then(Value::as_str).map(str::to_owned);
        let time = |name: &str| {
            let time = root.get(name).and_then(Value::as_str).and_then(|text| json::rfc3339::parse(text).ok());
            time.ok_or_else(|| damaged(&format!("has no `{name}`")))
        };
        let mut memory = Mem0Memory {
            id: shown.memory_id.clone(),
            text: text_of("content").unwrap_or_default(),
            user_id: text_of("user_id"),
            session_id: text_of("session_id"),
            agent_id: None,
            app_id: None,
            categories: BTreeSet::new(),
            role: None,
            metadata: BTreeMap::new(),
            created_at: time("created_at")?,
            updated_at: time("updated_at")?,
            expires_at: None,
            bytes: shown.json.len(),
            token: shown.token.clone(),
            stored: BTreeMap::new(),
        };
        for (key, value) in root.get("metadata").into_iter().flat_map(Value::sorted_members) {
            memory.stored.insert(key.to_owned(), value.canonical());
            memory.take_metadata(key, value);
        }
        Ok(memory)
    }

    /// Puts one key of the metadata where clients look for it. A prefixed key counts more than the
    /// same name without the prefix, which our own API may have written.
    fn take_metadata(&mut self, key: &str, value: Value<'_>) {
        let text = || value.as_str().map(str::to_owned);
        match key.strip_prefix(PREFIX) {
            Some("agent_id") => self.agent_id = text(),
            Some("app_id") => self.app_id = text(),
            Some("role") => self.role = text(),
            Some("categories") => {
                self.categories = value.items().filter_map(|item| item.as_str().map(str::to_owned)).collect();
            }
            Some(expiration::STORED) => {
                self.expires_at = value.as_str().and_then(|text| json::rfc3339::parse(text).ok());
                self.metadata.insert(expiration::STORED.to_owned(), value.canonical());
            }
            Some(name) => {
                self.metadata.insert(name.to_owned(), value.canonical());
            }
            None => {
                self.metadata.entry(key.to_owned()).or_insert_with(|| value.canonical());
            }
        }
    }

    /// The name of an entity of this type (`user`, `agent`, `app` or `run`) that it belongs to.
    pub fn entity(&self, kind: &str) -> Option<&str> {
        match kind {
            "user" => self.user_id.as_deref(),
            "agent" => self.agent_id.as_deref(),
            "app" => self.app_id.as_deref(),
            "run" => self.session_id.as_deref(),
            _ => None,
        }
    }

    /// Appends it as JSON, with its score where a search has found it. `fields` are the members
    /// that the client asks for; none means all.
    pub fn write(&self, out: &mut Vec<u8>, score: Option<f64>, fields: &BTreeSet<String>) {
        let optional = |text: Option<&str>| {
            let mut value = Vec::new();
            match text {
                Some(text) => json::write_string(&mut value, text),
                None => value.extend_from_slice(b"null"),
            }
            value
        };
        let time = |nanos: u64| optional(Some(&json::rfc3339::format(nanos)));
        let mut members: Vec<(&str, Vec<u8>)> = vec![
            ("agent_id", optional(self.agent_id.as_deref())),
            ("app_id", optional(self.app_id.as_deref())),
            ("categories", texts(&self.categories)),
            ("created_at", time(self.created_at)),
            (expiration::MEMBER, optional(self.expires_at.map(expiration::date_of).as_deref())),
            ("id", optional(Some(&self.id))),
            ("memory", optional(Some(&self.text))),
            ("metadata", object(&self.metadata)),
            ("role", optional(Some(self.role.as_deref().unwrap_or("user")))),
            ("run_id", optional(self.session_id.as_deref())),
        ];
        if let Some(score) = score {
            let mut value = Vec::new();
            json::write_number(&mut value, json::Number::from_double(score));
            members.push(("score", value));
        }
        members.push(("session_id", optional(self.session_id.as_deref())));
        members.push(("updated_at", time(self.updated_at)));
        members.push(("user_id", optional(self.user_id.as_deref())));
        let mut object = ObjectWriter::new(out);
        for (name, value) in members {
            if fields.is_empty() || fields.contains(name) {
                object.raw(name, &value);
            }
        }
        object.end();
    }
}
