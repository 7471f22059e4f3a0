//! Formats of the outputs.

use std::sync::Arc;

use operators::OutputEncoder;
use streams::processor::ProcessorError;

/// Kind of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A resolved memory.
    Resolved,
    /// A conflict record.
    Conflict,
    /// A user's snapshot.
    UserSnapshot,
}

/// Writes outputs in another format than our JSON. Pure: the same output has the same bytes.
pub trait Encoder: Send + Sync {
    /// The bytes of an output, which is given as our canonical JSON.
    ///
    /// # Errors
    /// It cannot be written, now or ever.
    fn encode(&self, output: Output, json: &[u8]) -> Result<Vec<u8>, ProcessorError>;

    /// As [`OutputEncoder::prepare`], for one kind of output.
    ///
    /// # Errors
    /// It cannot be written, now or ever.
    fn prepare(&self, output: Output) -> Result<(), ProcessorError> {
        let _ = output;
        Ok(())
    }
}

/// Writes one kind of output, for those who take it.
pub struct Written {
    /// The format.
    pub encoder: Arc<dyn Encoder>,
    /// Kind of the output.
    pub output: Output,
}

impl OutputEncoder for Written {
    fn write(&self, json: &[u8]) -> Result<Vec<u8>, ProcessorError> {
        self.encoder.encode(self.output, json)
    }

    fn prepare(&self) -> Result<(), ProcessorError> {
        self.encoder.prepare(self.output)
    }
}
