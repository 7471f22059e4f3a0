//! The processors of a topology file, built by the operators that its program has registered: each
//! sees its `[[processor]]` through an [`OperatorContext`].

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::scripting::Compiler;
use super::{CommandError, Resolver};
use memory::event::Encoding;
use memory_operators::{AvroOutputs, Encoder, HelixAgent, MemoryEnvironment, Output, Written};
use operators::spec::{
    BuildError, Form, OperatorContext, ParameterValue, ProcessorSupplier, RetentionSupport, StoreContext,
};
use operators::{Input, OutputEncoder, OutputTarget, Outputs, SourceInput};
use streams::ports::{Codec, Expressions};
use streams::processor::Retained;
use topology_file::Topology as File;
use topology_file::expression::{OperatorParams, ParamValue};
use topology_file::flow::{Forms, InputForm};
use topology_file::format::Format;
use topology_file::graph::{GraphNode, GraphNodeKind, logs_of};
use topology_file::table::At;

/// Parts of which processors are built.
pub struct Parts<'f> {
    file: &'f File,
    codec: Option<Arc<dyn Codec>>,
    forms: Forms<'f>,
    compiler: Compiler<'f>,
    environment: MemoryEnvironment,
}

impl<'f> Parts<'f> {
    /// Of a checked file.
    pub fn of(file: &'f File, custom: &Resolver, codec: Option<Arc<dyn Codec>>) -> Parts<'f> {
        let environment = MemoryEnvironment {
            resolver: file.values.resolver.clone(),
            custom: custom.clone(),
            limits: file.values.limits,
            snapshot_interval: file.values.snapshots.interval,
            snapshot_changes: file.values.snapshots.changes,
        };
        Parts { file, codec, forms: Forms::of(&file.graph), compiler: Compiler::of(file), environment }
    }

    /// The supplier of the processors of a node; nothing where the node is no processor.
    ///
    /// # Errors
    /// The operator refuses what the file says, or a text is not an expression, which the check of
    /// the file reports.
    pub fn supplier(&self, node: &GraphNode) -> Result<Option<ProcessorSupplier>, CommandError> {
        let GraphNodeKind::Processor { operator, spec, stores, params } = &node.kind else { return Ok(None) };
        let refused = |e| self.refusal(node, e);
        let spec = spec.as_ref().ok_or_else(|| {
            refused(BuildError::Refused(format!("this program has no operator of the name `{operator}`")))
        })?;
        let context = NodeContext { parts: self, node, stores, params };
        let supplier = (spec.build)(&context).map_err(refused)?;
        let retained = spec.retention == RetentionSupport::Supported;
        let intervals = context.stores().into_iter().filter(|_| retained).filter_map(|store| store.retention);
        let intervals = intervals.map(Retained::interval).chain(supplier.punctuation_interval);
        Ok(Some(ProcessorSupplier { punctuation_interval: intervals.min(), ..supplier }))
    }

    fn refusal(&self, node: &GraphNode, e: BuildError) -> CommandError {
        CommandError::Usage(match e {
            BuildError::Expression(message) => message,
            other => format!(
                "{}: the processor `{}` cannot be built: {other}; correct the topology file, or the operator in the program \
                 that registers it [HS0060]",
                self.file.file, node.name
            ),
        })
    }

    /// The source that a node takes from straight: what its values may be, and their key.
    fn source_of(&self, node: &GraphNode) -> Option<(Encoding, Option<&str>)> {
        let mut parents = node.from.iter().filter_map(|input| self.file.graph.node(&input.node));
        parents.find_map(|parent| match &parent.kind {
            GraphNodeKind::Source { format, key, .. } => Some((*format, key.as_ref().map(|key| key.value.as_str()))),
            _ => None,
        })
    }

    fn input(&self, node: &GraphNode) -> Result<Input, BuildError> {
        let source = match self.source_of(node) {
            None => None,
            Some((encoding, key)) => Some(SourceInput {
                encoding,
                codec: self.codec.clone(),
                max_value_bytes: self.file.values.limits.max_value_bytes,
                key: key.map(|key| self.compiler.compile(&node.name, &[key], false)).transpose()?,
            }),
        };
        Ok(Input { source, dead_letter_is_source: self.dead_letter_is_source(node) })
    }

    /// Whether the records of a node's log are what others can read.
    fn dead_letter_is_source(&self, node: &GraphNode) -> bool {
        logs_of(&self.file.graph, node)
            .iter()
            .all(|log| [Form::Event, Form::UserChange].iter().all(|form| !self.forms.takes(log, *form)))
    }

    /// The nodes that take an output of a processor.
    fn outputs_of(&self, node: &GraphNode, output: &str) -> Result<Outputs, BuildError> {
        let takes = |n: &&GraphNode| n.from.iter().any(|i| i.node == node.name && i.output.as_deref() == Some(output));
        let form = self.forms.output(node, output);
        let list = self.file.graph.nodes.iter().filter(takes).map(|target| self.target_of(target, form));
        Ok(Outputs { list: list.collect::<Result<_, _>>()?, dead_letter_is_source: self.dead_letter_is_source(node) })
    }

    fn target_of(&self, node: &GraphNode, form: InputForm) -> Result<OutputTarget, BuildError> {
        let GraphNodeKind::Sink { format, topic, key, .. } = &node.kind else {
            return Ok(OutputTarget { node: node.name.clone(), key: None, writer: None });
        };
        let key = key.as_ref().map(|key| self.compiler.compile(&node.name, &[&key.value], false)).transpose()?;
        let output = match form {
            InputForm::One(Form::Memory) => Some(Output::Resolved),
            InputForm::One(Form::Conflict) => Some(Output::Conflict),
            InputForm::One(Form::UserSnapshot) => Some(Output::UserSnapshot),
            _ => None,
        };
        let writer = output.zip(self.encoder(*format, topic)).map(|(output, encoder)| {
            let writer: Arc<dyn OutputEncoder> = Arc::new(Written { encoder, output });
            writer
        });
        Ok(OutputTarget { node: node.name.clone(), key, writer })
    }

    /// Encoder of the format of a sink.
    fn encoder(&self, format: Format, topic: &str) -> Option<Arc<dyn Encoder>> {
        match format {
            Format::Json => None,
            Format::HelixAgent => {
                Some(Arc::new(HelixAgent { node_id: self.file.values.resolver.application_id.clone() }))
            }
            Format::Avro => Some(Arc::new(AvroOutputs { codec: self.codec.clone(), topic: topic.to_owned() })),
        }
    }
}

/// A `[[processor]]` as its operator sees it.
struct NodeContext<'p, 'f> {
    parts: &'p Parts<'f>,
    node: &'p GraphNode,
    stores: &'p [At<String>],
    params: &'p OperatorParams,
}

impl NodeContext<'_, '_> {
    fn retention(&self, store: &str) -> Option<Duration> {
        self.parts.file.graph.stores.iter().find(|known| known.name == store)?.retention
    }
}

impl OperatorContext for NodeContext<'_, '_> {
    fn name(&self) -> &str {
        &self.node.name
    }

    fn application_id(&self) -> &str {
        &self.parts.file.values.resolver.application_id
    }

    fn stores(&self) -> Vec<StoreContext> {
        let store = |at: &At<String>| StoreContext { name: at.value.clone(), retention: self.retention(&at.value) };
        self.stores.iter().map(store).collect()
    }

    fn input(&self) -> Result<Input, BuildError> {
        self.parts.input(self.node)
    }

    fn output(&self, name: &str) -> Result<Outputs, BuildError> {
        self.parts.outputs_of(self.node, name)
    }

    fn branches(&self) -> Vec<String> {
        self.params.outputs.clone()
    }

    fn expressions(&self, parameters: &[&str]) -> Result<Arc<dyn Expressions>, BuildError> {
        let found: Vec<_> = parameters.iter().flat_map(|name| self.params.expressions_of(name)).collect();
        let has_aggregate = found.iter().any(|(_, has_aggregate)| *has_aggregate);
        let texts: Vec<&str> = found.into_iter().map(|(text, _)| text).collect();
        self.parts.compiler.compile(&self.node.name, &texts, has_aggregate)
    }

    fn parameter(&self, name: &str) -> Option<ParameterValue> {
        let paths = self.params.paths_of(name);
        let plain = self.params.value(name).and_then(ParamValue::plain);
        plain.or((!paths.is_empty()).then_some(ParameterValue::Paths(paths)))
    }

    fn has(&self, parameter: &str) -> bool {
        self.params.has(parameter)
    }

    fn environment(&self) -> &dyn Any {
        &self.parts.environment
    }
}

#[cfg(test)]
mod tests {
    use crate::app::{Program, topology_from_file};
    use operators::spec::{BuildError, OperatorSpec};

    const COUNTS: &str = include_str!("../../topologies/conflict-counts.toml");

    #[test]
    fn the_message_of_an_operator_that_refuses_its_parameters_is_reported() {
        let refuse = |_: &dyn operators::spec::OperatorContext| {
            Err(BuildError::Refused("`low` is greater than `high`".to_owned()))
        };
        let program = Program::default().with_operator(OperatorSpec::new("between", "is in a test only", refuse));
        let text = COUNTS.replacen("operator = \"filter\"", "operator = \"between\"", 1);
        let text = text.replacen("when = 'value.status != \"superseded\"'\n", "", 1);
        let file = topology_file::parse("t.toml", &text, &program.operators).unwrap();
        let error = topology_from_file::build(&file, &None).err().unwrap().to_string();
        let parts = ["t.toml: the processor `standing` cannot be built: `low` is greater than `high`;", "[HS0060]"];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}
