//! Bodies of values in Avro (`crates/avro`): a value that is accepted is whole, and apache-avro
//! reads the same from it; a record of ours that is written is read again as it was; and reading
//! takes memory in proportion to the input, or up to a stated limit.
//!
//! An input is one of two forms. Where it begins as JSON does (`{`, `[` or `"`), it is a schema, a
//! zero byte, and the body of a value by that schema. Otherwise its first byte selects a schema of
//! ours, of this version or another one, and the rest is the body of a record.

mod generate;
mod reference;

use std::sync::OnceLock;

use avro::schemas::VERSIONS;
use avro::{BodyCodec, WriterSchema};
use serde_json::Value;
use streams::ports::CodecError;
use testkit::peak_of;

use crate::plain::Target;

/// The target, with the inputs of its plain form.
pub const TARGET: Target =
    Target { name: "avro", check, generate: generate::input, dictionary: DICTIONARY, shared: &[], inputs: 4_000 };

const DICTIONARY: &[&[u8]] = &[
    b"\x00",
    b"\x01",
    b"\x02",
    b"\x04",
    b"\x80",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x00\x00\x00\x00\x00\x00\xf0\x7f",
    b"\x06{}}",
    b"\x08null",
    b"\x0e1e400\n ",
    b"\x0econtent",
    b"\x14metadata.a",
    b"\"null\"",
    b"\"long\"",
    b"{\"type\":\"array\",\"items\":",
    b"{\"type\":\"map\",\"values\":",
    b"[\"null\",",
    b"\"name\":\"R\"",
    b"\"logicalType\":\"big-decimal\"",
    b"}",
    b"]",
];

/// The registry's number of the writer's schema, for messages.
const ID: u32 = 7;
/// What reading may take beside what grows with the input.
const BASE_BYTES: usize = 256 << 10;
/// How many bytes of memory one byte of a record of ours may take: an absent field of an entity is
/// one byte, and its name, its value and the box around it are a hundred and more.
const TIMES: usize = 1_000;
/// How much a value of any schema may take: reading is refused above 256 MiB, and the JSON that is
/// written from it is as large again.
const MAX_BYTES: usize = 768 << 20;

/// A schema of ours, as a writer has it.
struct Own {
    /// The kind of record.
    name: &'static str,
    text: &'static str,
    writer: WriterSchema,
    /// Whether it is the version that this program writes.
    is_newest: bool,
}

/// The schemas of ours that the first byte selects: the newest versions, then others.
fn own() -> &'static [Own] {
    static OWN: OnceLock<Vec<Own>> = OnceLock::new();
    let newest = VERSIONS.iter().map(|version| (version.name, version.text, true));
    let others = [
        ("event", include_str!("../../../tests/fixtures/avro/event.older.avsc")),
        ("event", include_str!("../../../tests/fixtures/avro/event.newer.avsc")),
        ("resolved-memory", include_str!("../../../tests/fixtures/avro/resolved-memory.newer.avsc")),
        ("user-snapshot", include_str!("../../../tests/fixtures/avro/user-snapshot.older.avsc")),
    ];
    OWN.get_or_init(|| {
        let all = newest.chain(others.map(|(name, text)| (name, text, false)));
        all.map(|(name, text, is_newest)| Own { name, text, writer: writer(text), is_newest }).collect()
    })
}

fn writer(schema: &str) -> WriterSchema {
    WriterSchema::new(schema, &[]).unwrap_or_else(|error| panic!("{error}: {schema}"))
}

fn codec() -> &'static BodyCodec {
    static CODEC: OnceLock<BodyCodec> = OnceLock::new();
    CODEC.get_or_init(|| BodyCodec::new().unwrap_or_else(|error| panic!("{error}")))
}

/// Reads the bytes as a value in Avro; returns whether it is accepted.
///
/// # Panics
/// A property does not hold.
pub fn check(data: &[u8]) -> bool {
    match data {
        [b'{' | b'[' | b'"', ..] => check_any(data),
        [first, body @ ..] => check_own(&own()[usize::from(*first) % own().len()], body),
        [] => false,
    }
}

/// A record of ours.
fn check_own(own: &Own, body: &[u8]) -> bool {
    let decode = |body: &[u8]| codec().decode(own.name, &own.writer, ID, body);
    let (json, peak) = peak_of(|| decode(body));
    let Some(json) = accepted(json) else {
        assert!(peak <= BASE_BYTES + TIMES * body.len(), "{peak} bytes of memory for {} of input", body.len());
        return false;
    };
    assert!(peak > 0, "memory is not counted: CountingAllocator is not the global allocator");
    assert!(peak <= BASE_BYTES + TIMES * body.len(), "{peak} bytes of memory for {} of input", body.len());
    assert_needs_all(body, decode);
    assert_is_json(&json);
    if own.is_newest {
        assert_same(&json, reference::own(own.name, own.text, body));
    }
    if own.is_newest && own.name != "event" {
        assert_comes_back(own, &json);
    }
    true
}

/// A value of a schema that is part of the input.
fn check_any(data: &[u8]) -> bool {
    let Some(end) = data.iter().position(|byte| *byte == 0) else { return false };
    let (Ok(text), body) = (std::str::from_utf8(&data[..end]), &data[end + 1..]) else { return false };
    let Ok(writer) = WriterSchema::new(text, &[]) else { return false };
    let (json, peak) = peak_of(|| codec().json(&writer, ID, body));
    assert!(peak <= MAX_BYTES, "{peak} bytes of memory");
    let Some(json) = accepted(json) else { return false };
    assert_is_json(&json);
    assert_needs_all(body, |body| codec().json(&writer, ID, body));
    // A logical type may be read otherwise than as the type that it stands on.
    if !text.contains("logicalType")
        && !text.contains("MemoryEvent")
        && let Some(read) = reference::any(text, body)
    {
        assert_same(&json, Ok(read));
    }
    true
}

/// The JSON of a value that was accepted; one that was refused has a class and says why.
fn accepted(json: Result<Vec<u8>, CodecError>) -> Option<Vec<u8>> {
    match json {
        Ok(json) => Some(json),
        Err(CodecError::Bad { class, message }) => {
            assert!(class == "malformed_avro" && !message.is_empty() && message.len() < 2_000, "{class}: {message}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// No part of a value is one, and nothing may follow it.
fn assert_needs_all(body: &[u8], decode: impl Fn(&[u8]) -> Result<Vec<u8>, CodecError>) {
    let ends = [0, 1, body.len() / 2, body.len().saturating_sub(1)];
    for end in ends.into_iter().filter(|end| *end < body.len()) {
        assert!(decode(&body[..end]).is_err(), "{end} of {} bytes are read as a value", body.len());
    }
    assert!(decode(&[body, b"\0"].concat()).is_err(), "a byte behind the value is passed over");
}

/// Texts in a record hold JSON themselves, which nests deeper in the whole.
fn is_too_deep(error: &impl ToString) -> bool {
    error.to_string().contains("recursion limit")
}

fn assert_is_json(json: &[u8]) {
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(json) {
        assert!(is_too_deep(&error), "{error}: {}", json.escape_ascii());
    }
}

/// The JSON has the value that apache-avro reads. A text that holds JSON may hold numbers or
/// escapes that serde_json has no value for: then both have none.
fn assert_same(json: &[u8], read: serde_json::Result<Value>) {
    match (serde_json::from_slice::<Value>(json), read) {
        (Ok(ours), Ok(theirs)) => {
            assert!(reference::same(&ours, &theirs), "{ours}\napache-avro: {theirs}");
        }
        (Err(error), Ok(_)) => assert!(is_too_deep(&error), "{error}: {}", json.escape_ascii()),
        (Ok(_), Err(error)) => panic!("apache-avro: {error}: {}", json.escape_ascii()),
        (Err(_), Err(_)) => {}
    }
}

/// A record of ours that is written is read as it was.
fn assert_comes_back(own: &Own, json: &[u8]) {
    let again = |json: &[u8]| -> Option<Vec<u8>> {
        let mut body = Vec::new();
        if let Err(error) = codec().encode(own.name, json, &mut body) {
            assert!(is_too_deep(&error), "{error}: {}", json.escape_ascii());
            return None;
        }
        let read = codec().decode(own.name, &own.writer, ID, &body);
        Some(read.unwrap_or_else(|error| panic!("what was written is refused: {error}: {}", json.escape_ascii())))
    };
    // A member of the rest that has the name and the type of an absent field is written as that
    // field; from then on nothing moves.
    let Some(once) = again(json) else { return };
    assert_same(&once, serde_json::from_slice(json));
    if let Some(twice) = again(&once) {
        assert_eq!(once.escape_ascii().to_string(), twice.escape_ascii().to_string());
    }
}
