//! The compact form in which a decoded event travels on the internal repartition topic: its JSON is
//! parsed once, before the hop, and read behind it without copies. The record's key is the memory's
//! id, so the form does not repeat it.
//!
//! Version 1, numbers as LEB128 varints unless said otherwise, `text` and `bytes` as length and
//! content:
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
//! | source | text, then partition, offset and record timestamp in milliseconds, all zigzag |
//! | writes | count, then (text, bytes) sorted by path |

use super::super::binary::{BinaryError, Reader, put_bytes, put_varint};
use super::super::clock::UNCLOCKED;
use super::{Event, EventKind};
use json::Number;

/// The version that [`encode`] writes.
pub const VERSION: u8 = 1;

/// The greatest timestamp and version.
const MAX_NUMBER: u64 = i64::MAX as u64;

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
    /// Sorted by name, never empty; see [`Event::clock`].
    pub clock: Vec<(&'a str, u64)>,
    /// Digest of the decoded event; an absorb has that of its `memory.merged`.
    pub digest: u128,
    /// Whether it is a delete; an absorb is one.
    pub is_delete: bool,
    /// The memory that absorbs this one, when the record is an absorb.
    pub absorb_into: Option<&'a str>,
    /// Where the event came from.
    pub source: Source<'a>,
    /// The timestamp of that record, milliseconds since 1970, as the broker has it.
    pub source_timestamp_ms: i64,
    /// The values that it writes, sorted by path, each path once: canonical JSON, `null` clears.
    pub writes: Vec<(&'a str, &'a [u8])>,
}

/// Appends the form of `event` to `out`. With `absorb_into` it is the absorb that a `memory.merged`
/// of that memory sends to an absorbed one: the header alone. A delete carries its `user_id` and no
/// other write.
pub fn encode(event: &Event, source: &Source, source_timestamp_ms: i64, absorb_into: Option<&str>, out: &mut Vec<u8>) {
    let is_delete = absorb_into.is_some() || event.kind == EventKind::Deleted;
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
    put_clock(out, event.clock.entries());
    out.extend_from_slice(&event.digest.to_le_bytes());
    put_source(out, source, source_timestamp_ms);
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
/// [`BinaryError`]: no dead letter, the task should stop. Such a record was written by another
/// version of this program, or the log is damaged, and skipping it would lose an event.
pub fn decode(value: &[u8]) -> Result<EventRef<'_>, BinaryError> {
    let mut r = Reader::new(value);
    let found = r.u8("event version")?;
    if found != VERSION {
        return Err(BinaryError::UnknownVersion { what: "an internal event", found, known: "1" });
    }
    let flags = r.u8("event flags")?;
    if flags & !(IS_DELETE | HAS_NODE | IS_ABSORB) != 0 {
        return Err(BinaryError::Invalid("event flags"));
    }
    let event = EventRef {
        event_id: r.str("event_id")?,
        timestamp: r.varint("event timestamp")?,
        version: r.varint("event version")?,
        node_id: if flags & HAS_NODE != 0 { Some(r.str("node_id")?) } else { None },
        absorb_into: if flags & IS_ABSORB != 0 { Some(r.str("target of the absorb")?) } else { None },
        is_delete: flags & IS_DELETE != 0,
        importance: importance(&mut r)?,
        clock: clock(&mut r)?,
        digest: r.u128("event digest")?,
        source: source(&mut r)?,
        source_timestamp_ms: unzigzag(r.varint("source timestamp")?),
        writes: list(&mut r, "writes", |r| Ok((r.str("path")?, r.bytes("value")?)))?,
    };
    if !r.is_empty() {
        return Err(BinaryError::Invalid("rest of an event"));
    }
    match impossible(&event) {
        None => Ok(event),
        Some(what) => Err(BinaryError::Invalid(what)),
    }
}

/// Which part of an event breaks a rule of [`EventRef`] that its readers rely on: [`encode`] writes
/// no such event.
fn impossible(event: &EventRef<'_>) -> Option<&'static str> {
    let is_zero = |entry: &(&str, u64)| entry.1 == 0;
    let is_unclocked = event.clock.len() == 1 && event.clock[0].0 == UNCLOCKED;
    let is_absorb = event.absorb_into.is_some();
    let may_write = |path: &str| !is_absorb && (!event.is_delete || path == "user_id");
    [
        ("event_id", event.event_id.is_empty()),
        ("event timestamp", event.timestamp > MAX_NUMBER),
        ("event version", event.version > MAX_NUMBER),
        ("node_id", event.node_id == Some("")),
        ("target of the absorb", is_absorb && !event.is_delete),
        ("clock", event.clock.is_empty() || !event.clock.is_sorted_by(|a, b| a.0 < b.0)),
        ("clock", !is_unclocked && event.clock.iter().any(is_zero)),
        ("writes", !event.writes.is_sorted_by(|a, b| a.0 < b.0)),
        ("writes", event.writes.iter().any(|(path, _)| !may_write(path))),
    ]
    .into_iter()
    .find_map(|(what, is_so)| is_so.then_some(what))
}

/// Appends a clock, sorted by name.
pub(crate) fn put_clock(out: &mut Vec<u8>, clock: &[(String, u64)]) {
    put_varint(out, clock.len() as u64);
    for (name, counter) in clock {
        put_bytes(out, name.as_bytes());
        put_varint(out, *counter);
    }
}

/// Reads a clock.
pub(crate) fn clock<'a>(r: &mut Reader<'a>) -> Result<Vec<(&'a str, u64)>, BinaryError> {
    list(r, "clock", |r| Ok((r.str("clock name")?, r.varint("clock counter")?)))
}

/// Appends where a record came from, and its timestamp there.
pub(crate) fn put_source(out: &mut Vec<u8>, source: &Source<'_>, timestamp_ms: i64) {
    put_bytes(out, source.topic.as_bytes());
    put_varint(out, zigzag(source.partition.into()));
    put_varint(out, zigzag(source.offset));
    put_varint(out, zigzag(timestamp_ms));
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

fn importance(r: &mut Reader) -> Result<Option<Number>, BinaryError> {
    const WHAT: &str = "importance";
    match r.u8(WHAT)? {
        0 => Ok(None),
        1 => Ok(Some(Number::Int(r.varint(WHAT)?.into()))),
        2 => match r.varint(WHAT)? {
            size if size <= 1 << 63 => Ok(Some(Number::Int(-i128::from(size)))),
            _ => Err(BinaryError::Invalid(WHAT)),
        },
        3 => match f64::from_bits(r.u64(WHAT)?) {
            double if Number::is_float(double) => Ok(Some(Number::Float(double))),
            _ => Err(BinaryError::Invalid(WHAT)),
        },
        _ => Err(BinaryError::Invalid(WHAT)),
    }
}

/// Reads where a record came from; its timestamp follows, zigzag.
pub(crate) fn source<'a>(r: &mut Reader<'a>) -> Result<Source<'a>, BinaryError> {
    let topic = r.str("source topic")?;
    let partition = i32::try_from(unzigzag(r.varint("source partition")?));
    let partition = partition.map_err(|_| BinaryError::Invalid("source partition"))?;
    Ok(Source { topic, partition, offset: unzigzag(r.varint("source offset")?) })
}

fn list<'a, T>(
    r: &mut Reader<'a>,
    what: &'static str,
    item: impl Fn(&mut Reader<'a>) -> Result<T, BinaryError>,
) -> Result<Vec<T>, BinaryError> {
    let count = r.count(what)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(item(r)?);
    }
    Ok(list)
}

pub(crate) fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

pub(crate) fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::super::FieldWrite;
    use super::*;
    use crate::clock::Clock;

    const SOURCE: Source<'static> = Source { topic: "helixagent.memory.events", partition: 11, offset: 1 << 40 };

    fn event(kind: EventKind) -> Event {
        let write = |path: &str, value: &str| FieldWrite { path: path.into(), value: value.into() };
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
            tells_clock: true,
            digest: u128::MAX - 5,
        }
    }

    fn encoded(event: &Event, absorb_into: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(event, &SOURCE, 1_795_441_887_515, absorb_into, &mut out);
        out
    }

    #[test]
    fn an_event_comes_back_as_it_went() {
        let sent = event(EventKind::Updated);
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
            source_timestamp_ms: 1_795_441_887_515,
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
            let bytes = encoded(&Event { importance, node_id: None, ..event(EventKind::Created) }, None);
            let read = decode(&bytes).unwrap();
            assert_eq!((read.importance, read.node_id), (importance, None));
        }
    }

    #[test]
    fn a_delete_carries_its_user_alone_and_an_absorb_nothing() {
        let delete = encoded(&event(EventKind::Deleted), None);
        let delete = decode(&delete).unwrap();
        assert_eq!((delete.is_delete, delete.absorb_into), (true, None));
        assert_eq!(delete.writes, vec![("user_id", &b"\"u\""[..])]);
        let merged = event(EventKind::Merged);
        let absorb = encoded(&merged, Some("m"));
        let absorb = decode(&absorb).unwrap();
        assert_eq!((absorb.is_delete, absorb.absorb_into), (true, Some("m")));
        assert!(absorb.writes.is_empty());
        assert_eq!((absorb.digest, absorb.clock), (merged.digest, vec![("n1", 3), ("~", 9)]));
    }

    #[test]
    fn another_version_and_damage_are_told_apart() {
        let good = encoded(&event(EventKind::Updated), None);
        let mut newer = good.clone();
        newer[0] = 2;
        assert_eq!(
            decode(&newer),
            Err(BinaryError::UnknownVersion { what: "an internal event", found: 2, known: "1" })
        );
        for cut in 0..good.len() {
            assert!(matches!(decode(&good[..cut]), Err(BinaryError::Truncated(_))), "cut at {cut}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(decode(&longer), Err(BinaryError::Invalid("rest of an event")));
    }

    /// Readers rely on these rules, so a form that breaks one is damaged, and no other event.
    #[test]
    fn a_form_that_no_encoder_writes_is_refused() {
        let refused = |event: &Event, absorb_into: Option<&str>, what: &'static str| {
            assert_eq!(decode(&encoded(event, absorb_into)), Err(BinaryError::Invalid(what)));
        };
        let good = event(EventKind::Updated);
        let write = |path: &str| FieldWrite { path: path.into(), value: b"1".to_vec() };
        let writes = |paths: &[&str]| Event { writes: paths.iter().map(|path| write(path)).collect(), ..good.clone() };
        refused(&writes(&["tags", "content"]), None, "writes");
        refused(&writes(&["content", "content"]), None, "writes");
        refused(&Event { event_id: String::new(), ..good.clone() }, None, "event_id");
        refused(&Event { node_id: Some(String::new()), ..good.clone() }, None, "node_id");
        refused(&Event { timestamp: 1 << 63, ..good.clone() }, None, "event timestamp");
        refused(&Event { version: 1 << 63, ..good.clone() }, None, "event version");
        refused(&Event { clock: Clock::default(), ..good.clone() }, None, "clock");
        for double in [f64::NAN, f64::INFINITY, 3.0, -0.0] {
            refused(&Event { importance: Some(Number::Float(double)), ..good.clone() }, None, "importance");
        }
        // The names of the clock in the wrong order, or twice: nothing but damage writes them.
        let form = encoded(&good, None);
        let at = form.windows(5).position(|bytes| bytes == b"\x02n1\x03\x01").unwrap();
        let mut swapped = form.clone();
        swapped[at + 1] = 0x7f;
        assert_eq!(decode(&swapped), Err(BinaryError::Invalid("clock")));
        let mut zero = form;
        zero[at + 3] = 0;
        assert_eq!(decode(&zero), Err(BinaryError::Invalid("clock")));
        assert!(decode(&encoded(&Event { clock: Clock::unclocked(0), ..good }, None)).is_ok());
    }

    /// Version 1 as it was first written: it must stay readable, and today's encoder must still
    /// write it.
    #[test]
    fn the_fixture_of_version_1_is_read() {
        let fixture = include_bytes!("../../../../tests/fixtures/event-v1.bin");
        assert_eq!(decode(fixture).map(|e| (e.event_id, e.writes.len())), Ok(("evt-1", 3)));
        assert_eq!(encoded(&event(EventKind::Updated), None), fixture);
    }
}
