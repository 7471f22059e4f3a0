//! Every difference between our parser and `serde_json` that is intended. The target `json` fails
//! on any other; `tests/plain/differences.rs` holds an example of each row.
//!
//! | topic | ours (docs/semantics.md, sections 1 and 4) | `serde_json` |
//! |---|---|---|
//! | depth | nesting of 128 is read, 129 is refused | nesting of 127 is read, 128 is refused |
//! | doubles of a text of more than 768 digits | the nearest double | may be the one beside it |
//! | whole doubles | `1.0`, `1e0` and `1` are one number; `-0` is 0 | a double for each spelling with a fraction or an exponent, and for `-0` |
//! | whole doubles within 64 bits, from 2^53 on | the integer that ECMAScript writes for the double | the double |
//! | length | a text above 2^28-1 bytes is refused | no limit |
//!
//! In these points both do the same, though RFC 8259 leaves them open. `serde_json` has its feature
//! `float_roundtrip` here, without which its doubles may be some units in the last place off:
//!
//! | topic | both |
//! |---|---|
//! | doubles of a text of up to 768 digits | the nearest double |
//! | lone surrogates | refused, in keys and in values |
//! | duplicate keys | the last member counts |
//! | integers within 64 bits, signed or unsigned | exact |
//! | integers beyond 64 bits | a double |
//! | numbers outside a double's range | refused where the nearest double is infinite; too small ones are 0 |
//! | a byte order mark, bytes that are no UTF-8 | refused |

use ::json::{Document, MAX_DEPTH, Value, ValueKind};

/// Whether `serde_json` is meant to refuse a text that we accept: nesting of [`MAX_DEPTH`] is the
/// greatest that we read, and one more than it reads.
#[must_use]
pub fn is_refused_by_serde_json_alone(ours: &Document<'_>, error: &serde_json::Error) -> bool {
    error.to_string().starts_with("recursion limit exceeded") && depth(ours.root()) == MAX_DEPTH
}

/// Whether our double and `serde_json`'s may stand for the same text of many digits: they are
/// equal, or one lies beside the other.
#[must_use]
pub fn is_near(ours: f64, theirs: f64) -> bool {
    ours == theirs || ours.next_up() == theirs || ours.next_down() == theirs
}

fn depth(value: Value<'_>) -> usize {
    let inner = value.items().map(depth).chain(value.members().map(|(_, member)| depth(member)));
    let is_container = matches!(value.kind(), ValueKind::Array | ValueKind::Object);
    usize::from(is_container) + inner.max().unwrap_or(0)
}
