//! Every difference between our parser and `serde_json` that is intended. The target `json` fails
//! on any other; `tests/plain/differences.rs` holds an example of each row.
//!
//! | topic | ours (docs/semantics.md, sections 1 and 4) | `serde_json` |
//! |---|---|---|
//! | depth | nesting of 128 is read, 129 is refused | nesting of 127 is read, 128 is refused |
//! | numbers at the edge of a double's range | the exact value decides: refused where its nearest double is infinite | multiplies the leading digits with a power of ten, so that the last digits may decide otherwise |
//! | doubles | the nearest double | may be some units in the last place off |
//! | whole doubles | `1.0`, `1e0` and `1` are one number; `-0` is 0 | a double for each spelling with a fraction or an exponent, and for `-0` |
//! | whole doubles within 64 bits, from 2^53 on | the integer that ECMAScript writes for the double | the double |
//! | length | a text above 2^28-1 bytes is refused | no limit |
//!
//! In these points both do the same, though RFC 8259 leaves them open:
//!
//! | topic | both |
//! |---|---|
//! | lone surrogates | refused, in keys and in values |
//! | duplicate keys | the last member counts |
//! | integers within 64 bits, signed or unsigned | exact |
//! | integers beyond 64 bits | a double |
//! | numbers outside a double's range | refused; too small ones are 0 |
//! | a byte order mark, bytes that are no UTF-8 | refused |

use ::json::{Document, Fault, JsonError, MAX_DEPTH, Value, ValueKind};
use serde_json::Value as Theirs;

/// A difference in what is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Nesting of [`MAX_DEPTH`], which is the greatest that we read and one more than `serde_json`
    /// reads.
    Depth,
    /// A number at the edge of a double's range.
    EdgeOfRange,
}

/// Numbers from here on count as the edge of a double's range: the greatest double is
/// 1.7976931348623157e308.
const EDGE: f64 = 1.797_693_134_862_3e308;

/// Why `serde_json` refuses a text that we accept; `None` where that is not intended.
#[must_use]
pub fn refused_by_serde_json_alone(ours: &Document<'_>, error: &serde_json::Error) -> Option<Difference> {
    let message = error.to_string();
    if message.starts_with("recursion limit exceeded") {
        return (depth(ours.root()) == MAX_DEPTH).then_some(Difference::Depth);
    }
    let is_edge = message.starts_with("number out of range") && any(ours.root(), &is_at_edge);
    is_edge.then_some(Difference::EdgeOfRange)
}

/// Why we refuse a text that `serde_json` accepts; `None` where that is not intended.
#[must_use]
pub fn refused_by_us_alone(error: &JsonError, theirs: &Theirs) -> Option<Difference> {
    let is_edge = error.fault == Fault::Malformed
        && error.what == "a number outside of a double's range"
        && any_of_theirs(theirs);
    is_edge.then_some(Difference::EdgeOfRange)
}

/// Whether our double and `serde_json`'s may stand for the same text: it divides by powers of ten
/// in up to three steps, each of which rounds.
#[must_use]
pub fn is_near(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= ours.abs().max(theirs.abs()) * 1e-14 + 1e-322
}

fn is_at_edge(value: Value<'_>) -> bool {
    value.number_text().and_then(|text| text.parse::<f64>().ok()).is_some_and(|double| double.abs() >= EDGE)
}

fn any(value: Value<'_>, test: &dyn Fn(Value<'_>) -> bool) -> bool {
    test(value) || value.items().any(|item| any(item, test)) || value.members().any(|(_, member)| any(member, test))
}

fn any_of_theirs(value: &Theirs) -> bool {
    match value {
        Theirs::Number(number) => number.as_f64().is_some_and(|double| double.abs() >= EDGE),
        Theirs::Array(items) => items.iter().any(any_of_theirs),
        Theirs::Object(members) => members.values().any(any_of_theirs),
        _ => false,
    }
}

fn depth(value: Value<'_>) -> usize {
    let inner = value.items().map(depth).chain(value.members().map(|(_, member)| depth(member)));
    let is_container = matches!(value.kind(), ValueKind::Array | ValueKind::Object);
    usize::from(is_container) + inner.max().unwrap_or(0)
}
