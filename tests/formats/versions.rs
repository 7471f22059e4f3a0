//! Writers with schemas that are older and newer than ours, read by the program's own reader
//! through a real registry, which holds to its rule of compatibility. The schemas
//! (`tests/fixtures/avro`) are as another team might have them: an older one has fewer fields,
//! narrower numbers (int, float) and no unions where a field was always there; a newer one has
//! fields more, also in records within, fields less, and unions the other way round.

use crate::avro::{codec, newest};
use crate::to_avro::framed;
use apache_avro::Schema;
use apache_avro::schema::RecordField;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use avro::schemas::VERSIONS;
use serde_json::{Value, json};
use testkit::{Registry, repo_path, unique};

const KINDS: [&str; 4] = ["conflict-record", "event", "resolved-memory", "user-snapshot"];

fn fixture(kind: &str, age: &str) -> String {
    std::fs::read_to_string(repo_path("tests/fixtures/avro").join(format!("{kind}.{age}.avsc"))).unwrap()
}

/// A JSON value as a value of a schema; what is absent is the default.
fn value(schema: &Schema, json: &Value) -> Avro {
    match (schema, json) {
        (Schema::Union(union), json) => {
            let of = |is_null| union.variants().iter().position(|one| (*one == Schema::Null) == is_null).unwrap();
            let at = of(json.is_null());
            Avro::Union(u32::try_from(at).unwrap(), Box::new(value(&union.variants()[at], json)))
        }
        (Schema::Null, _) => Avro::Null,
        (Schema::Enum(symbols), Value::String(text)) => {
            let at = symbols.symbols.iter().position(|symbol| symbol == text).unwrap();
            Avro::Enum(u32::try_from(at).unwrap(), text.clone())
        }
        (Schema::String, Value::String(text)) => Avro::String(text.clone()),
        (Schema::Bytes, Value::String(text)) => Avro::Bytes(text.clone().into_bytes()),
        (Schema::Int, json) => Avro::Int(json.as_i64().unwrap().try_into().unwrap()),
        (Schema::Long, json) => Avro::Long(json.as_i64().unwrap()),
        (Schema::Float, json) => Avro::Float(json.as_f64().unwrap() as f32),
        (Schema::Double, json) => Avro::Double(json.as_f64().unwrap()),
        (Schema::Array(array), Value::Array(items)) => {
            Avro::Array(items.iter().map(|item| value(&array.items, item)).collect())
        }
        (Schema::Map(map), Value::Object(all)) => {
            Avro::Map(all.iter().map(|(key, item)| (key.clone(), value(&map.types, item))).collect())
        }
        (Schema::Record(record), json) => {
            let field = |field: &RecordField| {
                let json = json.get(&field.name).or(field.default.as_ref());
                (field.name.clone(), value(&field.schema, json.unwrap_or_else(|| panic!("no {}", field.name))))
            };
            Avro::Record(record.fields.iter().map(field).collect())
        }
        (schema, json) => panic!("{json} is no {schema:?}"),
    }
}

/// What a writer with this schema makes of a record.
fn written(schema: &str, record: &Value) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    writer.write_value_to_vec(value(&schema, record)).unwrap()
}

/// What our reader makes of it.
#[track_caller]
fn assert_read(kind: &str, age: &str, record: &Value, expected: &Value) {
    let (registry, schema) = (Registry::shared(), fixture(kind, age));
    let id = registry.register(&unique("version"), &schema);
    let read = codec(registry).decode(kind, &framed(id, &written(&schema, record))).unwrap();
    let read: Value = serde_json::from_slice(&read).unwrap();
    assert_eq!(&read, expected, "{kind}, {age}");
}

/// `record` with other members in the place of some, or without those that are null.
fn with(record: &Value, changes: Value) -> Value {
    let mut record = record.clone();
    let all = record.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => _ = all.remove(name),
            value => _ = all.insert(name.clone(), value.clone()),
        }
    }
    record
}

#[test]
fn events_of_older_and_newer_writers_are_read() {
    let entity = json!({"id": "x", "type": "t", "name": "n", "confidence": 0.5});
    let relationship = json!({"id": "r", "from_entity": "x", "to_entity": "y", "strength": 0.25, "created_at": "c"});
    let common = json!({"event_id": "e", "event_type": "memory.updated", "memory_id": "m", "content": "text", "embedding": [0.5, 2],
        "importance": 0.75, "tags": ["a"], "entities": [entity], "relationships": [relationship], "version": 7, "vector_clock": {"n": 3}});
    assert_read("event", "older", &common, &common);

    let entity = with(&common["entities"][0], json!({"aliases": ["z"], "extra": {"more": "[1]"}}));
    let new = json!({"trace": {"span": "bytes", "kind": "B"}, "priority": 9, "cleared": ["importance", "metadata.gone"],
        "importance": null, "metadata": {"k": "{\"a\":1}"}, "entities": [entity]});
    let entity = with(&common["entities"][0], json!({"more": [1]}));
    let mut expected = with(&common, json!({"metadata": {"k": {"a": 1}}, "entities": [entity]}));
    // Cleared, which is written as null.
    (expected["importance"], expected["metadata"]["gone"]) = (Value::Null, Value::Null);
    assert_read("event", "newer", &with(&common, new), &expected);
}

/// A resolved memory as JSON has it, of what each writer knows.
fn resolved() -> Value {
    json!({"memory_id": "m", "user_id": "u", "content": "text", "embedding": [0.5, 2], "importance": 0.75, "tags": [], "status": "active",
        "entities": [{"id": "x", "confidence": 1}], "created_at": "1970-01-01T00:00:00Z", "updated_at": "1970-01-01T00:00:01Z",
        "version": 7, "vector_clock": {"n": 3}, "event_ids": ["e"]})
}

#[test]
fn resolved_memories_of_older_and_newer_writers_are_read() {
    assert_read("resolved-memory", "older", &resolved(), &resolved());
    let new = json!({"trace": {"span": "b", "kind": "A"}, "priority": 9, "conflicted_fields": ["content"], "metadata": {"k": "null"},
        "entities": [{"id": "x", "aliases": ["z"], "confidence": 1, "extra": {}}]});
    let mut expected = with(&resolved(), json!({"conflicted_fields": ["content"], "metadata": {}}));
    expected["metadata"]["k"] = Value::Null;
    assert_read("resolved-memory", "newer", &with(&resolved(), new), &expected);
}

#[test]
fn conflict_records_of_older_and_newer_writers_are_read() {
    let conflict = |value: Value| {
        let contender = json!({"event_id": "a", "vector_clock": {"n": 1}, "version": 2, "timestamp": "t", "importance": 0.5, "value": value,
            "source": {"topic": "events", "partition": 4, "offset": 17}});
        let field = json!({"path": "content", "value": value, "reason": "longest", "contenders": [contender]});
        json!({"conflict_id": "c", "memory_id": "m", "user_id": "u", "conflict_type": "concurrent_update", "local_event_id": "a",
            "remote_event_id": "b", "fields": [field], "delete_update": {"deletes": ["a"], "updates": []}, "resolution_strategy": "merge_all",
            "resolved_version": resolved(), "resolved_by": "app", "detected_at": "t", "resolved_at": "t", "status": "superseded"})
    };
    // Text that holds JSON is that JSON; what nobody won says so.
    let mut expected = conflict(json!({"k": [1, null]}));
    expected["fields"][0]["winner_event_id"] = Value::Null;
    let text = conflict(json!("{\"k\":[1,null]}"));
    assert_read("conflict-record", "older", &text, &expected);
    let mut text = with(&text, json!({"priority": 9, "superseded_by": "d"}));
    text["resolved_version"]["entities"][0]["aliases"] = json!(["z"]);
    text["resolved_version"]["entities"][0]["extra"] = json!({});
    text["fields"][0]["winner_event_id"] = json!("a");
    text["fields"][0]["contenders"][0]["region"] = json!("eu");
    expected["fields"][0]["winner_event_id"] = json!("a");
    assert_read("conflict-record", "newer", &text, &with(&expected, json!({"superseded_by": "d"})));
}

#[test]
fn user_snapshots_of_older_and_newer_writers_are_read() {
    let snapshot = json!({"snapshot_id": "s", "timestamp": "t", "node_id": "app", "user_id": "u", "memories": [resolved()], "vector_clock": {"n": 3}});
    assert_read("user-snapshot", "older", &snapshot, &snapshot);
    let mut new = with(&snapshot, json!({"priority": 9, "metadata": {"part": "1", "parts": "2"}}));
    new["entities"] = json!([{"id": "x", "aliases": ["z"], "confidence": 1, "extra": {}}]);
    new["relationships"] = json!([{"id": "r", "strength": 0.5, "extra": {}}]);
    new["memories"][0]["entities"][0]["aliases"] = json!(["z"]);
    new["memories"][0]["entities"][0]["extra"] = json!({});
    let entities = json!([{"id": "x", "confidence": 1}]);
    let expected = with(
        &snapshot,
        json!({"metadata": {"part": 1, "parts": 2}, "entities": entities, "relationships": [{"id": "r", "strength": 0.5}]}),
    );
    assert_read("user-snapshot", "newer", &new, &expected);
}

/// Asks the registry to take a schema under a subject; the status that it answers with.
fn offer(subject: &str, schema: &str) -> u16 {
    let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
    Registry::shared().call("POST", &format!("/subjects/{subject}/versions"), &body).expect("it answers").0
}

fn set_rule(subject: &str, rule: &str) {
    let body = json!({ "compatibility": rule }).to_string();
    let answer = Registry::shared().call("PUT", &format!("/config/{subject}"), &body).expect("it answers");
    assert_eq!(answer.0, 200, "{}", answer.1);
}

#[test]
fn a_registry_that_insists_on_full_compatibility_takes_what_we_can_read_and_nothing_else() {
    for kind in KINDS {
        let all: Vec<&str> = VERSIONS.iter().filter(|v| v.name == kind).map(|v| v.text).collect();
        let subject = unique(kind);
        assert_eq!(offer(&subject, all[0]), 200);
        set_rule(&subject, "FULL_TRANSITIVE");
        for text in all {
            assert_eq!(offer(&subject, text), 200, "{kind}: each of our versions is compatible with all before");
        }
        assert_eq!(offer(&subject, &fixture(kind, "newer")), 200, "{kind}: so is the next to come");
        let mut broken: Value = serde_json::from_str(newest(kind)).unwrap();
        let required = json!({ "name": "required", "type": "string", "doc": "Has no default." });
        broken["fields"].as_array_mut().unwrap().push(required);
        assert_eq!(offer(&subject, &broken.to_string()), 409, "{kind}: a field that old records have not");

        // What is promoted is read by us, and not the other way round.
        let subject = unique(kind);
        assert_eq!(offer(&subject, &fixture(kind, "older")), 200);
        set_rule(&subject, "FULL");
        assert_eq!(offer(&subject, newest(kind)), 409, "{kind}: older readers have narrower numbers");
        set_rule(&subject, "BACKWARD");
        assert_eq!(offer(&subject, newest(kind)), 200, "{kind}: we read what older writers wrote");
    }
}
