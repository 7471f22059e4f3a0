//! The OpenAPI document against the routes and their answers.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::site::{Answer, Site};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let file = testkit::repo_path("schemas/node-api.openapi.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
});

/// Follows a reference.
fn resolved(value: &Value) -> &Value {
    let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
    let pointer = reference.strip_prefix('#').unwrap();
    DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("there is no {reference}"))
}

/// The path of the document that a request has, with its description.
fn described(path: &str) -> Option<(&'static str, &'static Value)> {
    let path = path.split('?').next().unwrap();
    let segments: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        let is_same =
            |(part, segment): (&&str, &&str)| part == segment || (part.starts_with('{') && !segment.is_empty());
        parts.len() == segments.len() && parts.iter().zip(&segments).all(is_same)
    };
    let all = DOCUMENT["paths"].as_object().unwrap();
    // `/v1/memories/search` is itself, and no id.
    let exact = all.iter().find(|(template, _)| *template == path);
    exact.or_else(|| all.iter().find(|(template, _)| fits(template))).map(|(path, item)| (path.as_str(), item))
}

/// Holds an answer against the document: its status is listed, and its body and headers are as
/// described.
#[track_caller]
pub fn check(method: &str, path: &str, answer: &Answer) {
    let Some((template, item)) = described(path) else {
        return check_problem(answer, &[401, 403, 404]);
    };
    let Some(operation) = item.get(method.to_lowercase()) else {
        return check_problem(answer, &[401, 403, 405]);
    };
    let listed = &operation["responses"];
    let response = listed.get(answer.status.to_string());
    let response =
        resolved(response.unwrap_or_else(|| panic!("{method} {template} has no {}: {answer:?}", answer.status)));
    let content = response["content"].as_object().unwrap();
    let media_type = answer.header("content-type").unwrap_or_default();
    let schema = content.get(media_type).unwrap_or_else(|| panic!("{method} {template}: {answer:?}"));
    check_body(&schema["schema"], answer);
    for name in response.get("headers").and_then(Value::as_object).into_iter().flat_map(|headers| headers.keys()) {
        assert!(answer.header(&name.to_lowercase()).is_some(), "{method} {template} without {name}: {answer:?}");
    }
}

#[track_caller]
fn check_problem(answer: &Answer, statuses: &[u16]) {
    assert!(statuses.contains(&answer.status), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    check_body(&json!({"$ref": "#/components/schemas/Problem"}), answer);
}

#[track_caller]
fn check_body(schema: &Value, answer: &Answer) {
    let mut whole = schema.clone();
    whole["components"] = DOCUMENT["components"].clone();
    let validator = jsonschema::validator_for(&whole).unwrap();
    let body = answer.json();
    let errors: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}: {answer:?}");
    if let Some(status) = body.get("status").filter(|_| body.get("code").is_some()) {
        assert_eq!(status, answer.status);
    }
}

#[test]
fn the_document_lists_the_routes_and_their_methods() {
    let site = Site::open();
    let listed: BTreeSet<String> = DOCUMENT["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(listed, helixstream_node_http::routes::paths().into_iter().collect());
    for (template, item) in DOCUMENT["paths"].as_object().unwrap() {
        let segments = template.split('/').map(|part| if part.starts_with('{') { "m" } else { part });
        let path = segments.collect::<Vec<_>>().join("/");
        let methods = ["get", "put", "post", "patch", "delete"];
        let known: BTreeSet<&str> = methods.into_iter().filter(|method| item.get(method).is_some()).collect();
        let answer = site.ask("TRACE", &path, &[], "").of(405);
        let allowed = answer.header("allow").unwrap().to_lowercase();
        let allowed: BTreeSet<&str> = allowed.split(',').map(str::trim).filter(|method| *method != "head").collect();
        assert_eq!(allowed, known, "{template}");
    }
    assert_eq!(site.get("/v1/openapi.json").of(200).json(), *DOCUMENT);
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| match value {
                Value::String(reference) if name == "$ref" => {
                    resolved(&json!({"$ref": reference}));
                    found.insert(reference.clone());
                }
                _ => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    references(&DOCUMENT, &mut found);
    for kind in ["parameters", "responses", "schemas"] {
        for name in DOCUMENT["components"][kind].as_object().unwrap().keys() {
            assert!(found.contains(&format!("#/components/{kind}/{name}")), "{kind}: {name} is not used");
        }
    }
}
