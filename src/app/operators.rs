//! The operators of [`crate::config::operator::OPERATORS`] as processors: `operators` and `memories` offer them, the file says
//! what they are told, what they read, and who takes what they give.

use std::sync::Arc;

use super::scripting::Compiler;
use super::{CommandError, Resolver};
use crate::config::Topology as File;
use crate::config::expression::OperatorParams;
use crate::config::flow::{Forms, InputForm};
use crate::config::format::Format;
use crate::config::graph::{Kind, Node, logs_of};
use crate::config::operator::{Form, OTHERWISE};
use crate::domain::event::{Encoding, Limits};
use crate::memories::{
    AvroOutputs, Decode, Encoder, HelixAgent, Output, Resolve, ResolveOptions, UserOptions, UserSnapshots, Written,
};
use crate::operators::{
    Aggregate, Branch, Filter, Fold, Input, Map, MapFields, OutputEncoder, OutputTarget, Outputs, Rekey, SourceInput,
};
use crate::streams::ports::{Codec, Expressions};
use crate::streams::processor::{Processor, Retained};

/// Makes a processor, once a task.
pub type Factory = Box<dyn Fn() -> Box<dyn Processor> + Send + Sync>;

/// What processors are made of.
pub struct Parts<'f> {
    file: &'f File,
    custom: &'f Resolver,
    codec: Option<Arc<dyn Codec>>,
    forms: Forms<'f>,
    compiler: Compiler<'f>,
}

impl<'f> Parts<'f> {
    /// Of a checked file.
    pub fn of(file: &'f File, custom: &'f Resolver, codec: Option<Arc<dyn Codec>>) -> Parts<'f> {
        Parts { file, custom, codec, forms: Forms::of(&file.graph), compiler: Compiler::of(file) }
    }

    /// What makes the processor of a node; nothing where its operator is none.
    ///
    /// # Errors
    /// An expression is none, which the check of the file tells.
    pub fn processor(&self, node: &Node) -> Result<Option<Factory>, CommandError> {
        let Kind::Processor { operator, stores, params } = &node.kind else { return Ok(None) };
        let store = stores.first().map_or("", |s| s.value.as_str()).to_owned();
        Ok(match operator.as_str() {
            "decode" => Some(self.decode(node)),
            "resolve" => {
                let options = Arc::new(ResolveOptions {
                    settings: self.file.values.resolver.clone(),
                    custom: self.custom.clone(),
                    store,
                    snapshots: self.outputs_of(node, "snapshots")?,
                    conflicts: self.outputs_of(node, "conflicts")?,
                    users: self.outputs_of(node, "users")?,
                });
                Some(Box::new(move || Box::new(Resolve::new(options.clone()))))
            }
            "user_snapshots" => {
                let options = Arc::new(UserOptions {
                    application_id: self.file.values.resolver.application_id.clone(),
                    store,
                    changes: self.file.values.snapshots.changes,
                    snapshots: self.outputs_of(node, "snapshots")?,
                });
                Some(Box::new(move || Box::new(UserSnapshots::new(options.clone()))))
            }
            "filter" => {
                let (name, input, when) = (node.name.clone(), self.input(node)?, self.one(node, params, "when")?);
                let records = self.outputs_of(node, "records")?;
                Some(Box::new(move || {
                    let (name, records) = (name.clone(), records.clone());
                    Box::new(Filter { name, input: input.clone(), when: when.clone(), records })
                }))
            }
            "rekey" => {
                let (name, input, key) = (node.name.clone(), self.input(node)?, self.one(node, params, "key")?);
                let records = self.outputs_of(node, "records")?;
                Some(Box::new(move || {
                    let (name, records) = (name.clone(), records.clone());
                    Box::new(Rekey { name, input: input.clone(), key: key.clone(), records })
                }))
            }
            "map" => Some(self.map(node, params)?),
            "branch" => Some(self.branch(node, params)?),
            "aggregate" | "count" => Some(self.aggregate(node, params, store)?),
            _ => None,
        })
    }

    fn decode(&self, node: &Node) -> Factory {
        let limits = self.file.values.limits;
        let carries = self.file.values.resolver.tombstone_retention_ns.is_some();
        match self.source_of(node) {
            Some((encoding, _)) => {
                let codec = self.codec.clone();
                Box::new(move || Box::new(Decode::new(limits, codec.clone()).of(encoding).carrying(carries)))
            }
            // What another operator gives is JSON, whose bytes were counted as they came.
            None => {
                let limits = Limits { max_value_bytes: usize::MAX, ..limits };
                Box::new(move || Box::new(Decode::new(limits, None).of(Encoding::Json).carrying(carries)))
            }
        }
    }

    fn map(&self, node: &Node, params: &OperatorParams) -> Result<Factory, CommandError> {
        let path = |path: &String| path.split('.').map(str::to_owned).collect();
        let has_value = params.expression("value").is_some();
        let fields = Arc::new(MapFields {
            has_value,
            keep: params.keep.iter().map(path).collect(),
            drop: params.drop.iter().map(path).collect(),
            set: params.set.clone(),
        });
        let whole = params.expression("value").into_iter();
        let texts: Vec<&str> = whole.chain(of_kind(params, "set.")).collect();
        let expressions = self.compiler.compile(&node.name, &texts, false)?;
        let (input, records) = (self.input(node)?, self.outputs_of(node, "records")?);
        Ok(Box::new(move || {
            let (fields, expressions) = (fields.clone(), expressions.clone());
            Box::new(Map { input: input.clone(), fields, expressions, records: records.clone() })
        }))
    }

    fn branch(&self, node: &Node, params: &OperatorParams) -> Result<Factory, CommandError> {
        let texts: Vec<&str> = of_kind(params, "branch.").collect();
        let when = self.compiler.compile(&node.name, &texts, false)?;
        let outputs = params.outputs.iter().map(|name| self.outputs_of(node, name)).collect::<Result<Vec<_>, _>>()?;
        let (name, input, otherwise) = (node.name.clone(), self.input(node)?, self.outputs_of(node, OTHERWISE)?);
        Ok(Box::new(move || {
            let (name, input, when) = (name.clone(), input.clone(), when.clone());
            Box::new(Branch { name, input, when, outputs: outputs.clone(), otherwise: otherwise.clone() })
        }))
    }

    fn aggregate(&self, node: &Node, params: &OperatorParams, store: String) -> Result<Factory, CommandError> {
        let fold = match params.expression("by") {
            Some(_) => Fold::Count { by: self.one(node, params, "by")? },
            None => {
                let add = params.expression("add").unwrap_or_default();
                let add = self.compiler.compile(&node.name, &[add], true)?;
                Fold::Expressions { initial: self.one(node, params, "initial")?, add }
            }
        };
        let (name, input, aggregates) = (node.name.clone(), self.input(node)?, self.outputs_of(node, "aggregates")?);
        let retention = self.file.graph.stores.iter().find(|known| known.name == store).and_then(|s| s.retention);
        Ok(Box::new(move || {
            let (name, input, fold, aggregates) = (name.clone(), input.clone(), fold.clone(), aggregates.clone());
            let rows = Retained::new(&store, retention);
            Box::new(Aggregate { name, input, fold, rows, forgets: retention.is_some(), aggregates })
        }))
    }

    fn one(&self, node: &Node, params: &OperatorParams, label: &str) -> Result<Arc<dyn Expressions>, CommandError> {
        self.compiler.compile(&node.name, &[params.expression(label).unwrap_or_default()], false)
    }

    /// The source that a node takes from straight: what its values may be, and their key.
    fn source_of(&self, node: &Node) -> Option<(Encoding, Option<&str>)> {
        let mut parents = node.from.iter().filter_map(|input| self.file.graph.node(&input.node));
        parents.find_map(|parent| match &parent.kind {
            Kind::Source { format, key, .. } => Some((*format, key.as_ref().map(|key| key.value.as_str()))),
            _ => None,
        })
    }

    fn input(&self, node: &Node) -> Result<Input, CommandError> {
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
    fn dead_letter_is_source(&self, node: &Node) -> bool {
        logs_of(&self.file.graph, node)
            .iter()
            .all(|log| [Form::Event, Form::UserChange].iter().all(|form| !self.forms.takes(log, *form)))
    }

    /// The nodes that take an output of a processor.
    fn outputs_of(&self, node: &Node, output: &str) -> Result<Outputs, CommandError> {
        let takes = |n: &&Node| n.from.iter().any(|i| i.node == node.name && i.output.as_deref() == Some(output));
        let form = self.forms.output(node, output);
        let list = self.file.graph.nodes.iter().filter(takes).map(|target| self.target_of(target, form));
        Ok(Outputs { list: list.collect::<Result<_, _>>()?, dead_letter_is_source: self.dead_letter_is_source(node) })
    }

    fn target_of(&self, node: &Node, form: InputForm) -> Result<OutputTarget, CommandError> {
        let Kind::Sink { format, topic, key, .. } = &node.kind else {
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

    /// What writes the format that a sink is set to.
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

/// The expressions whose labels begin so, in their order.
fn of_kind<'t>(params: &'t OperatorParams, prefix: &'t str) -> impl Iterator<Item = &'t str> {
    let labelled = params.expressions.iter().filter(move |(label, _)| label.starts_with(prefix));
    labelled.map(|(_, text)| text.value.as_str())
}
