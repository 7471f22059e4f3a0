//! The JSON Schemas of what goes to HelixAgent's nodes: every output of these tests is held against
//! them.

use crate::drive::Out;
use crate::go;
use jsonschema::{Registry, Validator};
use serde_json::Value;
use testkit::repo_path;

fn schema(name: &str) -> Value {
    let path = repo_path("schemas").join(format!("{name}.schema.json"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the schema is there")).expect("the schema is JSON")
}

/// The schemas, compiled.
pub struct Schemas {
    message: Validator,
    event: Validator,
    report: Validator,
    snapshot: Validator,
}

impl Schemas {
    pub fn new() -> Schemas {
        let event = schema("helixagent-event");
        let id = event["$id"].as_str().expect("has an id").to_owned();
        let registry = Registry::new().add(id, event).expect("is a schema").prepare().expect("resolves");
        let validator = |name| jsonschema::options().with_registry(&registry).build(&schema(name)).expect("compiles");
        Schemas {
            message: validator("helixagent-message"),
            event: validator("helixagent-event"),
            report: validator("helixagent-conflict-report"),
            snapshot: validator("helixagent-snapshot"),
        }
    }

    /// Holds an output and what it carries against them.
    #[track_caller]
    pub fn check(&self, out: &Out) {
        one(&self.message, &out.value);
        let message = go::message(&out.value).unwrap();
        let schema = match message.kind.as_str() {
            "memory.conflict" => &self.report,
            "user.snapshot" => &self.snapshot,
            _ => &self.event,
        };
        one(schema, &message.payload);
    }
}

#[track_caller]
fn one(validator: &Validator, json: &[u8]) {
    let value: Value = serde_json::from_slice(json).expect("is JSON");
    let errors: Vec<String> = validator.iter_errors(&value).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{}", String::from_utf8_lossy(json));
}
