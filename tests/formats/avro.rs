//! Avro in and out, by a real registry: an event says the same in Avro as in JSON, and an output is
//! read back as it was.

use crate::drive::{Out, event, run_with, samples, shipped, topology};
use crate::to_avro::{self, framed};
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use avro::schemas::VERSIONS;
use avro::settings::{RegistrySettings, SubjectNames};
use reference_model::{generate, generate_time};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use streams::ports::{Codec, CodecError};
use testkit::{Registry, unique};

fn settings(registry: &Registry) -> RegistrySettings {
    RegistrySettings {
        url: registry.url(),
        register: true,
        wait: Duration::from_secs(60),
        ..RegistrySettings::default()
    }
}

pub fn codec(registry: &Registry) -> Arc<dyn Codec> {
    Arc::new(avro::Avro::new(settings(registry)).unwrap())
}

/// The text of the newest schema of a kind.
pub fn newest(name: &str) -> &'static str {
    VERSIONS.iter().rfind(|v| v.name == name).unwrap().text
}

/// The dead letters of records, as class and message.
fn dead_letters(records: &[reference_model::Record], codec: &Arc<dyn Codec>) -> Vec<(String, String)> {
    let outs = crate::drive::run_all(&shipped("memory.toml", &[]), records, Some(codec.clone()));
    let header = |out: &Out, name: &str| out.headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let dead = outs.iter().filter(|out| out.topic.ends_with("dead-letters"));
    dead.map(|out| (header(out, "__streams.errors.exception"), header(out, "__streams.errors.message"))).collect()
}

#[test]
fn an_event_says_the_same_in_avro() {
    let registry = Registry::shared();
    let id = registry.register(&unique("events"), newest("event"));
    let (codec, schema) = (codec(registry), Schema::parse_str(newest("event")).unwrap());
    let (mut turned, mut kept) = (0, 0);
    let streams = testkit::seeds(300)
        .map(|seed| generate::stream(seed, 12, true))
        .map(|s| (s.settings.as_set_pairs(), s.records));
    for (pairs, records) in streams.chain([(Vec::new(), samples())]) {
        let mut in_avro = records.clone();
        for (at, record) in in_avro.iter_mut().enumerate() {
            // Two of three, so that the encodings stand side by side on one topic.
            match to_avro::event(&schema, record.value.as_deref()).filter(|_| at % 3 > 0) {
                Some(body) => {
                    record.value = Some(framed(id, &body));
                    turned += 1;
                }
                None => kept += 1,
            }
        }
        // The limit of the stream is one of the JSON, which Avro is shorter than, or longer.
        let pairs: Vec<String> = pairs.into_iter().filter(|pair| !pair.starts_with("max_value_bytes")).collect();
        let file = shipped("memory.toml", &pairs);
        let (json, avro) = (run_with(&file, &records, None), run_with(&file, &in_avro, Some(codec.clone())));
        let show =
            |outs: &[Out]| outs.iter().map(|o| String::from_utf8_lossy(&o.value).into_owned()).collect::<Vec<_>>();
        assert_eq!(show(&json), show(&avro), "{pairs:?}");
    }
    assert!(turned > 800, "{turned} events in Avro, {kept} as they were");
}

#[test]
fn what_is_cleared_is_cleared() {
    let registry = Registry::shared();
    let (id, codec) = (registry.register(&unique("cleared"), newest("event")), codec(registry));
    let schema = Schema::parse_str(newest("event")).unwrap();
    let json = r#"{"event_id":"e","event_type":"memory.updated","memory_id":"m","content":null,"metadata":{"a":null,"b":"x"}}"#;
    let body = to_avro::event(&schema, Some(json.as_bytes())).unwrap();
    let read: Value = serde_json::from_slice(&codec.decode("event", &framed(id, &body)).unwrap()).unwrap();
    assert_eq!(read["content"], Value::Null);
    assert!(read.as_object().unwrap().contains_key("content"));
    assert_eq!(read["metadata"], json!({ "a": null, "b": "x" }));
    assert!(!read.as_object().unwrap().contains_key("user_id"), "a field that is null is not written");
}

#[test]
fn bad_avro_is_a_dead_letter_that_says_why() {
    let registry = Registry::shared();
    let (id, codec) = (registry.register(&unique("bad"), newest("event")), codec(registry));
    let text = registry.register(&unique("text"), r#""string""#);
    let schema = Schema::parse_str(newest("event")).unwrap();
    let good = to_avro::event(&schema, Some(br#"{"event_id":"e","event_type":"memory.updated","memory_id":"m"}"#));
    let body = good.unwrap();
    let changed = |name: &str, value: Avro| framed(id, &to_avro::changed(&schema, name, value));
    let metadata = |text: &str| {
        let entry = [("k".to_owned(), Avro::String(text.to_owned()))].into();
        changed("metadata", Avro::Union(1, Box::new(Avro::Map(entry))))
    };
    let cleared = |path: &str| changed("cleared", Avro::Array(vec![Avro::String(path.to_owned())]));
    let cases = [
        (vec![0], "malformed_avro", "ends after 1 bytes"),
        (vec![0, 0, 0, 1], "malformed_avro", "ends after 4 bytes"),
        (framed(0x7fff_0001, &body), "unknown_schema", "the schema registry does not know it"),
        (framed(id, &body[..body.len() - 3]), "malformed_avro", "no event"),
        (framed(id, &[&body[..], b"x"].concat()), "malformed_avro", "1 bytes are left"),
        (framed(text, b"\x02x"), "malformed_avro", "no event"),
        (changed("event_id", Avro::String(String::new())), "missing_field", "event_id"),
        (changed("version", Avro::Long(-1)), "bad_counter", "version"),
        (changed("importance", Avro::Union(1, Box::new(Avro::Double(f64::NAN)))), "malformed_avro", "not finite"),
        (metadata(r#"1,"event_id":2"#), "malformed_avro", "hold JSON"),
        (metadata("{"), "malformed_avro", "hold JSON"),
        (metadata(&("[".repeat(126) + "]".repeat(126).as_str())), "", ""),
        (metadata(&("[".repeat(127) + "]".repeat(127).as_str())), "too_deep", ""),
        (cleared("version"), "malformed_avro", "no event clears"),
        (cleared("entities.x"), "malformed_avro", "no event clears"),
    ];
    for (value, class, part) in cases {
        let record = reference_model::Record { value: Some(value.clone()), ..event(0, "") };
        let dead = dead_letters(&[record], &codec);
        match class {
            "" => assert_eq!(dead, [], "{value:?}"),
            _ => assert!(dead.len() == 1 && dead[0].0 == class && dead[0].1.contains(part), "{class} {part}: {dead:?}"),
        }
    }
}

#[test]
fn a_recursive_schema_is_refused_and_references_are_followed() {
    let registry = Registry::shared();
    let codec = codec(registry);
    let node = r#"{"type":"record","name":"N","fields":[{"name":"next","type":["null","N"],"default":null}]}"#;
    let id = registry.register(&unique("recursive"), node);
    let deep = [vec![2; 100_000], vec![0]].concat();
    let refused = codec.decode("event", &framed(id, &deep)).unwrap_err();
    assert!(
        matches!(&refused, CodecError::Bad { class: "unknown_schema", message } if message.contains("itself")),
        "{refused}"
    );
}

/// Everything of a stream's outputs in Avro is what they are in JSON, read back with apache-avro
/// alone.
#[test]
fn outputs_in_avro_are_read_back_as_they_were() {
    let registry = Registry::shared();
    let codec = codec(registry);
    let schema = |name: &str| Schema::parse_str(newest(name)).unwrap();
    let schemas = ["resolved-memory", "conflict-record", "user-snapshot"].map(schema);
    let streams = testkit::seeds(200)
        .map(|seed| generate::stream(seed, 12, false))
        .map(|s| (s.settings.as_set_pairs(), s.records));
    let of_users = testkit::seeds(100).map(|seed| generate_time::of_users(seed, 12)).map(|(s, interval_ms)| {
        let pairs = [s.settings.as_set_pairs(), vec![format!("snapshot_interval={interval_ms}ms")]];
        (pairs.concat(), s.records)
    });
    let mut count = 0;
    for (pairs, records) in streams.chain(of_users).chain([(Vec::new(), samples())]) {
        let json = run_with(&shipped("memory.toml", &pairs), &records, None);
        let file = topology(&avro_toml(""), &pairs);
        let avro = run_with(&file, &records, Some(codec.clone()));
        assert_eq!(json.len(), avro.len());
        for (json, avro) in json.iter().zip(&avro) {
            assert_eq!((&json.key, &json.headers), (&avro.key, &avro.headers));
            let schema = match json.headers[0].1.as_str() {
                "memory.resolved" => &schemas[0],
                "memory.conflict" => &schemas[1],
                _ => &schemas[2],
            };
            let mut body = &avro.value[5..];
            let reader = GenericDatumReader::builder(schema).build().unwrap();
            let read = reader.read_value(&mut body).unwrap();
            assert!(body.is_empty());
            let said: Value = serde_json::from_slice(&json.value).unwrap();
            let read = to_avro::json(schema, &read);
            assert!(to_avro::same(&read, &said), "{read}\n{said}");
            count += 1;
        }
        // The same bytes on each run, whatever order maps have in memory.
        let again = run_with(&file, &records, Some(codec.clone()));
        assert!(avro.iter().zip(&again).all(|(a, b)| a.value == b.value));
    }
    assert!(count > 1000, "{count}");
}

/// The memory topology with sinks in Avro; user snapshots on a topic of their own, since a subject
/// has one schema.
pub fn avro_toml(registry: &str) -> String {
    let text = std::fs::read_to_string(testkit::repo_path("topologies/memory.toml")).unwrap();
    let text = text.replace("from = [\"resolve.snapshots\"]", "from = [\"resolve.snapshots\"]\nformat = \"avro\"");
    let text = text.replace("from = [\"resolve.conflicts\"]", "from = [\"resolve.conflicts\"]\nformat = \"avro\"");
    let own = "from = [\"user-snapshots.snapshots\"]\nformat = \"avro\"";
    let text = text.replace("from = [\"user-snapshots.snapshots\"]", own);
    let (resolving, users) = text.split_once("name = \"user-snapshots-out\"").unwrap();
    let users = users.replace("helixagent.memory.snapshots", "helixagent.memory.user-snapshots");
    format!("{resolving}name = \"user-snapshots-out\"{users}\n{registry}")
}

#[test]
fn subjects_are_named_as_confluent_names_them() {
    let registry = Registry::shared();
    let topic = unique("subjects");
    let json = br#"{"memory_id":"m","status":"deleted","created_at":"1970-01-01T00:00:00Z","updated_at":"1970-01-01T00:00:00Z","version":0,"vector_clock":{"n":1},"event_ids":["e"]}"#;
    for (names, subject) in [
        (SubjectNames::Topic, format!("{topic}-value")),
        (SubjectNames::Record, "helixstream.ResolvedMemory".to_owned()),
        (SubjectNames::TopicRecord, format!("{topic}-helixstream.ResolvedMemory")),
    ] {
        let codec = avro::Avro::new(RegistrySettings { subject_names: names, ..settings(registry) }).unwrap();
        let value = codec.encode("resolved-memory", &topic, json).unwrap();
        assert!(registry.subjects().contains(&subject), "{subject}");
        assert_eq!(value[0], 0);
        let id = u32::from_be_bytes(value[1..5].try_into().unwrap());
        let (_, answer) = registry.call("GET", &format!("/schemas/ids/{id}"), "").unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["schema"].as_str().unwrap().contains("ResolvedMemory"), "{answer}");
    }
}

#[test]
fn schemas_that_are_only_looked_up_are_not_registered() {
    let registry = Registry::shared();
    let topic = unique("looked-up");
    let json = br#"{"memory_id":"m","status":"deleted","created_at":"1970-01-01T00:00:00Z","updated_at":"1970-01-01T00:00:00Z","version":0,"vector_clock":{"n":1},"event_ids":["e"]}"#;
    let look_up = || avro::Avro::new(RegistrySettings { register: false, ..settings(registry) }).unwrap();
    let refused = look_up().encode("resolved-memory", &topic, json).unwrap_err();
    assert!(matches!(&refused, CodecError::Fatal(what) if what.contains(&format!("{topic}-value"))), "{refused}");
    assert!(!registry.subjects().contains(&format!("{topic}-value")));
    let id = registry.register(&format!("{topic}-value"), newest("resolved-memory"));
    let value = look_up().encode("resolved-memory", &topic, json).unwrap();
    assert_eq!(value[1..5], id.to_be_bytes());
}
