//! The operator `filter`: hands on the records of which an expression is true.

use std::sync::Arc;

use super::expressions::{expression_input, one, truth};
use super::{Input, LEFT_OUT, Outputs};
use streams::ports::Expressions;
use streams::processor::{Processor, ProcessorContext, ProcessorError};
use streams::record::Record;

/// Leaves records out.
pub struct Filter {
    /// Its name in the file.
    pub name: String,
    /// The input of the operator.
    pub input: Input,
    /// Which records pass.
    pub when: Arc<dyn Expressions>,
    /// The output for the records.
    pub records: Outputs,
}

impl Processor for Filter {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let Some(taken) = self.input.read_json(record, ctx)? else { return Ok(()) };
        let taken = taken.record();
        match one(&*self.when, &expression_input(&taken)).and_then(|json| truth(&json)) {
            Ok(true) => self.records.emit(&taken, ctx),
            Ok(false) => {
                ctx.count(LEFT_OUT, &self.name, 1);
                Ok(())
            }
            Err(failure) => self.input.send_dead_letter(failure.class, &failure.message, record, ctx),
        }
    }
}
