//! Canonical JSON (docs/semantics.md, section 4): equal values have equal bytes.

use super::document::{ARRAY, FALSE, INTEGER, NULL, OBJECT, PLAIN, REAL, TRUE, Value};
use super::{Number, number_text, scan};

impl Value<'_> {
    /// Appends its canonical form (docs/semantics.md, section 4).
    pub fn write_canonical(self, out: &mut Vec<u8>) {
        CanonicalWriter::new(out).value(self);
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
        CanonicalWriter::new(out).value_without(self, drop.then_some(key));
    }
}

/// Appends a string with its quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut from = 0;
    loop {
        let end = scan::special(bytes, from);
        out.extend_from_slice(&bytes[from..end]);
        let Some(byte) = bytes.get(end) else { break };
        escape(out, *byte);
        from = end + 1;
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        8 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        12 => b'f',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        _ => {
            let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends a number.
pub fn write_number(out: &mut Vec<u8>, number: Number) {
    match number {
        Number::Int(i) => out.extend_from_slice(itoa::Buffer::new().format(i).as_bytes()),
        Number::Float(d) => out.extend_from_slice(ryu_js::Buffer::new().format(d).as_bytes()),
    }
}

/// Writes values into `out`. Recursion is bounded by the parser's depth.
pub struct CanonicalWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Key nodes of the objects being written, the innermost last: one list for all of them.
    keys: Vec<u32>,
}

impl<'o> CanonicalWriter<'o> {
    pub fn new(out: &'o mut Vec<u8>) -> CanonicalWriter<'o> {
        CanonicalWriter { out, keys: Vec::new() }
    }

    pub fn value(&mut self, value: Value<'_>) {
        let node = value.node();
        match node.tag() {
            NULL => self.out.extend_from_slice(b"null"),
            FALSE => self.out.extend_from_slice(b"false"),
            TRUE => self.out.extend_from_slice(b"true"),
            tag @ (INTEGER | REAL) => self.number(&value.document.text[node.slice()], tag == INTEGER),
            // What has no escape in its source needs none here.
            PLAIN => {
                self.out.push(b'"');
                self.out.extend_from_slice(&value.document.text.as_bytes()[node.slice()]);
                self.out.push(b'"');
            }
            ARRAY => self.array(value),
            OBJECT => self.value_without(value, None),
            _ => write_string(self.out, &value.document.arena[node.slice()]),
        }
    }

    fn number(&mut self, token: &str, is_integer: bool) {
        if number_text::is_canonical(token, is_integer) {
            self.out.extend_from_slice(token.as_bytes());
        } else if let Some(number) = number_text::read(token) {
            write_number(self.out, number);
        }
    }

    fn array(&mut self, array: Value<'_>) {
        self.out.push(b'[');
        for (index, item) in array.items().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(item);
        }
        self.out.push(b']');
    }

    /// An object less the member `dropped`.
    pub fn value_without(&mut self, object: Value<'_>, dropped: Option<&str>) {
        let start = self.keys.len();
        object.sorted_keys(&mut self.keys, dropped);
        self.out.push(b'{');
        for index in start..self.keys.len() {
            if index > start {
                self.out.push(b',');
            }
            let at = self.keys[index];
            self.value(Value { at, ..object });
            self.out.push(b':');
            self.value(Value { at: at + 1, ..object });
        }
        self.out.push(b'}');
        self.keys.truncate(start);
    }
}
