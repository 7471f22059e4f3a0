//! A memory, or the known part of one version of it, as an event of HelixAgent's and as its
//! `Memory`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::members::{array, list, raw};
use super::readable;
use memory::clock::UNCLOCKED;
use memory::view::ObjectWriter;

/// Content of a resolved memory, or of a version of it in a conflict record. Values are canonical
/// JSON; nesting is not read, since that of a record may be deeper than a reader of its own would
/// take.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Memory<'r> {
    pub memory_id: String,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(borrow, default)]
    pub user_id: Option<&'r RawValue>,
    #[serde(borrow, default)]
    pub session_id: Option<&'r RawValue>,
    #[serde(borrow, default)]
    pub content: Option<&'r RawValue>,
    #[serde(borrow, default)]
    pub embedding: Option<&'r RawValue>,
    #[serde(borrow, default)]
    pub importance: Option<&'r RawValue>,
    #[serde(borrow, default)]
    pub tags: Option<&'r RawValue>,
    #[serde(borrow, default)]
    pub merged_from: Option<&'r RawValue>,
    #[serde(borrow, default)]
    pub metadata: BTreeMap<String, &'r RawValue>,
    #[serde(borrow, default)]
    pub entities: Vec<&'r RawValue>,
    #[serde(borrow, default)]
    pub relationships: Vec<&'r RawValue>,
    #[serde(borrow, default)]
    pub vector_clock: Option<&'r RawValue>,
    #[serde(default)]
    pub version: u64,
    #[serde(borrow, default)]
    pub created_at: Option<&'r RawValue>,
    #[serde(borrow, default)]
    pub updated_at: Option<&'r RawValue>,
}

/// Members that an event has besides those of a memory.
pub(super) struct Act<'a> {
    pub event_id: &'a str,
    pub event_type: &'a str,
    pub node_id: &'a str,
    pub timestamp: Option<&'a RawValue>,
}

impl<'r> Memory<'r> {
    /// Puts a value at a field path, as conflict records name them; null is no value.
    pub fn put(&mut self, path: &str, value: &'r RawValue) {
        if value.get() == "null" {
            return;
        }
        match path.split_once('.') {
            Some(("metadata", key)) => _ = self.metadata.insert(key.to_owned(), value),
            Some(("entities", _)) => self.entities.push(value),
            Some(("relationships", _)) => self.relationships.push(value),
            _ => {
                let field = match path {
                    "user_id" => &mut self.user_id,
                    "session_id" => &mut self.session_id,
                    "content" => &mut self.content,
                    "embedding" => &mut self.embedding,
                    "importance" => &mut self.importance,
                    "tags" => &mut self.tags,
                    "merged_from" => &mut self.merged_from,
                    _ => return,
                };
                *field = Some(value);
            }
        }
    }

    fn clock(&self) -> serde_json::Result<Vec<u8>> {
        let mut entries: BTreeMap<String, u64> = match self.vector_clock {
            Some(clock) => serde_json::from_str(clock.get())?,
            None => BTreeMap::new(),
        };
        entries.remove(UNCLOCKED);
        Ok(readable::clock(&entries))
    }

    /// Appends it as a `MemoryEvent`.
    pub fn write_event(&self, act: &Act<'_>, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut o = ObjectWriter::new(out);
        raw(&mut o, "content", self.content);
        raw(&mut o, "embedding", readable::embedding(self.embedding)?);
        list(&mut o, "entities", &self.entities, readable::entity)?;
        o.str("event_id", act.event_id);
        o.str("event_type", act.event_type);
        raw(&mut o, "importance", self.importance);
        o.str("memory_id", &self.memory_id);
        raw(&mut o, "merged_from", self.merged_from);
        if !self.metadata.is_empty() {
            let mut members = ObjectWriter::new(o.key("metadata"));
            self.metadata.iter().for_each(|(key, value)| raw(&mut members, key, Some(value)));
            members.end();
        }
        o.str("node_id", act.node_id);
        list(&mut o, "relationships", &self.relationships, readable::relationship)?;
        raw(&mut o, "session_id", self.session_id);
        raw(&mut o, "tags", self.tags);
        raw(&mut o, "timestamp", act.timestamp);
        raw(&mut o, "user_id", self.user_id);
        o.raw("vector_clock", &self.clock()?);
        o.integer("version", self.version);
        o.end();
        Ok(())
    }

    /// Appends it as a `Memory`, which keeps tags, entities and the clock in its metadata, where
    /// the nodes keep them.
    pub fn write_memory(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut metadata: BTreeMap<&str, Vec<u8>> =
            self.metadata.iter().map(|(key, value)| (key.as_str(), value.get().as_bytes().to_vec())).collect();
        metadata.insert("vector_clock", self.clock()?);
        metadata.extend(self.tags.map(|tags| ("tags", tags.get().as_bytes().to_vec())));
        if !self.entities.is_empty() {
            let mut entities = Vec::new();
            array(&mut entities, &self.entities, readable::entity)?;
            metadata.insert("entities", entities);
        }
        let mut o = ObjectWriter::new(out);
        raw(&mut o, "content", self.content);
        raw(&mut o, "created_at", self.created_at);
        raw(&mut o, "embedding", readable::embedding(self.embedding)?);
        o.str("id", &self.memory_id);
        raw(&mut o, "importance", self.importance);
        let mut members = ObjectWriter::new(o.key("metadata"));
        metadata.iter().for_each(|(key, value)| members.raw(key, value));
        members.end();
        raw(&mut o, "session_id", self.session_id);
        raw(&mut o, "updated_at", self.updated_at);
        raw(&mut o, "user_id", self.user_id);
        o.end();
        Ok(())
    }
}
