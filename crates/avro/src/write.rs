//! Encodes our JSON in Avro's binary form, by one of our schemas. Members that a schema does not
//! know go to its field for the rest.
//!
//! Written here and not by apache-avro, whose values keep maps in the order of a hash that is
//! seeded anew in each process: the same output would have other bytes on each run.

use std::borrow::Cow;
use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema::{RecordField, RecordSchema};
use serde_json::value::RawValue;

use super::schemas::{is_marked, nullable};

type Members<'j> = BTreeMap<Cow<'j, str>, &'j RawValue>;

/// Appends a record of ours.
///
/// # Errors
/// It does not fit the schema: a mistake of ours.
pub(super) fn datum(schema: &Schema, json: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let raw: &RawValue = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    if write(schema, raw.get(), false, out)? { Ok(()) } else { Err("the record does not fit its schema".to_owned()) }
}

/// Appends a value; `false` where the JSON is of another type than the schema, and then nothing is
/// written. `is_text`: the schema has a string where the JSON may be of any type, and it holds the
/// JSON's text.
fn write(schema: &Schema, json: &str, is_text: bool, out: &mut Vec<u8>) -> Result<bool, String> {
    let read = |e: serde_json::Error| e.to_string();
    let first = json.as_bytes().first().copied().unwrap_or_default();
    if let Some((null, some, inner)) = nullable(schema) {
        if json == "null" && !is_text {
            long(out, i64::from(null));
            return Ok(true);
        }
        let start = out.len();
        long(out, i64::from(some));
        let fits = write(inner, json, is_text, out)?;
        if !fits {
            out.truncate(start);
        }
        return Ok(fits);
    }
    match schema {
        Schema::String if is_text => text(out, json),
        Schema::String if first == b'"' => text(out, &serde_json::from_str::<Cow<'_, str>>(json).map_err(read)?),
        Schema::Long | Schema::Int => match json.parse() {
            Ok(n) => long(out, n),
            Err(_) => return Ok(false),
        },
        Schema::Double => match json.parse::<f64>() {
            // A number outside of a double would become an infinity.
            Ok(d) if d.is_finite() => out.extend_from_slice(&d.to_le_bytes()),
            _ => return Ok(false),
        },
        Schema::Array(array) if first == b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).map_err(read)?;
            block(out, items.len());
            for item in &items {
                fitting(write(&array.items, item.get(), is_text, out)?)?;
            }
            end(out);
        }
        Schema::Map(map) if first == b'{' => {
            let members: Members<'_> = serde_json::from_str(json).map_err(read)?;
            block(out, members.len());
            for (key, value) in &members {
                text(out, key);
                fitting(write(&map.types, value.get(), is_text, out)?)?;
            }
            end(out);
        }
        Schema::Record(schema) if first == b'{' => record(schema, serde_json::from_str(json).map_err(read)?, out)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn fitting(fits: bool) -> Result<(), String> {
    if fits { Ok(()) } else { Err("an item is of another type than its schema has".to_owned()) }
}

fn record(schema: &RecordSchema, mut members: Members<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    // The rest comes last in our schemas, when it is known what the fields before have taken.
    let keeps_rest = schema.fields.last().is_some_and(|field| is_marked(field, "rest"));
    for field in &schema.fields {
        if is_marked(field, "rest") {
            block(out, members.len());
            for (key, value) in &members {
                text(out, key);
                text(out, value.get());
            }
            end(out);
            continue;
        }
        let is_text = is_marked(field, "json");
        let found = members.get(field.name.as_str()).copied();
        // A null that is written as such, and not absent, is the rest's.
        let found = found.filter(|value| is_text || !keeps_rest || value.get() != "null");
        let is_written = match found {
            Some(value) => write(&field.schema, value.get(), is_text, out)?,
            None => false,
        };
        if is_written {
            members.remove(field.name.as_str());
        } else {
            absent(field, out)?;
        }
    }
    Ok(())
}

/// A field that the JSON has not.
fn absent(field: &RecordField, out: &mut Vec<u8>) -> Result<(), String> {
    match (&field.schema, nullable(&field.schema)) {
        (_, Some((null, ..))) => long(out, i64::from(null)),
        (Schema::Array(_) | Schema::Map(_), None) => long(out, 0),
        _ => return Err(format!("`{}` is missing, or of another type than its schema has", field.name)),
    }
    Ok(())
}

/// A whole number: zigzag, then seven bits a byte, the low ones first.
fn long(out: &mut Vec<u8>, n: i64) {
    let mut left = ((n << 1) ^ (n >> 63)) as u64;
    while left > 0x7f {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn text(out: &mut Vec<u8>, text: &str) {
    length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn length(out: &mut Vec<u8>, n: usize) {
    long(out, i64::try_from(n).unwrap_or(i64::MAX));
}

/// The head of the one block that holds all items; where there are none, there is no block.
fn block(out: &mut Vec<u8>, items: usize) {
    if items > 0 {
        length(out, items);
    }
}

/// The end of the blocks.
fn end(out: &mut Vec<u8>) {
    long(out, 0);
}
