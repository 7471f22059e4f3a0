//! Errors as problem documents (RFC 9457): JSON that a program can tell apart by a code.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use json::ObjectWriter;

/// The media type of a problem document (RFC 9457, section 3).
pub const PROBLEM_TYPE: &str = "application/problem+json";
/// Prefix of the `type` of each problem; the code follows.
pub const TYPE_PREFIX: &str = "urn:helixstream:problem:";

/// A kind of error: the parts that all occurrences of a code have in common.
#[derive(Clone, Copy, Debug)]
pub struct ProblemKind {
    /// The status of the answer.
    pub status: StatusCode,
    /// The code, of which docs/operations.md has an entry.
    pub code: &'static str,
    /// The kind in words.
    pub title: &'static str,
}

impl ProblemKind {
    /// The kind with these parts.
    #[must_use]
    pub const fn new(status: StatusCode, code: &'static str, title: &'static str) -> ProblemKind {
        ProblemKind { status, code, title }
    }
}

/// An error as the client of an API gets it.
#[derive(Debug)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// A description of this occurrence, and of what to do.
    pub detail: String,
    members: Vec<(&'static str, Vec<u8>)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem without further members and headers.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into(), members: Vec::new(), headers: Vec::new() }
    }

    /// Adds a member, whose value is JSON. Its name is none of those of RFC 9457, and not `code`.
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: Vec<u8>) -> Problem {
        self.members.push((name, value));
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// The answer as plain text, for whom the pages are: people, and programs such as Prometheus.
    pub(super) fn into_text(self) -> Response {
        let text = format!("{} [{}]\n", self.detail, self.kind.code);
        let mut response = (self.kind.status, text).into_response();
        response.headers_mut().extend(self.headers);
        response
    }

    fn document(&self) -> Vec<u8> {
        let text = |text: &str| {
            let mut value = Vec::new();
            json::write_string(&mut value, text);
            value
        };
        let status = self.kind.status.as_u16().to_string().into_bytes();
        let mut members = vec![
            ("type", text(&format!("{TYPE_PREFIX}{}", self.kind.code))),
            ("title", text(self.kind.title)),
            ("status", status),
            ("detail", text(&self.detail)),
            ("code", text(self.kind.code)),
        ];
        members.extend(self.members.iter().cloned());
        members.sort();
        let mut document = Vec::new();
        let mut object = ObjectWriter::new(&mut document);
        members.iter().for_each(|(name, value)| object.raw(name, value));
        object.end();
        document
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.document()));
        *response.status_mut() = self.kind.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
        response.headers_mut().extend(self.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_is_one_document_with_its_headers() {
        let problem = Problem::new(ProblemKind::new(StatusCode::CONFLICT, "HS0000", "A \"conflict\""), "line\nbreak")
            .with_member("present", b"{\"a\":1}".to_vec())
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"));
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_TYPE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        let expected = "{\"code\":\"HS0000\",\"detail\":\"line\\nbreak\",\"present\":{\"a\":1},\"status\":409,\
                        \"title\":\"A \\\"conflict\\\"\",\"type\":\"urn:helixstream:problem:HS0000\"}";
        assert_eq!(String::from_utf8(body.to_vec()).unwrap(), expected);
    }
}
