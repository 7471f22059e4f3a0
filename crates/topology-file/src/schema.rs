//! The JSON Schema of topology files, made from what reads them: the tables and keys of [`super::keys`], the settings of
//! [`super::setting`], the operators. It is what an editor can know; `topology check` knows the rest.
//!
//! Draft 7, since that is what editors' TOML servers read.

use serde_json::{Map, Value, json};

use super::kafka::KAFKA;
use super::key::{Key, Section, Takes};
use super::keys::{BRANCH, PROCESSOR, ROOT, SCRIPT, SECTIONS, SETTINGS, STRATEGIES};
use super::operator::{OPERATORS, Operator};
use super::setting::{CONTAINERS, PLAIN, SPECS};
use super::value::{self, BYTE_UNITS, TIME_UNITS};

/// The schema as it stands in `schemas/topology.schema.json`.
///
/// # Errors
/// It cannot be written as JSON.
pub fn text() -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(&schema())? + "\n")
}

/// The schema.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for key in ROOT {
        properties.insert(key.name.to_owned(), described(takes(key.takes), key.what, &[key.example]));
    }
    for section in SECTIONS {
        properties.insert(section.name.to_owned(), table(section));
    }
    for (name, what) in SETTINGS {
        properties.insert((*name).to_owned(), settings(name, what));
    }
    let mut kafka = table(&KAFKA);
    if let Some(members) = kafka.as_object_mut() {
        members.insert("additionalProperties".to_owned(), json!({ "type": ["string", "integer", "boolean"] }));
    }
    properties.insert(KAFKA.name.to_owned(), kafka);
    let required: Vec<&str> = ROOT.iter().filter(|key| key.needed).map(|key| key.name).collect();
    let required: Vec<&str> = required.into_iter().chain(["dead_letters", "source"]).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "urn:helixstream:schema:topology:1",
        "title": "Topology of helixstream",
        "description": "A file of topologies/. `helixstream topology check F` says what this schema cannot.",
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
        "definitions": {
            "variable": {
                "description": "A value from the environment: `${NAME}`, or `${NAME:-default}`.",
                "type": "string",
                "pattern": r"\$\{"
            },
            "strategy": takes(Takes::Strategy),
            "strategies": {
                "type": "object",
                "additionalProperties": {
                    "anyOf": [{ "$ref": "#/definitions/strategy" }, { "$ref": "#/definitions/strategies" }]
                }
            },
            "expressions": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": { "anyOf": [takes(Takes::Expression), { "$ref": "#/definitions/expressions" }] }
            }
        }
    })
}

fn described(mut schema: Value, what: &str, examples: &[&str]) -> Value {
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), what.into());
        let examples: Vec<Value> = examples.iter().filter_map(|example| of_toml(example)).collect();
        if !examples.is_empty() {
            members.insert("examples".to_owned(), examples.into());
        }
    }
    schema
}

/// A value written as TOML.
fn of_toml(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

fn table(section: &Section) -> Value {
    let key = |key: &Key| {
        let what = match key.takes {
            Takes::Path => format!("{} A relative path starts at the folder of this file.", key.what),
            _ => key.what.to_owned(),
        };
        (key.name.to_owned(), described(takes(key.takes), &what, &[key.example]))
    };
    let properties: Map<String, Value> = section.keys.iter().map(key).collect();
    let required: Vec<&str> = section.keys.iter().filter(|key| key.needed).map(|key| key.name).collect();
    let mut one = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if let Some(members) = one.as_object_mut() {
        if !required.is_empty() {
            members.insert("required".to_owned(), required.into());
        }
        if section.name == PROCESSOR.name {
            members.insert("allOf".to_owned(), operators());
        }
        if section.name == SCRIPT.name {
            members.insert("anyOf".to_owned(), json!([{ "required": ["file"] }, { "required": ["source"] }]));
        }
    }
    if !section.is_list {
        return described(one, section.what, &[]);
    }
    described(json!({ "type": "array", "minItems": 1, "items": one }), section.what, &[])
}

/// An operator that keeps stores must be given them; each is told by its own keys and no other's.
fn operators() -> Value {
    let of_operators = || OPERATORS.iter().flat_map(|op| op.keys.iter().map(|(key, _)| *key));
    let one = |op: &Operator| {
        let needed = op.keys.iter().filter(|(_, needed)| *needed).map(|(key, _)| *key);
        let required: Vec<&str> = needed.chain((op.stores > 0).then_some("stores")).collect();
        let foreign = of_operators().filter(|key| !op.keys.iter().any(|(own, _)| own == key));
        let foreign: Map<String, Value> = foreign.map(|key| (key.to_owned(), false.into())).collect();
        let mut then = json!({ "properties": foreign });
        if let Some(members) = then.as_object_mut() {
            if !required.is_empty() {
                members.insert("required".to_owned(), required.into());
            } else if !op.keys.is_empty() {
                let any: Vec<Value> = op.keys.iter().map(|(key, _)| json!({ "required": [key] })).collect();
                members.insert("anyOf".to_owned(), any.into());
            }
        }
        json!({
            "if": { "required": ["operator"], "properties": { "operator": { "const": op.name } } },
            "then": then
        })
    };
    OPERATORS.iter().map(one).collect()
}

fn settings(section: &str, what: &str) -> Value {
    let specs = SPECS.iter().filter(|spec| spec.section == section);
    let mut properties: Map<String, Value> = specs
        .map(|spec| {
            let mut schema = described(takes(spec.takes), spec.what, &[spec.example]);
            if let (Some(members), true) = (schema.as_object_mut(), spec.is_default()) {
                let default = members.remove("examples").and_then(|list| list.get(0).cloned());
                members.extend(default.map(|value| ("default".to_owned(), value)));
            }
            (spec.key.to_owned(), schema)
        })
        .collect();
    if section == "resolver" {
        properties.insert(STRATEGIES.0.to_owned(), strategies());
    }
    described(json!({ "type": "object", "additionalProperties": false, "properties": properties }), what, &[])
}

fn strategies() -> Value {
    let one = json!({ "$ref": "#/definitions/strategy" });
    let any = json!({ "anyOf": [one, { "$ref": "#/definitions/strategies" }] });
    let plain = PLAIN.iter().map(|path| ((*path).to_owned(), one.clone()));
    let properties: Map<String, Value> =
        plain.chain(CONTAINERS.iter().map(|path| ((*path).to_owned(), any.clone()))).collect();
    let within = format!(r"^({})\..", CONTAINERS.join("|"));
    let schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "patternProperties": { within: any }
    });
    described(schema, STRATEGIES.1, &[])
}

fn text_like(pattern: String) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

/// A value, or a variable in its place.
fn or_variable(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "$ref": "#/definitions/variable" }] })
}

fn one_or_list(one: Value, least: usize) -> Value {
    json!({ "anyOf": [one, { "type": "array", "minItems": least, "items": one }] })
}

fn takes(takes: Takes) -> Value {
    let name = "[A-Za-z0-9_-]+";
    match takes {
        Takes::Text | Takes::Secret | Takes::Path => json!({ "type": "string" }),
        Takes::Name => or_variable(text_like(format!("^{name}$"))),
        Takes::Topic => or_variable(text_like("^[A-Za-z0-9._-]{1,249}$".to_owned())),
        Takes::Id(most) => or_variable(text_like(format!("^[A-Za-z0-9._-]{{1,{most}}}$"))),
        Takes::Operator => {
            let known = OPERATORS.iter().map(|op| json!({ "const": op.name, "description": op.what }));
            or_variable(json!({ "oneOf": known.collect::<Vec<_>>() }))
        }
        Takes::Stores => one_or_list(or_variable(text_like(format!("^{name}$"))), 0),
        Takes::Inputs => one_or_list(or_variable(text_like(format!(r"^{name}(\.{name})?$"))), 1),
        Takes::Expression => text_like(r"\S".to_owned()),
        Takes::Expressions => json!({ "$ref": "#/definitions/expressions" }),
        Takes::Fields => {
            let path = text_like(r"^[^.]+(\.[^.]+)*$".to_owned());
            json!({ "anyOf": [path, { "type": "array", "minItems": 1, "items": path }] })
        }
        Takes::Branches => table(&BRANCH),
        Takes::Count(max) => or_variable(json!({ "type": "integer", "minimum": 1, "maximum": max })),
        Takes::Strategy => {
            let known: Vec<&str> = value::STRATEGIES.split(", ").collect();
            let named = text_like(format!("^custom:{name}$"));
            json!({ "anyOf": [{ "enum": known }, named, { "$ref": "#/definitions/variable" }] })
        }
        Takes::Choice(known) => or_variable(json!({ "enum": known.split(", ").collect::<Vec<_>>() })),
        Takes::Boolean => or_variable(json!({ "type": "boolean" })),
        Takes::Number(min, max) => or_variable(json!({ "type": "integer", "minimum": min, "maximum": max })),
        Takes::Bytes(min, max) => {
            let units = units(BYTE_UNITS);
            json!({ "anyOf": [
                { "type": "integer", "minimum": min, "maximum": max },
                text_like(format!("^[0-9]+\\s*({units})?$")),
                { "$ref": "#/definitions/variable" }
            ] })
        }
        Takes::DurationOrOff(..) => or_variable(text_like(format!("^(off|[0-9]+\\s*({}))$", units(TIME_UNITS)))),
        Takes::Duration(..) => or_variable(text_like(format!("^[0-9]+\\s*({})$", units(TIME_UNITS)))),
    }
}

fn units(all: &[(&str, u64)]) -> String {
    all.iter().map(|(unit, _)| *unit).collect::<Vec<_>>().join("|")
}
