//! A kind of error of the routes.

use axum::http::{HeaderValue, StatusCode, header};
use http::{Problem, ProblemKind};

/// A kind of error, and the further parts that its problem documents have.
pub(crate) struct ErrorKind {
    /// Its code, status and title.
    pub kind: ProblemKind,
    /// The seconds that the client should wait, in the header `Retry-After`.
    pub retry_after: Option<u64>,
    /// Whether the document encloses the memory as the node shows it.
    pub encloses_memory: bool,
}

impl ErrorKind {
    /// The kind without further parts.
    pub const fn new(status: StatusCode, code: &'static str, title: &'static str) -> ErrorKind {
        ErrorKind::of(ProblemKind::new(status, code, title))
    }

    /// The same of a kind that `crates/http` answers with.
    pub const fn of(kind: ProblemKind) -> ErrorKind {
        ErrorKind { kind, retry_after: None, encloses_memory: false }
    }

    /// The kind whose client should wait for so many seconds.
    pub const fn with_retry_after(mut self, seconds: u64) -> ErrorKind {
        self.retry_after = Some(seconds);
        self
    }

    /// The kind whose documents enclose the memory.
    pub const fn with_memory(mut self) -> ErrorKind {
        self.encloses_memory = true;
        self
    }

    /// An occurrence, described by `detail`. Whoever makes one that encloses a memory adds it.
    pub fn problem(&self, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(self.kind, detail);
        match self.retry_after {
            Some(seconds) => problem.with_header(header::RETRY_AFTER, HeaderValue::from(seconds)),
            None => problem,
        }
    }
}
