//! The JSON Schema of topology files, made from what reads them: the tables and keys of
//! [`super::keys`], the settings of [`super::setting`], the operators of the program. It is what an
//! editor can know; `topology check` knows the rest.
//!
//! Draft 7, since that is what editors' TOML servers read.

use serde_json::{Map, Value, json};

use super::kafka::KAFKA;
use super::key::{Key, Section, Takes};
use super::keys::{BRANCH, PROCESSOR, ROOT, SCRIPT, SECTIONS, SETTINGS, STRATEGIES};
use super::operator::{description_of, key_of};
use super::setting::{CONTAINERS, PLAIN, SPECS};
use super::value::{self, BYTE_UNITS, TIME_UNITS};
use operators::spec::{OperatorRegistry, OperatorSpec, Parameter};

/// The schema of files that can name these operators; with those that are shipped,
/// `schemas/topology.schema.json`.
///
/// # Errors
/// It cannot be written as JSON.
pub fn text(operators: &OperatorRegistry) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(&schema(operators))? + "\n")
}

/// The schema.
pub fn schema(operators: &OperatorRegistry) -> Value {
    let mut properties = Map::new();
    for key in ROOT {
        properties.insert(key.name.to_owned(), described(takes(key.takes), key.what, &[key.example]));
    }
    for section in SECTIONS {
        let one = if section.name == PROCESSOR.name { processor(operators) } else { table(section) };
        properties.insert(section.name.to_owned(), one);
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

fn property(key: &Key) -> (String, Value) {
    let what = match key.takes {
        Takes::Path => format!("{} A relative path starts at the folder of this file.", key.what),
        _ => key.what.to_owned(),
    };
    (key.name.to_owned(), described(takes(key.takes), &what, &[key.example]))
}

fn table(section: &Section) -> Value {
    let mut one = object(section, section.keys.iter().map(property).collect());
    if let Some(members) = one.as_object_mut()
        && section.name == SCRIPT.name
    {
        members.insert("anyOf".to_owned(), json!([{ "required": ["file"] }, { "required": ["source"] }]));
    }
    listed(section, one)
}

/// The table of processors, with the parameters of all operators.
fn processor(operators: &OperatorRegistry) -> Value {
    let own = PROCESSOR.keys.iter().map(|key| match key.takes {
        Takes::Operator => {
            let known = operators.iter().map(|op| json!({ "const": op.name, "description": op.description }));
            let known = or_variable(json!({ "oneOf": known.collect::<Vec<_>>() }));
            (key.name.to_owned(), described(known, key.what, &[key.example]))
        }
        _ => property(key),
    });
    let parameter = |(parameter, operators): (&Parameter, Vec<&OperatorSpec>)| {
        let key = key_of(parameter);
        let what = description_of(parameter.name, &operators);
        (key.name.to_owned(), described(takes(key.takes), &what, &[key.example]))
    };
    let properties = own.chain(operators.parameters().into_iter().map(parameter)).collect();
    let mut one = object(&PROCESSOR, properties);
    if let Some(members) = one.as_object_mut() {
        members.insert("allOf".to_owned(), by_operator(operators));
    }
    listed(&PROCESSOR, one)
}

fn object(section: &Section, properties: Map<String, Value>) -> Value {
    let required: Vec<&str> = section.keys.iter().filter(|key| key.needed).map(|key| key.name).collect();
    let mut one = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if let (Some(members), false) = (one.as_object_mut(), required.is_empty()) {
        members.insert("required".to_owned(), required.into());
    }
    one
}

fn listed(section: &Section, one: Value) -> Value {
    if !section.is_list {
        return described(one, section.what, &[]);
    }
    described(json!({ "type": "array", "minItems": 1, "items": one }), section.what, &[])
}

/// An operator that keeps stores must have them; each has its own parameters and no other's.
fn by_operator(operators: &OperatorRegistry) -> Value {
    let one = |op: &OperatorSpec| {
        let required = op.parameters.iter().filter(|own| own.is_required).map(|own| own.name);
        let required: Vec<&str> = required.chain((op.stores > 0).then_some("stores")).collect();
        let all = operators.parameters();
        let foreign = all.iter().map(|(parameter, _)| parameter.name).filter(|name| op.parameter(name).is_none());
        let foreign: Map<String, Value> = foreign.map(|name| (name.to_owned(), false.into())).collect();
        let mut then = json!({ "properties": foreign });
        if let Some(members) = then.as_object_mut() {
            if !required.is_empty() {
                members.insert("required".to_owned(), required.into());
            }
            if op.without_parameters.is_some() {
                let any: Vec<Value> = op.parameters.iter().map(|own| json!({ "required": [own.name] })).collect();
                members.insert("anyOf".to_owned(), any.into());
            }
        }
        json!({
            "if": { "required": ["operator"], "properties": { "operator": { "const": op.name } } },
            "then": then
        })
    };
    operators.iter().map(one).collect()
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
        // The table of processors lists the operators that it can name.
        Takes::Operator => or_variable(json!({ "type": "string" })),
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
