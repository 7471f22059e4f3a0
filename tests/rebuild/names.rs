//! Streams of the model all live in the same few memories. Here each gets memories of its own, so
//! that thousands of streams lie in one database; and NUL becomes U+FFFD, as the mirror has it,
//! where the stream is to read the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reference_model::Record;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The record with `prefix` before each memory's name. Bad input is left as it is.
pub fn with_prefix(record: &Record, prefix: &str) -> Record {
    changed(record, &|event| prefixed(event, prefix))
}

/// The record with U+FFFD in place of each NUL.
pub fn without_nul(record: &Record) -> Record {
    changed(record, &|event| Some(event.replace("\\u0000", "\\ufffd")))
}

/// The record with the text of its event changed, bare or in its envelope.
fn changed(record: &Record, change: &dyn Fn(&str) -> Option<String>) -> Record {
    let value = record.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
    let value = value.and_then(|text| changed_text(text, change)).map(String::into_bytes);
    Record { value: value.or_else(|| record.value.clone()), ..record.clone() }
}

fn changed_text(text: &str, change: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let Members(mut members) = serde_json::from_str(text).ok()?;
    let has = |name: &str| members.iter().any(|(member, _)| member == name);
    if !has("payload") || has("event_id") {
        return change(text);
    }
    for (_, value) in members.iter_mut().filter(|(name, _)| name == "payload") {
        // Of a payload that is repeated the last one counts, and the others may be anything.
        let Ok(payload) = serde_json::from_str::<String>(value.get()) else { continue };
        let Some(inner) = STANDARD.decode(payload).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
            continue;
        };
        *value = RawValue::from_string(format!("\"{}\"", STANDARD.encode(change(&inner)?))).ok()?;
    }
    Some(object(&members))
}

/// Values are kept as they are written, since the spelling of numbers and repeated keys are what
/// the streams are about.
fn prefixed(event: &str, prefix: &str) -> Option<String> {
    let Members(mut members) = serde_json::from_str(event).ok()?;
    for (name, value) in &mut members {
        let changed = match name.as_str() {
            "memory_id" => prefixed_id(value, prefix),
            "merged_from" => serde_json::from_str::<Vec<Box<RawValue>>>(value.get()).ok().map(|ids| {
                let ids = ids.iter().map(|id| prefixed_id(id, prefix).unwrap_or_else(|| id.get().to_owned()));
                format!("[{}]", ids.collect::<Vec<_>>().join(","))
            }),
            _ => None,
        };
        if let Some(changed) = changed {
            *value = RawValue::from_string(changed).ok()?;
        }
    }
    Some(object(&members))
}

/// An empty id names no memory.
fn prefixed_id(id: &RawValue, prefix: &str) -> Option<String> {
    let id: String = serde_json::from_str(id.get()).ok()?;
    if id.is_empty() { None } else { serde_json::to_string(&format!("{prefix}{id}")).ok() }
}

fn object(members: &[(String, Box<RawValue>)]) -> String {
    let member = |(name, value): &(String, Box<RawValue>)| {
        format!("{}:{}", serde_json::to_string(name).expect("a string"), value.get())
    };
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
}

/// The members of an object as they stand, repeated ones too.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct AsTheyStand;
        impl<'de> Visitor<'de> for AsTheyStand {
            type Value = Members;
            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(AsTheyStand)
    }
}
