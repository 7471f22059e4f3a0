//! `importance`: the write of the most important event.

use super::last_write;
use super::picked::{Picked, greatest};
use crate::state::{Memory, RegisterWrite, StateError};
use json::Number;

pub(super) fn pick<'a>(memory: &Memory<'a>, contenders: &[RegisterWrite<'a>]) -> Result<Picked<'a>, StateError> {
    let importance = |w: &RegisterWrite<'a>| memory.header(w.by).importance.unwrap_or(Number::ZERO);
    let winner = greatest(contenders, |a, b| match importance(a).compare(&importance(b)) {
        std::cmp::Ordering::Equal => last_write::order(memory, a, b),
        decided => Ok(decided),
    })?;
    Ok(Picked::won(winner, "greatest importance of its event, then last-write order"))
}
