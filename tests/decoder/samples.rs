//! The samples: records of HelixAgent's own Go nodes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memory::event::{Event, EventKind, Limits, decode, wire};

/// A record of the samples: its value and timestamp.
pub struct Sample {
    pub value: Vec<u8>,
    pub timestamp_ms: i64,
}

pub fn samples() -> Vec<Sample> {
    let sample = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        Sample {
            value: BASE64_STANDARD.decode(record["value_b64"].as_str().unwrap()).unwrap(),
            timestamp_ms: record["timestamp_ms"].as_i64().unwrap(),
        }
    };
    include_str!("../fixtures/helixagent-events.jsonl").lines().map(sample).collect()
}

/// The event object within an envelope.
pub fn payload(value: &[u8]) -> Vec<u8> {
    let envelope: serde_json::Value = serde_json::from_slice(value).unwrap();
    BASE64_STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap()
}

fn read(value: &[u8], timestamp_ms: i64) -> Event {
    decode(Some(value), timestamp_ms, &Limits::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Holds an event against its wire form.
pub fn assert_same_on_the_wire(event: &Event) {
    let source = wire::Source { topic: "helixagent.memory.events", partition: 3, offset: 4711 };
    let mut bytes = Vec::new();
    wire::encode(event, &source, 1_795_441_887_515, None, &mut bytes);
    let read = wire::decode(&bytes).unwrap_or_else(|e| panic!("{event:?}: {e}"));
    assert_eq!(read.event_id, event.event_id);
    assert_eq!((read.timestamp, read.version, read.digest), (event.timestamp, event.version, event.digest));
    assert_eq!((read.node_id, read.importance), (event.node_id.as_deref(), event.importance));
    assert_eq!((read.is_delete, read.absorb_into, read.source), (event.kind == EventKind::Deleted, None, source));
    assert!(read.clock.iter().map(|(n, c)| (*n, *c)).eq(event.clock.entries().iter().map(|(n, c)| (n.as_str(), *c))));
    let written = event.writes.iter().filter(|w| event.kind != EventKind::Deleted || w.path == "user_id");
    assert!(read.writes.iter().copied().eq(written.map(|w| (w.path.as_str(), w.value.as_slice()))));
    assert!(read.writes.is_sorted_by(|a, b| a.0 < b.0));
}

#[test]
fn every_sample_is_read_and_comes_back() {
    let samples = samples();
    assert_eq!(samples.len(), 305);
    let mut kinds = std::collections::BTreeMap::new();
    for sample in &samples {
        let event = read(&sample.value, sample.timestamp_ms);
        assert_same_on_the_wire(&event);
        *kinds.entry(event.kind.as_str().to_owned()).or_insert(0) += 1;

        // Neither the envelope nor the spelling matters.
        let bare = payload(&sample.value);
        assert_eq!(read(&bare, sample.timestamp_ms), event);
        let canonical = json::parse(&bare).unwrap().root().canonical();
        assert_eq!(read(&canonical, sample.timestamp_ms), event);

        // What the event says by another reader of JSON.
        let object: serde_json::Value = serde_json::from_slice(&bare).unwrap();
        assert_eq!(object["event_id"], event.event_id.as_str());
        assert_eq!(object["memory_id"].as_str().unwrap(), event.memory_id.as_deref().unwrap_or_default());
        assert_eq!(object["version"].as_u64().unwrap_or_default(), event.version);
        for write in &event.writes {
            let value: serde_json::Value = serde_json::from_slice(&write.value).unwrap();
            match write.path.split_once('.') {
                None => assert_eq!(canonical_of(&object[&write.path]), canonical_of(&value), "{}", write.path),
                Some(("metadata", key)) => assert_eq!(object["metadata"][key], value),
                Some((container, id)) => {
                    let items = object[container].as_array().unwrap();
                    assert!(items.iter().any(|item| item["id"] == id && *item == value), "{}", write.path);
                }
            }
        }
    }
    let expected =
        [("memory.created", 70), ("memory.deleted", 17), ("memory.sync_request", 7), ("memory.updated", 211)];
    assert_eq!(kinds, expected.map(|(kind, n)| (kind.to_owned(), n)).into());
}

/// A value as the decoder keeps it: sets of strings sorted, numbers in one spelling.
fn canonical_of(value: &serde_json::Value) -> Vec<u8> {
    let mut value = value.clone();
    if let Some(items) = value.as_array_mut().filter(|items| items.iter().all(serde_json::Value::is_string)) {
        items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        items.dedup();
    }
    json::parse(value.to_string().as_bytes()).unwrap().root().canonical()
}
