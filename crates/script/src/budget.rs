//! The limits within which the code of users runs.

/// Limits of one call of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Steps of the engine.
    pub operations: u64,
    /// Bytes of text: of what it is given, and of each value that it makes.
    pub bytes: usize,
    /// Items of arrays and members of objects: of what it is given, and of each value that it
    /// makes.
    pub items: usize,
    /// Calls of its functions within each other.
    pub depth: usize,
}
