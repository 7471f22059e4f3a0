//! The OpenAPI document: it is what the routes generate, it is valid, and the requests that were
//! accepted and all answers are as it says.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::site::{Answer, Site};

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&helixstream_node_http::openapi().unwrap()).unwrap());

/// Headers that an answer may lack.
const OPTIONAL_HEADERS: [&str; 1] = ["X-Truncated"];

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
        // `{rest}` at the end stands for several segments.
        let has_rest = parts.last() == Some(&"{rest}") && segments.len() > parts.len();
        (parts.len() == segments.len() || has_rest) && parts.iter().zip(&segments).all(is_same)
    };
    let all = DOCUMENT["paths"].as_object().unwrap();
    // `/v1/memories/search` is itself, and no id.
    let exact = all.iter().find(|(template, _)| *template == path);
    exact.or_else(|| all.iter().find(|(template, _)| fits(template))).map(|(path, item)| (path.as_str(), item))
}

/// Whether every method of a path is answered with 501, of which one is listed.
fn is_refused(item: &Value) -> bool {
    let succeeds = |status: &String| status.starts_with('2');
    let mut operations = item.as_object().unwrap().values();
    !operations.any(|operation| operation["responses"].as_object().unwrap().keys().any(succeeds))
}

/// Holds a request and its answer against the document: the status is listed, and the body and the
/// headers of the answer are as described. So is the body of the request where it was accepted.
#[track_caller]
pub fn check(method: &str, path: &str, body: &[u8], answer: &Answer) {
    let Some((template, item)) = described(path) else {
        return check_problem(answer, &[401, 403, 404]);
    };
    let Some(operation) = item.get(method.to_lowercase()) else {
        return check_problem(answer, if is_refused(item) { &[401, 403, 501] } else { &[401, 403, 405] });
    };
    if answer.status < 300 {
        check_request(method, path, operation, body);
    }
    let listed = &operation["responses"];
    let response = listed.get(answer.status.to_string());
    let response =
        resolved(response.unwrap_or_else(|| panic!("{method} {template} has no {}: {answer:?}", answer.status)));
    let content = response["content"].as_object().unwrap();
    let media_type = answer.header("content-type").unwrap_or_default();
    let schema = content.get(media_type).unwrap_or_else(|| panic!("{method} {template}: {answer:?}"));
    check_body(&schema["schema"], answer);
    for name in response.get("headers").and_then(Value::as_object).into_iter().flat_map(|headers| headers.keys()) {
        let is_optional = OPTIONAL_HEADERS.contains(&name.as_str());
        assert!(
            is_optional || answer.header(&name.to_lowercase()).is_some(),
            "{method} {template} without {name}: {answer:?}"
        );
    }
}

#[track_caller]
fn check_problem(answer: &Answer, statuses: &[u16]) {
    assert!(statuses.contains(&answer.status), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    check_body(&json!({"$ref": "#/components/schemas/Problem"}), answer);
}

/// Whether a value is as a schema of the document says: the errors.
fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let mut whole = schema.clone();
    whole["components"] = DOCUMENT["components"].clone();
    let validator = jsonschema::validator_for(&whole).unwrap();
    validator.iter_errors(value).map(|error| error.to_string()).collect()
}

/// A body that was accepted is as described, and each of its parameters is listed.
#[track_caller]
fn check_request(method: &str, path: &str, operation: &Value, body: &[u8]) {
    let names = |place: &str| -> BTreeSet<String> {
        let all = operation["parameters"].as_array().into_iter().flatten().map(resolved);
        all.filter(|one| one["in"] == place).map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let query = path.split_once('?').map(|(_, query)| query).unwrap_or_default();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap();
        assert!(names("query").contains(name), "{method} {path}: {name} is not described");
    }
    let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") else {
        assert!(body.is_empty(), "{method} {path} has a body that is not described");
        return;
    };
    let value: Value = serde_json::from_slice(body).unwrap();
    let errors = errors(schema, &value);
    assert!(errors.is_empty(), "{method} {path}: {errors:?}: {value}");
}

#[track_caller]
fn check_body(schema: &Value, answer: &Answer) {
    let body = answer.json();
    let errors = errors(schema, &body);
    assert!(errors.is_empty(), "{errors:?}: {answer:?}");
    if let Some(status) = body.get("status").filter(|_| body.get("code").is_some()) {
        assert_eq!(status, answer.status);
    }
}

#[test]
fn the_copy_in_schemas_is_what_the_routes_generate_and_the_node_serves() {
    let (file, generated) = ("schemas/node-api.openapi.json", helixstream_node_http::openapi().unwrap() + "\n");
    let path = testkit::repo_path(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let is_same = std::fs::read_to_string(&path).unwrap() == generated;
    assert!(
        is_same,
        "{file} is not what the routes generate; write it anew: \
         BLESS=1 cargo test -p helixstream-node-http --test node_http document::"
    );
    let served = Site::open().get("/v1/openapi.json").of(200);
    assert!(served.body + "\n" == generated, "the node serves another document");
}

#[test]
fn the_document_lists_the_methods_of_each_path() {
    let site = Site::open();
    for (template, item) in DOCUMENT["paths"].as_object().unwrap() {
        let segments = template.split('/').map(|part| if part.starts_with('{') { "m" } else { part });
        let path = segments.collect::<Vec<_>>().join("/");
        let methods = ["get", "put", "post", "patch", "delete"];
        let known: BTreeSet<&str> = methods.into_iter().filter(|method| item.get(method).is_some()).collect();
        if is_refused(item) {
            for method in methods {
                assert_eq!(site.mem0("", &method.to_uppercase(), &path, "").of(501).text("/code"), "HS8080");
            }
            continue;
        }
        let answer = site.ask("TRACE", &path, &[], "").of(405);
        let allowed = answer.header("allow").unwrap().to_lowercase();
        let allowed: BTreeSet<&str> = allowed.split(',').map(str::trim).filter(|method| *method != "head").collect();
        assert_eq!(allowed, known, "{template}");
    }
}

#[test]
fn the_document_is_valid_openapi() {
    let schema = testkit::repo_path("crates/node-http/tests/fixtures/openapi-3.1.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&DOCUMENT).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    // The schema says nothing about the schemas in the document.
    let dialect = json!({"$ref": "https://json-schema.org/draft/2020-12/schema"});
    let dialect = jsonschema::validator_for(&dialect).unwrap();
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        let errors: Vec<String> = dialect.iter_errors(schema).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

#[test]
fn each_operation_is_described_whole_and_has_an_id_of_its_own() {
    let mut ids = BTreeSet::new();
    for (template, item) in DOCUMENT["paths"].as_object().unwrap() {
        let segments: BTreeSet<&str> =
            template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {template}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{place}: the id is there twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{place}");
            let parameters = operation["parameters"].as_array().into_iter().flatten().map(resolved);
            let in_path: BTreeSet<&str> =
                parameters.filter(|one| one["in"] == "path").map(|one| one["name"].as_str().unwrap()).collect();
            assert_eq!(in_path, segments, "{place}");
            let statuses = operation["responses"].as_object().unwrap();
            assert!(statuses.keys().any(|status| status.starts_with('2') || status == "501"), "{place}");
            // Each tag is described.
            let tags = DOCUMENT["tags"].as_array().unwrap();
            assert!(tags.iter().any(|tag| tag["name"] == operation["tags"][0]), "{place}");
        }
    }
    // Every limit that a text names is filled in.
    let text = DOCUMENT.to_string();
    let unfilled = text.match_indices('{').find(|(at, _)| text[at + 1..].starts_with(|c: char| c.is_ascii_uppercase()));
    assert_eq!(unfilled.map(|(at, _)| &text[at..at + 30]), None);
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
    for kind in ["headers", "parameters", "responses", "schemas"] {
        for name in DOCUMENT["components"][kind].as_object().unwrap().keys() {
            assert!(found.contains(&format!("#/components/{kind}/{name}")), "{kind}: {name} is not used");
        }
    }
}
