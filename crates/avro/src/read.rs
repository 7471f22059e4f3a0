//! Converts a record that our schema has resolved to the bare JSON that it stands for: what is null
//! is absent, and text that holds JSON is that JSON. In an event, what `cleared` lists is written
//! as null.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use apache_avro::Schema;
use apache_avro::schema::RecordSchema;
use apache_avro::types::Value;

use super::schemas::is_marked;
use json::Number;
use memory::view::ObjectWriter;

/// Paths that can be cleared, besides those of metadata.
const CLEARABLE: [&str; 7] = ["content", "embedding", "importance", "session_id", "user_id", "tags", "merged_from"];

/// Members that an output writes as null and never leaves out.
const ALWAYS_THERE: &str = "winner_event_id";

/// The JSON of an output of ours.
///
/// # Errors
/// Fields that no output has.
pub(super) fn output(schema: &Schema, output: Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(1024);
    write(schema, &output, &mut out)?;
    Ok(out)
}

/// The JSON of an event.
///
/// # Errors
/// A description of the part that breaks rules which only Avro has.
pub(super) fn event(schema: &Schema, event: Value) -> Result<Vec<u8>, String> {
    let (Schema::Record(schema), Value::Record(mut fields)) = (schema, event) else {
        return Err("the event is no record".to_owned());
    };
    let cleared = take_cleared(&mut fields)?;
    let mut out = Vec::with_capacity(1024);
    let mut o = ObjectWriter::new(&mut out);
    let mut in_metadata: BTreeSet<&str> = cleared.iter().filter_map(|path| path.strip_prefix("metadata.")).collect();
    for (name, value) in &fields {
        let value = plain(value);
        let is_cleared = cleared.contains(name);
        match (value, name.as_str()) {
            (Value::Null, "metadata") => {}
            (Value::Null, _) if is_cleared => o.raw(name, b"null"),
            (Value::Null, _) => {}
            (_, _) if is_cleared => return Err(format!("`{name}` is written and cleared")),
            (Value::Map(entries), "metadata") => {
                if let Some((key, _)) = sorted(entries).into_iter().find(|(key, _)| in_metadata.contains(*key)) {
                    return Err(format!("`metadata.{key}` is written and cleared"));
                }
                let mut members = ObjectWriter::new(o.key(name));
                for (key, value) in sorted(entries) {
                    text_json(members.key(key), value)?;
                }
                std::mem::take(&mut in_metadata).into_iter().for_each(|key| members.raw(key, b"null"));
                members.end();
            }
            (value, _) => write(field_of(schema, name)?, value, o.key(name))?,
        }
    }
    if !in_metadata.is_empty() {
        let mut members = ObjectWriter::new(o.key("metadata"));
        in_metadata.into_iter().for_each(|key| members.raw(key, b"null"));
        members.end();
    }
    o.end();
    Ok(out)
}

/// Takes `cleared` out of the fields.
fn take_cleared(fields: &mut Vec<(String, Value)>) -> Result<BTreeSet<String>, String> {
    let Some(at) = fields.iter().position(|(name, _)| name == "cleared") else { return Ok(BTreeSet::new()) };
    let (_, Value::Array(paths)) = fields.remove(at) else { return Err("`cleared` is no array".to_owned()) };
    let mut found = BTreeSet::new();
    for path in paths {
        let Value::String(path) = path else { return Err("`cleared` holds what is no path".to_owned()) };
        if !CLEARABLE.contains(&path.as_str()) && !path.starts_with("metadata.") {
            return Err(format!("`cleared` names `{path}`, which no event clears"));
        }
        found.insert(path);
    }
    Ok(found)
}

fn field_of<'s>(schema: &'s RecordSchema, name: &str) -> Result<&'s Schema, String> {
    let found = schema.fields.iter().find(|field| field.name == name);
    found.map(|field| &field.schema).ok_or_else(|| format!("`{name}` is no field of our schema"))
}

/// A value without the union around it.
fn plain(value: &Value) -> &Value {
    match value {
        Value::Union(_, inner) => inner,
        other => other,
    }
}

/// Entries in the order of their keys: what is said of bad input must not hang on a hash.
fn sorted(entries: &HashMap<String, Value>) -> BTreeMap<&str, &Value> {
    entries.iter().map(|(key, value)| (key.as_str(), value)).collect()
}

/// A schema without null beside it.
fn some(schema: &Schema) -> &Schema {
    super::schemas::nullable(schema).map_or(schema, |(_, _, inner)| inner)
}

/// Text that holds JSON. It must be whole, or it could run into what stands behind it.
fn text_json(out: &mut Vec<u8>, value: &Value) -> Result<(), String> {
    let Value::String(text) = value else { return Err("a value that should be JSON as text is none".to_owned()) };
    let whole: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    whole.map_err(|e| format!("a text that should hold JSON does not: {e}"))?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn write(schema: &Schema, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match (some(schema), plain(value)) {
        (_, Value::Null) => out.extend_from_slice(b"null"),
        (_, Value::Boolean(b)) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        (_, Value::Long(n)) => out.extend_from_slice(n.to_string().as_bytes()),
        (_, Value::Int(n)) => out.extend_from_slice(n.to_string().as_bytes()),
        (_, Value::Double(d)) if d.is_finite() => json::write_number(out, Number::from_double(*d)),
        (_, Value::Double(_)) => return Err("a number is not finite".to_owned()),
        (_, Value::String(text)) => json::write_string(out, text),
        (Schema::Array(array), Value::Array(items)) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(&array.items, item, out)?;
            }
            out.push(b']');
        }
        (Schema::Map(map), Value::Map(entries)) => {
            let mut o = ObjectWriter::new(out);
            sorted(entries).into_iter().try_for_each(|(key, item)| write(&map.types, item, o.key(key)))?;
            o.end();
        }
        (Schema::Record(schema), Value::Record(fields)) => record(schema, fields, out)?,
        _ => return Err("a value is of a type that no record of ours has".to_owned()),
    }
    Ok(())
}

/// A record: what is null is absent, the rest stands beside the members that have a name.
fn record(schema: &RecordSchema, fields: &[(String, Value)], out: &mut Vec<u8>) -> Result<(), String> {
    let mut o = ObjectWriter::new(out);
    for (field, (name, value)) in schema.fields.iter().zip(fields) {
        match plain(value) {
            Value::Null if name == ALWAYS_THERE => o.raw(name, b"null"),
            Value::Null => {}
            Value::Map(rest) if is_marked(field, "rest") => {
                for (key, value) in sorted(rest) {
                    let is_taken = fields.iter().any(|(name, value)| name == key && *plain(value) != Value::Null);
                    if is_taken {
                        return Err(format!("`{key}` stands in `{name}`, and beside it"));
                    }
                    text_json(o.key(key), value)?;
                }
            }
            Value::Map(entries) if is_marked(field, "json") => {
                let mut members = ObjectWriter::new(o.key(name));
                sorted(entries).into_iter().try_for_each(|(key, item)| text_json(members.key(key), item))?;
                members.end();
            }
            value if is_marked(field, "json") => text_json(o.key(name), value)?,
            value => write(&field.schema, value, o.key(name))?,
        }
    }
    o.end();
    Ok(())
}
