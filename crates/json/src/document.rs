//! A parsed text, and the values in it as views: a flat list of nodes over the source text.

use super::{Number, number_text};

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

pub const NULL: u32 = 0;
pub const FALSE: u32 = 1;
pub const TRUE: u32 = 2;
/// A number without fraction and exponent: a slice of the text.
pub const INTEGER: u32 = 3;
/// Any other number: a slice of the text.
pub const REAL: u32 = 4;
/// A string without escapes: a slice of the text, without the quotes.
pub const PLAIN: u32 = 5;
/// A string with escapes: a slice of the arena.
pub const ESCAPED: u32 = 6;
pub const ARRAY: u32 = 7;
pub const OBJECT: u32 = 8;

/// One value. `head` is its tag and, in the low 28 bits, the length of its slice; `at` is where the
/// slice starts, or for a container the index of the node after it. A container's items follow it,
/// an object's as key, value, key, value.
#[derive(Clone, Copy, Debug)]
pub struct ParsedNode {
    head: u32,
    pub at: u32,
}

impl ParsedNode {
    pub fn new(tag: u32, at: usize, len: usize) -> ParsedNode {
        // Both fit: a text is at most MAX_BYTES long, and so is the arena and the number of nodes.
        ParsedNode { head: tag << 28 | len as u32, at: at as u32 }
    }

    #[inline]
    pub fn tag(self) -> u32 {
        self.head >> 28
    }

    #[inline]
    pub fn slice(self) -> std::ops::Range<usize> {
        let at = self.at as usize;
        at..at + (self.head & ((1 << 28) - 1)) as usize
    }
}

/// A parsed text.
#[derive(Debug)]
pub struct Document<'t> {
    pub(super) text: &'t str,
    pub(super) arena: String,
    pub(super) nodes: Vec<ParsedNode>,
}

impl Document<'_> {
    /// The outermost value.
    #[inline]
    pub fn root(&self) -> Value<'_> {
        Value { document: self, at: 0 }
    }
}

/// A value of a document; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Value<'d> {
    pub(super) document: &'d Document<'d>,
    pub(super) at: u32,
}

impl<'d> Value<'d> {
    #[inline]
    pub(super) fn node(self) -> ParsedNode {
        self.document.nodes[self.at as usize]
    }

    /// Its type.
    #[inline]
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
    #[inline]
    pub fn is_null(self) -> bool {
        self.node().tag() == NULL
    }

    /// The text of a string, unescaped.
    #[inline]
    pub fn as_str(self) -> Option<&'d str> {
        let node = self.node();
        match node.tag() {
            PLAIN => Some(&self.document.text[node.slice()]),
            ESCAPED => Some(&self.document.arena[node.slice()]),
            _ => None,
        }
    }

    /// The value of a number.
    #[inline]
    pub fn as_number(self) -> Option<Number> {
        number_text::read(self.number_text()?)
    }

    /// A number as it is written.
    #[inline]
    pub fn number_text(self) -> Option<&'d str> {
        let node = self.node();
        matches!(node.tag(), INTEGER | REAL).then(|| &self.document.text[node.slice()])
    }

    /// The items of an array; none for any other value.
    #[inline]
    pub fn items(self) -> Items<'d> {
        let node = self.node();
        let end = if node.tag() == ARRAY { node.at } else { self.at + 1 };
        Items { next: Value { at: self.at + 1, ..self }, end }
    }

    /// The members of an object as they stand, repeated keys too; none for any other value.
    #[inline]
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
    pub(super) fn sorted_keys(self, keys: &mut Vec<u32>, dropped: Option<&str>) {
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
    #[inline]
    pub fn get(self, key: &str) -> Option<Value<'d>> {
        self.members().filter(|(name, _)| *name == key).last().map(|(_, value)| value)
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

    #[inline]
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

    #[inline]
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

    #[inline]
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
