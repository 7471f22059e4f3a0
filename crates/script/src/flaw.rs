//! The error of a text that is no script or no expression.

/// Describes why a script's text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The code of the kind, as `docs/operations.md` explains it.
    pub code: &'static str,
    /// The byte of the text that is meant.
    pub at: usize,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub fix: String,
}
