//! Changes of memories, in the order in which this node has made them.
//!
//! The database keeps the last changes, so that a reader which was away goes on where it stopped. A
//! change is there from the commit on that makes it: a reader sees no change that a crash undoes.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The place of a change among those of a node. It stays the same over restarts of the node.
///
/// It names the opening of the database in which the change was made, because a copy of the
/// database, or one that was rolled back, counts with the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeId {
    pub(crate) number: u64,
    pub(crate) opening: String,
}

/// A text that is no [`ChangeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no id of a change; use one that a node has answered with")]
pub struct InvalidChangeId;

impl ChangeId {
    /// How many changes lie between an earlier id of the same node and this one.
    #[must_use]
    pub fn since(&self, earlier: &ChangeId) -> u64 {
        self.number.saturating_sub(earlier.number)
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.number, self.opening)
    }
}

impl FromStr for ChangeId {
    type Err = InvalidChangeId;

    fn from_str(text: &str) -> Result<ChangeId, InvalidChangeId> {
        let (number, opening) = text.split_once('.').ok_or(InvalidChangeId)?;
        let number = number.parse().ok().filter(|number| i64::try_from(*number).is_ok()).ok_or(InvalidChangeId)?;
        let id = ChangeId { number, opening: opening.to_owned() };
        // One id has one text.
        if id.to_string() == text { Ok(id) } else { Err(InvalidChangeId) }
    }
}

/// Which changes are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeQuery {
    /// Those of memories of these users alone; `None` is all, also those without a user.
    pub users: Option<BTreeSet<String>>,
    /// Those of memories of this session alone.
    pub session_id: Option<String>,
}

/// A memory after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedMemory {
    /// The memory as the node has shown it then: [`crate::shown::ShownMemory::json`].
    pub json: Vec<u8>,
    /// The text of the token of a caller that has seen this.
    pub token: String,
    /// Whether an event of this node lay over it that the stream had not resolved yet.
    pub is_pending: bool,
}

/// A change of a memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryChange {
    /// Its place.
    pub id: ChangeId,
    /// The memory.
    pub memory_id: String,
    /// The memory after the change; `None` where it no longer is among those that were asked for:
    /// it has another user or session now, or the node no longer holds it.
    pub memory: Option<ChangedMemory>,
}

/// Some changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePage {
    /// The changes that were asked for, in their order.
    pub changes: Vec<MemoryChange>,
    /// The last change that was looked at: the next page begins behind it.
    pub next: ChangeId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id = ChangeId { number: 17, opening: "k3m".to_owned() };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "17", ".k3m", "x.k3m", "-1.k3m", "017.k3m", "+17.k3m", "9223372036854775808.k3m"] {
            assert_eq!(text.parse::<ChangeId>(), Err(InvalidChangeId), "{text}");
        }
    }
}
