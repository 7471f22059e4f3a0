//! Expressions of the user's over one record: whether it passes, what its key is, what a field of
//! it becomes.

use std::ops::ControlFlow;

use crate::record::Headers;

/// Input of an expression.
#[derive(Clone, Copy, Debug)]
pub struct ExpressionInput<'r> {
    /// `key`: nothing where the record has none.
    pub key: Option<&'r [u8]>,
    /// `value`: JSON.
    pub value: &'r [u8],
    /// `headers`: of a name that stands twice the last counts.
    pub headers: Headers<'r>,
    /// `timestamp`: milliseconds since 1970.
    pub timestamp_ms: i64,
    /// `aggregate`: JSON, where the operator keeps one.
    pub aggregate: Option<&'r [u8]>,
}

/// Why an expression has no value for a record: the record's class among dead letters, and what is
/// wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {message}")]
pub struct ExpressionFailure {
    /// The class.
    pub class: &'static str,
    /// Description of the problem. Bounded, whatever the record.
    pub message: String,
}

/// Result of an expression: canonical JSON.
pub type Evaluated = Result<Vec<u8>, ExpressionFailure>;

/// Expressions that look at the same record. Each is a function of what it is given alone, and ends
/// within a budget.
pub trait Expressions: Send + Sync {
    /// Evaluates one after the other, until `visit` breaks; it receives the index of each. The
    /// record is read once for all.
    fn each(&self, given: &ExpressionInput<'_>, visit: &mut dyn FnMut(usize, Evaluated) -> ControlFlow<()>);
}
