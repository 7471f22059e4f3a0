//! The strategies that pick among the contenders of a field (docs/semantics.md, section 4), one a
//! file. A strategy sees contenders alone: causality has spoken before.

mod custom;
mod importance;
mod last_write;
mod merge_all;
mod picked;
mod vector_clock;

pub use custom::{Contender, CustomResolver, Resolution, ResolverFailure};
pub use last_write::{order as last_write_order, sort as sort_by_last_write};
pub use picked::{Picked, PickedValue};

use super::settings::Strategy;
use super::state::{Memory, Path, RegisterWrite, StateError};

/// Whether two of the writes have different values.
pub fn in_conflict(contenders: &[RegisterWrite<'_>]) -> bool {
    contenders.split_first().is_some_and(|(first, rest)| rest.iter().any(|w| !w.value.same_as(&first.value)))
}

/// Picks among contenders; `None` if there is none. A custom resolver decides fields in conflict
/// only, whether or not all who are in conflict are left to pick from (an embedding must belong to
/// its content too); it is `None` where no field is set to it.
///
/// # Errors
/// [`StateError`]: a large value could not be read.
pub fn pick<'a>(
    memory: &Memory<'a>,
    path: Path<'_>,
    contenders: &[RegisterWrite<'a>],
    is_conflict: bool,
    strategy: Strategy,
    custom: Option<&dyn CustomResolver>,
) -> Result<Option<Picked<'a>>, StateError> {
    let Some(first) = contenders.first() else { return Ok(None) };
    let custom = custom.filter(|_| is_conflict && strategy == Strategy::Custom);
    if contenders.len() == 1 && custom.is_none() {
        return Ok(Some(Picked::won((*first, Vec::new()), "the only contender")));
    }
    let picked = match (strategy, custom) {
        (Strategy::Importance, _) => importance::pick(memory, contenders)?,
        (Strategy::VectorClock, _) => vector_clock::pick(memory, contenders)?,
        (Strategy::MergeAll, _) => merge_all::pick(memory, path, contenders)?,
        (Strategy::Custom, Some(custom)) => custom::pick(memory, path, contenders, custom)?,
        (Strategy::Custom | Strategy::LastWriteWins, _) => last_write::pick(memory, contenders)?,
    };
    Ok(Some(picked))
}
