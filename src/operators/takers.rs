//! Who takes an output of an operator, under which key, and what it is written as for each.

use std::borrow::Cow;
use std::sync::Arc;

use super::expressions::{given, key, one};
use super::input::send_dead_letter;
use crate::streams::ports::Expressions;
use crate::streams::processor::{Context, ProcessorError};
use crate::streams::record::Record;

/// Writes values in another format than JSON. Pure: the same value gives the same bytes.
pub trait Writer: Send + Sync {
    /// The bytes of a value, which is given as canonical JSON.
    ///
    /// # Errors
    /// It cannot be written, now or ever.
    fn write(&self, json: &[u8]) -> Result<Vec<u8>, ProcessorError>;
}

/// A node that takes an output.
#[derive(Clone)]
pub struct Taker {
    /// Its name.
    pub node: String,
    /// The key that records have there; the record's own where there is none.
    pub key: Option<Arc<dyn Expressions>>,
    /// What writes its format; `None` for JSON.
    pub writer: Option<Arc<dyn Writer>>,
}

/// All who take an output.
#[derive(Clone, Default)]
pub struct Takers {
    /// Each of them, in the file's order.
    pub list: Vec<Taker>,
    /// As [`super::Input::dead_letter_is_source`], for a record whose key cannot be told.
    pub dead_letter_is_source: bool,
}

impl Taker {
    /// A value as this node takes it.
    ///
    /// # Errors
    /// As for [`Writer::write`].
    pub fn value<'j>(&self, json: &'j [u8]) -> Result<Cow<'j, [u8]>, ProcessorError> {
        match &self.writer {
            Some(writer) => Ok(Cow::Owned(writer.write(json)?)),
            None => Ok(Cow::Borrowed(json)),
        }
    }
}

impl Takers {
    /// Hands a record to each of them; its value is canonical JSON.
    ///
    /// # Errors
    /// What they answered.
    pub fn give(&self, record: &Record<'_>, ctx: &mut Context<'_>) -> Result<(), ProcessorError> {
        self.list.iter().try_for_each(|taker| self.give_one(taker, record, ctx))
    }

    /// Hands a record to one of them.
    ///
    /// # Errors
    /// What it answered.
    pub fn give_one(&self, taker: &Taker, record: &Record<'_>, ctx: &mut Context<'_>) -> Result<(), ProcessorError> {
        let own = match &taker.key {
            None => record.key.map(Cow::Borrowed),
            Some(expression) => match one(&**expression, &given(record)).and_then(|json| key(&json)) {
                Ok(key) => key.map(Cow::Owned),
                Err(failure) => {
                    let message = format!("the key of `{}`: {}", taker.node, failure.message);
                    return send_dead_letter(self.dead_letter_is_source, failure.class, &message, record, ctx);
                }
            },
        };
        let value = record.value.map(|json| taker.value(json)).transpose()?;
        ctx.forward_to(&taker.node, &Record { key: own.as_deref(), value: value.as_deref(), ..*record })
    }
}
