//! Events into Avro and outputs out of it, with apache-avro's own values: a second opinion on our
//! edge, written from docs/semantics.md, section 1.

use apache_avro::Schema;
use apache_avro::schema::RecordSchema;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use base64::Engine as _;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

type Raw = BTreeMap<String, Box<RawValue>>;

/// A body in Confluent's wire format.
pub fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], body].concat()
}

fn fields(schema: &Schema) -> &RecordSchema {
    match schema {
        Schema::Record(record) => record,
        Schema::Union(union) => {
            fields(union.variants().iter().find(|v| **v != Schema::Null).expect("has another branch"))
        }
        Schema::Array(array) => fields(&array.items),
        other => panic!("no record: {other:?}"),
    }
}

fn some(value: Avro) -> Avro {
    Avro::Union(1, Box::new(value))
}

fn none() -> Avro {
    Avro::Union(0, Box::new(Avro::Null))
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// A number that a double holds as it is.
fn double(raw: &RawValue) -> Option<f64> {
    let d: f64 = raw.get().parse().ok()?;
    let is_exact = raw.get().contains(['.', 'e', 'E']) || d.abs() < 9e15;
    (is_exact && d.is_finite() && matches!(raw.get().as_bytes()[0], b'-' | b'0'..=b'9')).then_some(d)
}

fn texts(raw: &RawValue) -> Option<Avro> {
    let all: Vec<String> = serde_json::from_str(raw.get()).ok()?;
    Some(Avro::Array(all.into_iter().map(Avro::String).collect()))
}

/// The body of an event in Avro; `None` where it is bad, or says what Avro has no place for.
pub fn event(schema: &Schema, value: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut all: Raw = serde_json::from_slice(value?).ok()?;
    if let (Some(payload), None) = (all.get("payload"), all.get("event_id")) {
        let payload = base64::engine::general_purpose::STANDARD.decode(text(payload)?).ok()?;
        all = serde_json::from_slice(&payload).ok()?;
    }
    // What is bad as JSON need not be as Avro, so it stays as it is.
    let limits = memory::event::Limits::default();
    memory::event::decode(value, 1_700_000_000_000, &limits).ok()?;
    encode(schema, &all)
}

/// The body of a small event with one field changed.
pub fn changed(schema: &Schema, name: &str, value: Avro) -> Vec<u8> {
    let all: Raw = serde_json::from_str(r#"{"event_id":"e","event_type":"memory.updated","memory_id":"m"}"#).unwrap();
    let mut record = record(schema, &all).unwrap();
    record.iter_mut().find(|(field, _)| field == name).unwrap().1 = value;
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(Avro::Record(record)).unwrap()
}

fn encode(schema: &Schema, all: &Raw) -> Option<Vec<u8>> {
    let record = Avro::Record(record(schema, all)?);
    Some(GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(record).expect("fits the schema"))
}

fn record(schema: &Schema, all: &Raw) -> Option<Vec<(String, Avro)>> {
    let mut cleared = Vec::new();
    let mut record = Vec::new();
    for field in &fields(schema).fields {
        let name = field.name.as_str();
        let raw = all.get(name).filter(|raw| raw.get() != "null");
        let is_cleared = all.get(name).is_some_and(|raw| raw.get() == "null");
        let value = match (name, raw) {
            ("cleared", _) => continue,
            ("event_id" | "event_type", raw) => Avro::String(text(raw?)?),
            ("version", raw) => Avro::Long(raw.map_or(Some(0), |raw| raw.get().parse().ok())?),
            (
                "timestamp" | "node_id" | "memory_id" | "vector_clock" | "metadata" | "entities" | "relationships",
                None,
            ) => none(),
            (_, None) => {
                cleared.extend(is_cleared.then(|| name.to_owned()));
                none()
            }
            ("tags" | "merged_from", Some(raw)) => some(texts(raw)?),
            ("embedding", Some(raw)) => {
                let all: Vec<Box<RawValue>> = serde_json::from_str(raw.get()).ok()?;
                some(Avro::Array(all.iter().map(|n| double(n).map(Avro::Double)).collect::<Option<_>>()?))
            }
            ("importance", Some(raw)) => some(Avro::Double(double(raw)?)),
            ("vector_clock", Some(raw)) => some(clock(raw)?),
            ("metadata", Some(raw)) => {
                let all: Raw = serde_json::from_str(raw.get()).ok()?;
                cleared.extend(all.iter().filter(|(_, v)| v.get() == "null").map(|(k, _)| format!("metadata.{k}")));
                let kept = all.into_iter().filter(|(_, v)| v.get() != "null");
                some(Avro::Map(kept.map(|(k, v)| (k, Avro::String(v.get().to_owned()))).collect()))
            }
            ("entities" | "relationships", Some(raw)) => {
                let all: Vec<Raw> = serde_json::from_str(raw.get()).ok()?;
                let parts = all.iter().map(|all| part(fields(&field.schema), all));
                some(Avro::Array(parts.collect::<Option<_>>()?))
            }
            (_, Some(raw)) => some(Avro::String(text(raw)?)),
        };
        record.push((name.to_owned(), value));
    }
    record.push(("cleared".to_owned(), Avro::Array(cleared.into_iter().map(Avro::String).collect())));
    Some(record)
}

fn clock(raw: &RawValue) -> Option<Avro> {
    let inner: Box<RawValue>;
    let raw = match text(raw) {
        Some(text) if text.is_empty() => return Some(Avro::Map(Default::default())),
        Some(text) => {
            inner = serde_json::from_str(&text).ok()?;
            &inner
        }
        None => raw,
    };
    let all: Raw = serde_json::from_str(raw.get()).ok()?;
    let entry = |(node, counter): (String, Box<RawValue>)| Some((node, Avro::Long(counter.get().parse().ok()?)));
    Some(Avro::Map(all.into_iter().map(entry).collect::<Option<_>>()?))
}

/// An entity or a relationship.
fn part(schema: &RecordSchema, all: &Raw) -> Option<Avro> {
    let mut rest = all.clone();
    let mut record = Vec::new();
    for field in schema.fields.iter().filter(|field| field.name != "extra") {
        let name = field.name.as_str();
        let found = all.get(name);
        let value = match (name, found) {
            ("id", found) => Some(Avro::String(text(found?)?)),
            ("confidence" | "strength", Some(raw)) if raw.get() == "null" => Some(none()),
            ("confidence" | "strength", Some(raw)) => Some(some(Avro::Double(double(raw)?))),
            ("properties", Some(raw)) => Some(some(Avro::String(raw.get().to_owned()))),
            (_, Some(raw)) if raw.get().starts_with('"') => Some(some(Avro::String(text(raw)?))),
            _ => None,
        };
        if value.is_some() {
            rest.remove(name);
        }
        record.push((name.to_owned(), value.unwrap_or_else(none)));
    }
    let rest = rest.into_iter().map(|(k, v)| (k, Avro::String(v.get().to_owned()))).collect();
    record.push(("extra".to_owned(), Avro::Map(rest)));
    Some(Avro::Record(record))
}

/// An output read by apache-avro, as the JSON that it stands for.
pub fn json(schema: &Schema, value: &Avro) -> Value {
    match value {
        Avro::Union(_, inner) => json(schema, inner),
        Avro::Record(values) => {
            let mut object = Map::new();
            for (field, (name, value)) in fields(schema).fields.iter().zip(values) {
                let is_text = field.custom_attributes.contains_key("json");
                match (value, is_text) {
                    (Avro::Union(_, inner), _) if **inner == Avro::Null && name != "winner_event_id" => {}
                    (Avro::Map(rest), _) if field.custom_attributes.contains_key("rest") => {
                        object.extend(rest.iter().map(|(k, v)| (k.clone(), parsed(v))));
                    }
                    (value, true) => _ = object.insert(name.clone(), parsed(value)),
                    (value, false) => _ = object.insert(name.clone(), json(&field.schema, value)),
                }
            }
            Value::Object(object)
        }
        Avro::Array(items) => Value::Array(items.iter().map(|item| json(schema, item)).collect()),
        Avro::Map(entries) => Value::Object(entries.iter().map(|(k, v)| (k.clone(), json(schema, v))).collect()),
        Avro::String(text) => text.as_str().into(),
        Avro::Long(n) => (*n).into(),
        Avro::Int(n) => (*n).into(),
        Avro::Double(d) => (*d).into(),
        Avro::Null => Value::Null,
        other => panic!("no output has {other:?}"),
    }
}

fn parsed(value: &Avro) -> Value {
    match value {
        Avro::Union(_, inner) => parsed(inner),
        Avro::String(text) => serde_json::from_str(text).unwrap(),
        Avro::Map(entries) => Value::Object(entries.iter().map(|(k, v)| (k.clone(), parsed(v))).collect()),
        other => panic!("{other:?} holds no JSON"),
    }
}

/// Equal, where a number that Avro has as a double may be an integer in JSON.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}
