//! The known fields of an event object, and the readers of those that are no writes.

use super::super::clock::Clock;
use super::rejection::{BadInput, Class, describe, shown};
use json::rfc3339;
use json::{self, Value, ValueKind};

/// Greatest value of counters and `version`: Go's `int64`, SQL's `bigint`.
const MAX_COUNTER: u64 = i64::MAX as u64;

/// The known fields as they stand in an object, each where it stands last.
#[derive(Default)]
pub(super) struct Fields<'d> {
    pub event_id: Option<Value<'d>>,
    pub event_type: Option<Value<'d>>,
    pub memory_id: Option<Value<'d>>,
    pub timestamp: Option<Value<'d>>,
    pub node_id: Option<Value<'d>>,
    pub user_id: Option<Value<'d>>,
    pub session_id: Option<Value<'d>>,
    pub content: Option<Value<'d>>,
    pub embedding: Option<Value<'d>>,
    pub importance: Option<Value<'d>>,
    pub tags: Option<Value<'d>>,
    pub merged_from: Option<Value<'d>>,
    pub entities: Option<Value<'d>>,
    pub relationships: Option<Value<'d>>,
    pub metadata: Option<Value<'d>>,
    pub version: Option<Value<'d>>,
    pub vector_clock: Option<Value<'d>>,
}

impl<'d> Fields<'d> {
    /// Picks the known fields of an object.
    pub fn of(object: Value<'d>) -> Fields<'d> {
        let mut fields = Fields::default();
        for (key, value) in object.members() {
            let slot = match key {
                "event_id" => &mut fields.event_id,
                "event_type" => &mut fields.event_type,
                "memory_id" => &mut fields.memory_id,
                "timestamp" => &mut fields.timestamp,
                "node_id" => &mut fields.node_id,
                "user_id" => &mut fields.user_id,
                "session_id" => &mut fields.session_id,
                "content" => &mut fields.content,
                "embedding" => &mut fields.embedding,
                "importance" => &mut fields.importance,
                "tags" => &mut fields.tags,
                "merged_from" => &mut fields.merged_from,
                "entities" => &mut fields.entities,
                "relationships" => &mut fields.relationships,
                "metadata" => &mut fields.metadata,
                "version" => &mut fields.version,
                "vector_clock" => &mut fields.vector_clock,
                _ => continue,
            };
            *slot = Some(value);
        }
        fields
    }
}

/// The type, which must be there; an empty one is a type that nobody knows.
pub(super) fn event_type(value: Option<Value<'_>>) -> Result<&str, BadInput> {
    match value {
        Some(v) if v.as_str() == Some("") => Ok(""),
        other => required(|| "event_type".to_owned(), other),
    }
}

/// A string that must be there and not be empty.
pub(super) fn required<'d>(path: impl Fn() -> String, value: Option<Value<'d>>) -> Result<&'d str, BadInput> {
    match value {
        None => Err(BadInput::missing(&path(), "absent")),
        Some(v) if v.is_null() => Err(BadInput::missing(&path(), "null")),
        Some(v) => match v.as_str() {
            None => Err(BadInput::wrong_type(&path(), "a string", v)),
            Some("") => Err(BadInput::missing(&path(), "empty")),
            Some(text) => Ok(text),
        },
    }
}

/// A string that counts as absent when null or empty.
pub(super) fn optional<'d>(path: &str, value: Option<Value<'d>>) -> Result<Option<&'d str>, BadInput> {
    let Some(value) = value.filter(|v| !v.is_null()) else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| BadInput::wrong_type(path, "a string", value))?;
    Ok(Some(text).filter(|t| !t.is_empty()))
}

/// The event's time in nanoseconds, the record's if the event has none.
pub(super) fn timestamp(value: Option<Value<'_>>, record_timestamp_ms: i64) -> Result<u64, BadInput> {
    let bad = |message: String| BadInput::new(Class::BadTimestamp, message);
    if let Some(value) = value.filter(|v| !v.is_null()) {
        let text = value.as_str().ok_or_else(|| BadInput::wrong_type("timestamp", "a string", value))?;
        if text != rfc3339::GO_ZERO {
            return rfc3339::parse(text).map_err(|e| bad(format!("`timestamp` {e}: found \"{}\"", shown(text))));
        }
    }
    let nanos = u64::try_from(record_timestamp_ms).ok().and_then(|ms| ms.checked_mul(1_000_000));
    nanos.filter(|n| *n <= rfc3339::MAX_NANOS).ok_or_else(|| {
        bad(format!(
            "the event has no `timestamp`, and its record's, {record_timestamp_ms} ms, lies before 1970 or after 2262"
        ))
    })
}

/// `version`, 0 if absent or null.
pub(super) fn version(value: Option<Value<'_>>) -> Result<u64, BadInput> {
    value.filter(|v| !v.is_null()).map_or(Ok(0), |v| counter(|| "version".to_owned(), v))
}

fn counter(path: impl Fn() -> String, value: Value<'_>) -> Result<u64, BadInput> {
    let Some(text) = value.number_text() else {
        return Err(BadInput::wrong_type(&path(), "an integer", value));
    };
    // `-0` is the integer 0.
    let counter = if text == "-0" { Ok(0) } else { text.parse::<u64>() };
    counter.ok().filter(|n| *n <= MAX_COUNTER).ok_or_else(|| {
        let path = path();
        let found = describe(value);
        let message = format!("`{}` should be an integer from 0 to {MAX_COUNTER}, found {found}", shown(&path));
        BadInput::new(Class::BadCounter, message)
    })
}

/// The event's clock; empty if it has none. An object, or a string that holds one (HelixAgent's
/// form).
pub(super) fn clock(value: Option<Value<'_>>, max_entries: usize) -> Result<Clock, BadInput> {
    const PATH: &str = "vector_clock";
    let Some(value) = value.filter(|v| !v.is_null()) else { return Ok(Clock::default()) };
    match value.as_str() {
        None if value.kind() == ValueKind::Object => clock_of(value, max_entries),
        None => Err(BadInput::wrong_type(PATH, "an object, or a string that holds one as JSON", value)),
        Some("") => Ok(Clock::default()),
        Some(text) => {
            let document =
                json::parse(text.as_bytes()).map_err(|e| BadInput::json("the string in `vector_clock`", &e))?;
            match document.root() {
                root if root.kind() == ValueKind::Object => clock_of(root, max_entries),
                root => Err(BadInput::wrong_type(PATH, "a string that holds an object as JSON", root)),
            }
        }
    }
}

fn clock_of(object: Value<'_>, max_entries: usize) -> Result<Clock, BadInput> {
    let members = object.sorted_members();
    let count = members.len();
    if count > max_entries {
        let message = format!("`vector_clock` has {count} entries, the limit is {max_entries}");
        return Err(BadInput::new(Class::TooManyClockEntries, message));
    }
    let entry = |(node, value): (&str, Value<'_>)| {
        Ok((node.to_owned(), counter(|| format!("vector_clock.{}", shown(node)), value)?))
    };
    let entries: Result<Vec<_>, BadInput> = members.map(entry).collect();
    Ok(Clock::from_entries(entries?))
}
