//! The size of answers, and the base path that links in them have.

use axum::http::HeaderName;

/// The beginning of all paths of Mem0's API.
pub(crate) const BASE: &str = "/mem0";

/// The header of an answer that lacks memories, because it would be too large.
pub(super) const TRUNCATED: HeaderName = HeaderName::from_static("x-truncated");

/// An answer gets no further memory once it has so many bytes of them.
pub(super) const ANSWER_BYTES: usize = 4 << 20;
