//! The nodes that a topology file names, as they stand in it: sources, repartitions, processors,
//! stores, sinks.

use std::ops::Range;
use std::sync::Arc;

use super::codes;
use super::expression::{self, Checker, Expression, OperatorParams};
use super::format::Format;
use super::key::{Key, Section};
use super::keys::{DEAD_LETTERS, PROCESSOR, REPARTITION, SINK, SOURCE, STORE};
use super::problem::nearest;
use super::store::Store;
use super::table::{At, Doc, Table};
use memory::event::Encoding;
use operators::spec::{Form, OperatorRegistry, OperatorSpec, OutputForm};

/// An entry of `from`: a node, and one of its outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The node's name.
    pub node: String,
    /// The output of a processor; `None` where the node has only one.
    pub output: Option<String>,
    /// Where it stands in the file.
    pub span: Range<usize>,
}

/// Kind of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphNodeKind {
    /// A topic that records come from.
    Source {
        /// The topic's name.
        topic: String,
        /// How many partitions `topics create` gives it.
        partitions: i32,
        /// Encoding of its values.
        format: Encoding,
        /// The key of its records, where it is not their own.
        key: Option<Expression>,
    },
    /// An internal topic `<application id>-<name>-repartition`, which opens a new sub-topology. It
    /// gets the source's partitions.
    Repartition,
    /// An operator.
    Processor {
        /// The name of its operator.
        operator: String,
        /// The operator of this name that the program has registered; always there in a topology
        /// that was read without a complaint.
        spec: Option<Arc<OperatorSpec>>,
        /// Names of the stores that it owns.
        stores: Vec<At<String>>,
        /// The parameters of its operator.
        params: OperatorParams,
    },
    /// A topic that records go to.
    Sink {
        /// The topic's name.
        topic: String,
        /// How many partitions `topics create` gives it.
        partitions: i32,
        /// Format of its records.
        format: Format,
        /// The key of its records, where it is not their own.
        key: Option<Expression>,
    },
}

/// An output of a node of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeOutput<'g> {
    /// Its name.
    pub name: &'g str,
    /// Its forms.
    pub form: OutputForm,
    /// Whether nobody need take it.
    pub is_optional: bool,
}

impl PartialEq for At<String> {
    fn eq(&self, other: &At<String>) -> bool {
        self.value == other.value
    }
}

impl Eq for At<String> {}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphNode {
    /// Its name, one for all kinds.
    pub name: String,
    /// Where the name stands.
    pub span: Range<usize>,
    /// Where the topic or the operator stands, or the name again.
    pub topic_span: Range<usize>,
    /// Its inputs; empty for a source.
    pub from: Vec<Input>,
    /// Its kind.
    pub kind: GraphNodeKind,
}

impl GraphNode {
    /// The outputs of a processor whose operator is known.
    pub fn outputs(&self) -> Vec<NodeOutput<'_>> {
        let GraphNodeKind::Processor { spec: Some(spec), params, .. } = &self.kind else { return Vec::new() };
        let named = params.outputs.iter().map(|name| NodeOutput { name, form: OutputForm::Same, is_optional: false });
        let own = spec.outputs.iter();
        let own = own.map(|o| NodeOutput { name: o.name, form: o.form, is_optional: o.is_optional });
        named.chain(own).collect()
    }

    /// The operator of a processor.
    pub fn spec(&self) -> Option<&OperatorSpec> {
        match &self.kind {
            GraphNodeKind::Processor { spec, .. } => spec.as_deref(),
            _ => None,
        }
    }

    /// Whether there may be outputs that could not be read.
    pub fn has_hidden_outputs(&self) -> bool {
        matches!(&self.kind, GraphNodeKind::Processor { params, .. } if params.is_hidden)
    }
}

/// The topic of records that cannot be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// The topic's name.
    pub topic: String,
    /// How many partitions `topics create` gives it.
    pub partitions: i32,
    /// Where the topic stands.
    pub span: Range<usize>,
}

/// All nodes, in the file's order of kinds, and all stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// Sources, then repartitions, processors, sinks.
    pub nodes: Vec<GraphNode>,
    /// Stores.
    pub stores: Vec<Store>,
    /// Dead letters; always there in a topology that was read without a complaint.
    pub dead_letters: Option<DeadLetters>,
    /// Parts that could not be read; empty for a topology that was read without a complaint.
    pub hidden: UnreadableParts,
}

/// Parts of a file that could not be read. Something that may stand there is not reported as
/// missing elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnreadableParts {
    /// Nodes, or their names.
    pub nodes: bool,
    /// Stores, or their names.
    pub stores: bool,
    /// Inputs of nodes.
    pub inputs: bool,
    /// Which stores processors keep.
    pub kept: bool,
}

impl Graph {
    /// Reads the nodes; what is wrong with one of them alone is noted in `doc`, and what is left of
    /// it kept, so that the nodes can be checked against each other all the same.
    pub fn read<'d>(
        doc: &'d Doc<'d>,
        root: &Table<'d, '_>,
        operators: &OperatorRegistry,
        processor_keys: &'d [Key],
    ) -> Graph {
        let mut graph = Graph::default();
        graph.hidden.nodes = root.misspells(&["source", "repartition", "processor", "sink"]);
        graph.hidden.stores = root.misspells(&[STORE.name]);
        for t in graph.open(root, &SOURCE) {
            let format = t.text("format").and_then(|f| f.value.parse().ok()).unwrap_or_default();
            let key = expression_of(&t);
            graph.add(&t, "topic", |topic, partitions| GraphNodeKind::Source { topic, partitions, format, key });
        }
        for t in graph.open(root, &REPARTITION) {
            graph.add(&t, "", |_, _| GraphNodeKind::Repartition);
        }
        let (processors, is_whole) = root.tables(PROCESSOR.name, processor_keys);
        graph.hidden.nodes |= !is_whole;
        for t in processors {
            let (stores, is_whole) = t.strings("stores");
            graph.hidden.kept |= !is_whole;
            let stores = stores.into_iter().map(|s| At { value: s.value.to_owned(), span: s.span }).collect();
            let spec = operators.find(t.peek("operator").unwrap_or_default()).cloned();
            let params = expression::read(doc, &t, spec.as_deref(), operators);
            graph.add(&t, "operator", |operator, _| GraphNodeKind::Processor { operator, spec, stores, params });
        }
        for t in graph.open(root, &SINK) {
            let format = t.text("format").and_then(|f| f.value.parse().ok()).unwrap_or_default();
            let key = expression_of(&t);
            graph.add(&t, "topic", |topic, partitions| GraphNodeKind::Sink { topic, partitions, format, key });
        }
        let (stores, is_whole) = root.sections(&STORE);
        graph.hidden.stores |= !is_whole;
        for t in stores {
            match Store::read(&t) {
                Some(store) => graph.stores.push(store),
                None => graph.hidden.stores = true,
            }
        }
        graph.dead_letters = dead_letters(doc, root);
        graph
    }

    /// Notes what is wrong with the expressions of all nodes.
    pub fn check_expressions(&self, checker: &Checker<'_>) {
        for node in &self.nodes {
            match &node.kind {
                GraphNodeKind::Source { key: Some(key), .. } | GraphNodeKind::Sink { key: Some(key), .. } => {
                    checker.expression(key, false)
                }
                GraphNodeKind::Processor { params, .. } => checker.operator(params),
                _ => {}
            }
        }
    }

    fn open<'d, 't>(&mut self, root: &Table<'d, 't>, section: &'static Section) -> Vec<Table<'d, 't>> {
        let (tables, is_whole) = root.sections(section);
        self.hidden.nodes |= !is_whole;
        tables
    }

    fn add(&mut self, t: &Table<'_, '_>, place: &str, kind: impl FnOnce(String, i32) -> GraphNodeKind) {
        let (from, is_whole) = inputs(t);
        let name = t.text("name");
        let place = t.text(place);
        let partitions = t.count("partitions").and_then(|n| i32::try_from(n.value).ok()).unwrap_or(0);
        // What takes from a node whose name has a dot cannot be told from what takes an output.
        self.hidden.nodes |= name.as_ref().is_none_or(|n| n.value.contains('.'));
        self.hidden.inputs |= !is_whole;
        let At { value: name, span } = name.unwrap_or(At { value: "", span: t.span.clone() });
        let topic_span = place.as_ref().map_or(span.clone(), |t| t.span.clone());
        let kind = kind(place.map_or(String::new(), |t| t.value.to_owned()), partitions);
        self.nodes.push(GraphNode { name: name.to_owned(), span, topic_span, from, kind });
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&GraphNode> {
        self.nodes.iter().find(|n| n.name == name && !name.is_empty())
    }

    /// Whether several nodes have the name, so that nothing can be said of who takes from it.
    pub fn is_ambiguous(&self, name: &str) -> bool {
        self.nodes.iter().filter(|n| n.name == name).count() > 1
    }

    /// The processor that keeps a store.
    pub fn keeper(&self, store: &str) -> Option<&GraphNode> {
        self.nodes.iter().find(|node| match &node.kind {
            GraphNodeKind::Processor { stores, .. } => stores.iter().any(|s| s.value == store),
            _ => false,
        })
    }

    /// Whether an input reads an output whose operator itself makes records of this form, and does
    /// not pass them on.
    pub fn produces(&self, input: &Input, form: Form) -> bool {
        let spec = self.node(&input.node).and_then(GraphNode::spec);
        let outputs = spec.into_iter().flat_map(|spec| &spec.outputs);
        let mut read = outputs.filter(|output| input.output.as_deref() == Some(output.name));
        read.any(|output| output.form == OutputForm::Always(form))
    }

    /// How many partitions a source or a repartition gets.
    pub fn partitions(&self, log: &GraphNode) -> i32 {
        partitions(self, log)
    }

    /// Sources, in the file's order.
    pub fn sources(&self) -> impl Iterator<Item = (&GraphNode, &str, i32)> {
        self.nodes.iter().filter_map(|n| match &n.kind {
            GraphNodeKind::Source { topic, partitions, .. } => Some((n, topic.as_str(), *partitions)),
            _ => None,
        })
    }

    /// Sinks, in the file's order.
    pub fn sinks(&self) -> impl Iterator<Item = (&GraphNode, &str, i32)> {
        self.nodes.iter().filter_map(|n| match &n.kind {
            GraphNodeKind::Sink { topic, partitions, .. } => Some((n, topic.as_str(), *partitions)),
            _ => None,
        })
    }
}

fn expression_of(t: &Table<'_, '_>) -> Option<Expression> {
    t.text("key").map(|key| At { value: key.value.to_owned(), span: key.span })
}

fn dead_letters<'d>(doc: &'d Doc<'d>, root: &Table<'d, '_>) -> Option<DeadLetters> {
    let Some(t) = root.section(&DEAD_LETTERS) else {
        if !root.has(DEAD_LETTERS.name) && !root.misspells(&[DEAD_LETTERS.name]) {
            let fix = "add `[dead_letters]` with `topic` and `partitions`";
            let message = "the file has no `[dead_letters]`: records that cannot be processed would be lost";
            doc.wrong(&root.span, codes::MISSING_KEY, message, fix);
        }
        return None;
    };
    let topic = t.text("topic");
    let partitions = t.count("partitions");
    let topic = topic?;
    let partitions = partitions.and_then(|n| i32::try_from(n.value).ok()).unwrap_or(0);
    Some(DeadLetters { topic: topic.value.to_owned(), partitions, span: topic.span })
}

/// Inputs of a node, and whether all of them could be read.
fn inputs(t: &Table<'_, '_>) -> (Vec<Input>, bool) {
    let split = |at: At<&str>| {
        let (node, output) = match at.value.split_once('.') {
            Some((node, output)) => (node, Some(output.to_owned())),
            None => (at.value, None),
        };
        Input { node: node.to_owned(), output, span: at.span }
    };
    let (from, is_whole) = t.strings("from");
    (from.into_iter().map(split).collect(), is_whole && (t.what == "[[source]]" || t.has("from")))
}

/// Name of a kind of node in messages.
pub fn what(kind: &GraphNodeKind) -> &'static str {
    match kind {
        GraphNodeKind::Source { .. } => "source",
        GraphNodeKind::Repartition => "repartition",
        GraphNodeKind::Processor { .. } => "processor",
        GraphNodeKind::Sink { .. } => "sink",
    }
}

/// A node with its kind, as a message calls it.
pub fn shown(node: &GraphNode) -> String {
    match node.name.as_str() {
        "" => format!("a {} without a name", what(&node.kind)),
        name => format!("{} `{name}`", what(&node.kind)),
    }
}

/// The name that an input means which no node has.
pub fn meant<'g>(graph: &'g Graph, node: &GraphNode, input: &Input) -> Option<&'g str> {
    nearest(&input.node, possible_parents(graph, node))
}

/// The nodes that a node may take records from.
pub(super) fn possible_parents<'g>(graph: &'g Graph, node: &GraphNode) -> impl Iterator<Item = &'g str> {
    let others = graph.nodes.iter().filter(|n| n.name != node.name && !n.name.is_empty());
    others.filter(|n| !matches!(n.kind, GraphNodeKind::Sink { .. })).map(|n| n.name.as_str())
}

/// The nodes that a node reads from, without those that do not exist.
pub(super) fn parents<'g>(graph: &'g Graph, node: &'g GraphNode) -> impl Iterator<Item = &'g GraphNode> {
    node.from.iter().filter_map(|input| graph.node(&input.node))
}

/// All nodes above a node, itself among them, each once, even where there are rounds.
pub(super) fn above<'g>(
    graph: &'g Graph,
    node: &'g GraphNode,
    goes_on: impl Fn(&GraphNode) -> bool,
) -> Vec<&'g GraphNode> {
    let mut found: Vec<&GraphNode> = vec![node];
    let mut at = 0;
    while let Some(next) = found.get(at).copied() {
        at += 1;
        if at > 1 && !goes_on(next) {
            continue;
        }
        for parent in parents(graph, next) {
            if !found.iter().any(|n| std::ptr::eq(*n, parent)) {
                found.push(parent);
            }
        }
    }
    found
}

/// Whether a node is a source or a repartition.
pub(super) fn is_log(node: &GraphNode) -> bool {
    matches!(node.kind, GraphNodeKind::Source { .. } | GraphNodeKind::Repartition)
}

/// The sources and repartitions that a node's records come from, without looking behind a
/// repartition.
pub fn logs_of<'g>(graph: &'g Graph, node: &'g GraphNode) -> Vec<&'g GraphNode> {
    let mut logs = above(graph, node, |n| !is_log(n));
    logs.retain(|n| is_log(n) && !std::ptr::eq(*n, node));
    // A repartition that feeds itself is a round, which is told elsewhere.
    logs
}

/// How many partitions a source or a repartition gets: a repartition as many as the largest log
/// that feeds it; 0 where that is not known.
pub fn partitions(graph: &Graph, log: &GraphNode) -> i32 {
    let sources = above(graph, log, |_| true).into_iter().filter_map(|n| match n.kind {
        GraphNodeKind::Source { partitions, .. } => Some(partitions),
        _ => None,
    });
    sources.max().unwrap_or(0)
}
