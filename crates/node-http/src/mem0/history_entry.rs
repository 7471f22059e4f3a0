//! The entries of Mem0's history.

use json::ObjectWriter;

use super::answer::write_optional;
use crate::listing::ANSWER_BYTES;

/// A change of a memory.
pub(super) struct Entry<'e> {
    /// The id of its event, where one event alone has made the change.
    pub id: &'e str,
    /// The memory.
    pub memory_id: &'e str,
    /// `ADD`, `UPDATE` or `DELETE`.
    pub action: &'static str,
    /// The text before it; `None` also where it is not known.
    pub old: Option<&'e str>,
    /// The text after it.
    pub new: Option<&'e str>,
    /// The time of the change.
    pub time: Option<&'e str>,
    /// The writer of its event, where that is known.
    pub actor: Option<&'e str>,
    /// The memory's user after it.
    pub user_id: Option<&'e str>,
}

/// The entries of an answer, with commas between them.
#[derive(Default)]
pub(super) struct Entries {
    /// The entries as JSON.
    pub bytes: Vec<u8>,
    /// Whether a change or a text is missing.
    pub is_truncated: bool,
    /// Whether further ones would make the answer too large.
    pub is_full: bool,
}

impl Entries {
    /// Adds an entry, if there is room for it.
    pub fn add(&mut self, entry: &Entry<'_>) {
        if self.bytes.len() >= ANSWER_BYTES {
            (self.is_truncated, self.is_full) = (true, true);
            return;
        }
        if !self.bytes.is_empty() {
            self.bytes.push(b',');
        }
        let mut object = ObjectWriter::new(&mut self.bytes);
        object.str("action", entry.action);
        write_optional(object.key("actor_id"), entry.actor);
        write_optional(object.key("created_at"), entry.time);
        object.str("event", entry.action);
        object.str("id", entry.id);
        object.raw("input", b"[]");
        object.str("memory_id", entry.memory_id);
        write_optional(object.key("new_memory"), entry.new);
        write_optional(object.key("new_value"), entry.new);
        write_optional(object.key("old_memory"), entry.old);
        write_optional(object.key("old_value"), entry.old);
        write_optional(object.key("updated_at"), entry.time);
        write_optional(object.key("user_id"), entry.user_id);
        object.end();
    }
}
