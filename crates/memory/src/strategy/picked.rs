//! The result of a strategy, and functions that several strategies share.

use std::cmp::Ordering;

use crate::state::{Memory, RegisterWrite, StateError, Value};

/// Result of a strategy for the contenders of a field.
#[derive(Clone, Debug)]
pub struct Picked<'a> {
    /// The write that won; `None` where the value is a join of several, or made by a custom
    /// resolver.
    pub winner: Option<RegisterWrite<'a>>,
    /// Other writes that equal the winner in all that the strategy compares: the same id and value,
    /// another clock.
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
    pub(super) fn won((write, ties): Greatest<'a>, reason: &str) -> Picked<'a> {
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
            PickedValue::Made(bytes) => crate::state::digest(bytes),
        }
    }
}

/// A greatest contender, and those equal to it.
pub(super) type Greatest<'a> = (RegisterWrite<'a>, Vec<RegisterWrite<'a>>);

/// The greatest of the contenders by an order that may have to read values.
pub(super) fn greatest<'a>(
    contenders: &[RegisterWrite<'a>],
    mut order: impl FnMut(&RegisterWrite<'a>, &RegisterWrite<'a>) -> Result<Ordering, StateError>,
) -> Result<Greatest<'a>, StateError> {
    let mut best = contenders[0];
    let mut ties = Vec::new();
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
pub(super) fn string_array<'t>(sorted: impl IntoIterator<Item = &'t str>) -> Vec<u8> {
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
