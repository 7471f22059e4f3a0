//! The outputs of an operator: the nodes that each goes to, under which key, and in which format.

use std::borrow::Cow;
use std::sync::Arc;

use super::expressions::{expression_input, key, one};
use super::input::send_dead_letter;
use streams::ports::Expressions;
use streams::processor::{ProcessorContext, ProcessorError};
use streams::record::Record;

/// Writes values in another format than JSON. Pure: the same value has the same bytes.
pub trait OutputEncoder: Send + Sync {
    /// The bytes of a value, which is given as canonical JSON.
    ///
    /// # Errors
    /// It cannot be written, now or ever.
    fn write(&self, json: &[u8]) -> Result<Vec<u8>, ProcessorError>;

    /// Makes sure that it has what it needs of others to write, which it keeps from then on.
    ///
    /// # Errors
    /// It cannot write, now or ever.
    fn prepare(&self) -> Result<(), ProcessorError> {
        Ok(())
    }
}

/// A node that an output goes to.
#[derive(Clone)]
pub struct OutputTarget {
    /// Its name.
    pub node: String,
    /// The key that records have there; the record's own where there is none.
    pub key: Option<Arc<dyn Expressions>>,
    /// Encoder of its format; `None` for JSON.
    pub writer: Option<Arc<dyn OutputEncoder>>,
}

/// One output of an operator: all nodes that it goes to.
#[derive(Clone, Default)]
pub struct Outputs {
    /// Each of them, in the file's order.
    pub list: Vec<OutputTarget>,
    /// As [`super::Input::dead_letter_is_source`], for a record whose key cannot be determined.
    pub dead_letter_is_source: bool,
}

impl OutputTarget {
    /// A value in the format of this node.
    ///
    /// # Errors
    /// As for [`OutputEncoder::write`].
    pub fn value<'j>(&self, json: &'j [u8]) -> Result<Cow<'j, [u8]>, ProcessorError> {
        match &self.writer {
            Some(writer) => Ok(Cow::Owned(writer.write(json)?)),
            None => Ok(Cow::Borrowed(json)),
        }
    }
}

impl Outputs {
    /// Makes sure that the encoders of all targets can write. An operator calls this before it has
    /// done anything with a record, since a record that has to wait then is simply not begun.
    ///
    /// # Errors
    /// As for [`OutputEncoder::prepare`].
    pub fn prepare(&self) -> Result<(), ProcessorError> {
        self.list.iter().filter_map(|target| target.writer.as_ref()).try_for_each(|writer| writer.prepare())
    }

    /// Emits a record to each target; its value is canonical JSON.
    ///
    /// # Errors
    /// The error of a target.
    pub fn emit(&self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        self.list.iter().try_for_each(|target| self.emit_to(target, record, ctx))
    }

    /// Emits a record to one target.
    ///
    /// # Errors
    /// The error of the target.
    pub fn emit_to(
        &self,
        target: &OutputTarget,
        record: &Record<'_>,
        ctx: &mut dyn ProcessorContext<'_>,
    ) -> Result<(), ProcessorError> {
        let own = match &target.key {
            None => record.key.map(Cow::Borrowed),
            Some(expression) => match one(&**expression, &expression_input(record)).and_then(|json| key(&json)) {
                Ok(key) => key.map(Cow::Owned),
                Err(failure) => {
                    let message = format!("the key of `{}`: {}", target.node, failure.message);
                    return send_dead_letter(self.dead_letter_is_source, failure.class, &message, record, ctx);
                }
            },
        };
        let value = record.value.map(|json| target.value(json)).transpose()?;
        ctx.forward_to(&target.node, &Record { key: own.as_deref(), value: value.as_deref(), ..*record })
    }
}
