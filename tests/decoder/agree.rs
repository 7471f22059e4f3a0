//! The decoder against the naive model, which shares no code with it: the same verdict, the same
//! event, and equal digests where, and only where, the model says that two records carry the same
//! event.

use std::collections::HashMap;

use memory::event::{BadInput, Event, Limits, decode};

use reference_model::json::Json;
use reference_model::{Record, Settings, generate};

/// Identities of the model and digests met so far, to be held one to one.
#[derive(Default)]
pub struct Seen {
    digests: HashMap<String, u128>,
    identities: HashMap<u128, String>,
}

/// Holds what the decoder made of a record against what the model makes of it.
pub fn assert_agreed(record: &Record, limits: &Limits, ours: &Result<Event, BadInput>, seen: &mut Seen) {
    let settings = Settings {
        max_clock_entries: limits.max_clock_entries,
        max_value_bytes: limits.max_value_bytes,
        ..Settings::default()
    };
    let text = || String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
    match (ours, reference_model::decode(record, &settings)) {
        (Err(ours), Err(theirs)) => assert_eq!(ours.class.as_str(), theirs.class, "{}: {ours}", text()),
        (Ok(ours), Ok(theirs)) => {
            assert_same(ours, &theirs, &text());
            let digest = seen.digests.entry(theirs.identity.clone()).or_insert(ours.digest);
            assert_eq!(*digest, ours.digest, "{}", text());
            let identity = seen.identities.entry(ours.digest).or_insert(theirs.identity.clone());
            assert_eq!(*identity, theirs.identity, "{}", text());
        }
        (ours, theirs) => panic!("{}: read as {ours:?}, by the model as {theirs:?}", text()),
    }
}

fn assert_same(ours: &Event, theirs: &reference_model::Event, text: &str) {
    assert_eq!((&ours.event_id, ours.kind.as_str()), (&theirs.event_id, theirs.event_type.as_str()), "{text}");
    assert_eq!((&ours.memory_id, &ours.node_id), (&theirs.memory_id, &theirs.node_id), "{text}");
    assert_eq!((ours.timestamp as i64, ours.version), (theirs.timestamp_ns, theirs.version), "{text}");
    assert_eq!(ours.target(), theirs.own_memory(), "{text}");
    assert_eq!(ours.absorbed().collect::<Vec<_>>(), theirs.absorbed(), "{text}");
    let clock = theirs.clock.iter().map(|(node, counter)| (node.clone(), *counter));
    assert_eq!(ours.clock.entries(), clock.collect::<Vec<_>>(), "{text}");
    let importance = theirs.importance.as_ref().filter(|v| !matches!(v, Json::Null)).map(Json::canonical);
    assert_eq!(ours.importance, importance.and_then(|text| json::parse_number(text.as_bytes())), "{text}");

    let mut writes = Vec::new();
    for (path, value) in [
        ("content", &theirs.content),
        ("embedding", &theirs.embedding),
        ("importance", &theirs.importance),
        ("merged_from", &theirs.merged_from),
        ("session_id", &theirs.session_id),
        ("tags", &theirs.tags),
        ("user_id", &theirs.user_id),
    ] {
        writes.extend(value.iter().map(|v| (path.to_owned(), v.canonical())));
    }
    let is_cleared = theirs.event_type == "relationship.deleted";
    for (container, members) in
        [("entities", &theirs.entities), ("relationships", &theirs.relationships), ("metadata", &theirs.metadata)]
    {
        for (key, value) in members {
            let value = if is_cleared && container == "relationships" { "null".to_owned() } else { value.canonical() };
            writes.push((format!("{container}.{key}"), value));
        }
    }
    writes.sort();
    let ours = ours.writes.iter().map(|w| (w.path.clone(), String::from_utf8(w.value.clone()).unwrap()));
    assert_eq!(ours.collect::<Vec<_>>(), writes, "{text}");
}

#[test]
fn generated_streams_are_read_as_the_model_reads_them() {
    let mut seen = Seen::default();
    let (mut records, mut bad) = (0, 0);
    for seed in testkit::seeds(1500) {
        let stream = generate::stream(seed, 30, true);
        let limits = Limits {
            max_clock_entries: stream.settings.max_clock_entries,
            max_value_bytes: stream.settings.max_value_bytes,
        };
        for record in &stream.records {
            let ours = decode(record.value.as_deref(), record.timestamp_ms, &limits);
            assert_agreed(record, &limits, &ours, &mut seen);
            records += 1;
            bad += usize::from(ours.is_err());
        }
    }
    assert!(bad > 500 && records > 5 * bad, "{bad} bad of {records}");
    assert!(seen.digests.len() > 5000 && seen.digests.len() < records - bad, "{} events", seen.digests.len());
}
