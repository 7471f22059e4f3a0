//! Checksums of records, to tell whether two copies of a log are the same.
//!
//! A record's digest holds a hash of each of its parts (XXH3, 64 bits), so that a difference can be
//! named. Its checksum hashes these together with the record's place and time; the checksum of a
//! range of records is their sum (modulo 2^64), so that ranges can be added up in any order and by
//! anyone. This finds mistakes, not forgeries.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::ports::LogRecord;

/// Digest that distinguishes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its timestamp, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Hash of the key, which distinguishes null from empty.
    pub key: u64,
    /// Hash of the headers, in their order.
    pub headers: u64,
    /// Hash of the value, which distinguishes null from empty.
    pub value: u64,
}

impl Digest {
    /// Of a record.
    pub fn of(record: &LogRecord<'_>) -> Digest {
        let headers = record.headers.iter().map(|header| (header.name, header.value));
        Digest {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: hash(record.key),
            headers: hash_headers(headers),
            value: hash(record.value),
        }
    }

    /// The record's part in the checksum of a range.
    pub fn checksum(&self) -> u64 {
        let words = [self.offset as u64, self.timestamp_ms as u64, self.key, self.headers, self.value];
        let mut bytes = [0; 40];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        xxh3_64(&bytes)
    }

    /// The first part in which another record of the same offset differs, for people.
    pub fn difference(&self, other: &Digest) -> Option<&'static str> {
        let parts = [
            ("value", self.value == other.value),
            ("key", self.key == other.key),
            ("headers", self.headers == other.headers),
            ("timestamp", self.timestamp_ms == other.timestamp_ms),
            ("offset", self.offset == other.offset),
        ];
        parts.iter().find(|(_, same)| !same).map(|(name, _)| *name)
    }
}

/// Hash of bytes that may be null.
pub fn hash(bytes: Option<&[u8]>) -> u64 {
    bytes.map_or(0, xxh3_64)
}

/// Hash of headers in their order, which distinguishes repeats and nulls.
pub fn hash_headers<'h>(headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>) -> u64 {
    let mut all = Xxh3::new();
    for (name, value) in headers {
        all.update(&(name.len() as u64).to_le_bytes());
        all.update(name);
        // No value is as long as this.
        all.update(&value.map_or(u64::MAX, |value| value.len() as u64).to_le_bytes());
        all.update(value.unwrap_or_default());
    }
    all.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::LogHeader;
    use streams::record::TopicPartition;

    fn digest(change: impl FnOnce(&mut LogRecord<'_>)) -> Digest {
        let partition = TopicPartition::new("t", 0);
        let headers = [LogHeader { name: b"a", value: Some(b"b") }];
        let mut record = LogRecord {
            partition: &partition,
            offset: 7,
            timestamp_ms: 9,
            key: Some(b"k"),
            headers: &headers,
            value: Some(b"v"),
        };
        change(&mut record);
        Digest::of(&record)
    }

    #[test]
    fn every_part_tells() {
        let same = digest(|_| ());
        assert_eq!((same, same.difference(&digest(|_| ()))), (digest(|_| ()), None));
        const REPEATED: &[LogHeader<'_>] =
            &[LogHeader { name: b"a", value: Some(b"b") }, LogHeader { name: b"a", value: Some(b"b") }];
        const SHIFTED: &[LogHeader<'_>] = &[LogHeader { name: b"ab", value: Some(b"") }];
        const NULL: &[LogHeader<'_>] = &[LogHeader { name: b"a", value: None }];
        let others = [
            ("value", digest(|r| r.value = None)),
            ("value", digest(|r| r.value = Some(b""))),
            ("key", digest(|r| r.key = None)),
            ("headers", digest(|r| r.headers = &[])),
            ("headers", digest(|r| r.headers = REPEATED)),
            ("headers", digest(|r| r.headers = SHIFTED)),
            ("headers", digest(|r| r.headers = NULL)),
            ("timestamp", digest(|r| r.timestamp_ms = 10)),
            ("offset", digest(|r| r.offset = 8)),
        ];
        for (part, other) in others {
            assert_eq!(same.difference(&other), Some(part));
            assert_ne!(same.checksum(), other.checksum());
        }
        assert_ne!(digest(|r| r.value = None).value, digest(|r| r.value = Some(b"")).value);
    }
}
