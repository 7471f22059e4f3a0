//! Shared code of the readers of our own output topics: which record it is, and its JSON, or why it
//! cannot be read.

use serde::Deserialize;

use std::borrow::Cow;

use crate::avro;
use crate::encode::Output;
use json::rfc3339;
use mirror::ports::{Cells, LogRecord, NoCells, Unreadable};
use streams::ports::Codec;

/// Value of the header `type`; the last one of several.
pub(super) fn kind<'r>(record: &LogRecord<'r>) -> &'r str {
    let value = record.headers.iter().rev().find(|header| header.name == b"type").and_then(|header| header.value);
    value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
}

/// The reason of a record that is of another kind than its topic holds.
pub(super) fn unknown_kind(record: &LogRecord<'_>) -> Unreadable {
    let message = format!("the header `type` is `{}`, which does not belong to this topic", kind(record));
    Unreadable { class: "unknown_record_type", message }
}

/// The value as JSON, whether it is that or Avro.
pub(super) fn value<'r>(
    record: &LogRecord<'r>,
    output: Output,
    codec: Option<&dyn Codec>,
) -> Result<Cow<'r, [u8]>, NoCells> {
    let value = record.value.filter(|value| !value.is_empty());
    let empty = || Unreadable { class: "empty_value", message: "the record has no value".to_owned() };
    avro::output(output, value.ok_or_else(empty)?, codec).map_err(avro::unread)
}

/// Reads JSON. What is not asked for is skipped, however deep it is.
pub(super) fn read<'r, T: Deserialize<'r>>(value: &'r [u8]) -> Result<T, Unreadable> {
    let unreadable = |class, message| Unreadable { class, message };
    let text = std::str::from_utf8(value).map_err(|e| unreadable("malformed_json", e.to_string()))?;
    serde_json::from_str(text).map_err(|e| {
        let class = match e.classify() {
            serde_json::error::Category::Data if e.to_string().starts_with("missing field") => "missing_field",
            serde_json::error::Category::Data => "wrong_type",
            _ => "malformed_json",
        };
        unreadable(class, e.to_string())
    })
}

/// A time of a record, in nanoseconds since 1970.
pub(super) fn instant(member: &str, text: &str) -> Result<u64, Unreadable> {
    let bad = |e| Unreadable { class: "bad_timestamp", message: format!("`{member}` is `{text}`: {e}") };
    rfc3339::parse(text).map_err(bad)
}

pub(super) fn text_or_null(text: Option<&str>, to: &mut dyn Cells) {
    match text {
        Some(text) => to.text(text),
        None => to.null(),
    }
}

pub(super) fn json_or_null(json: Option<&[u8]>, to: &mut dyn Cells) {
    match json {
        Some(json) => to.json(json),
        None => to.null(),
    }
}
