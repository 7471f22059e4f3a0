//! A store of the engine as the rows of memories, and the errors of a processor where they cannot
//! be read.

use memory::binary::BinaryError;
use memory::state::{ReadFailure, Rows, StateError};
use streams::error::Error;
use streams::processor::{ProcessorError, StoreRef};
use streams::record::TaskId;

/// The rows of memories in a store.
pub(super) struct StoreRows<'s, 'a>(pub &'s StoreRef<'a>);

impl Rows for StoreRows<'_, '_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        Ok(self.0.get(key)?.map(|value| value.to_vec()))
    }
}

/// Error for a memory whose state cannot be read.
pub(super) fn state_error(task: TaskId, error: StateError) -> ProcessorError {
    match error {
        StateError::Read { error, .. } => engine_error(error),
        StateError::Damaged { error: BinaryError::UnknownVersion { .. }, .. } => {
            ProcessorError::Failed(error.to_string())
        }
        damaged => Error::Corrupted { task, what: damaged.to_string() }.into(),
    }
}

/// Gives the engine its own error back.
fn engine_error(error: ReadFailure) -> ProcessorError {
    match error.downcast::<ProcessorError>() {
        Ok(engine) => *engine,
        Err(other) => ProcessorError::Failed(other.to_string()),
    }
}
