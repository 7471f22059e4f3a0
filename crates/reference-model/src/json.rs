//! A small JSON reader and the canonical printer, written for this model alone: docs/semantics.md,
//! section 1, asks of numbers, repeated keys, depth and surrogates what general libraries do
//! otherwise, and a reference must not share its reader with the code.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A JSON value. Of a repeated key the last one is kept.
#[derive(Clone, Debug)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer written without fraction or exponent, within 64 bits (signed or unsigned).
    Int(i128),
    /// Any other number, to the nearest double; always finite.
    Float(f64),
    /// A string.
    Str(String),
    /// An array.
    Arr(Vec<Json>),
    /// An object.
    Obj(BTreeMap<String, Json>),
}

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// The text is no JSON.
    Malformed,
    /// Arrays and objects are nested deeper than the limit.
    TooDeep,
}

impl Json {
    /// A string value.
    pub fn str(text: &str) -> Json {
        Json::Str(text.to_owned())
    }

    /// An object of the given members.
    pub fn obj<const N: usize>(members: [(&str, Json); N]) -> Json {
        Json::Obj(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    }

    /// The value printed canonically (docs/semantics.md, section 4): this text decides equality and
    /// order of values.
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        self.print(&mut out);
        out
    }

    fn print(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Json::Int(i) => out.push_str(&i.to_string()),
            Json::Float(f) => print_float(*f, out),
            Json::Str(s) => print_string(s, out),
            Json::Arr(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.print(out);
                }
                out.push(']');
            }
            Json::Obj(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    print_string(key, out);
                    out.push(':');
                    value.print(out);
                }
                out.push('}');
            }
        }
    }
}

fn print_float(f: f64, out: &mut String) {
    if f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0 {
        out.push_str(&(f as i64).to_string());
    } else {
        out.push_str(ryu_js::Buffer::new().format(f));
    }
}

fn print_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Compares two numbers exactly; whatever is not a number counts as 0.
pub fn compare_numbers(a: &Json, b: &Json) -> Ordering {
    match (a, b) {
        (Json::Int(x), Json::Int(y)) => x.cmp(y),
        (Json::Float(x), Json::Float(y)) => x.partial_cmp(y).expect("finite"),
        (Json::Int(x), Json::Float(y)) => compare_int_float(*x, *y),
        (Json::Float(x), Json::Int(y)) => compare_int_float(*y, *x).reverse(),
        (Json::Int(_) | Json::Float(_), _) => compare_numbers(a, &Json::Int(0)),
        _ => compare_numbers(&Json::Int(0), if matches!(b, Json::Int(_) | Json::Float(_)) { b } else { &Json::Int(0) }),
    }
}

fn compare_int_float(int: i128, float: f64) -> Ordering {
    // The integer is within 65 bits, so a float beyond 2^100 is decided by its sign.
    if float.abs() > 2f64.powi(100) {
        return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    int.cmp(&(float.trunc() as i128)).then_with(|| 0.0f64.partial_cmp(&float.fract()).expect("finite"))
}

/// Reads one JSON text; an array or object counts one level, and more than `max_depth` levels are
/// refused.
pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Json, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ParseError::Malformed)?;
    let mut parser = Parser { rest: text, max_depth };
    let value = parser.value(0)?;
    parser.space();
    if parser.rest.is_empty() { Ok(value) } else { Err(ParseError::Malformed) }
}

struct Parser<'a> {
    rest: &'a str,
    max_depth: usize,
}

type Parsed<T> = Result<T, ParseError>;

impl Parser<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { Err(ParseError::Malformed) }
    }

    fn next_char(&mut self) -> Parsed<char> {
        let c = self.rest.chars().next().ok_or(ParseError::Malformed)?;
        self.rest = &self.rest[c.len_utf8()..];
        Ok(c)
    }

    fn value(&mut self, depth: usize) -> Parsed<Json> {
        self.space();
        match self.rest.as_bytes().first() {
            Some(b'{' | b'[') if depth == self.max_depth => Err(ParseError::TooDeep),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(Json::Str),
            Some(b't') => self.need("true").map(|()| Json::Bool(true)),
            Some(b'f') => self.need("false").map(|()| Json::Bool(false)),
            Some(b'n') => self.need("null").map(|()| Json::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Parsed<Json> {
        self.need("{")?;
        let mut members = BTreeMap::new();
        self.space();
        if self.eat("}") {
            return Ok(Json::Obj(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.need(":")?;
            let value = self.value(depth)?;
            members.insert(key, value);
            self.space();
            if self.eat("}") {
                return Ok(Json::Obj(members));
            }
            self.need(",")?;
        }
    }

    fn array(&mut self, depth: usize) -> Parsed<Json> {
        self.need("[")?;
        let mut items = Vec::new();
        self.space();
        if self.eat("]") {
            return Ok(Json::Arr(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.eat("]") {
                return Ok(Json::Arr(items));
            }
            self.need(",")?;
        }
    }

    fn string(&mut self) -> Parsed<String> {
        self.need("\"")?;
        let mut text = String::new();
        loop {
            match self.next_char()? {
                '"' => return Ok(text),
                '\\' => text.push(self.escape()?),
                c if c < ' ' => return Err(ParseError::Malformed),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        Ok(match self.next_char()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            c @ ('"' | '\\' | '/') => c,
            'u' => {
                let high = self.hex4()?;
                let code = if (0xd800..0xdc00).contains(&high) {
                    self.need("\\u")?;
                    let low = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(ParseError::Malformed);
                    }
                    0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    high
                };
                char::from_u32(code).ok_or(ParseError::Malformed)?
            }
            _ => return Err(ParseError::Malformed),
        })
    }

    fn hex4(&mut self) -> Parsed<u32> {
        let mut code = 0;
        for _ in 0..4 {
            code = code * 16 + self.next_char()?.to_digit(16).ok_or(ParseError::Malformed)?;
        }
        Ok(code)
    }

    fn digits(&mut self) -> usize {
        let n = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        self.rest = &self.rest[n..];
        n
    }

    fn number(&mut self) -> Parsed<Json> {
        let whole = self.rest;
        self.eat("-");
        let leading_zero = self.rest.starts_with('0');
        let n = self.digits();
        if n == 0 || (leading_zero && n > 1) {
            return Err(ParseError::Malformed);
        }
        let mut integer = true;
        if self.eat(".") {
            integer = false;
            if self.digits() == 0 {
                return Err(ParseError::Malformed);
            }
        }
        if self.eat("e") || self.eat("E") {
            integer = false;
            if !self.eat("+") {
                self.eat("-");
            }
            if self.digits() == 0 {
                return Err(ParseError::Malformed);
            }
        }
        let text = &whole[..whole.len() - self.rest.len()];
        if let (true, Ok(int)) = (integer, text.parse::<i128>())
            && (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&int)
        {
            return Ok(Json::Int(int));
        }
        let float: f64 = text.parse().map_err(|_| ParseError::Malformed)?;
        if float.is_finite() { Ok(Json::Float(float)) } else { Err(ParseError::Malformed) }
    }
}
