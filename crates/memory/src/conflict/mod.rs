//! Conflicts: when an event makes one, what of it the state keeps while it stands, and when it is
//! superseded (docs/semantics.md, section 5, "Conflict record").

mod detect;
mod open;
mod record;

pub use super::state::ConflictType;
pub use record::{ConflictRecord, ConflictStatus};

use super::state::{Applied, Memory, StateError};
use super::view::{ResolutionContext, VisibleFrontier};

/// Records for the conflicts topic after an event that changed the state: conflicts that it
/// settled, oldest first, then its own. Keeps the memory's open conflicts up to date. `resolved` is
/// the resolved memory after the event.
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
    // The common case: nobody else wrote what the event wrote, nothing was open, and no delete
    // stands against an update.
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
