//! Values of writes: small ones lie in their register, large ones in a row of their own.

use xxhash_rust::xxh3::xxh3_128;

use super::super::binary::{BinaryError, Reader, put_varint};
use super::path::{Field, Path};
use super::rows::{Layout, Loader, Row, StateError};
use json::Number;

/// A large value, by reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stored {
    /// Id of its row, unique to the write.
    pub id: u128,
    /// Its length in bytes.
    pub len: u64,
    /// Digest of its bytes, by which equality is decided without reading them.
    pub digest: u128,
    /// The rank of the value for `merge_all`, so that ranking reads no row.
    pub rank: Number,
}

/// The value of a write, canonical JSON.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Its bytes.
    Inline(&'a [u8]),
    /// A row of its own.
    Stored(Stored),
}

impl<'a> Value<'a> {
    /// Whether it clears its field.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Inline(b"null"))
    }

    /// Whether two values of one field are equal.
    pub fn same_as(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Inline(a), Value::Inline(b)) => a == b,
            (Value::Stored(a), Value::Stored(b)) => a.digest == b.digest && a.len == b.len,
            (Value::Inline(a), Value::Stored(b)) | (Value::Stored(b), Value::Inline(a)) => {
                a.len() as u64 == b.len && digest(a) == b.digest
            }
        }
    }

    /// Digest of the bytes.
    pub fn digest(&self) -> u128 {
        match self {
            Value::Inline(bytes) => digest(bytes),
            Value::Stored(stored) => stored.digest,
        }
    }

    /// The rank of this value of `field` for `merge_all`.
    pub fn rank(&self, field: Field) -> Number {
        match self {
            Value::Inline(bytes) => rank(field, bytes),
            Value::Stored(stored) => stored.rank,
        }
    }

    /// The bytes, read from their row if they lie there.
    pub fn bytes(&self, loader: &Loader<'a>) -> Result<&'a [u8], StateError> {
        match self {
            Value::Inline(bytes) => Ok(bytes),
            Value::Stored(stored) => match loader.load(Row::Value(stored.id))? {
                Some(row) if row.bytes.len() as u64 == stored.len => Ok(row.bytes),
                Some(_) => Err(loader.damaged(Row::Value(stored.id), BinaryError::Invalid("length"))),
                None => Err(loader.damaged(Row::Value(stored.id), BinaryError::Truncated("row: it is missing"))),
            },
        }
    }

    /// The reference under which a large value of this write is to be stored; `None` for one that
    /// stays in its register.
    pub fn to_store(self, layout: &Layout, path: Path<'_>, event_digest: u128) -> Option<(Stored, &'a [u8])> {
        match self {
            Value::Inline(bytes) if bytes.len() > layout.max_inline_bytes => {
                let mut name = path.to_string().into_bytes();
                name.extend_from_slice(&event_digest.to_le_bytes());
                let rank = rank(path.field, bytes);
                Some((Stored { id: digest(&name), len: bytes.len() as u64, digest: digest(bytes), rank }, bytes))
            }
            _ => None,
        }
    }

    /// Reads a value from a row.
    pub fn decode(r: &mut Reader<'a>) -> Result<Value<'a>, BinaryError> {
        let head = r.varint("value")?;
        if head & 1 == 0 {
            return Ok(Value::Inline(r.read_bytes((head >> 1) as usize, "value")?));
        }
        let id = r.u128("value")?;
        let digest = r.u128("value")?;
        let len = head >> 1;
        Ok(Value::Stored(Stored { id, len, digest, rank: decode_number(r)? }))
    }

    /// Writes a value that needs no row of its own, or has one already.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Inline(bytes) => {
                put_varint(out, (bytes.len() as u64) << 1);
                out.extend_from_slice(bytes);
            }
            Value::Stored(s) => {
                put_varint(out, s.len << 1 | 1);
                out.extend_from_slice(&s.id.to_le_bytes());
                out.extend_from_slice(&s.digest.to_le_bytes());
                encode_number(out, s.rank);
            }
        }
    }
}

/// The digest that distinguishes values.
pub fn digest(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

fn rank(field: Field, bytes: &[u8]) -> Number {
    match field {
        Field::Content => Number::Int(scalars(bytes) as i128),
        Field::Entity => member_number(bytes, "confidence"),
        Field::Relationship => member_number(bytes, "strength"),
        Field::Importance => json::parse_number(bytes).unwrap_or(Number::ZERO),
        _ => Number::ZERO,
    }
}

/// A number member of a canonical JSON object; 0 where it is absent.
fn member_number(object: &[u8], key: &str) -> Number {
    let document = json::parse(object).ok();
    document.and_then(|d| d.root().get(key)?.as_number()).unwrap_or(Number::ZERO)
}

/// How many Unicode scalar values the canonical JSON string holds; 0 for `null`.
fn scalars(string: &[u8]) -> usize {
    let Some(mut rest) = string.strip_prefix(b"\"").and_then(|s| s.strip_suffix(b"\"")) else { return 0 };
    let mut n = 0;
    while let Some((&byte, tail)) = rest.split_first() {
        // An escape stands for one scalar value: two bytes, or six where it is \u00xx. Continuation
        // bytes stand for none.
        let skip = match (byte, tail.first()) {
            (b'\\', Some(b'u')) => 5,
            (b'\\', _) => 1,
            _ => 0,
        };
        n += usize::from(byte & 0xc0 != 0x80);
        rest = tail.get(skip..).unwrap_or(&[]);
    }
    n
}

const NOT_NEGATIVE: u8 = 0;
const NEGATIVE: u8 = 1;
const DOUBLE: u8 = 2;

/// Reads a number.
pub fn decode_number(r: &mut Reader<'_>) -> Result<Number, BinaryError> {
    match r.u8("number")? {
        NOT_NEGATIVE => Ok(Number::Int(i128::from(r.varint("number")?))),
        NEGATIVE => match r.varint("number")? {
            size if size < 1 << 63 => Ok(Number::Int(-1 - i128::from(size))),
            _ => Err(BinaryError::Invalid("number")),
        },
        DOUBLE => match f64::from_bits(r.u64("number")?) {
            double if Number::is_float(double) => Ok(Number::Float(double)),
            _ => Err(BinaryError::Invalid("number")),
        },
        _ => Err(BinaryError::Invalid("number")),
    }
}

/// Writes a number.
pub fn encode_number(out: &mut Vec<u8>, n: Number) {
    match n {
        Number::Int(i) if i >= 0 => {
            out.push(NOT_NEGATIVE);
            put_varint(out, i as u64);
        }
        Number::Int(i) => {
            out.push(NEGATIVE);
            put_varint(out, (-1 - i) as u64);
        }
        Number::Float(d) => {
            out.push(DOUBLE);
            out.extend_from_slice(&d.to_bits().to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for n in [0, 1, -1, i128::from(u64::MAX), i128::from(i64::MIN)]
            .map(Number::Int)
            .into_iter()
            .chain([Number::Float(0.5)])
        {
            let mut b = Vec::new();
            encode_number(&mut b, n);
            assert_eq!(decode_number(&mut Reader::new(&b)), Ok(n));
        }
    }

    #[test]
    fn length_is_counted_in_scalar_values() {
        for (text, n) in [("null", 0), ("\"\"", 0), ("\"aé\u{1f375}\"", 3), (r#""\n\"\u0001x""#, 4)] {
            assert_eq!(scalars(text.as_bytes()), n, "{text}");
        }
    }

    #[test]
    fn values_are_equal_by_their_bytes_wherever_they_lie() {
        let layout = Layout::default();
        let big = vec![b'1'; layout.max_inline_bytes + 1];
        let path = Path::of(Field::Embedding);
        let (a, bytes) = Value::Inline(&big).to_store(&layout, path, 1).expect("large");
        let (b, _) = Value::Inline(&big).to_store(&layout, path, 2).expect("large");
        assert_eq!(bytes, &big[..]);
        assert_ne!(a.id, b.id, "each write has a row of its own");
        assert!(Value::Stored(a).same_as(&Value::Stored(b)));
        assert!(Value::Stored(a).same_as(&Value::Inline(&big)));
        assert!(Value::Inline(b"1").to_store(&layout, path, 1).is_none());
        let mut out = Vec::new();
        Value::Stored(a).encode(&mut out);
        assert!(Value::decode(&mut Reader::new(&out)).expect("reads").same_as(&Value::Stored(b)));
    }
}
