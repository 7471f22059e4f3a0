//! The compact form of an event on the internal repartition topic (`memory::event::wire`): what is
//! encoded is decoded to the same event, and whatever is decoded is encoded to bytes that are
//! decoded to the same. The form of a sync request (`memory::sync`), which lies on the same topic,
//! is held beside it.

use memory::clock::{Clock, UNCLOCKED};
use memory::event::wire::{self, EventRef, Source};
use memory::event::{Event, EventKind, FieldWrite, Limits, decode};
use memory::sync;
use testkit::Random;

use crate::events;
use crate::plain::Target;

/// The target, with the inputs of its plain form.
pub const TARGET: Target =
    Target { name: "wire", check, generate, dictionary: events::DICTIONARY, shared: &[], inputs: 10_000 };

const RECORD_TIMESTAMP_MS: i64 = 1_795_441_887_515;

/// Takes the bytes as an event in JSON and as the wire form; returns whether they are one of both.
///
/// # Panics
/// A property does not hold.
pub fn check(data: &[u8]) -> bool {
    let is_event = match decode(Some(data), RECORD_TIMESTAMP_MS, &Limits::default()) {
        Ok(event) => {
            assert_event_comes_back(&event);
            assert_request_comes_back(&event);
            true
        }
        Err(_) => false,
    };
    let is_form = match wire::decode(data) {
        Ok(event) => {
            assert_form_comes_back(&event);
            true
        }
        Err(error) => {
            let message = error.to_string();
            // Another version is named, so that an operator knows to run the newer program.
            if data.first().is_some_and(|version| *version != wire::VERSION) {
                assert!(message.starts_with(&format!("has version {} of an internal event", data[0])), "{message}");
            }
            assert!(!message.is_empty());
            false
        }
    };
    let is_request = sync::is_request(data) && sync::decode(data).is_ok();
    is_event || is_form || is_request
}

/// The form of a sync request with the members of an event, whatever its type is.
///
/// # Panics
/// The form is not read, or as another request.
fn assert_request_comes_back(event: &Event) {
    let source = Source { topic: "helixagent.memory.events", partition: 3, offset: 4711 };
    let mut form = Vec::new();
    sync::encode(event, &source, RECORD_TIMESTAMP_MS, 5, &mut form);
    let read = sync::decode(&form).unwrap_or_else(|error| panic!("the form of a request {error}: {event:?}"));
    let user = event.writes.iter().find(|write| write.path == "user_id" && write.value != b"null");
    let clock = event.clock.entries().iter().filter(|_| event.tells_clock);
    let expected = sync::Request {
        user: user.map(|write| std::str::from_utf8(&write.value).expect("JSON is UTF-8")),
        node: event.node_id.as_deref(),
        clock: clock.map(|(name, counter)| (name.as_str(), *counter)).collect(),
        timestamp_ms: 5,
        source,
        source_timestamp_ms: RECORD_TIMESTAMP_MS,
    };
    assert_eq!(read, expected);
    for end in [0, 1, form.len() / 2, form.len() - 1] {
        assert!(sync::decode(&form[..end]).is_err(), "{end} of {} bytes are read as a request", form.len());
    }
}

/// The wire form of an event, and those that it sends to the memories that it absorbs.
///
/// # Panics
/// The form of the event is not read, or as another event.
pub fn assert_event_comes_back(event: &Event) {
    let source = Source { topic: "helixagent.memory.events", partition: 3, offset: 4711 };
    let mut form = Vec::new();
    wire::encode(event, &source, RECORD_TIMESTAMP_MS, None, &mut form);
    let read = wire::decode(&form).unwrap_or_else(|error| panic!("the form of an event {error}: {event:?}"));
    let written = event.writes.iter().filter(|write| event.kind != EventKind::Deleted || write.path == "user_id");
    let expected = EventRef {
        event_id: &event.event_id,
        timestamp: event.timestamp,
        node_id: event.node_id.as_deref(),
        importance: event.importance,
        version: event.version,
        clock: event.clock.entries().iter().map(|(name, counter)| (name.as_str(), *counter)).collect(),
        digest: event.digest,
        is_delete: event.kind == EventKind::Deleted,
        absorb_into: None,
        source,
        source_timestamp_ms: RECORD_TIMESTAMP_MS,
        writes: written.map(|write| (write.path.as_str(), write.value.as_slice())).collect(),
    };
    assert_eq!(read, expected);
    assert_form_comes_back(&read);
    for _ in event.absorbed() {
        let target = event.memory_id.as_deref();
        form.clear();
        wire::encode(event, &source, RECORD_TIMESTAMP_MS, target, &mut form);
        let read = wire::decode(&form).unwrap_or_else(|error| panic!("the form of an absorb {error}: {event:?}"));
        let expected = EventRef { is_delete: true, absorb_into: target, writes: Vec::new(), ..expected.clone() };
        assert_eq!(read, expected);
    }
    // Half a form is an error.
    for end in [0, 1, form.len() / 2, form.len() - 1] {
        assert!(wire::decode(&form[..end]).is_err(), "{end} of {} bytes are read as an event", form.len());
    }
}

/// Encodes what was decoded, and decodes it again.
fn assert_form_comes_back(read: &EventRef<'_>) {
    let form = encode(read);
    let again = wire::decode(&form).unwrap_or_else(|error| panic!("the form of {read:?} {error}"));
    assert_eq!(&again, read);
    assert_eq!(encode(&again), form);
}

/// The form of an event that has been read.
fn encode(read: &EventRef<'_>) -> Vec<u8> {
    let clock = match read.clock[..] {
        [(UNCLOCKED, nanos)] => Clock::unclocked(nanos),
        _ => Clock::from_entries(read.clock.iter().map(|(name, counter)| ((*name).to_owned(), *counter))),
    };
    let write = |(path, value): &(&str, &[u8])| FieldWrite { path: (*path).to_owned(), value: value.to_vec() };
    let event = Event {
        event_id: read.event_id.to_owned(),
        kind: if read.is_delete { EventKind::Deleted } else { EventKind::Updated },
        memory_id: None,
        timestamp: read.timestamp,
        node_id: read.node_id.map(str::to_owned),
        importance: read.importance,
        version: read.version,
        clock,
        tells_clock: true,
        writes: read.writes.iter().map(write).collect(),
        merged_from: Vec::new(),
        digest: read.digest,
    };
    let mut form = Vec::new();
    wire::encode(&event, &read.source, read.source_timestamp_ms, read.absorb_into, &mut form);
    form
}

fn generate(random: &mut Random) -> Vec<u8> {
    let json = events::event(random, &["m", "é", "k"]).to_string().into_bytes();
    if random.one_in(2) {
        return json;
    }
    let Ok(event) = decode(Some(&json), RECORD_TIMESTAMP_MS, &Limits::default()) else { return json };
    let topic = random.pick(&["t", "helixagent.memory.events", ""]);
    let source = Source { topic, partition: random.number() as i32, offset: random.number() as i64 };
    let absorb_into = event.absorbed().next().and(event.memory_id.as_deref()).filter(|_| random.one_in(2));
    let mut form = Vec::new();
    wire::encode(&event, &source, random.number() as i64, absorb_into, &mut form);
    form
}
