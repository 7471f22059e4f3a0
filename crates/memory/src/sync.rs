//! Sync requests (docs/semantics.md, section 5): a node says by its clock which events it has seen,
//! and gets what it has not, of all users or of one. Every partition answers for its own memories,
//! so the request goes to all of them.
//!
//! Its form on the repartition topic, numbers as LEB128 varints unless said otherwise:
//!
//! | part | form |
//! |---|---|
//! | kind | byte `s`, by which it is distinguished from an event |
//! | version | byte 1: of all users; byte 2: of one user |
//! | user | in version 2 alone: its id as canonical JSON, with a length before it |
//! | node | byte 0; or byte 1, and a text |
//! | timestamp of the record | zigzag, milliseconds |
//! | source | text, then partition, offset and record timestamp in milliseconds, all zigzag |
//! | clock | count, then (text, varint) sorted by name |
//!
//! A request that names no user is written in version 1, so that programs that know no other
//! version still read it.

use super::binary::{BinaryError, Reader, put_bytes, put_varint};
use super::event::Event;
use super::event::wire::{Source, clock, put_clock, put_source, source, unzigzag, zigzag};
use super::state::{Arena, Field, Loader, Memory, Rows, StateError};
use super::view::{ResolutionContext, Resolved};

/// The first byte of a request, in the place of an event's version.
pub const KIND: u8 = b's';
/// A request for the memories of all users.
const OF_ALL: u8 = 1;
/// A request for the memories of one user.
const OF_USER: u8 = 2;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// The user whose memories are asked for, as canonical JSON; `None`: the memories of all.
    pub user: Option<&'a str>,
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
    match user(event) {
        None => out.extend([KIND, OF_ALL]),
        Some(user) => {
            out.extend([KIND, OF_USER]);
            put_bytes(out, user);
        }
    }
    out.push(u8::from(event.node_id.is_some()));
    if let Some(node) = &event.node_id {
        put_bytes(out, node.as_bytes());
    }
    put_varint(out, zigzag(timestamp_ms));
    put_source(out, source, source_timestamp_ms);
    // A request that tells no clock has seen nothing, also of what was written without one.
    put_clock(out, if event.tells_clock { event.clock.entries() } else { &[] });
}

/// The user that a request names, as canonical JSON. One that is null or empty is none, as an
/// absent one.
fn user(event: &Event) -> Option<&[u8]> {
    let written = event.writes.iter().find(|write| write.path == Field::UserId.name())?;
    Some(written.value.as_slice()).filter(|user| *user != b"null")
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
    let user = match r.u8("version of a sync request")? {
        OF_ALL => None,
        OF_USER => Some(r.str("user of a sync request")?),
        found => return Err(BinaryError::UnknownVersion { what: "a sync request", found, known: "1 and 2" }),
    };
    let node = match r.u8("node of a sync request")? {
        0 => None,
        1 => Some(r.str("node of a sync request")?),
        _ => return Err(BinaryError::Invalid("node of a sync request")),
    };
    let timestamp_ms = unzigzag(r.varint("timestamp")?);
    let (source, source_timestamp_ms) = (source(&mut r)?, unzigzag(r.varint("source timestamp")?));
    let request = Request { user, node, timestamp_ms, source, source_timestamp_ms, clock: clock(&mut r)? };
    if r.is_empty() { Ok(request) } else { Err(BinaryError::Invalid("rest of a sync request")) }
}

/// The resolved memory, where it belongs to the answer to a request: the request's clock has not
/// seen all of it, so some entry of the memory's own clock is above that clock's, and it is the
/// user's, if the request names one.
///
/// # Errors
/// [`StateError`]: the state could not be read.
pub fn unseen(
    rows: &dyn Rows,
    memory: &str,
    request: &Request<'_>,
    context: &ResolutionContext<'_>,
) -> Result<Option<Resolved>, StateError> {
    let arena = Arena::new();
    let mut state = Memory::open(Loader::new(rows, &arena, memory))?;
    let seen = &request.clock;
    let above = |(name, counter): &(&str, u64)| {
        let at = seen.binary_search_by(|(other, _)| other.cmp(name)).map_or(0, |at| seen[at].1);
        *counter > at
    };
    // `{"~": 0}`, of an event without a clock at the very epoch, is above nothing; who has seen
    // nothing is to have it all the same.
    if state.is_new() || !(seen.is_empty() || state.clock().iter().any(above)) {
        return Ok(None);
    }
    if let Some(user) = request.user
        && !is_of(user, &state, context)?
    {
        return Ok(None);
    }
    let visible = context.visible_frontier(&state);
    context.resolved(&mut state, &visible).map(Some)
}

/// Whether a memory is of this user, given as canonical JSON: whether its resolved form says so.
fn is_of(user: &str, state: &Memory<'_>, context: &ResolutionContext<'_>) -> Result<bool, StateError> {
    match context.field(state, Field::UserId)? {
        Some(picked) => Ok(*picked.bytes(state)? == *user.as_bytes()),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Limits, decode as event_of};

    const SOURCE: Source<'static> = Source { topic: "t", partition: 3, offset: 9 };
    const ASKED: &str =
        r#"{"event_id":"e","event_type":"memory.sync_request","node_id":"n","vector_clock":{"b":2,"a":1}}"#;

    fn form(json: &str) -> Vec<u8> {
        let event = event_of(Some(json.as_bytes()), 7, &Limits::default()).expect("is good");
        let mut out = Vec::new();
        encode(&event, &SOURCE, 7, 5, &mut out);
        out
    }

    /// The same request with this `user_id`, which is JSON.
    fn form_of_user(user: &str) -> Vec<u8> {
        form(&ASKED.replacen('{', &format!("{{\"user_id\":{user},"), 1))
    }

    fn expected(user: Option<&str>) -> Request<'_> {
        Request {
            user,
            node: Some("n"),
            clock: vec![("a", 1), ("b", 2)],
            timestamp_ms: 5,
            source: SOURCE,
            source_timestamp_ms: 7,
        }
    }

    #[test]
    fn a_request_comes_back_as_it_went() {
        assert!(is_request(&form(ASKED)) && is_request(&form_of_user("\"u\"")));
        assert_eq!(decode(&form(ASKED)), Ok(expected(None)));
        assert_eq!(decode(&form_of_user(r#""\u00fc\n""#)), Ok(expected(Some(r#""ü\n""#))));
    }

    #[test]
    fn a_user_that_is_null_or_empty_is_none() {
        for none in ["null", "\"\""] {
            assert_eq!(form_of_user(none), form(ASKED), "{none}");
        }
    }

    #[test]
    fn no_clock_has_seen_nothing() {
        let bytes = form(r#"{"event_id":"e","event_type":"memory.sync_request","vector_clock":""}"#);
        assert_eq!(decode(&bytes).map(|r| (r.user, r.node, r.clock)), Ok((None, None, Vec::new())));
    }

    /// Both versions as they were first written. Version 1 is what programs wrote that did not know
    /// requests for one user: these records may lie on a repartition topic, or in a store.
    #[test]
    fn the_fixtures_of_versions_1_and_2_are_read() {
        let version_1 = include_bytes!("../../../tests/fixtures/sync-request-v1.bin");
        assert_eq!(decode(version_1), Ok(expected(None)));
        assert_eq!(form(ASKED), version_1);
        let version_2 = include_bytes!("../../../tests/fixtures/sync-request-v2.bin");
        assert_eq!(decode(version_2), Ok(expected(Some("\"u\""))));
        assert_eq!(form_of_user("\"u\""), version_2);
    }

    #[test]
    fn another_version_and_damage_are_told_apart() {
        for good in [form(ASKED), form_of_user("\"u\"")] {
            assert!((0..good.len()).all(|cut| decode(&good[..cut]).is_err()));
            let newer = [&[KIND, 3], &good[2..]].concat();
            assert!(matches!(decode(&newer), Err(BinaryError::UnknownVersion { found: 3, .. })));
        }
    }
}
