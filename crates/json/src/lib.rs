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
mod number;
mod number_text;
mod object_writer;
mod parse;
pub mod rfc3339;
mod scan;

pub use canonical::{write_number, write_string};
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

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// Any number.
    Number,
    /// A string.
    String,
    /// `[...]`
    Array,
    /// `{...}`
    Object,
}

const NULL: u32 = 0;
const FALSE: u32 = 1;
const TRUE: u32 = 2;
/// A number without fraction and exponent: a slice of the text.
const INTEGER: u32 = 3;
/// Any other number: a slice of the text.
const REAL: u32 = 4;
/// A string without escapes: a slice of the text, without the quotes.
const PLAIN: u32 = 5;
/// A string with escapes: a slice of the arena.
const ESCAPED: u32 = 6;
const ARRAY: u32 = 7;
const OBJECT: u32 = 8;

/// One value. `head` is its tag and, in the low 28 bits, the length of its slice; `at` is where the
/// slice starts, or for a container the index of the node after it. A container's items follow it,
/// an object's as key, value, key, value.
#[derive(Clone, Copy, Debug)]
struct ParsedNode {
    head: u32,
    at: u32,
}

impl ParsedNode {
    fn new(tag: u32, at: usize, len: usize) -> ParsedNode {
        // Both fit: a text is at most MAX_BYTES long, and so is the arena and the number of nodes.
        ParsedNode { head: tag << 28 | len as u32, at: at as u32 }
    }

    fn tag(self) -> u32 {
        self.head >> 28
    }

    fn slice(self) -> std::ops::Range<usize> {
        let at = self.at as usize;
        at..at + (self.head & ((1 << 28) - 1)) as usize
    }
}

/// A parsed text.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t str,
    arena: String,
    nodes: Vec<ParsedNode>,
}

impl Document<'_> {
    /// The outermost value.
    pub fn root(&self) -> Value<'_> {
        Value { document: self, at: 0 }
    }
}

/// A value of a document; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Value<'d> {
    document: &'d Document<'d>,
    at: u32,
}

impl<'d> Value<'d> {
    fn node(self) -> ParsedNode {
        self.document.nodes[self.at as usize]
    }

    /// Its type.
    pub fn kind(self) -> ValueKind {
        match self.node().tag() {
            NULL => ValueKind::Null,
            FALSE | TRUE => ValueKind::Bool,
            INTEGER | REAL => ValueKind::Number,
            PLAIN | ESCAPED => ValueKind::String,
            ARRAY => ValueKind::Array,
            _ => ValueKind::Object,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.node().tag() == NULL
    }

    /// The text of a string, unescaped.
    pub fn as_str(self) -> Option<&'d str> {
        let node = self.node();
        match node.tag() {
            PLAIN => Some(&self.document.text[node.slice()]),
            ESCAPED => Some(&self.document.arena[node.slice()]),
            _ => None,
        }
    }

    /// The value of a number.
    pub fn as_number(self) -> Option<Number> {
        number_text::read(self.number_text()?)
    }

    /// A number as it is written.
    pub fn number_text(self) -> Option<&'d str> {
        let node = self.node();
        matches!(node.tag(), INTEGER | REAL).then(|| &self.document.text[node.slice()])
    }

    /// The items of an array; none for any other value.
    pub fn items(self) -> Items<'d> {
        let node = self.node();
        let end = if node.tag() == ARRAY { node.at } else { self.at + 1 };
        Items { next: Value { at: self.at + 1, ..self }, end }
    }

    /// The members of an object as they stand, repeated keys too; none for any other value.
    pub fn members(self) -> Members<'d> {
        let node = self.node();
        let end = if node.tag() == OBJECT { node.at } else { self.at + 1 };
        Members(Items { next: Value { at: self.at + 1, ..self }, end })
    }

    /// The members of an object sorted by key (UTF-8 bytes), of a repeated key the last; their
    /// number is known.
    pub fn sorted_members(self) -> SortedMembers<'d> {
        let mut keys = Vec::new();
        self.sorted_keys(&mut keys, None);
        SortedMembers { object: self, keys: keys.into_iter() }
    }

    /// Appends the key nodes of [`Value::sorted_members`] to `keys`, less that of the member
    /// `dropped`.
    fn sorted_keys(self, keys: &mut Vec<u32>, dropped: Option<&str>) {
        let key_at = |at: &u32| Value { at: *at, ..self }.as_str().unwrap_or_default();
        let start = keys.len();
        // A member's key stands right before its value.
        keys.extend(self.members().filter(|(key, _)| Some(*key) != dropped).map(|(_, value)| value.at - 1));
        let added = &mut keys[start..];
        added.sort_unstable_by(|a, b| key_at(a).cmp(key_at(b)).then(a.cmp(b)));
        let mut kept = 0;
        for index in 0..added.len() {
            let is_last = added.get(index + 1).is_none_or(|next| key_at(next) != key_at(&added[index]));
            added[kept] = added[index];
            kept += usize::from(is_last);
        }
        keys.truncate(start + kept);
    }

    /// The member of an object that `key` names, the last if it is repeated.
    pub fn get(self, key: &str) -> Option<Value<'d>> {
        self.members().filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// Appends its canonical form (docs/semantics.md, section 4).
    pub fn write_canonical(self, out: &mut Vec<u8>) {
        canonical::CanonicalWriter::new(out).value(self);
    }

    /// Its canonical form.
    pub fn canonical(self) -> Vec<u8> {
        // Exact for most scalars; a container grows from there.
        let mut out = Vec::with_capacity(if self.node().tag() < ARRAY { self.node().slice().len() + 2 } else { 128 });
        self.write_canonical(&mut out);
        out
    }

    /// Appends the canonical form of an object, less the member `key` if that is null.
    pub fn write_canonical_without_null(self, key: &str, out: &mut Vec<u8>) {
        let drop = self.get(key).is_some_and(Value::is_null);
        canonical::CanonicalWriter::new(out).value_without(self, drop.then_some(key));
    }
}

/// The items of an array.
#[derive(Clone, Debug)]
pub struct Items<'d> {
    next: Value<'d>,
    end: u32,
}

impl<'d> Iterator for Items<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Value<'d>> {
        if self.next.at >= self.end {
            return None;
        }
        let value = self.next;
        let node = value.node();
        self.next.at = if node.tag() >= ARRAY { node.at } else { value.at + 1 };
        Some(value)
    }
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Members<'d>(Items<'d>);

impl<'d> Iterator for Members<'d> {
    type Item = (&'d str, Value<'d>);

    fn next(&mut self) -> Option<(&'d str, Value<'d>)> {
        let key = self.0.next()?.as_str()?;
        Some((key, self.0.next()?))
    }
}

/// The members of an object in canonical order.
#[derive(Clone, Debug)]
pub struct SortedMembers<'d> {
    object: Value<'d>,
    keys: std::vec::IntoIter<u32>,
}

impl<'d> Iterator for SortedMembers<'d> {
    type Item = (&'d str, Value<'d>);

    fn next(&mut self) -> Option<(&'d str, Value<'d>)> {
        let at = self.keys.next()?;
        let key = Value { at, ..self.object }.as_str()?;
        Some((key, Value { at: at + 1, ..self.object }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.keys.size_hint()
    }
}

impl ExactSizeIterator for SortedMembers<'_> {}

#[cfg(test)]
mod tests;
