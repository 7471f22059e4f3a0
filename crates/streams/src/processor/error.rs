//! Why a processor stopped.

use crate::error::Error;

/// Why a processor stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcessorError {
    /// The error of the engine, which is returned unchanged.
    #[error(transparent)]
    Engine(#[from] Error),
    /// The processor cannot go on: what is wrong, where, and what to do.
    #[error("{0}")]
    Failed(String),
}
