//! Who takes an output of an operator, under which key, and what it is written as for each.

use std::borrow::Cow;
use std::sync::Arc;

use super::expressions::{given, key, one};
use super::input::bury;
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
    /// As [`super::Input::buries_source`], for a record whose key cannot be told.
    pub buries_source: bool,
}

impl Takers {
    /// Hands a record to each of them; its value is canonical JSON.
    ///
    /// # Errors
    /// What they answered.
    pub fn give(&self, record: &Record<'_>, ctx: &mut Context<'_>) -> Result<(), ProcessorError> {
        for taker in &self.list {
            let own = match &taker.key {
                None => record.key.map(Cow::Borrowed),
                Some(expression) => match one(&**expression, &given(record)).and_then(|json| key(&json)) {
                    Ok(key) => key.map(Cow::Owned),
                    Err(failure) => {
                        let message = format!("the key of `{}`: {}", taker.node, failure.message);
                        bury(self.buries_source, failure.class, &message, record, ctx)?;
                        continue;
                    }
                },
            };
            let value = match (&taker.writer, record.value) {
                (Some(writer), Some(json)) => Some(Cow::Owned(writer.write(json)?)),
                (_, value) => value.map(Cow::Borrowed),
            };
            ctx.forward_to(&taker.node, &Record { key: own.as_deref(), value: value.as_deref(), ..*record })?;
        }
        Ok(())
    }
}
