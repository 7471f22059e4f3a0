//! Avro in and out, by whatever codec the program has: what its errors mean to a processor.

use std::sync::Arc;

use super::encode::{Encoder, Output};
use crate::streams::error::Error;
use crate::streams::ports::{Codec, CodecError};
use crate::streams::processor::ProcessorError;

/// Writes outputs of one topic in Avro.
pub struct AvroOutputs {
    /// What knows the schemas; without one nothing can be written.
    pub codec: Option<Arc<dyn Codec>>,
    /// The topic that they go to.
    pub topic: String,
}

impl Encoder for AvroOutputs {
    fn encode(&self, output: Output, json: &[u8]) -> Result<Vec<u8>, ProcessorError> {
        let Some(codec) = &self.codec else { return Err(ProcessorError::Failed(no_registry(&self.topic, "written"))) };
        let schema = match output {
            Output::Resolved => "resolved-memory",
            Output::Conflict => "conflict-record",
            Output::UserSnapshot => "user-snapshot",
        };
        codec.encode(schema, &self.topic, json).map_err(stopped)
    }
}

/// What is said where a topic is to be `written` or `read` in Avro and there is no registry.
pub fn no_registry(topic: &str, what: &str) -> String {
    format!(
        "topic {topic} is {what} in Avro, and no schema registry is set: name one with --schema-registry-url, or as `url` \
         in [schema_registry] of the topology file"
    )
}

/// An error of the codec that is not the record's own fault.
pub(super) fn stopped(error: CodecError) -> ProcessorError {
    match error {
        CodecError::Unavailable(what) => Error::Retry(what).into(),
        CodecError::Fatal(what) => Error::Fatal(what).into(),
        CodecError::Bad { class, message } => ProcessorError::Failed(format!("an output is {class}: {message}")),
    }
}
