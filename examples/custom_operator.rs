//! `helixstream` with an operator of its own, `deduplicate`, which passes on only the first of the
//! records that have one id:
//!
//! `cargo run --example custom_operator -- topology describe examples/custom_operator.toml`
//!
//! docs/custom-operators.md explains it step by step.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use helixstream::Program;
use helixstream::operators::spec::{
    BuildError, OperatorContext, OperatorSpec, Parameter, ParameterKind, ProcessorSupplier,
};
use helixstream::operators::{Input, LEFT_OUT, MISSING_KEY, Outputs, evaluate};
use helixstream::streams::ports::Expressions;
use helixstream::streams::processor::{Processor, ProcessorContext, ProcessorError, Retained};
use helixstream::streams::record::Record;

fn main() -> ExitCode {
    helixstream::main(Program::default().with_operator(deduplicate()))
}

/// Specification of the operator for topology files.
fn deduplicate() -> OperatorSpec {
    let within = ParameterKind::Duration { min: Duration::from_secs(1), max: Duration::from_secs(366 * 86_400) };
    OperatorSpec {
        version: "1",
        parameters: vec![
            Parameter::required("id", ParameterKind::Expression, "\"value.event_id\"", "records of one id are one."),
            Parameter::required("within", within, "\"1h\"", "for so much stream time an id is remembered."),
        ],
        stores: 1,
        is_keyed: true,
        ..OperatorSpec::new("deduplicate", "passes on the first record of each `id` of a key `within` a time", build)
    }
}

/// Makes the supplier of the processors of one `[[processor]]`.
fn build(context: &dyn OperatorContext) -> Result<ProcessorSupplier, BuildError> {
    let name = context.name().to_owned();
    let store = context.store()?.name;
    let within = context.duration("within")?;
    let input = context.input()?;
    let id = context.expressions(&["id"])?;
    let records = context.output("records")?;
    let make = move || Deduplicate {
        name: name.clone(),
        input: input.clone(),
        id: id.clone(),
        seen: Retained::new(&store, Some(within)),
        records: records.clone(),
    };
    Ok(ProcessorSupplier::new(make).punctuated_every(Retained::interval(within)))
}

/// The processor of one task.
struct Deduplicate {
    name: String,
    input: Input,
    id: Arc<dyn Expressions>,
    /// A row for each key and id, which is forgotten after `within`.
    seen: Retained,
    records: Outputs,
}

impl Processor for Deduplicate {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let Some(taken) = self.input.read_json(record, ctx)? else { return Ok(()) };
        let json = taken.record();
        let Some(key) = json.key else {
            return self.input.send_dead_letter(MISSING_KEY, "the record has no key", record, ctx);
        };
        let id = match evaluate(&*self.id, &json) {
            Ok(id) => id,
            Err(failure) => return self.input.send_dead_letter(failure.class, &failure.message, record, ctx),
        };
        // The length of the key keeps two pairs of key and id apart whose bytes are the same one
        // after the other.
        let row = [&u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes()[..], key, &id].concat();
        if self.seen.get(ctx, &row)?.is_some() {
            ctx.count(LEFT_OUT, &self.name, 1);
            return Ok(());
        }
        self.seen.put(ctx, &row, b"")?;
        self.records.emit(&json, ctx)
    }

    fn punctuate(&mut self, _boundary_ms: i64, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        self.seen.punctuate(ctx)
    }
}
