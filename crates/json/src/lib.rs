//! JSON as the events mean it. No library keeps all of docs/semantics.md's rules (integers within
//! 64 bits exact, any other number the nearest double, lone surrogates and doubles out of range
//! refused, the last of a repeated key counts), so the parser and the canonical writer are our own.
//! Events come from anyone, so both are bounded: the tree is a flat list of 8-byte nodes over the
//! source text, and nesting ends at [`MAX_DEPTH`].
//!
//! | item | purpose |
//! |---|---|
//! | [`parse`] | reads a text (RFC 8259) into a [`Document`], whose [`Value`]s are views |
//! | [`Value::write_canonical`] | the canonical form (after RFC 8785): equal values have equal bytes |
//! | [`ObjectWriter`] | writes an object member by member |
//! | [`Number`] | a number of 64-bit integer or double precision |
//! | [`rfc3339`] | times with a zone, as nanoseconds since 1970 |

mod canonical;
mod document;
mod number;
mod number_text;
mod object_writer;
mod parse;
pub mod rfc3339;
mod scan;

pub use canonical::{write_number, write_string};
pub use document::{Document, Items, Members, SortedMembers, Value, ValueKind};
pub use number::Number;
pub use number_text::parse_number;
pub use object_writer::ObjectWriter;
pub use parse::parse;

/// Nesting that is still read; a scalar alone has depth 0.
pub const MAX_DEPTH: usize = 128;

/// The longest text that a node can point into.
pub const MAX_BYTES: usize = (1 << 28) - 1;

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not JSON, not UTF-8, a number outside of a double's range, or a lone surrogate.
    Malformed,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Longer than [`MAX_BYTES`].
    TooLarge,
}

/// Describes why a text is refused, and at which place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    /// Its kind.
    pub fault: Fault,
    /// Offset into the text.
    pub at: usize,
    /// The token that was found there, or that was expected.
    pub what: &'static str,
}

#[cfg(test)]
mod tests;
