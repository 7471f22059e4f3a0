//! The JSON Schemas in `schemas/` say what events may be and what outputs are: the samples and
//! everything that generated streams emit is held against them.

use jsonschema::{Registry, Validator};
use serde_json::Value;

use crate::ours;
use reference_model::generate;

fn schema(name: &str) -> Value {
    let path = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the schema is there")).expect("the schema is JSON")
}

fn validator(name: &str) -> Validator {
    let resolved = schema("resolved-memory");
    let id = resolved["$id"].as_str().expect("has an id").to_owned();
    let registry = Registry::new().add(id, resolved).expect("is a schema").prepare().expect("resolves");
    jsonschema::options().with_registry(&registry).build(&schema(name)).expect("the schema compiles")
}

fn check(validator: &Validator, json: &str) {
    let value: Value = serde_json::from_str(json).expect("is JSON");
    let errors: Vec<String> = validator.iter_errors(&value).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{json}");
}

#[test]
fn outputs_are_as_their_schemas_say() {
    let (resolved, conflict) = (validator("resolved-memory"), validator("conflict-record"));
    for seed in testkit::seeds(2_000) {
        let stream = generate::stream(seed, 12, true);
        let run = ours::run(&stream.records, &stream.settings);
        run.snapshots.iter().for_each(|(_, json, _)| check(&resolved, json));
        run.conflicts.iter().for_each(|(_, json, _)| check(&conflict, json));
    }
}

#[test]
fn a_schema_refuses_what_is_not_an_output() {
    let resolved = validator("resolved-memory");
    let stream = generate::stream(7, 12, false);
    let run = ours::run(&stream.records, &stream.settings);
    let mut value: Value = serde_json::from_str(&run.snapshots[0].1).expect("is JSON");
    assert!(resolved.is_valid(&value));
    value["status"] = "gone".into();
    assert!(!resolved.is_valid(&value));
    value["status"] = "active".into();
    value["new_member"] = 1.into();
    assert!(!resolved.is_valid(&value));
}

#[test]
fn the_samples_are_as_the_events_schema_says() {
    let event = validator("event");
    let path = format!("{}/tests/fixtures/helixagent-events.jsonl", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(path).expect("the samples are there");
    let mut seen = 0;
    for line in lines.lines() {
        use base64::Engine as _;
        let decode = |text: &Value| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_str().expect("is text"));
            bytes.expect("is base64")
        };
        let record: Value = serde_json::from_str(line).expect("is JSON");
        let envelope: Value = serde_json::from_slice(&decode(&record["value_b64"])).expect("is JSON");
        check(&event, &String::from_utf8(decode(&envelope["payload"])).expect("is UTF-8"));
        seen += 1;
    }
    assert_eq!(seen, 305);
}
