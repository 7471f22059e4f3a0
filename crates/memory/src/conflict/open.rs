//! Which open conflicts an event supersedes.

use std::collections::HashMap;

use super::record::{ConflictRecord, superseded};
use crate::state::{Applied, Memory, OpenConflict, Path, RegisterWrite, StateError};
use crate::view::{ResolutionContext, VisibleFrontier};

/// The contenders for a path now, in order of arrival.
struct Contending<'a> {
    writes: Vec<(u64, RegisterWrite<'a>)>,
    /// Arrival number of the first write whose value differs from the first one's.
    differs_from: Option<u64>,
}

impl<'a> Contending<'a> {
    fn of(memory: &Memory<'a>, path: Path<'_>, context: &ResolutionContext<'_>) -> Contending<'a> {
        let mut writes: Vec<(u64, RegisterWrite<'a>)> = match memory.register(path) {
            Some(register) => {
                let contenders = context.contenders(memory, register);
                contenders.iter().map(|w| (memory.header(w.by).seq, *w)).collect()
            }
            None => Vec::new(),
        };
        writes.sort_unstable_by_key(|(seq, _)| *seq);
        let differs = writes.iter().find(|(_, w)| !w.value.same_as(&writes[0].1.value));
        let differs_from = differs.map(|(seq, _)| *seq);
        Contending { writes, differs_from }
    }

    /// Whether two of those who contended up to `seq`, but for the hidden, contend with different
    /// values.
    fn stands(&self, seq: u64, shadowed: &[u64]) -> bool {
        if shadowed.is_empty() {
            return self.differs_from.is_some_and(|from| from <= seq);
        }
        let mut held = self.writes.iter().filter(|(s, _)| *s <= seq && !shadowed.contains(s)).map(|(_, w)| w);
        held.next().is_some_and(|first| held.any(|w| !w.value.same_as(&first.value)))
    }
}

/// Closes the open conflicts that no longer stand, oldest first, and returns their records.
pub(super) fn close_superseded<'a>(
    memory: &mut Memory<'a>,
    applied: &Applied<'a>,
    visible: &VisibleFrontier,
    context: &ResolutionContext<'_>,
) -> Result<Vec<ConflictRecord>, StateError> {
    // A delete may hide writes of any field; another event changes only who contends where it
    // wrote.
    let everywhere = memory.header(applied.event).is_delete;
    let touched = |path: Path<'_>| everywhere || applied.touched.iter().any(|t| t.path == path);
    let mut open = std::mem::take(&mut memory.open);
    let mut now: HashMap<Path<'a>, Contending<'a>> = HashMap::new();
    for conflict in &mut open {
        for field in conflict.fields.iter_mut().filter(|f| touched(f.path)) {
            memory.load(field.path)?;
            let contending = now.entry(field.path).or_insert_with(|| Contending::of(memory, field.path, context));
            field.stands = contending.stands(conflict.seq, &field.shadowed);
        }
    }
    let event = memory.header(applied.event);
    let mut records = Vec::new();
    open.retain(|conflict| {
        let stands = conflict.fields.iter().any(|f| f.stands) || opposed(memory, conflict, visible);
        if !stands {
            records.push(superseded(memory.id(), conflict, event, &context.settings.application_id));
        }
        stands
    });
    memory.open = open;
    Ok(records)
}

/// Whether the conflict's delete and update still stand together: its event, and one of those that
/// stood against it.
fn opposed(memory: &Memory<'_>, conflict: &OpenConflict<'_>, visible: &VisibleFrontier) -> bool {
    let Some(shadowed) = &conflict.delete_update else { return false };
    let left = || visible.left.iter().map(|h| memory.header(*h)).filter(|h| h.seq <= conflict.seq);
    let Some(event) = left().find(|h| h.seq == conflict.seq) else { return false };
    left().any(|h| h.is_delete != event.is_delete && !shadowed.contains(&h.seq))
}
