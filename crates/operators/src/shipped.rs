//! The specifications of the operators of this crate.

use std::sync::Arc;

use super::spec::{
    BuildError, Form, OperatorContext, OperatorSpec, OutputForm, OutputSpec, Parameter, ParameterKind,
    ProcessorSupplier, RetentionSupport,
};
use super::{Aggregate, Branch, Filter, Fold, Map, MapFields, Rekey};
use streams::processor::Retained;

const MADE: OutputForm = OutputForm::Always(Form::Json);
const OTHERWISE: &str = "otherwise";

/// The operators of this crate.
pub fn specs() -> Vec<OperatorSpec> {
    vec![filter(), map(), rekey(), branch(), aggregate(), count()]
}

fn filter() -> OperatorSpec {
    let build = |context: &dyn OperatorContext| {
        let name = context.name().to_owned();
        let input = context.input()?;
        let when = context.expressions(&["when"])?;
        let records = context.output("records")?;
        Ok(ProcessorSupplier::new(move || {
            let name = name.clone();
            let records = records.clone();
            Filter { name, input: input.clone(), when: when.clone(), records }
        }))
    };
    OperatorSpec {
        parameters: vec![Parameter::required(
            "when",
            ParameterKind::Expression,
            "'value.status == \"deleted\"'",
            "condition under which a record is passed on, true or false.",
        )],
        ..OperatorSpec::new("filter", "passes on the records for which `when` is true", build)
    }
}

fn map() -> OperatorSpec {
    let build = |context: &dyn OperatorContext| {
        let fields = Arc::new(MapFields {
            has_value: context.has("value"),
            keep: context.paths("keep"),
            drop: context.paths("drop"),
            set: context.paths("set"),
        });
        let expressions = context.expressions(&["value", "set"])?;
        let input = context.input()?;
        let records = context.output("records")?;
        Ok(ProcessorSupplier::new(move || {
            let fields = fields.clone();
            let expressions = expressions.clone();
            Map { input: input.clone(), fields, expressions, records: records.clone() }
        }))
    };
    let parameters = vec![
        Parameter::optional(
            "value",
            ParameterKind::Expression,
            "\"#{ user: value.user_id }\"",
            "the new value as a whole.",
        ),
        Parameter::optional(
            "keep",
            ParameterKind::Fields,
            "[\"user_id\", \"metadata.lang\"]",
            "fields that are kept; all others are removed.",
        ),
        Parameter::optional("drop", ParameterKind::Fields, "[\"embedding\"]", "fields that are removed."),
        Parameter::optional(
            "set",
            ParameterKind::Expressions,
            "{ \"origin.key\" = \"key\" }",
            "fields that are set, by their paths. All expressions see the record as it was before.",
        ),
    ];
    OperatorSpec {
        parameters,
        outputs: vec![OutputSpec::required("records", MADE)],
        without_parameters: Some("changes nothing"),
        ..OperatorSpec::new(
            "map",
            "changes the value of records: `value` as a whole, then only `keep`, without `drop`, with `set`",
            build,
        )
    }
}

fn rekey() -> OperatorSpec {
    let build = |context: &dyn OperatorContext| {
        let name = context.name().to_owned();
        let input = context.input()?;
        let key = context.expressions(&["key"])?;
        let records = context.output("records")?;
        Ok(ProcessorSupplier::new(move || {
            let name = name.clone();
            let records = records.clone();
            Rekey { name, input: input.clone(), key: key.clone(), records }
        }))
    };
    OperatorSpec {
        parameters: vec![Parameter::required(
            "key",
            ParameterKind::Expression,
            "\"value.user_id\"",
            "the new key: a string, or `()` to leave the record out.",
        )],
        ..OperatorSpec::new("rekey", "sets another `key`; `()` leaves a record out", build)
    }
}

fn branch() -> OperatorSpec {
    let build = |context: &dyn OperatorContext| {
        let when = context.expressions(&["branch"])?;
        let outputs = context.branches().iter().map(|name| context.output(name)).collect::<Result<Vec<_>, _>>()?;
        let name = context.name().to_owned();
        let input = context.input()?;
        let otherwise = context.output(OTHERWISE)?;
        Ok(ProcessorSupplier::new(move || {
            let name = name.clone();
            let input = input.clone();
            let when = when.clone();
            Branch { name, input, when, outputs: outputs.clone(), otherwise: otherwise.clone() }
        }))
    };
    OperatorSpec {
        parameters: vec![Parameter::required(
            "branch",
            ParameterKind::Branches,
            "[{ name = \"deletes\", when = 'value.status == \"deleted\"' }]",
            "the outputs, in order; a record goes to the first whose `when` is true, else to `otherwise`.",
        )],
        outputs: vec![OutputSpec {
            description: "records that match no branch",
            ..OutputSpec::optional(OTHERWISE, OutputForm::Same)
        }],
        ..OperatorSpec::new("branch", "sends each record to the first `branch` whose `when` is true", build)
    }
}

fn aggregate() -> OperatorSpec {
    let parameters = vec![
        Parameter::required(
            "initial",
            ParameterKind::Expression,
            "\"0\"",
            "initial value of the aggregate of a key. The expression sees the first record of the key.",
        ),
        Parameter::required(
            "add",
            ParameterKind::AggregateExpression,
            "\"aggregate + value.amount\"",
            "value of the aggregate after a record. Besides the record, the expression sees the value before it as `aggregate`.",
        ),
    ];
    let build = |context: &dyn OperatorContext| {
        let initial = context.expressions(&["initial"])?;
        let add = context.expressions(&["add"])?;
        folding(context, Fold::Expressions { initial, add })
    };
    let description = "stores an aggregate of the records of each key: `initial`, then `add` for each record";
    OperatorSpec { parameters, ..aggregates(OperatorSpec::new("aggregate", description, build)) }
}

fn count() -> OperatorSpec {
    let parameters = vec![Parameter::required(
        "by",
        ParameterKind::Expression,
        "\"value.conflict_type\"",
        "name of the counter that is increased by one; `()` increases none.",
    )];
    let build = |context: &dyn OperatorContext| folding(context, Fold::Count { by: context.expressions(&["by"])? });
    let description = "stores an object of counts for each key, by the result of `by` for each record";
    OperatorSpec { parameters, ..aggregates(OperatorSpec::new("count", description, build)) }
}

/// An operator that keeps one JSON value for each key.
fn aggregates(spec: OperatorSpec) -> OperatorSpec {
    OperatorSpec {
        outputs: vec![OutputSpec::required("aggregates", MADE)],
        stores: 1,
        retention: RetentionSupport::Supported,
        is_keyed: true,
        ..spec
    }
}

fn folding(context: &dyn OperatorContext, fold: Fold) -> Result<ProcessorSupplier, BuildError> {
    let name = context.name().to_owned();
    let input = context.input()?;
    let aggregates = context.output("aggregates")?;
    let store = context.store()?;
    Ok(ProcessorSupplier::new(move || {
        let name = name.clone();
        let input = input.clone();
        let fold = fold.clone();
        let aggregates = aggregates.clone();
        let rows = Retained::new(&store.name, store.retention);
        Aggregate { name, input, fold, rows, forgets: store.retention.is_some(), aggregates }
    }))
}
