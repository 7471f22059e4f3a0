//! The strict parser (RFC 8259 and the rules of docs/semantics.md, section 1) in one pass, without
//! recursion.

use super::document::{ARRAY, Document, ESCAPED, FALSE, INTEGER, NULL, OBJECT, PLAIN, ParsedNode, REAL, TRUE};
use super::{Fault, JsonError, MAX_BYTES, MAX_DEPTH, number_text, scan};

/// Parses a whole text.
///
/// # Errors
/// [`JsonError`] with the first thing wrong; of a text that is also nested too deep, whichever
/// stands first.
pub fn parse(text: &[u8]) -> Result<Document<'_>, JsonError> {
    if text.len() > MAX_BYTES {
        return Err(JsonError { fault: Fault::TooLarge, at: MAX_BYTES, what: "JSON text goes on" });
    }
    let text = std::str::from_utf8(text).map_err(|e| malformed(e.valid_up_to(), "bytes that are not UTF-8"))?;
    let nodes = Vec::with_capacity(text.len() / 12 + 8);
    let document = Document { text, arena: String::new(), nodes };
    let mut parser = Parser { bytes: text.as_bytes(), at: 0, document, open: [0; MAX_DEPTH], depth: 0 };
    parser.run()?;
    Ok(parser.document)
}

fn malformed(at: usize, what: &'static str) -> JsonError {
    JsonError { fault: Fault::Malformed, at, what }
}

struct Parser<'t> {
    bytes: &'t [u8],
    at: usize,
    document: Document<'t>,
    /// Nodes of the containers that are open, the innermost at `depth - 1`.
    open: [u32; MAX_DEPTH],
    depth: usize,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), JsonError> {
        loop {
            let begun = self.value()?;
            if !begun && !self.next_place()? {
                return Ok(());
            }
        }
    }

    /// Reads a scalar, an empty container (both `false`), or the start of one that holds something
    /// (`true`).
    fn value(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{') => return self.begin(OBJECT, b'}'),
            Some(b'[') => return self.begin(ARRAY, b']'),
            Some(b'n') => self.word(b"null", NULL)?,
            Some(b't') => self.word(b"true", TRUE)?,
            Some(b'f') => self.word(b"false", FALSE)?,
            Some(_) => return Err(malformed(self.at, "no JSON value")),
            None => return Err(malformed(self.at, "the end, where a value should stand,")),
        }
        Ok(false)
    }

    fn begin(&mut self, tag: u32, end: u8) -> Result<bool, JsonError> {
        let Some(slot) = self.open.get_mut(self.depth) else {
            return Err(JsonError { fault: Fault::TooDeep, at: self.at, what: "nesting deeper than 128" });
        };
        let node = self.document.nodes.len();
        *slot = node as u32;
        self.push(ParsedNode::new(tag, node + 1, 0));
        self.at += 1;
        if self.peek() == Some(end) {
            self.at += 1;
            return Ok(false);
        }
        self.depth += 1;
        if tag == OBJECT {
            self.key()?;
        }
        Ok(true)
    }

    /// Goes on after a value to where the next one stands, closing what ends before it; `false` at
    /// the end of the text.
    fn next_place(&mut self) -> Result<bool, JsonError> {
        while let Some(inner) = self.depth.checked_sub(1) {
            let opener = self.open[inner] as usize;
            let is_object = self.document.nodes[opener].tag() == OBJECT;
            match (self.peek(), is_object) {
                (Some(b','), false) => {
                    self.at += 1;
                    return Ok(true);
                }
                (Some(b','), true) => {
                    self.at += 1;
                    self.key()?;
                    return Ok(true);
                }
                (Some(b']'), false) | (Some(b'}'), true) => {
                    self.at += 1;
                    self.depth = inner;
                    self.document.nodes[opener].at = self.document.nodes.len() as u32;
                }
                (None, _) => return Err(malformed(self.at, "the end within an object or array")),
                (Some(_), true) => return Err(malformed(self.at, "neither `,` nor `}` after a member")),
                (Some(_), false) => return Err(malformed(self.at, "neither `,` nor `]` after an item")),
            }
        }
        match self.peek() {
            None => Ok(false),
            Some(_) => Err(malformed(self.at, "more after the value")),
        }
    }

    fn key(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return Err(malformed(self.at, "no key"));
        }
        self.string()?;
        if self.peek() != Some(b':') {
            return Err(malformed(self.at, "no `:` after a key"));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &[u8], tag: u32) -> Result<(), JsonError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(malformed(self.at, "no JSON value"));
        }
        self.at += word.len();
        self.push(ParsedNode::new(tag, 0, 0));
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let from = self.at;
        let (end, is_integer) =
            number_text::token(self.bytes, from).map_err(|at| malformed(at, "no digit where a number needs one"))?;
        let token = &self.document.text[from..end];
        if number_text::may_overflow(token) && number_text::read(token).is_none() {
            return Err(malformed(from, "a number outside of a double's range"));
        }
        self.at = end;
        self.push(ParsedNode::new(if is_integer { INTEGER } else { REAL }, from, end - from));
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonError> {
        let from = self.at + 1;
        let end = scan::special(self.bytes, from);
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            self.push(ParsedNode::new(PLAIN, from, end - from));
            return Ok(());
        }
        let start = self.document.arena.len();
        self.unescape(from, end)?;
        self.push(ParsedNode::new(ESCAPED, start, self.document.arena.len() - start));
        Ok(())
    }

    /// Moves a string with escapes to the arena; the first special byte stands at `end`.
    fn unescape(&mut self, mut from: usize, mut end: usize) -> Result<(), JsonError> {
        loop {
            self.document.arena.push_str(&self.document.text[from..end]);
            self.at = end;
            match self.bytes.get(end) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    self.document.arena.push(character);
                }
                Some(_) => return Err(malformed(end, "a control character within a string")),
                None => return Err(malformed(end, "the end within a string")),
            }
            from = self.at;
            end = scan::special(self.bytes, from);
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let at = self.at;
        self.at += 2;
        Ok(match self.bytes.get(at + 1) {
            Some(&same @ (b'"' | b'\\' | b'/')) => char::from(same),
            Some(b'b') => '\u{8}',
            Some(b't') => '\t',
            Some(b'n') => '\n',
            Some(b'f') => '\u{c}',
            Some(b'r') => '\r',
            Some(b'u') => {
                let mut unit = self.hex()?;
                if (0xd800..0xdc00).contains(&unit) && self.bytes[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                    }
                }
                char::from_u32(unit).ok_or_else(|| malformed(at, "a lone surrogate"))?
            }
            _ => return Err(malformed(at, "an unknown escape")),
        })
    }

    /// Four hexadecimal digits.
    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.bytes[self.at..].first_chunk::<4>();
        let unit = digits.and_then(|d| d.iter().try_fold(0, |n, b| Some(n << 4 | char::from(*b).to_digit(16)?)));
        let unit = unit.ok_or_else(|| malformed(self.at, "no four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Adds a node. The list never reserves for more than the text can hold: every second byte at
    /// most begins a value.
    fn push(&mut self, node: ParsedNode) {
        let nodes = &mut self.document.nodes;
        if nodes.len() == nodes.capacity() {
            let most = self.bytes.len() / 2 + 2;
            nodes.reserve_exact(nodes.len().min(most.saturating_sub(nodes.len())));
        }
        nodes.push(node);
    }
}
