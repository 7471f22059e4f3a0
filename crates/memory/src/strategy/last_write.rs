//! `last_write_wins`, and the order that breaks every other strategy's ties.

use std::cmp::Ordering;

use super::picked::{Picked, greatest};
use crate::state::{Memory, RegisterWrite, StateError};

/// Last-write order: (timestamp, version, node_id, event_id, canonical JSON of the value), left to
/// right.
///
/// # Errors
/// [`StateError`]: all but the values tie, and a large one could not be read.
pub fn order<'a>(memory: &Memory<'a>, a: &RegisterWrite<'a>, b: &RegisterWrite<'a>) -> Result<Ordering, StateError> {
    match memory.header(a.by).last_write_order(memory.header(b.by)) {
        Ordering::Equal if a.by == b.by => Ok(Ordering::Equal),
        Ordering::Equal => Ok(memory.bytes(&a.value)?.cmp(memory.bytes(&b.value)?)),
        decided => Ok(decided),
    }
}

/// Sorts by last-write order, least first.
///
/// # Errors
/// As [`order`].
pub fn sort<'a>(memory: &Memory<'a>, writes: &mut [RegisterWrite<'a>]) -> Result<(), StateError> {
    let mut failed = None;
    writes.sort_by(|a, b| {
        order(memory, a, b).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            Ordering::Equal
        })
    });
    failed.map_or(Ok(()), Err)
}

pub(super) fn pick<'a>(memory: &Memory<'a>, contenders: &[RegisterWrite<'a>]) -> Result<Picked<'a>, StateError> {
    let winner = greatest(contenders, |a, b| order(memory, a, b))?;
    Ok(Picked::won(winner, "greatest in last-write order"))
}
