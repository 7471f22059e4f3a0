//! Who takes the outputs of an operator, and what they are written as for each.

use std::borrow::Cow;
use std::sync::Arc;

use crate::streams::processor::ProcessorError;

/// What an output says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A resolved memory.
    Resolved,
    /// A conflict record.
    Conflict,
    /// A user's snapshot.
    UserSnapshot,
}

/// Writes outputs in another format than our JSON. Pure: the same output gives the same bytes.
pub trait Encoder: Send + Sync {
    /// The bytes of an output, which is given as our canonical JSON.
    ///
    /// # Errors
    /// It cannot be written, now or ever.
    fn encode(&self, output: Output, json: &[u8]) -> Result<Vec<u8>, ProcessorError>;
}

/// A node that takes an output.
#[derive(Clone)]
pub struct Taker {
    /// Its name.
    pub node: String,
    /// What writes its format; `None` for our JSON.
    pub encoder: Option<Arc<dyn Encoder>>,
}

impl Taker {
    /// The value of an output as this node takes it.
    ///
    /// # Errors
    /// As for [`Encoder::encode`].
    pub fn value<'j>(&self, output: Output, json: &'j [u8]) -> Result<Cow<'j, [u8]>, ProcessorError> {
        match &self.encoder {
            None => Ok(Cow::Borrowed(json)),
            Some(encoder) => Ok(Cow::Owned(encoder.encode(output, json)?)),
        }
    }
}
