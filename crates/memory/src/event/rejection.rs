//! Bad input: what makes a record a dead letter, and its description.

use std::fmt;

use json::{Fault, JsonError, Value, ValueKind};

/// The classes of dead letters (docs/semantics.md, section 1): the header
/// `__streams.errors.exception`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The record has no value, or one of no bytes.
    EmptyValue,
    /// Not JSON, or JSON that docs/semantics.md, section 1, refuses.
    MalformedJson,
    /// Nested deeper than 128.
    TooDeep,
    /// A field of a type that the table does not allow.
    WrongType,
    /// A required field is absent, null or empty.
    MissingField,
    /// A counter or version that is no integer from 0 to 2^63-1.
    BadCounter,
    /// A timestamp that is no RFC 3339 time within 64-bit nanoseconds.
    BadTimestamp,
    /// An envelope whose payload is not base64.
    BadEnvelope,
    /// More clock entries than the limit.
    TooManyClockEntries,
    /// A value of more bytes than the limit.
    TooLarge,
    /// An Avro schema id that the registry does not know.
    UnknownSchema,
    /// Avro bytes that do not fit their schema.
    MalformedAvro,
    /// An event for a forgotten memory, older than the tombstone retention.
    Expired,
    /// An output above the record limit.
    OutputTooLarge,
}

impl Class {
    /// Every class, in the order of docs/semantics.md, section 1.
    pub const ALL: [Class; 14] = [
        Class::EmptyValue,
        Class::MalformedJson,
        Class::TooDeep,
        Class::WrongType,
        Class::MissingField,
        Class::BadCounter,
        Class::BadTimestamp,
        Class::BadEnvelope,
        Class::TooManyClockEntries,
        Class::TooLarge,
        Class::UnknownSchema,
        Class::MalformedAvro,
        Class::Expired,
        Class::OutputTooLarge,
    ];

    /// Of a text that should be JSON and is not.
    pub fn of_json(fault: Fault) -> Class {
        match fault {
            Fault::Malformed => Class::MalformedJson,
            Fault::TooDeep => Class::TooDeep,
            Fault::TooLarge => Class::TooLarge,
        }
    }

    /// The name in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::EmptyValue => "empty_value",
            Class::MalformedJson => "malformed_json",
            Class::TooDeep => "too_deep",
            Class::WrongType => "wrong_type",
            Class::MissingField => "missing_field",
            Class::BadCounter => "bad_counter",
            Class::BadTimestamp => "bad_timestamp",
            Class::BadEnvelope => "bad_envelope",
            Class::TooManyClockEntries => "too_many_clock_entries",
            Class::TooLarge => "too_large",
            Class::UnknownSchema => "unknown_schema",
            Class::MalformedAvro => "malformed_avro",
            Class::Expired => "expired",
            Class::OutputTooLarge => "output_too_large",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a record is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {message}")]
pub struct BadInput {
    /// Its class.
    pub class: Class,
    /// Description of the problem and its place, for a person: names the field and what was found.
    /// Bounded, whatever the input.
    pub message: String,
}

impl BadInput {
    /// Bad input of a class.
    pub fn new(class: Class, message: impl Into<String>) -> BadInput {
        BadInput { class, message: message.into() }
    }

    /// A value of a type that its field does not allow.
    pub(super) fn wrong_type(path: &str, expected: &str, found: Value<'_>) -> BadInput {
        let message = format!("{} should be {expected}, found {}", PathText(path), describe(found));
        BadInput::new(Class::WrongType, message)
    }

    /// A text that holds JSON, but no object; `place` names it.
    pub(super) fn wrong_root(place: &str, found: Value<'_>) -> BadInput {
        BadInput::new(Class::WrongType, format!("{place} should be an object, found {}", describe(found)))
    }

    /// A required field that is not there, in one of the ways to be not there.
    pub(super) fn missing(path: &str, how: &str) -> BadInput {
        BadInput::new(Class::MissingField, format!("{} is required, but {how}", PathText(path)))
    }

    /// A text that should be JSON and is not; `place` names it.
    pub(super) fn json(place: &str, error: &JsonError) -> BadInput {
        BadInput::new(Class::of_json(error.fault), format!("{place} can't be read as JSON: {error}"))
    }
}

/// The longest part of a field's path or value that a message repeats, in characters.
const SHOWN: usize = 60;

/// A field path in backticks, cut if a writer chose a long key.
struct PathText<'a>(&'a str);

impl fmt::Display for PathText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", shown(self.0))
    }
}

/// A text for a message: cut when long, control characters replaced.
pub(super) fn shown(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut out: String = text.chars().take(SHOWN).map(visible).collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// A value for a message: numbers as they are, of anything else the type alone.
pub(super) fn describe(value: Value<'_>) -> String {
    match value.kind() {
        ValueKind::Null => "null".to_owned(),
        ValueKind::Bool => "a boolean".to_owned(),
        ValueKind::Number => format!("the number {}", shown(value.number_text().unwrap_or_default())),
        ValueKind::String => "a string".to_owned(),
        ValueKind::Array => "an array".to_owned(),
        ValueKind::Object => "an object".to_owned(),
    }
}
