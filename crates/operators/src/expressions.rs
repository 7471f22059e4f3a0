//! Interprets the JSON results of expressions.

use std::ops::ControlFlow;

use super::SCRIPT_FAILED;
use json::{self, ValueKind};
use streams::ports::{Evaluated, ExpressionFailure, ExpressionInput, Expressions};
use streams::record::Record;

type Result<T> = std::result::Result<T, ExpressionFailure>;

/// The part of a record that an expression sees; its value is JSON.
pub(super) fn expression_input<'r>(record: &Record<'r>) -> ExpressionInput<'r> {
    ExpressionInput {
        key: record.key,
        value: record.value.unwrap_or(b"null"),
        headers: record.headers,
        timestamp_ms: record.timestamp_ms,
        aggregate: None,
    }
}

/// The value of an expression that stands alone.
pub(super) fn one(expressions: &dyn Expressions, given: &ExpressionInput<'_>) -> Evaluated {
    let mut found = Err(failure("there is no expression"));
    expressions.each(given, &mut |_, made| {
        found = made;
        ControlFlow::Break(())
    });
    found
}

/// The value of an expression for a record whose value is JSON, as canonical JSON; `()` is `null`.
/// Of several expressions it is that of the first.
///
/// # Errors
/// The expression fails. [`super::Input::send_dead_letter`] sends the record to the dead letters.
pub fn evaluate(expressions: &dyn Expressions, record: &Record<'_>) -> Evaluated {
    one(expressions, &expression_input(record))
}

fn failure(what: &str) -> ExpressionFailure {
    ExpressionFailure { class: SCRIPT_FAILED, message: format!("the expression failed: {what}") }
}

/// Error for a result of another type than the operator needs.
fn wrong(json: &[u8], wanted: &str) -> ExpressionFailure {
    let found = match json.first() {
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b'n') | None => "()",
        Some(_) => "a number",
    };
    failure(&format!("it gave {found}, not {wanted}"))
}

/// Whether it is true.
pub(super) fn truth(json: &[u8]) -> Result<bool> {
    match json {
        b"true" => Ok(true),
        b"false" => Ok(false),
        other => Err(wrong(other, "true or false")),
    }
}

/// The text of a key, or nothing for `()`.
pub(super) fn key(json: &[u8]) -> Result<Option<Vec<u8>>> {
    if json == b"null" {
        return Ok(None);
    }
    let document = json::parse(json).map_err(|e| failure(&e.to_string()))?;
    match document.root().kind() {
        ValueKind::String => Ok(document.root().as_str().map(|text| text.as_bytes().to_vec())),
        _ => Err(wrong(json, "a string or ()")),
    }
}
