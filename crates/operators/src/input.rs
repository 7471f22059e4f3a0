//! Reads the input of an operator as JSON, and sends records that it cannot read to the dead
//! letters.

use std::borrow::Cow;
use std::sync::Arc;

use super::expressions::{expression_input, key, one};
use memory::event::{Class, Encoding};
use streams::error::Error;
use streams::ports::{Codec, CodecError, Expressions};
use streams::processor::{ProcessorContext, ProcessorError};
use streams::record::{Headers, Record};

/// How the records of a source are read.
#[derive(Clone)]
pub struct SourceInput {
    /// Encoding of their values.
    pub encoding: Encoding,
    /// Codec that reads Avro; without one every schema is unknown.
    pub codec: Option<Arc<dyn Codec>>,
    /// Bytes of a value that are still accepted.
    pub max_value_bytes: usize,
    /// Their key, where it is not to be the record's own.
    pub key: Option<Arc<dyn Expressions>>,
}

/// How an operator reads.
#[derive(Clone, Default)]
pub struct Input {
    /// The source, where its records come straight from one; other operators give JSON.
    pub source: Option<SourceInput>,
    /// Whether the record of the task's log is what becomes a dead letter. Where that log holds
    /// what only we can read, it is the record that the operator got.
    pub dead_letter_is_source: bool,
}

/// A record whose value is JSON.
pub struct JsonRecord<'r> {
    key: Option<Cow<'r, [u8]>>,
    value: Cow<'r, [u8]>,
    headers: Headers<'r>,
    timestamp_ms: i64,
}

impl JsonRecord<'_> {
    /// As it goes on.
    pub fn record(&self) -> Record<'_> {
        let headers = self.headers;
        let timestamp_ms = self.timestamp_ms;
        Record { key: self.key.as_deref(), value: Some(&self.value), headers, timestamp_ms }
    }
}

/// The class of a dead letter, and what is wrong.
type Bad = (&'static str, String);

impl Input {
    /// The record as JSON; `None` where it went to the dead letters.
    ///
    /// # Errors
    /// The error of the dead-letter topic or of the codec.
    pub fn read_json<'r>(
        &self,
        record: &Record<'r>,
        ctx: &mut dyn ProcessorContext<'_>,
    ) -> Result<Option<JsonRecord<'r>>, ProcessorError> {
        match self.read(record)? {
            Ok(taken) => Ok(Some(taken)),
            Err((class, message)) => self.send_dead_letter(class, &message, record, ctx).map(|()| None),
        }
    }

    fn read<'r>(&self, record: &Record<'r>) -> Result<Result<JsonRecord<'r>, Bad>, ProcessorError> {
        let Some(value) = record.value.filter(|value| !value.is_empty()) else {
            return Ok(Err((Class::EmptyValue.as_str(), "the record has no value".to_owned())));
        };
        let headers = record.headers;
        let timestamp_ms = record.timestamp_ms;
        let mut taken =
            JsonRecord { key: record.key.map(Cow::Borrowed), value: Cow::Borrowed(value), headers, timestamp_ms };
        let Some(source) = &self.source else { return Ok(Ok(taken)) };
        match source.json(value)? {
            Ok(json) => taken.value = json,
            Err(bad) => return Ok(Err(bad)),
        }
        let Some(expression) = &source.key else { return Ok(Ok(taken)) };
        let found = one(&**expression, &expression_input(&taken.record())).and_then(|json| key(&json));
        Ok(match found {
            Ok(key) => Ok(JsonRecord { key: key.map(Cow::Owned), ..taken }),
            Err(failure) => Err((failure.class, format!("the source's key: {}", failure.message))),
        })
    }

    /// Sends a record that could not be worked on to the dead letters.
    ///
    /// # Errors
    /// The error of their topic.
    pub fn send_dead_letter(
        &self,
        class: &str,
        message: &str,
        record: &Record<'_>,
        ctx: &mut dyn ProcessorContext<'_>,
    ) -> Result<(), ProcessorError> {
        send_dead_letter(self.dead_letter_is_source, class, message, record, ctx)
    }
}

pub(super) fn send_dead_letter(
    source: bool,
    class: &str,
    message: &str,
    record: &Record<'_>,
    ctx: &mut dyn ProcessorContext<'_>,
) -> Result<(), ProcessorError> {
    match source && ctx.source().is_some() {
        true => ctx.dead_letter(class, message),
        false => ctx.dead_letter_of(class, message, record),
    }
}

impl SourceInput {
    /// The JSON that a value stands for.
    fn json<'v>(&self, value: &'v [u8]) -> Result<Result<Cow<'v, [u8]>, Bad>, ProcessorError> {
        if value.len() > self.max_value_bytes {
            let message = format!("the value has {} bytes, the limit is {}", value.len(), self.max_value_bytes);
            return Ok(Err((Class::TooLarge.as_str(), message)));
        }
        if let Err(bad) = self.encoding.admit_first_byte(value) {
            return Ok(Err((bad.class.as_str(), bad.message)));
        }
        if !Encoding::is_avro(value) {
            return Ok(self.encoding.open(value).map_err(|bad| (bad.class.as_str(), bad.message)));
        }
        let Some(codec) = &self.codec else {
            let message = "the value is Avro, and no schema registry is set up to ask for its schema".to_owned();
            return Ok(Err((Class::UnknownSchema.as_str(), message)));
        };
        match codec.json(value) {
            Ok(json) => Ok(Ok(Cow::Owned(json))),
            Err(CodecError::Bad { class, message }) => Ok(Err((class, message))),
            Err(CodecError::Unavailable(what)) => Err(Error::Retry(what).into()),
            Err(CodecError::Fatal(what)) => Err(Error::Fatal(what).into()),
        }
    }
}
