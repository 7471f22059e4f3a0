//! The operator `branch`: hands each record to the first of its outputs whose expression is true.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::expressions::{expression_input, truth};
use super::{Input, LEFT_OUT, Outputs};
use streams::ports::Expressions;
use streams::processor::{Processor, ProcessorContext, ProcessorError};
use streams::record::Record;

/// Parts records.
pub struct Branch {
    /// Its name in the file.
    pub name: String,
    /// The input of the operator.
    pub input: Input,
    /// When a record goes to each output, in order.
    pub when: Arc<dyn Expressions>,
    /// The outputs, in the same order.
    pub outputs: Vec<Outputs>,
    /// The output for records that go to none of them.
    pub otherwise: Outputs,
}

impl Processor for Branch {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let Some(taken) = self.input.read_json(record, ctx)? else { return Ok(()) };
        let taken = taken.record();
        let mut first = Ok(None);
        self.when.each(&expression_input(&taken), &mut |at, made| {
            first = made.and_then(|json| truth(&json)).map(|is_true| is_true.then_some(at));
            if matches!(first, Ok(None)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match first {
            Ok(Some(at)) => self.outputs.get(at).map_or(Ok(()), |output| output.emit(&taken, ctx)),
            Ok(None) if self.otherwise.list.is_empty() => {
                ctx.count(LEFT_OUT, &self.name, 1);
                Ok(())
            }
            Ok(None) => self.otherwise.emit(&taken, ctx),
            Err(failure) => self.input.send_dead_letter(failure.class, &failure.message, record, ctx),
        }
    }
}
