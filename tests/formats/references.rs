//! Writers whose schemas refer to types of other subjects, and whose fields carry logical types: by
//! the real registry.

use crate::avro::{codec, newest};
use crate::to_avro::{self, framed};
use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use serde_json::{Value, json};
use streams::ports::CodecError;
use testkit::{Registry, unique};

/// The newest schema of events as JSON.
fn event_schema() -> Value {
    serde_json::from_str(newest("event")).unwrap()
}

fn field<'s>(schema: &'s mut Value, name: &str) -> &'s mut Value {
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.iter_mut().find(|field| field["name"] == name).unwrap()
}

fn reference(name: &str, subject: &str) -> Value {
    json!({ "name": name, "subject": subject, "version": 1 })
}

const EVENT: &str = r#"{"event_id":"e","event_type":"memory.updated","memory_id":"m","importance":0.5,"version":7,
    "entities":[{"id":"x","name":"n","confidence":0.5}],"relationships":[{"id":"r","from_entity":"x"}]}"#;

fn read(id: u32, body: &[u8]) -> Result<Value, CodecError> {
    let json = codec(Registry::shared()).decode("event", &framed(id, body))?;
    Ok(serde_json::from_slice(&json).unwrap())
}

/// A small event as our own schema writes it; its bytes do not say where a type is defined.
fn body() -> Vec<u8> {
    to_avro::event(&Schema::parse_str(newest("event")).unwrap(), Some(EVENT.as_bytes())).unwrap()
}

#[test]
fn types_of_other_subjects_are_read_whether_the_field_is_ours_or_not() {
    let (registry, subject) = (Registry::shared(), unique("refers"));
    let (mut main, at) = (event_schema(), |name: &str| format!("{subject}-{name}"));
    // Our own `Entity` and `Relationship` stand in subjects of their own, and beside them a type
    // that we know nothing of, which refers to a third one.
    for name in ["entities", "relationships"] {
        let items = &mut field(&mut main, name)["type"][1]["items"];
        let full = format!("helixstream.{}", items["name"].as_str().unwrap());
        let mut alone = std::mem::replace(items, json!(full));
        alone["namespace"] = json!("helixstream");
        registry.register(&at(name), &alone.to_string());
    }
    let span = json!({ "type": "enum", "name": "Span", "namespace": "tracing", "symbols": ["A", "B"] });
    registry.register(&at("span"), &span.to_string());
    let trace = json!({ "type": "record", "name": "Trace", "namespace": "tracing",
        "fields": [{ "name": "span", "type": "Span" }, { "name": "at", "type": { "type": "long", "logicalType": "timestamp-micros" } }] });
    registry.register_with(&at("trace"), &trace.to_string(), &json!([reference("tracing.Span", &at("span"))]));
    main["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "trace", "type": ["null", "tracing.Trace"], "default": null }));
    let references = json!([
        reference("helixstream.Entity", &at("entities")),
        reference("helixstream.Relationship", &at("relationships")),
        reference("tracing.Trace", &at("trace")),
    ]);
    let id = registry.register_with(&at("main"), &main.to_string(), &references);
    let expected: Value = serde_json::from_str(EVENT).unwrap();
    // The field that we do not know is null, and is not: the union's second branch, symbol B, 5 µs.
    for extra in [&b"\x00"[..], b"\x02\x02\x0a"] {
        assert_eq!(read(id, &[&body(), extra].concat()).unwrap(), expected);
    }
}

#[test]
fn a_schema_that_leads_back_to_itself_is_refused_and_stops_nothing() {
    let mut main = event_schema();
    let chain = json!({ "type": "record", "name": "Chain", "fields": [{ "name": "next", "type": ["null", "Chain"] }] });
    main["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "chain", "type": ["null", "helixstream.Chain"], "default": null }));
    let (registry, subject) = (Registry::shared(), unique("chain"));
    let mut alone = chain;
    alone["namespace"] = json!("helixstream");
    registry.register(&format!("{subject}-chain"), &alone.to_string());
    let references = json!([reference("helixstream.Chain", &format!("{subject}-chain"))]);
    let id = registry.register_with(&subject, &main.to_string(), &references);
    let found = read(id, &[&body(), &b"\x00"[..]].concat());
    let Err(CodecError::Bad { class: "unknown_schema", message }) = found else { panic!("{found:?}") };
    assert!(message.contains("contains itself"), "{message}");
}

/// Types that a writer may give a field of ours, with the values that stand for `plain` in it.
#[test]
fn logical_types_of_a_writer_are_ignored_on_every_field() {
    let logical = |kind: &str, name: &str| json!({ "type": kind, "logicalType": name });
    let strings =
        [logical("string", "uuid"), logical("string", "of-tomorrow"), json!({ "type": "string", "logicalType": 7 })];
    let longs = [
        "timestamp-millis",
        "timestamp-micros",
        "timestamp-nanos",
        "local-timestamp-millis",
        "time-micros",
        "of-tomorrow",
    ];
    let (registry, mut fields) = (Registry::shared(), 0);
    let mut try_type = |name: &str, kind: Value| {
        let mut schema = event_schema();
        let ours = &mut field(&mut schema, name)["type"];
        // The bytes are those of our own schema: a union keeps its other branch.
        match ours {
            Value::Array(branches) => branches[1] = kind.clone(),
            ours => *ours = kind.clone(),
        }
        let id = registry.register(&unique("logical"), &schema.to_string());
        let found = read(id, &body());
        assert_eq!(found.unwrap(), serde_json::from_str::<Value>(EVENT).unwrap(), "{name} {kind}");
        fields += 1;
    };
    for name in ["event_id", "event_type", "memory_id", "timestamp", "node_id", "user_id", "session_id", "content"] {
        strings.iter().for_each(|kind| try_type(name, kind.clone()));
    }
    for name in ["tags", "merged_from", "cleared"] {
        strings.iter().for_each(|kind| try_type(name, json!({ "type": "array", "items": kind })));
    }
    longs.iter().for_each(|name| try_type("version", logical("long", name)));
    longs.iter().for_each(|name| try_type("vector_clock", json!({ "type": "map", "values": logical("long", name) })));
    try_type("importance", logical("double", "of-tomorrow"));
    try_type("metadata", json!({ "type": "map", "values": logical("string", "uuid"), "logicalType": "of-tomorrow" }));
    // Bytes of a decimal are bytes, which Avro lets a reader take for a string.
    try_type("content", json!({ "type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2 }));
    try_type("content", json!({ "type": "bytes", "logicalType": "big-decimal" }));
    assert!(fields > 40, "{fields}");
}

#[test]
fn a_date_is_the_int_that_it_is_and_what_is_no_number_of_ours_stays_a_dead_letter() {
    let registry = Registry::shared();
    let retyped = |kind: Value| {
        let mut schema = event_schema();
        let version = field(&mut schema, "version");
        version["type"] = kind;
        version.as_object_mut().unwrap().remove("default");
        schema.to_string()
    };
    let of = |kind: Value, value: Avro, plain: &str| {
        let id = registry.register(&unique("kind"), &retyped(kind));
        read(id, &to_avro::changed(&Schema::parse_str(&retyped(json!(plain))).unwrap(), "version", value))
    };
    let date = of(json!({ "type": "int", "logicalType": "date" }), Avro::Int(20_000), "int");
    assert_eq!(date.unwrap()["version"], 20_000);
    let text = of(json!({ "type": "string", "logicalType": "uuid" }), Avro::String("7".to_owned()), "string");
    assert!(matches!(text, Err(CodecError::Bad { class: "malformed_avro", .. })), "{text:?}");
}
