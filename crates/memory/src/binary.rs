//! The primitives of our own binary forms (internal records, stored rows): LEB128 varints, fixed
//! integers, length-prefixed bytes. A reader never panics and never allocates by a length that the
//! input only claims to have.

/// Describes why a binary form of ours is refused. It was written by this program, so it means
/// damage or a newer writer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// The input ends before the value that was begun.
    #[error("ends within {0}")]
    Truncated(&'static str),
    /// A value that its place does not allow.
    #[error("holds an impossible {0}")]
    Invalid(&'static str),
    /// A form of a version that this program does not read.
    #[error(
        "has version {found} of {what}, this program reads {known}: run the newer program, or go back to the older data"
    )]
    UnknownVersion {
        /// Which form.
        what: &'static str,
        /// The version byte found.
        found: u8,
        /// The versions read.
        known: &'static str,
    },
}

/// Reads a binary form from the front.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// Whether all is read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that are not read yet.
    pub fn remaining(&self) -> &'a [u8] {
        self.0
    }

    /// The next `n` bytes.
    pub fn read_bytes(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], BinaryError> {
        if n > self.0.len() {
            return Err(BinaryError::Truncated(what));
        }
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], BinaryError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(BinaryError::Truncated(what))?;
        self.0 = tail;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, BinaryError> {
        Ok(self.array::<1>(what)?[0])
    }

    /// One byte that is 0 or 1.
    pub fn flag(&mut self, what: &'static str) -> Result<bool, BinaryError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BinaryError::Invalid(what)),
        }
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, BinaryError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Sixteen bytes, little-endian.
    pub fn u128(&mut self, what: &'static str) -> Result<u128, BinaryError> {
        Ok(u128::from_le_bytes(self.array(what)?))
    }

    /// A varint of at most 64 bits.
    pub fn varint(&mut self, what: &'static str) -> Result<u64, BinaryError> {
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let byte = self.u8(what)?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(BinaryError::Invalid(what));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if shift > 63 {
                return Err(BinaryError::Invalid(what));
            }
        }
    }

    /// A count of things that take at least one byte each, so it can't exceed what is left.
    pub fn count(&mut self, what: &'static str) -> Result<usize, BinaryError> {
        let n = self.varint(what)?;
        if n > self.0.len() as u64 { Err(BinaryError::Truncated(what)) } else { Ok(n as usize) }
    }

    /// A length and as many bytes.
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], BinaryError> {
        let n = self.count(what)?;
        self.read_bytes(n, what)
    }

    /// A length and as many bytes of UTF-8.
    pub fn str(&mut self, what: &'static str) -> Result<&'a str, BinaryError> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| BinaryError::Invalid(what))
    }
}

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_every_width() {
        for bits in 0..64 {
            for v in [1u64 << bits, (1u64 << bits) - 1, u64::MAX >> bits] {
                let mut b = Vec::new();
                put_varint(&mut b, v);
                assert_eq!(Reader::new(&b).varint("v"), Ok(v));
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        assert_eq!(Reader::new(&[0x80]).varint("v"), Err(BinaryError::Truncated("v")));
        assert_eq!(Reader::new(&[0xff; 11]).varint("v"), Err(BinaryError::Invalid("v")));
        assert_eq!(Reader::new(&[200, 1, 0]).bytes("b"), Err(BinaryError::Truncated("b")));
        assert_eq!(Reader::new(&[1, 0xff]).str("s"), Err(BinaryError::Invalid("s")));
    }
}
