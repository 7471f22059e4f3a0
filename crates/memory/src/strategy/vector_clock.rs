//! `vector_clock`: trusts no wall clock. The write whose event has counted most, without the
//! synthetic actor `~`.

use std::cmp::Ordering;

use super::picked::{Picked, greatest};
use crate::state::{Memory, RegisterWrite, StateError};

pub(super) fn pick<'a>(memory: &Memory<'a>, contenders: &[RegisterWrite<'a>]) -> Result<Picked<'a>, StateError> {
    let winner = greatest(contenders, |a, b| {
        let x = memory.header(a.by);
        let y = memory.header(b.by);
        let by_header = x
            .clock_sum()
            .cmp(&y.clock_sum())
            .then_with(|| (x.version, x.node_id, x.event_id).cmp(&(y.version, y.node_id, y.event_id)));
        match by_header {
            Ordering::Equal => Ok(memory.bytes(&a.value)?.cmp(memory.bytes(&b.value)?)),
            decided => Ok(decided),
        }
    })?;
    Ok(Picked::won(winner, "greatest sum of clock entries, then version, node and event id"))
}
