//! A merge becomes several events, each with the causality of the one memory that it is about.
//!
//! One event has one clock, and the stream compares it with the events of each memory that the
//! event changes. A node counts its writes over all its memories, so a clock that had been put
//! together from the clocks of several memories would claim more of each of them than the caller
//! has seen: where node A has written memory B as its 7th event and memory C as its 9th, having
//! seen C says nothing of B, and yet an entry `A: 9` would supersede the 7th. So a merge of B and C
//! into M is
//!
//! 1. for each absorbed memory that is known a `memory.deleted`, with what was seen of that memory,
//! 2. a `memory.merged` with an entry of the writer alone, which absorbs them,
//! 3. a `memory.updated` of M with what was seen of M, which supersedes the second at M, and writes
//!    the fields and the union of `merged_from`.
//!
//! At an absorbed memory the delete removes what was seen, and nothing else; the absorb beside it
//! says which memory it is part of. A write that was not seen is concurrent with both, as it is
//! with any delete. The writer's own entry covers its own events alone, all of which were seen:
//! otherwise the write is stale.
//!
//! They are sent in one transaction and by the order of `publisher::sending_order`, so the resolver
//! gets none of them before one that keeps it from a conflict.

use std::collections::BTreeSet;

use json::Value;

use super::accept::{OwnRequest, Stamp, check_user};
use super::seen::SeenMemory;
use super::view::MemoryRow;
use super::writer::Writer;
use crate::write::{Fields, MAX_ABSORBED, MAX_MEMORY_ID, MemoryWrite, Refusal, Seen, WriteError, WriteKind};

/// The field with the ids of the memories that a memory has absorbed.
const MERGED_FROM: &str = "merged_from";

/// A memory that a merge absorbs, and that the node knows.
pub(super) struct AbsorbedMemory {
    id: String,
    row: MemoryRow,
    seen: SeenMemory,
}

impl AbsorbedMemory {
    /// Whether the caller carried no token for it.
    pub fn is_assumed(&self) -> bool {
        self.seen.assumed
    }
}

impl Writer {
    /// The memories that a merge absorbs, as the caller has seen them, without those of which the
    /// node knows nothing. A write of another kind absorbs none.
    pub(super) async fn absorbed(
        &mut self,
        write: &MemoryWrite,
        memory_id: &str,
    ) -> Result<Vec<AbsorbedMemory>, WriteError> {
        let mut known = Vec::new();
        if write.kind != WriteKind::Merge {
            return Ok(known);
        }
        let mut ids = ids_of(write.fields.get(MERGED_FROM));
        ids.retain(|id| !id.is_empty() && id != memory_id);
        if ids.iter().any(|id| id.len() > MAX_MEMORY_ID) {
            return Err(Refusal::LongMemoryId.into());
        }
        if ids.len() > MAX_ABSORBED {
            return Err(Refusal::TooManyAbsorbed.into());
        }
        if let Some(other) = write.absorbed_tokens.keys().find(|id| !ids.contains(*id)) {
            return Err(Refusal::UnabsorbedToken(other.clone()).into());
        }
        for id in ids {
            let row = self.memory_row(&id).await?;
            check_user(write, row.heading.as_ref().and_then(|heading| heading.user_id.as_deref()))?;
            let seen = match (write.absorbed_tokens.get(&id), &write.seen) {
                (Some(token), _) => Seen::Token(token.clone()),
                (None, Seen::Session(session)) => Seen::Session(session.clone()),
                (None, _) => Seen::Present,
            };
            let is_known = row.heading.is_some() || matches!(seen, Seen::Token(_));
            let part = MemoryWrite { seen, ..part(write, &id, WriteKind::Delete, Fields::new()) };
            let seen = self.seen(&id, &row, &part).await?;
            if self.is_stale(&row, &seen.clock) {
                return Err(self.stale(&id, &row));
            }
            if is_known {
                known.push(AbsorbedMemory { id, row, seen });
            }
        }
        Ok(known)
    }

    /// Writes the events of a merge but the last one, whose id is `last_id`, and returns that: an
    /// update of the memory.
    pub(super) async fn put_merge(
        &mut self,
        write: &MemoryWrite,
        memory_id: &str,
        row: &MemoryRow,
        absorbed: &[AbsorbedMemory],
        (branch, last_id): (u64, &str),
    ) -> Result<MemoryWrite, WriteError> {
        for memory in absorbed {
            let delete = part(write, &memory.id, WriteKind::Delete, Fields::new());
            let (seen, row) = (&memory.seen, &memory.row);
            self.put_part(&delete, row, seen, Stamp::of_part(0, last_id)).await?;
        }
        let given = write.fields.get(MERGED_FROM).unwrap_or(b"null");
        let fields = Fields::new().with_json(MERGED_FROM, given)?;
        let merged = part(write, memory_id, WriteKind::Merge, fields);
        self.put_part(&merged, row, &SeenMemory::default(), Stamp::of_part(branch, last_id)).await?;
        let fields = write.fields.clone().with_json(MERGED_FROM, &union(given, row))?;
        Ok(MemoryWrite { kind: WriteKind::Update, fields, ..write.clone() })
    }

    /// Writes one of the events of a merge, and lays it over its memories.
    async fn put_part(
        &mut self,
        write: &MemoryWrite,
        row: &MemoryRow,
        seen: &SeenMemory,
        stamp: Stamp,
    ) -> Result<(), WriteError> {
        let memory_id = write.memory_id.as_deref().unwrap_or_default();
        let (event, value, decoded) = self.new_event(write, memory_id, row, seen, stamp)?;
        self.put_event(&event, &value, OwnRequest::default())?;
        self.lay_part(&decoded, &event).await?;
        Ok(())
    }
}

/// A write that is a part of another one, by the same caller.
fn part(whole: &MemoryWrite, memory_id: &str, kind: WriteKind, fields: Fields) -> MemoryWrite {
    let allowed_users = whole.allowed_users.clone();
    MemoryWrite { allowed_users, ..MemoryWrite::new(memory_id, kind, fields) }
}

/// The ids in a list as JSON, as far as it is one: the decoder refuses the rest.
fn ids_of(list: Option<&[u8]>) -> BTreeSet<String> {
    let document = list.and_then(|text| json::parse(text).ok());
    let items = document.iter().flat_map(|document| document.root().items());
    items.filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// The memories that a memory has absorbed, as it is shown, and these.
fn union(given: &[u8], row: &MemoryRow) -> Vec<u8> {
    let mut ids = ids_of(Some(given));
    if let Some(document) = row.shown_json().and_then(|text| json::parse(text.as_bytes()).ok()) {
        let shown = document.root().get(MERGED_FROM).map(Value::canonical);
        ids.extend(ids_of(shown.as_deref()));
    }
    let mut out = vec![b'['];
    for (at, id) in ids.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::write_string(&mut out, id);
    }
    out.push(b']');
    out
}
