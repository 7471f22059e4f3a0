//! The operator `rekey`: sets the key of each record to the result of an expression, and leaves out
//! records without one.

use std::sync::Arc;

use super::expressions::{expression_input, key, one};
use super::{Input, LEFT_OUT, Outputs};
use streams::ports::Expressions;
use streams::processor::{Processor, ProcessorContext, ProcessorError};
use streams::record::Record;

/// Changes keys.
pub struct Rekey {
    /// Its name in the file.
    pub name: String,
    /// The input of the operator.
    pub input: Input,
    /// The new key.
    pub key: Arc<dyn Expressions>,
    /// The output for the records.
    pub records: Outputs,
}

impl Processor for Rekey {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let Some(taken) = self.input.read_json(record, ctx)? else { return Ok(()) };
        let taken = taken.record();
        match one(&*self.key, &expression_input(&taken)).and_then(|json| key(&json)) {
            Ok(Some(key)) => self.records.emit(&Record { key: Some(&key), ..taken }, ctx),
            Ok(None) => {
                ctx.count(LEFT_OUT, &self.name, 1);
                Ok(())
            }
            Err(failure) => self.input.send_dead_letter(failure.class, &failure.message, record, ctx),
        }
    }
}
