//! The JSON parser and the canonical writer: differential against `serde_json`, and by the
//! properties of a canonical form (docs/semantics.md, section 4).

pub mod differences;
mod generator;

use ::json::{self, Document, Number, Value, ValueKind};
use serde_json::Value as Theirs;

use crate::plain::Target;

/// The target, with the inputs of its plain form.
pub const TARGET: Target = Target {
    name: "json",
    check,
    generate: generator::text,
    dictionary: generator::DICTIONARY,
    shared: &[],
    inputs: 30_000,
};

/// Holds our parser against `serde_json` on any bytes, and the canonical form against its
/// properties. Returns whether the bytes are JSON.
///
/// # Panics
/// The parsers differ in a way that [`differences`] does not list, or a property does not hold.
pub fn check(data: &[u8]) -> bool {
    let ours = json::parse(data);
    let theirs = serde_json::from_slice::<Theirs>(data);
    match (&ours, &theirs) {
        (Ok(document), Ok(value)) => assert_same(document.root(), value),
        (Ok(document), Err(error)) => {
            let is_intended = differences::is_refused_by_serde_json_alone(document, error);
            assert!(is_intended, "serde_json refuses what we accept: {error}");
        }
        (Err(error), Ok(_)) => panic!("we refuse what serde_json accepts: {error}"),
        (Err(error), Err(_)) => assert!(error.at <= data.len(), "{error} lies behind the text"),
    }
    if let Ok(document) = &ours {
        assert_canonical(document, theirs.ok().as_ref());
    }
    ours.is_ok()
}

/// The canonical form of a document.
///
/// # Panics
/// The text is no JSON.
#[must_use]
pub fn canonical(text: &[u8]) -> Vec<u8> {
    let document = json::parse(text).unwrap_or_else(|error| panic!("{}: {error}", text.escape_ascii()));
    document.root().canonical()
}

/// The properties of a canonical form: it is JSON of the same value, it is its own canonical form,
/// its keys are sorted by UTF-8 bytes and stand once, and it holds no white space.
fn assert_canonical(document: &Document<'_>, theirs: Option<&Theirs>) {
    let form = document.root().canonical();
    let again = json::parse(&form).unwrap_or_else(|error| panic!("the canonical form is no JSON: {error}"));
    assert_eq!(again.root().canonical().escape_ascii().to_string(), form.escape_ascii().to_string());
    let mut rebuilt = Vec::with_capacity(form.len());
    rebuild(again.root(), &mut rebuilt);
    assert_eq!(rebuilt.escape_ascii().to_string(), form.escape_ascii().to_string());
    assert_equal(document.root(), again.root());
    if let Some(theirs) = theirs {
        assert_same(again.root(), theirs);
    }
}

/// Writes a canonical document again from its parts as they stand, without white space; strings as
/// `serde_json` writes them, whose rules for escapes are ours.
fn rebuild(value: Value<'_>, out: &mut Vec<u8>) {
    match value.kind() {
        ValueKind::Null => out.extend_from_slice(b"null"),
        ValueKind::Bool => out.extend_from_slice(if value.canonical() == b"true" { b"true" } else { b"false" }),
        ValueKind::Number => {
            let text = value.number_text().unwrap_or_default();
            let number = value.as_number().unwrap_or_else(|| panic!("{text} has no value"));
            assert_eq!(json::parse_number(text.as_bytes()), Some(number), "{text}");
            let mut written = Vec::new();
            json::write_number(&mut written, number);
            assert_eq!(String::from_utf8_lossy(&written), text, "a canonical number is written as it stands");
            out.extend_from_slice(text.as_bytes());
        }
        ValueKind::String => string(value.as_str().unwrap_or_default(), out),
        ValueKind::Array => {
            out.push(b'[');
            for (index, item) in value.items().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                rebuild(item, out);
            }
            out.push(b']');
        }
        ValueKind::Object => {
            out.push(b'{');
            let mut last = None;
            for (key, member) in value.members() {
                assert!(last < Some(key), "{key:?} stands behind {last:?}");
                if last.is_some() {
                    out.push(b',');
                }
                last = Some(key);
                string(key, out);
                out.push(b':');
                rebuild(member, out);
            }
            out.push(b'}');
        }
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    let written = serde_json::to_string(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let mut ours = Vec::new();
    json::write_string(&mut ours, text);
    assert_eq!(String::from_utf8_lossy(&ours), written);
    out.extend_from_slice(written.as_bytes());
}

/// Holds a document against the one read from its canonical form: equal values.
fn assert_equal(a: Value<'_>, b: Value<'_>) {
    assert_eq!((a.kind(), a.as_str(), a.as_number()), (b.kind(), b.as_str(), b.as_number()));
    assert_eq!(a.items().count(), b.items().count());
    a.items().zip(b.items()).for_each(|(a, b)| assert_equal(a, b));
    assert_eq!(a.sorted_members().len(), b.members().count());
    for ((key, member), (other, expected)) in a.sorted_members().zip(b.members()) {
        assert_eq!(key, other);
        assert_equal(member, expected);
        let found = a.get(key).unwrap_or_else(|| panic!("{key:?} is not found"));
        assert_eq!(found.canonical(), expected.canonical(), "the last member {key:?} counts");
    }
}

/// Holds a value against `serde_json`'s of the same text. Numbers: see [`differences`].
fn assert_same(ours: Value<'_>, theirs: &Theirs) {
    match theirs {
        Theirs::Null => assert!(ours.is_null()),
        Theirs::Bool(value) => {
            assert_eq!(ours.kind(), ValueKind::Bool);
            assert_eq!(ours.canonical(), value.to_string().into_bytes());
        }
        Theirs::Number(number) => assert_same_number(ours, number),
        Theirs::String(text) => assert_eq!(ours.as_str(), Some(text.as_str())),
        Theirs::Array(items) => {
            assert_eq!((ours.kind(), ours.items().count()), (ValueKind::Array, items.len()));
            ours.items().zip(items).for_each(|(ours, theirs)| assert_same(ours, theirs));
        }
        Theirs::Object(members) => {
            assert_eq!((ours.kind(), ours.sorted_members().len()), (ValueKind::Object, members.len()));
            for (key, ours) in ours.sorted_members() {
                assert_same(ours, members.get(key).unwrap_or_else(|| panic!("serde_json has no member {key:?}")));
            }
        }
    }
}

fn assert_same_number(ours: Value<'_>, theirs: &serde_json::Number) {
    let number = ours.as_number().unwrap_or_else(|| panic!("no number, and {theirs} by serde_json"));
    match theirs.as_i128() {
        // serde_json's integers are those of 64 bits, read exactly.
        Some(integer) => assert_eq!(number, Number::Int(integer)),
        None => {
            let theirs = theirs.as_f64().unwrap_or(f64::NAN);
            assert!(differences::is_near(double(number), theirs), "{number:?}, and {theirs:?} by serde_json");
        }
    }
}

/// The double nearest to a number.
fn double(number: Number) -> f64 {
    match number {
        Number::Int(integer) => integer as f64,
        Number::Float(double) => double,
    }
}
