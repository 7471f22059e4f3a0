//! Detects whether an event, on arrival, is in conflict with others, and with which.

use std::cmp::Ordering;

use crate::causality::{EventHeader, Relation};
use crate::state::{Applied, ConflictType, Memory, Path, RegisterWrite, StateError};
use crate::strategy::in_conflict;
use crate::view::{ResolutionContext, VisibleFrontier};

/// A field in conflict in which the event contends.
pub(super) struct Contested<'a> {
    pub(super) path: Path<'a>,
    pub(super) contenders: Vec<RegisterWrite<'a>>,
    /// Arrival numbers of live writes that do not contend.
    pub(super) shadowed: Vec<u64>,
}

/// A delete against an update in which the event stands.
pub(super) struct DeleteUpdate {
    /// Events of the other kind that are left on reading, as indexes of headers.
    pub(super) others: Vec<u32>,
    /// Arrival numbers of frontier events of the other kind that are not left.
    pub(super) shadowed: Vec<u64>,
}

/// A conflict that an event made.
pub(super) struct Conflict<'a> {
    pub(super) conflict_type: ConflictType,
    /// The other participant greatest in last-write order, as index of a header.
    pub(super) local: u32,
    pub(super) fields: Vec<Contested<'a>>,
    pub(super) delete_update: Option<DeleteUpdate>,
}

/// The conflict that the event is in, if it is.
pub(super) fn detect_conflict<'a>(
    memory: &Memory<'a>,
    applied: &Applied<'a>,
    visible: &VisibleFrontier,
    context: &ResolutionContext<'_>,
) -> Result<Option<Conflict<'a>>, StateError> {
    let mut fields = Vec::new();
    for touched in applied.touched.iter().filter(|t| t.contested) {
        let Some(register) = memory.register(touched.path) else { continue };
        let contenders = context.contenders(memory, register);
        let contends = |w: &RegisterWrite<'a>| contenders.iter().any(|c| c.by == w.by);
        if !contenders.iter().any(|w| w.by == applied.event) || !in_conflict(&contenders) {
            continue;
        }
        let shadowed = register.writes.iter().filter(|w| !contends(w)).map(|w| memory.header(w.by).seq).collect();
        fields.push(Contested { path: touched.path, contenders: contenders.to_vec(), shadowed });
    }
    let delete_update = delete_update(memory, applied.event, visible);
    let contending = fields.iter().flat_map(|f| &f.contenders).map(|w| w.by);
    let opposed = delete_update.iter().flat_map(|d| &d.others).copied();
    let others: Vec<u32> = contending.chain(opposed).filter(|by| *by != applied.event).collect();
    let greatest = others.iter().copied().reduce(|a, b| {
        let order = memory.header(a).last_write_order(memory.header(b));
        if order == Ordering::Less { b } else { a }
    });
    Ok(greatest.map(|local| Conflict {
        conflict_type: type_of(memory, applied.event, &others, context),
        local,
        fields,
        delete_update,
    }))
}

fn delete_update(memory: &Memory<'_>, event: u32, visible: &VisibleFrontier) -> Option<DeleteUpdate> {
    if !visible.left.contains(&event) {
        return None;
    }
    let is_delete = memory.header(event).is_delete;
    let opposed = memory.frontier.iter().copied().filter(|h| memory.header(*h).is_delete != is_delete);
    let (others, shadowed): (Vec<u32>, Vec<u32>) = opposed.partition(|h| visible.left.contains(h));
    if others.is_empty() {
        return None;
    }
    Some(DeleteUpdate { others, shadowed: shadowed.into_iter().map(|h| memory.header(h).seq).collect() })
}

fn type_of(memory: &Memory<'_>, event: u32, others: &[u32], context: &ResolutionContext<'_>) -> ConflictType {
    let e = memory.header(event);
    let others = || others.iter().map(|by| memory.header(*by));
    let equivocates = |o: &EventHeader<'_>| {
        o.event_id == e.event_id || (o.is_clocked() && e.is_clocked() && o.clock_order(e) == Some(Ordering::Equal))
    };
    let regresses = |o: &EventHeader<'_>| {
        matches!(o.clock_order(e), Some(Ordering::Less | Ordering::Greater))
            && o.relation(e, context.settings) == Relation::Concurrent
    };
    if others().any(equivocates) {
        ConflictType::Equivocation
    } else if others().any(regresses) {
        ConflictType::ClockRegression
    } else if others().any(|o| o.is_delete != e.is_delete) {
        ConflictType::DeleteUpdate
    } else {
        ConflictType::ConcurrentUpdate
    }
}
