//! Sync requests (docs/semantics.md, section 5): a node says by its clock which events it has seen,
//! and gets what it has not. Every partition answers for its own memories, so the request goes to
//! all of them.
//!
//! Version 1 of its form on the repartition topic, numbers as LEB128 varints unless said otherwise:
//!
//! | part | form |
//! |---|---|
//! | kind | byte `s`, by which it is distinguished from an event |
//! | version | byte 1 |
//! | node | byte 0; or byte 1, and a text |
//! | timestamp of the record | zigzag, milliseconds |
//! | source | text, then partition, offset and record timestamp in milliseconds, all zigzag |
//! | clock | count, then (text, varint) sorted by name |

use super::binary::{BinaryError, Reader, put_bytes, put_varint};
use super::event::Event;
use super::event::wire::{Source, clock, put_clock, put_source, source, unzigzag, zigzag};
use super::state::{Arena, Loader, Memory, Rows, StateError};
use super::view::{ResolutionContext, Resolved};

/// The first byte of a request, in the place of an event's version.
pub const KIND: u8 = b's';
const VERSION: u8 = 1;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// The node that asks, if it says so.
    pub node: Option<&'a str>,
    /// The vector clock of what the node has seen, sorted by name; empty: nothing.
    pub clock: Vec<(&'a str, u64)>,
    /// The timestamp of its record on the repartition topic, and of each answer: milliseconds since
    /// 1970.
    pub timestamp_ms: i64,
    /// Where it came from.
    pub source: Source<'a>,
    /// The timestamp of that record, milliseconds since 1970.
    pub source_timestamp_ms: i64,
}

/// Appends the form of a request that `event` is.
pub fn encode(event: &Event, source: &Source<'_>, source_timestamp_ms: i64, timestamp_ms: i64, out: &mut Vec<u8>) {
    out.extend([KIND, VERSION, u8::from(event.node_id.is_some())]);
    if let Some(node) = &event.node_id {
        put_bytes(out, node.as_bytes());
    }
    put_varint(out, zigzag(timestamp_ms));
    put_source(out, source, source_timestamp_ms);
    // A request that tells no clock has seen nothing, also of what was written without one.
    put_clock(out, if event.tells_clock { event.clock.entries() } else { &[] });
}

/// Whether a record of the repartition topic is a request.
pub fn is_request(value: &[u8]) -> bool {
    value.first() == Some(&KIND)
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`BinaryError`], as for an event: the task should stop.
pub fn decode(value: &[u8]) -> Result<Request<'_>, BinaryError> {
    let mut r = Reader::new(value);
    if r.u8("kind")? != KIND {
        return Err(BinaryError::Invalid("kind of a sync request"));
    }
    match r.u8("version of a sync request")? {
        VERSION => {}
        found => return Err(BinaryError::UnknownVersion { what: "a sync request", found, known: "1" }),
    }
    let node = match r.u8("node of a sync request")? {
        0 => None,
        1 => Some(r.str("node of a sync request")?),
        _ => return Err(BinaryError::Invalid("node of a sync request")),
    };
    let timestamp_ms = unzigzag(r.varint("timestamp")?);
    let (source, source_timestamp_ms) = (source(&mut r)?, unzigzag(r.varint("source timestamp")?));
    let request = Request { node, timestamp_ms, source, source_timestamp_ms, clock: clock(&mut r)? };
    if r.is_empty() { Ok(request) } else { Err(BinaryError::Invalid("rest of a sync request")) }
}

/// The resolved memory, where a clock has not seen all of it: some entry of the memory's own is
/// above that clock's.
///
/// # Errors
/// [`StateError`]: the state could not be read.
pub fn unseen(
    rows: &dyn Rows,
    memory: &str,
    seen: &[(&str, u64)],
    context: &ResolutionContext<'_>,
) -> Result<Option<Resolved>, StateError> {
    let arena = Arena::new();
    let mut state = Memory::open(Loader::new(rows, &arena, memory))?;
    let above = |(name, counter): &(&str, u64)| {
        let at = seen.binary_search_by(|(other, _)| other.cmp(name)).map_or(0, |at| seen[at].1);
        *counter > at
    };
    // `{"~": 0}`, of an event without a clock at the very epoch, is above nothing; who has seen
    // nothing is to have it all the same.
    if state.is_new() || !(seen.is_empty() || state.clock().iter().any(above)) {
        return Ok(None);
    }
    let visible = context.visible_frontier(&state);
    context.resolved(&mut state, &visible).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Limits, decode as event_of};

    const SOURCE: Source<'static> = Source { topic: "t", partition: 3, offset: 9 };

    fn form(json: &str) -> Vec<u8> {
        let event = event_of(Some(json.as_bytes()), 7, &Limits::default()).expect("is good");
        let mut out = Vec::new();
        encode(&event, &SOURCE, 7, 5, &mut out);
        out
    }

    #[test]
    fn a_request_comes_back_as_it_went() {
        let bytes =
            form(r#"{"event_id":"e","event_type":"memory.sync_request","node_id":"n","vector_clock":{"b":2,"a":1}}"#);
        let expected = Request {
            node: Some("n"),
            clock: vec![("a", 1), ("b", 2)],
            timestamp_ms: 5,
            source: SOURCE,
            source_timestamp_ms: 7,
        };
        assert!(is_request(&bytes));
        assert_eq!(decode(&bytes), Ok(expected));
    }

    #[test]
    fn no_clock_has_seen_nothing() {
        let bytes = form(r#"{"event_id":"e","event_type":"memory.sync_request","vector_clock":""}"#);
        assert_eq!(decode(&bytes).map(|r| (r.node, r.clock)), Ok((None, Vec::new())));
    }

    #[test]
    fn another_version_and_damage_are_told_apart() {
        let good = form(r#"{"event_id":"e","event_type":"memory.sync_request","node_id":"n","vector_clock":{"a":1}}"#);
        assert!((0..good.len()).all(|cut| decode(&good[..cut]).is_err()));
        let newer = [&[KIND, 2], &good[2..]].concat();
        assert!(matches!(decode(&newer), Err(BinaryError::UnknownVersion { found: 2, .. })));
    }
}
