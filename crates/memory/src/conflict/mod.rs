//! Conflicts: when an event makes one, what of it the state keeps while it stands, and when it is superseded
//! (docs/semantics.md, section 5, "Conflict record").

mod detect;
mod open;
mod record;

pub use open::{OpenConflict, OpenField};

use std::fmt;

use super::state::{Applied, Memory, StateError};
use super::view::{ResolutionContext, VisibleFrontier};

/// Type of a conflict: the first one that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConflictType {
    /// The same event id or the same clock, with different content.
    Equivocation = 1,
    /// Ordered by their clocks, but not when versions are heeded: a clock was lost and restarted.
    ClockRegression = 2,
    /// A delete against another event.
    DeleteUpdate = 3,
    /// Anything else.
    ConcurrentUpdate = 4,
}

impl ConflictType {
    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            ConflictType::Equivocation => "equivocation",
            ConflictType::ClockRegression => "clock_regression",
            ConflictType::DeleteUpdate => "delete_update",
            ConflictType::ConcurrentUpdate => "concurrent_update",
        }
    }
}

impl fmt::Display for ConflictType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a conflict stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictStatus {
    /// The strategy decided.
    AutoResolved,
    /// A custom resolver deferred.
    Pending,
    /// It stands no more.
    Superseded,
}

impl ConflictStatus {
    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            ConflictStatus::AutoResolved => "auto_resolved",
            ConflictStatus::Pending => "pending",
            ConflictStatus::Superseded => "superseded",
        }
    }
}

/// A conflict record to be emitted.
#[derive(Clone, Debug)]
pub struct ConflictRecord {
    /// Its kind, for counters.
    pub conflict_type: ConflictType,
    /// How it stands.
    pub status: ConflictStatus,
    /// The record, canonical JSON.
    pub json: Vec<u8>,
}

/// Records for the conflicts topic after an event that changed the state: conflicts that it settled, oldest first, then its
/// own. Keeps the memory's open conflicts up to date. `resolved` is the resolved memory after the event.
///
/// # Errors
/// [`StateError`]: a row could not be read.
pub fn after<'a>(
    memory: &mut Memory<'a>,
    applied: &Applied<'a>,
    visible: &VisibleFrontier,
    context: &ResolutionContext<'_>,
    resolved: &[u8],
) -> Result<Vec<ConflictRecord>, StateError> {
    // The common case: nobody else wrote what the event wrote, nothing was open, and no delete stands against an update.
    let is_alone = visible.left.len() < 2 && applied.touched.iter().all(|t| !t.contested);
    if memory.open.is_empty() && is_alone {
        return Ok(Vec::new());
    }
    let mut records = open::close_superseded(memory, applied, visible, context)?;
    if let Some(conflict) = detect::detect_conflict(memory, applied, visible, context)? {
        let (record, open) = record::new(memory, applied, &conflict, context, resolved)?;
        memory.open.push(open);
        records.push(record);
    }
    Ok(records)
}
