//! The strategies that pick among the contenders of a field (docs/semantics.md, section 4), one a
//! file. A strategy sees contenders alone: causality has spoken before.

mod custom;
mod importance;
mod last_write;
mod merge_all;
mod vector_clock;

pub use custom::{Contender, CustomResolver, Resolution, ResolverFailure};
pub use last_write::{order as last_write_order, sort as sort_by_last_write};

use std::cmp::Ordering;

use super::settings::Strategy;
use super::state::{Memory, Path, RegisterWrite, StateError, Value};

/// Result of a strategy for the contenders of a field.
#[derive(Clone, Debug)]
pub struct Picked<'a> {
    /// The write that won; `None` where the value is a join of several, or made by a custom resolver.
    pub winner: Option<RegisterWrite<'a>>,
    /// Other writes that equal the winner in all that the strategy compares: the same id and value, another clock.
    pub ties: Vec<RegisterWrite<'a>>,
    /// The field's value.
    pub value: PickedValue<'a>,
    /// Why, for people.
    pub reason: String,
    /// Whether a custom resolver deferred; last-write order shows meanwhile.
    pub deferred: bool,
}

/// Where a picked value comes from.
#[derive(Clone, Debug)]
pub enum PickedValue<'a> {
    /// A contender wrote it.
    Written(Value<'a>),
    /// It was joined or made: canonical JSON.
    Made(Vec<u8>),
}

impl<'a> Picked<'a> {
    /// Contenders that won: one, and those that tie with it.
    fn won((write, ties): Greatest<'a>, reason: &str) -> Picked<'a> {
        let value = PickedValue::Written(write.value);
        Picked { winner: Some(write), ties, value, reason: reason.to_owned(), deferred: false }
    }

    /// The writes whose event the value came from; none where it was joined or made.
    pub fn writers(&self) -> impl Iterator<Item = &RegisterWrite<'a>> {
        let is_written = matches!(self.value, PickedValue::Written(_));
        self.winner.iter().chain(&self.ties).filter(move |_| is_written)
    }

    /// The value's bytes.
    pub fn bytes(&self, memory: &Memory<'a>) -> Result<std::borrow::Cow<'_, [u8]>, StateError> {
        match &self.value {
            PickedValue::Written(value) => memory.bytes(value).map(std::borrow::Cow::Borrowed),
            PickedValue::Made(bytes) => Ok(std::borrow::Cow::Borrowed(bytes)),
        }
    }

    /// Digest of the value's bytes.
    pub fn digest(&self) -> u128 {
        match &self.value {
            PickedValue::Written(value) => value.digest(),
            PickedValue::Made(bytes) => super::state::digest(bytes),
        }
    }
}

/// Whether two of the writes have different values.
pub fn in_conflict(contenders: &[RegisterWrite<'_>]) -> bool {
    contenders.split_first().is_some_and(|(first, rest)| rest.iter().any(|w| !w.value.same_as(&first.value)))
}

/// Picks among contenders; `None` if there is none. A custom resolver decides fields in conflict only, whether or not all who
/// are in conflict are left to pick from (an embedding must belong to its content too); it is `None` where no field is set to it.
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

/// A greatest contender, and those equal to it.
type Greatest<'a> = (RegisterWrite<'a>, Vec<RegisterWrite<'a>>);

/// The greatest of the contenders by an order that may have to read values.
fn greatest<'a>(
    contenders: &[RegisterWrite<'a>],
    mut order: impl FnMut(&RegisterWrite<'a>, &RegisterWrite<'a>) -> Result<Ordering, StateError>,
) -> Result<Greatest<'a>, StateError> {
    let (mut best, mut ties) = (contenders[0], Vec::new());
    for write in &contenders[1..] {
        match order(write, &best)? {
            Ordering::Less => {}
            Ordering::Equal => ties.push(*write),
            Ordering::Greater => {
                best = *write;
                ties.clear();
            }
        }
    }
    Ok((best, ties))
}

/// A canonical JSON array of texts that come sorted.
fn string_array<'t>(sorted: impl IntoIterator<Item = &'t str>) -> Vec<u8> {
    let mut out = vec![b'['];
    for text in sorted {
        if out.len() > 1 {
            out.push(b',');
        }
        json::write_string(&mut out, text);
    }
    out.push(b']');
    out
}
