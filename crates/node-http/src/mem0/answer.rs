//! The common parts of answers.

use axum::http::HeaderName;

/// The beginning of all paths of Mem0's API.
pub(crate) const BASE: &str = "/mem0";

/// The header of an answer that lacks memories, because it would be too large.
pub(super) const TRUNCATED: HeaderName = HeaderName::from_static("x-truncated");

/// Writes a text, or null where there is none.
pub(super) fn write_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => json::write_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}
