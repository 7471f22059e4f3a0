//! The common parts of answers.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use crate::answers;
use crate::description::AnswerHeader;

/// The beginning of all paths of Mem0's API.
pub(crate) const BASE: &str = "/mem0";

/// The header of an answer that is not whole, because it would be too large.
const TRUNCATED: HeaderName = HeaderName::from_static("x-truncated");

/// The same for the OpenAPI document.
pub(super) static TRUNCATED_HEADER: AnswerHeader = AnswerHeader {
    name: "X-Truncated",
    description: "`true` where the answer is not whole, since it would be too large or has as many items as were asked \
                  for; absent otherwise.",
};

/// An answer that says whether a part is left out.
pub(super) fn cut(body: Vec<u8>, is_truncated: bool) -> Response {
    let mut response = answers::json(StatusCode::OK, body);
    if is_truncated {
        response.headers_mut().insert(TRUNCATED, HeaderValue::from_static("true"));
    }
    response
}

/// Writes a text, or null where there is none.
pub(super) fn write_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => json::write_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}
