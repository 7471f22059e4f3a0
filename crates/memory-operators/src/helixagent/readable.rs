//! The parts of a memory that Go's decoder accepts: members of the types that HelixAgent's structs
//! have. It matches names without regard to case, so a member that is none of theirs is left out as
//! well.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use json::rfc3339;
use memory::view::ObjectWriter;

/// Type of value that a member may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Text,
    Number,
    Object,
    Time,
}

/// A member: its name here and there, and what it may hold.
type Known = (&'static str, &'static str, Takes);

/// Members of an entity as the nodes know it, sorted.
const ENTITY: &[Known] = &[
    ("confidence", "confidence", Takes::Number),
    ("created_at", "created_at", Takes::Time),
    ("id", "id", Takes::Text),
    ("name", "name", Takes::Text),
    ("properties", "properties", Takes::Object),
    ("type", "type", Takes::Text),
];

/// Members of a relationship as an event of the nodes has them, sorted.
const RELATIONSHIP: &[Known] = &[
    ("created_at", "created_at", Takes::Time),
    ("from_entity", "from_entity", Takes::Text),
    ("id", "id", Takes::Text),
    ("properties", "properties", Takes::Object),
    ("strength", "strength", Takes::Number),
    ("to_entity", "to_entity", Takes::Text),
    ("type", "type", Takes::Text),
];

/// Members of a relationship as a snapshot of the nodes has them, sorted by their names there.
const SNAPSHOT_RELATIONSHIP: &[Known] = &[
    ("created_at", "created_at", Takes::Time),
    ("id", "id", Takes::Text),
    ("properties", "properties", Takes::Object),
    ("from_entity", "source_id", Takes::Text),
    ("strength", "strength", Takes::Number),
    ("to_entity", "target_id", Takes::Text),
    ("type", "type", Takes::Text),
];

/// Appends an entity.
pub(super) fn entity(out: &mut Vec<u8>, value: &RawValue) -> serde_json::Result<()> {
    members(out, value, ENTITY)
}

/// Appends a relationship.
pub(super) fn relationship(out: &mut Vec<u8>, value: &RawValue) -> serde_json::Result<()> {
    members(out, value, RELATIONSHIP)
}

/// Appends a relationship of a snapshot.
pub(super) fn snapshot_relationship(out: &mut Vec<u8>, value: &RawValue) -> serde_json::Result<()> {
    members(out, value, SNAPSHOT_RELATIONSHIP)
}

fn members(out: &mut Vec<u8>, value: &RawValue, known: &[Known]) -> serde_json::Result<()> {
    let found: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value.get())?;
    let mut object = ObjectWriter::new(out);
    for (own, key, takes) in known {
        let Some(text) = found.get(*own).map(|value| value.get()) else { continue };
        let first = text.as_bytes().first().copied().unwrap_or_default();
        match takes {
            Takes::Time if first == b'"' => {
                let stated: String = serde_json::from_str(text)?;
                // Go takes no lower-case `t` and `z`, so the time is written anew; one that is none
                // is left out.
                if let Ok(nanos) = rfc3339::parse(&stated) {
                    object.time(key, nanos);
                }
            }
            Takes::Text if first == b'"' => object.raw(key, text.as_bytes()),
            Takes::Object if first == b'{' => object.raw(key, text.as_bytes()),
            Takes::Number if first == b'-' || first.is_ascii_digit() => object.raw(key, text.as_bytes()),
            _ => {}
        }
    }
    object.end();
    Ok(())
}

/// The embedding, if each of its numbers is within float32. A part of it, or the nearest that fits,
/// would be another text's.
pub(super) fn embedding(value: Option<&RawValue>) -> serde_json::Result<Option<&RawValue>> {
    let Some(value) = value else { return Ok(None) };
    let numbers: Vec<&RawValue> = serde_json::from_str(value.get())?;
    let fits = |number: &&RawValue| number.get().parse::<f32>().is_ok_and(f32::is_finite);
    Ok(Some(value).filter(|_| numbers.iter().all(fits)))
}

/// A clock as the nodes hold it: a string of an object without `~`, which is no node's.
pub(super) fn clock(entries: &BTreeMap<String, u64>) -> Vec<u8> {
    let entries: Vec<(&str, u64)> = entries.iter().map(|(node, counter)| (node.as_str(), *counter)).collect();
    let mut object = Vec::new();
    memory::view::write_clock(&mut object, &entries);
    let mut out = Vec::with_capacity(2 * object.len());
    json::write_string(&mut out, &String::from_utf8_lossy(&object));
    out
}
