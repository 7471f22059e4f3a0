//! The compact form in which a decoded event travels on the internal repartition topic: its JSON is parsed once, before the
//! hop, and read behind it without copies. The record's key is the memory's id, so the form does not repeat it.
//!
//! Version 1, numbers as LEB128 varints unless said otherwise, `text` and `bytes` as length and content:
//!
//! | part | form |
//! |---|---|
//! | version | byte 1 |
//! | flags | byte: 1 is a delete, 2 has `node_id`, 4 is an absorb |
//! | `event_id` | text |
//! | timestamp, version | two varints |
//! | `node_id`, target of the absorb | text each, where the flag says so |
//! | importance | byte 0 none; 1 integer, 2 negative integer: varint of its size; 3 double: 8 bytes, little-endian |
//! | clock | count, then (text, varint) sorted by name |
//! | digest | 16 bytes, little-endian |
//! | source | text, then partition and offset, both zigzag |
//! | writes | count, then (text, bytes) sorted by path |

use super::super::number::Number;
use super::{Event, Kind};

/// The version that [`encode`] writes.
pub const VERSION: u8 = 1;

const IS_DELETE: u8 = 1;
const HAS_NODE: u8 = 2;
const IS_ABSORB: u8 = 4;

/// Where an event stands in the source topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// An event as it is read behind the hop: slices of the record's value.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRef<'a> {
    /// Never empty.
    pub event_id: &'a str,
    /// Nanoseconds since 1970, at most 2^63-1.
    pub timestamp: u64,
    /// `None` when the event names no node.
    pub node_id: Option<&'a str>,
    /// The importance that the event carries.
    pub importance: Option<Number>,
    /// At most 2^63-1.
    pub version: u64,
    /// Sorted by name, no zeros, never empty.
    pub clock: Vec<(&'a str, u64)>,
    /// Digest of the decoded event; an absorb has that of its `memory.merged`.
    pub digest: u128,
    /// Whether it is a delete; an absorb is one.
    pub is_delete: bool,
    /// The memory that absorbs this one, when the record is an absorb.
    pub absorb_into: Option<&'a str>,
    /// Where the event came from.
    pub source: Source<'a>,
    /// What it writes, sorted by path, each path once: canonical JSON, `null` clears.
    pub writes: Vec<(&'a str, &'a [u8])>,
}

/// Why a record of the repartition topic can't be read. No dead letter: such a record was written by another version of
/// this program, or the log is damaged, and skipping it would lose an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The first byte is no version that this program knows.
    #[error(
        "internal record has version {found}, this program reads up to {VERSION}: run the version that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// The first byte.
        found: u8,
    },
    /// The bytes end early, go on too long, or hold what no encoder writes.
    #[error("internal record is damaged at byte {at}: {what}")]
    Damaged {
        /// Offset into the value.
        at: usize,
        /// What was expected.
        what: &'static str,
    },
}

/// Appends the form of `event` to `out`. With `absorb_into` it is the absorb that a `memory.merged` of that memory sends to
/// an absorbed one: the header alone. A delete carries its `user_id` and no other write.
pub fn encode(event: &Event, source: &Source, absorb_into: Option<&str>, out: &mut Vec<u8>) {
    let is_delete = absorb_into.is_some() || event.kind == Kind::Deleted;
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.push(VERSION);
    out.push(
        flag(is_delete, IS_DELETE) | flag(event.node_id.is_some(), HAS_NODE) | flag(absorb_into.is_some(), IS_ABSORB),
    );
    put_bytes(out, event.event_id.as_bytes());
    put_varint(out, event.timestamp);
    put_varint(out, event.version);
    for text in [event.node_id.as_deref(), absorb_into].into_iter().flatten() {
        put_bytes(out, text.as_bytes());
    }
    put_importance(out, event.importance);
    put_varint(out, event.clock.entries().len() as u64);
    for (name, counter) in event.clock.entries() {
        put_bytes(out, name.as_bytes());
        put_varint(out, *counter);
    }
    out.extend_from_slice(&event.digest.to_le_bytes());
    put_bytes(out, source.topic.as_bytes());
    put_varint(out, zigzag(source.partition.into()));
    put_varint(out, zigzag(source.offset));
    let written = |path: &str| absorb_into.is_none() && (!is_delete || path == "user_id");
    put_varint(out, event.writes.iter().filter(|w| written(&w.path)).count() as u64);
    for write in event.writes.iter().filter(|w| written(&w.path)) {
        put_bytes(out, write.path.as_bytes());
        put_bytes(out, &write.value);
    }
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`WireError`]; each of them should stop the task.
pub fn decode(value: &[u8]) -> Result<EventRef<'_>, WireError> {
    let mut r = Reader { bytes: value, at: 0 };
    let found = r.byte("a version")?;
    if found != VERSION {
        return Err(WireError::UnknownVersion { found });
    }
    let flags = r.byte("flags")?;
    if flags & !(IS_DELETE | HAS_NODE | IS_ABSORB) != 0 {
        return Err(r.damaged("known flags"));
    }
    let event = EventRef {
        event_id: r.text()?,
        timestamp: r.varint()?,
        version: r.varint()?,
        node_id: if flags & HAS_NODE != 0 { Some(r.text()?) } else { None },
        absorb_into: if flags & IS_ABSORB != 0 { Some(r.text()?) } else { None },
        is_delete: flags & IS_DELETE != 0,
        importance: r.importance()?,
        clock: r.list(|r| Ok((r.text()?, r.varint()?)))?,
        digest: u128::from_le_bytes(r.array("a digest")?),
        source: Source {
            topic: r.text()?,
            partition: i32::try_from(unzigzag(r.varint()?)).map_err(|_| r.damaged("a partition"))?,
            offset: unzigzag(r.varint()?),
        },
        writes: r.list(|r| Ok((r.text()?, r.bytes()?)))?,
    };
    if r.at == value.len() { Ok(event) } else { Err(r.damaged("the end")) }
}

fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_importance(out: &mut Vec<u8>, importance: Option<Number>) {
    match importance {
        None => out.push(0),
        // An `Int` lies between -2^63 and 2^64-1, so its size fits.
        Some(Number::Int(i)) => {
            out.push(if i < 0 { 2 } else { 1 });
            put_varint(out, i.unsigned_abs() as u64);
        }
        Some(Number::Float(d)) => {
            out.push(3);
            out.extend_from_slice(&d.to_le_bytes());
        }
    }
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn damaged(&self, what: &'static str) -> WireError {
        WireError::Damaged { at: self.at, what }
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, WireError> {
        let [byte] = self.array(what)?;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let array = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let array = array.ok_or_else(|| self.damaged(what))?;
        self.at += N;
        Ok(*array)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte("a varint")?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            n |= part << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(self.damaged("a varint within 64 bits"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(self.varint()?).ok();
        let end = len.and_then(|n| self.at.checked_add(n));
        let bytes = end.and_then(|end| self.bytes.get(self.at..end));
        let bytes = bytes.ok_or_else(|| self.damaged("a length within the record"))?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.damaged("UTF-8"))
    }

    fn importance(&mut self) -> Result<Option<Number>, WireError> {
        match self.byte("an importance")? {
            0 => Ok(None),
            1 => Ok(Some(Number::Int(self.varint()?.into()))),
            2 => match self.varint()? {
                size if size <= 1 << 63 => Ok(Some(Number::Int(-i128::from(size)))),
                _ => Err(self.damaged("an integer within 64 bits")),
            },
            3 => {
                let double = f64::from_le_bytes(self.array("a double")?);
                if double.is_finite() { Ok(Some(Number::Float(double))) } else { Err(self.damaged("a finite double")) }
            }
            _ => Err(self.damaged("a tag of importance")),
        }
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, WireError>) -> Result<Vec<T>, WireError> {
        let count = self.varint()?;
        // Each item takes two bytes at least, which bounds what a damaged count can make us reserve.
        if count > ((self.bytes.len() - self.at) / 2) as u64 {
            return Err(self.damaged("a count within the record"));
        }
        let mut list = Vec::with_capacity(count as usize);
        for _ in 0..count {
            list.push(item(self)?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Write;
    use super::*;
    use crate::domain::clock::Clock;

    const SOURCE: Source<'static> = Source { topic: "helixagent.memory.events", partition: 11, offset: 1 << 40 };

    fn event(kind: Kind) -> Event {
        let write = |path: &str, value: &str| Write { path: path.into(), value: value.into() };
        Event {
            event_id: "evt-1".into(),
            kind,
            memory_id: Some("m".into()),
            timestamp: 1_795_441_887_515_049_930,
            node_id: Some("node-é".into()),
            importance: Some(Number::Float(0.811)),
            version: (1 << 63) - 1,
            clock: Clock::from_entries([("n1".into(), 3), ("~".into(), 9)]),
            writes: vec![write("content", "\"text\""), write("tags", "[]"), write("user_id", "\"u\"")],
            merged_from: vec!["b".into()],
            digest: u128::MAX - 5,
        }
    }

    fn encoded(event: &Event, absorb_into: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(event, &SOURCE, absorb_into, &mut out);
        out
    }

    #[test]
    fn an_event_comes_back_as_it_went() {
        let sent = event(Kind::Updated);
        let bytes = encoded(&sent, None);
        let read = decode(&bytes).unwrap();
        let expected = EventRef {
            event_id: "evt-1",
            timestamp: sent.timestamp,
            node_id: Some("node-é"),
            importance: sent.importance,
            version: sent.version,
            clock: vec![("n1", 3), ("~", 9)],
            digest: sent.digest,
            is_delete: false,
            absorb_into: None,
            source: SOURCE,
            writes: vec![("content", b"\"text\""), ("tags", b"[]"), ("user_id", b"\"u\"")],
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn every_importance_comes_back() {
        let int = |i| Some(Number::Int(i));
        for importance in
            [None, int(0), int(-1), int(i64::MIN.into()), int(u64::MAX.into()), Some(Number::Float(-1.5e300))]
        {
            let bytes = encoded(&Event { importance, node_id: None, ..event(Kind::Created) }, None);
            let read = decode(&bytes).unwrap();
            assert_eq!((read.importance, read.node_id), (importance, None));
        }
    }

    #[test]
    fn a_delete_carries_its_user_alone_and_an_absorb_nothing() {
        let delete = encoded(&event(Kind::Deleted), None);
        let delete = decode(&delete).unwrap();
        assert_eq!((delete.is_delete, delete.absorb_into), (true, None));
        assert_eq!(delete.writes, vec![("user_id", &b"\"u\""[..])]);
        let merged = event(Kind::Merged);
        let absorb = encoded(&merged, Some("m"));
        let absorb = decode(&absorb).unwrap();
        assert_eq!((absorb.is_delete, absorb.absorb_into), (true, Some("m")));
        assert!(absorb.writes.is_empty());
        assert_eq!((absorb.digest, absorb.clock), (merged.digest, vec![("n1", 3), ("~", 9)]));
    }

    #[test]
    fn another_version_and_damage_are_told_apart() {
        let good = encoded(&event(Kind::Updated), None);
        let mut newer = good.clone();
        newer[0] = 2;
        assert_eq!(decode(&newer), Err(WireError::UnknownVersion { found: 2 }));
        for cut in 0..good.len() {
            assert!(matches!(decode(&good[..cut]), Err(WireError::Damaged { .. })), "cut at {cut}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(decode(&longer), Err(WireError::Damaged { at: good.len(), what: "the end" }));
    }

    /// Version 1 as it was first written: it must stay readable, and today's encoder must still write it.
    #[test]
    fn the_fixture_of_version_1_is_read() {
        let fixture = include_bytes!("../../../tests/fixtures/event-v1.bin");
        assert_eq!(decode(fixture).map(|e| (e.event_id, e.writes.len())), Ok(("evt-1", 3)));
        assert_eq!(encoded(&event(Kind::Updated), None), fixture);
    }
}
