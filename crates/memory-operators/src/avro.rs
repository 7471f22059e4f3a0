//! Avro in and out by the program's codec: reading an event of any encoding, and the meaning of the
//! codec's errors to a processor and to the mirror.

use std::borrow::Cow;
use std::sync::Arc;

use super::encode::{Encoder, Output};
use memory::event::{self, BadInput, Encoding, Event, Limits};
use mirror::ports::{NoCells, NotYet, Unreadable};
use streams::error::Error;
use streams::ports::{Codec, CodecError};
use streams::processor::ProcessorError;

/// Writes outputs of one topic in Avro.
pub struct AvroOutputs {
    /// Codec that knows the schemas; without one nothing can be written.
    pub codec: Option<Arc<dyn Codec>>,
    /// The topic that they go to.
    pub topic: String,
}

impl AvroOutputs {
    fn codec(&self) -> Result<&dyn Codec, ProcessorError> {
        self.codec.as_deref().ok_or_else(|| ProcessorError::Failed(no_registry(&self.topic, "written")))
    }
}

impl Encoder for AvroOutputs {
    fn encode(&self, output: Output, json: &[u8]) -> Result<Vec<u8>, ProcessorError> {
        self.codec()?.encode(schema(output), &self.topic, json).map_err(stopped)
    }

    fn prepare(&self, output: Output) -> Result<(), ProcessorError> {
        self.codec()?.prepare(schema(output), &self.topic).map_err(stopped)
    }
}

/// Our schema of an output.
fn schema(output: Output) -> &'static str {
    match output {
        Output::Resolved => "resolved-memory",
        Output::Conflict => "conflict-record",
        Output::UserSnapshot => "user-snapshot",
    }
}

/// Our schema of an event.
const EVENT: &str = "event";

/// The event of a value, of any encoding that its source takes; without a codec Avro is of an
/// unknown schema.
///
/// # Errors
/// Those of a codec; bad input is [`CodecError::Bad`], of whatever encoding.
pub(super) fn event(
    value: Option<&[u8]>,
    timestamp_ms: i64,
    limits: &Limits,
    encoding: Encoding,
    codec: Option<&dyn Codec>,
) -> Result<Event, CodecError> {
    let bad = |bad: BadInput| CodecError::Bad { class: bad.class.as_str(), message: bad.message };
    admit(value, limits, encoding).map_err(bad)?;
    let avro = value.filter(|value| Encoding::is_avro(value) && value.len() <= limits.max_value_bytes);
    let read = match (avro, codec) {
        (Some(avro), Some(codec)) => {
            let json = codec.decode(EVENT, avro)?;
            // The limit is that of the value; as JSON an event is longer.
            event::decode(Some(&json), timestamp_ms, &Limits { max_value_bytes: usize::MAX, ..*limits })
        }
        _ => event::decode(value, timestamp_ms, limits),
    };
    read.map_err(bad)
}

/// Whether a source takes a value of this encoding. A value that is empty or too large is reported
/// as such.
fn admit(value: Option<&[u8]>, limits: &Limits, encoding: Encoding) -> Result<(), BadInput> {
    let value = value.filter(|value| !value.is_empty() && value.len() <= limits.max_value_bytes);
    let Some(value) = value.filter(|_| encoding != Encoding::Auto) else { return Ok(()) };
    encoding.admit_first_byte(value)?;
    encoding.admit_json(value)
}

/// The JSON of an output's value; what is no Avro is given as it is.
///
/// # Errors
/// Those of a codec.
pub(super) fn output<'v>(
    output: Output,
    value: &'v [u8],
    codec: Option<&dyn Codec>,
) -> Result<Cow<'v, [u8]>, CodecError> {
    match codec {
        Some(codec) if Encoding::is_avro(value) => codec.decode(schema(output), value).map(Cow::Owned),
        _ => Ok(Cow::Borrowed(value)),
    }
}

/// Turns the codec's refusal of a record into the mirror's. A registry that refuses us is waited
/// for like one that is down: only the stream can stop, and a row that said what is not so would
/// stay.
pub(super) fn unread(error: CodecError) -> NoCells {
    match error {
        CodecError::Unavailable(why) | CodecError::Fatal(why) => NoCells::NotYet(NotYet(why)),
        CodecError::Bad { class, message } => NoCells::Unreadable(Unreadable { class, message }),
    }
}

/// Message for a topic that is to be `written` or `read` in Avro without a registry.
pub fn no_registry(topic: &str, what: &str) -> String {
    format!(
        "topic {topic} is {what} in Avro, but no schema registry is set: set --schema-registry-url, or `url` in \
         [schema_registry] of the topology file [HS5511]"
    )
}

/// An error of the codec that is not the record's own fault.
pub(super) fn stopped(error: CodecError) -> ProcessorError {
    match error {
        CodecError::Unavailable(what) => Error::Retry(what).into(),
        CodecError::Fatal(what) => Error::Fatal(what).into(),
        CodecError::Bad { class, message } => {
            ProcessorError::Failed(format!("an output cannot be written in Avro ({class}): {message} [HS9000]"))
        }
    }
}
