//! Writes a JSON object member by member, canonical where its keys come in the order of their
//! bytes.

use crate::{rfc3339, write_string};

/// Writes the members of an object one by one. Keys must come sorted.
pub struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> ObjectWriter<'o> {
    /// Begins an object.
    #[inline]
    pub fn new(out: &'o mut Vec<u8>) -> ObjectWriter<'o> {
        out.push(b'{');
        ObjectWriter { out, first: true }
    }

    /// Begins a member; its value is to be appended to what is returned.
    #[inline]
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        write_string(self.out, key);
        self.out.push(b':');
        self.out
    }

    /// A member whose value is canonical JSON already.
    #[inline]
    pub fn raw(&mut self, key: &str, value: &[u8]) {
        self.key(key).extend_from_slice(value);
    }

    /// A member that is a text.
    #[inline]
    pub fn str(&mut self, key: &str, value: &str) {
        write_string(self.key(key), value);
    }

    /// A member that is a non-negative integer.
    #[inline]
    pub fn integer(&mut self, key: &str, value: u64) {
        self.key(key).extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A member that is an array; `write` appends an item.
    pub fn array<T>(&mut self, key: &str, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
        let out = self.key(key);
        out.push(b'[');
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write(out, item);
        }
        out.push(b']');
    }

    /// A member that is a time in nanoseconds since 1970.
    pub fn time(&mut self, key: &str, nanos: u64) {
        let out = self.key(key);
        out.push(b'"');
        rfc3339::write(out, nanos);
        out.push(b'"');
    }

    /// Ends the object.
    #[inline]
    pub fn end(self) {
        self.out.push(b'}');
    }
}
