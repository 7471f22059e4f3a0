//! Flow of records through a topology, and its rules: no rounds, nothing that no source reaches,
//! outputs that somebody takes, records that their takers can read, and one log a task
//! (docs/exactly-once.md, "Shapes").

use std::collections::{BTreeMap, BTreeSet};

use super::codes;
use super::format::Format;
use super::graph::{Graph, GraphNode, GraphNodeKind, Input, above, is_log, logs_of, meant, parents, partitions, shown};
use super::table::Doc;
use operators::spec::{Form, OperatorSpec, OutputForm};

/// Notes all that is wrong with the paths through the graph.
pub fn check(doc: &Doc<'_>, graph: &Graph) {
    let known = Forms::of(graph);
    if !graph.hidden.nodes && !graph.hidden.inputs {
        outputs(doc, graph, &known);
    }
    let round = rounds(doc, graph);
    unreached(doc, graph, &round);
    logs(doc, graph);
    forms(doc, graph, &known);
}

/// Every output must be taken, and every source and repartition read. An input that no node answers
/// to counts for the node that it probably means.
fn outputs(doc: &Doc<'_>, graph: &Graph, forms: &Forms<'_>) {
    let mut taken: BTreeSet<(&str, Option<&str>)> = BTreeSet::new();
    let mut touched: BTreeSet<&str> = BTreeSet::new();
    for node in &graph.nodes {
        for input in &node.from {
            let parent = graph.node(&input.node);
            let is_exact =
                parent.is_some_and(|p| matches!(forms.given(p, input), InputForm::One(_) | InputForm::Unknown));
            let is_exact = is_exact && !graph.is_ambiguous(&input.node);
            taken.insert((input.node.as_str(), input.output.as_deref()));
            touched.extend(meant(graph, node, input).filter(|_| !is_exact));
            touched.extend(parent.filter(|_| !is_exact).map(|p| p.name.as_str()));
        }
    }
    for node in graph.nodes.iter().filter(|n| !touched.contains(n.name.as_str())) {
        match &node.kind {
            GraphNodeKind::Sink { .. } => {}
            GraphNodeKind::Source { .. } | GraphNodeKind::Repartition => {
                if !taken.contains(&(node.name.as_str(), None)) {
                    let message = format!("no node reads from {}", shown(node));
                    let fix = format!("remove it, or read from it: `from = [\"{}\"]`", node.name);
                    doc.wrong(&node.span, codes::UNUSED_OUTPUT, message, fix);
                }
            }
            GraphNodeKind::Processor { .. } => {
                let is_taken = |output: &str| taken.contains(&(node.name.as_str(), Some(output)));
                for output in node.outputs().iter().filter(|o| !o.is_optional && !is_taken(o.name)) {
                    let output = output.name;
                    let message = format!("no node reads from the output `{output}` of `{}`", node.name);
                    let fix = format!("add a sink with `from = [\"{}.{output}\"]`", node.name);
                    doc.wrong(&node.span, codes::UNUSED_OUTPUT, message, fix);
                }
            }
        }
    }
}

/// Notes each round once; the names of all nodes that lie on one.
fn rounds<'g>(doc: &Doc<'_>, graph: &'g Graph) -> BTreeSet<&'g str> {
    let mut on_round: BTreeSet<&str> = BTreeSet::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for node in &graph.nodes {
        walk(doc, graph, node, &mut Vec::new(), &mut done, &mut on_round);
    }
    on_round
}

fn walk<'g>(
    doc: &Doc<'_>,
    graph: &'g Graph,
    node: &'g GraphNode,
    path: &mut Vec<&'g GraphNode>,
    done: &mut BTreeSet<&'g str>,
    on_round: &mut BTreeSet<&'g str>,
) {
    if let Some(from) = path.iter().position(|n| n.name == node.name) {
        let mut round: Vec<&str> = path[from..].iter().map(|n| n.name.as_str()).rev().collect();
        on_round.extend(&round);
        round.insert(0, &node.name);
        let message =
            format!("the nodes form a cycle, in which records would circulate forever: {}", round.join(" → "));
        let fix = format!("remove one of these from the `from` of another: {}", round[1..].join(", "));
        doc.wrong(&node.span, codes::CYCLE, message, fix);
        return;
    }
    if node.name.is_empty() || !done.insert(&node.name) {
        return;
    }
    path.push(node);
    for parent in parents(graph, node) {
        let is_open = path.iter().any(|n| n.name == parent.name);
        if is_open || !done.contains(parent.name.as_str()) {
            walk(doc, graph, parent, path, done, on_round);
        }
    }
    path.pop();
}

/// Nodes that no source leads to. What lies on a round is told already, and what is missing above a
/// node too.
fn unreached(doc: &Doc<'_>, graph: &Graph, on_round: &BTreeSet<&str>) {
    if graph.hidden.nodes || graph.hidden.inputs {
        return;
    }
    for node in graph.nodes.iter().filter(|n| !on_round.contains(n.name.as_str())) {
        let above = above(graph, node, |_| true);
        let is_reached = above.iter().any(|n| matches!(n.kind, GraphNodeKind::Source { .. }));
        let is_reported = above.iter().any(|n| {
            !matches!(n.kind, GraphNodeKind::Source { .. }) && n.from.iter().any(|i| graph.node(&i.node).is_none())
        });
        if !is_reached && !is_reported {
            let message = format!("no source leads to {}, so no record reaches it", shown(node));
            let fix = "read from a node that a source leads to, or remove it";
            doc.wrong(&node.span, codes::UNREACHABLE_NODE, message, fix);
        }
    }
}

/// A task reads exactly one log, so what is no log must hang on one alone.
fn logs(doc: &Doc<'_>, graph: &Graph) {
    for node in graph.nodes.iter().filter(|n| !is_log(n)) {
        let mut logs = logs_of(graph, node);
        // What a node above reads too much of is told there.
        let above = parents(graph, node).filter(|p| !is_log(p)).map(|p| logs_of(graph, p));
        let told: Vec<&GraphNode> = above.filter(|logs| logs.len() > 1).flatten().collect();
        logs.retain(|log| !told.iter().any(|other| std::ptr::eq(*other, *log)));
        if logs.len() < 2 {
            continue;
        }
        let names = logs.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(", ");
        if matches!(node.kind, GraphNodeKind::Sink { .. }) {
            let me = shown(node);
            let count = logs.len();
            let message = format!("{me} writes records that come from {count} sources or repartitions: {names}");
            let fix = "a task reads exactly one of them: use a sink with a topic of its own for each";
            doc.wrong(&node.span, codes::SEVERAL_LOGS, message, fix);
            continue;
        }
        let counts: Vec<i32> = logs.iter().map(|n| partitions(graph, n)).collect();
        let is_known = counts.iter().all(|count| *count > 0);
        let join = if is_known && counts.iter().any(|count| *count != counts[0]) {
            let counts: Vec<String> = counts.iter().map(i32::to_string).collect();
            format!(", with {} partitions, which cannot be joined", counts.join(" and "))
        } else {
            String::new()
        };
        let message = format!("{} reads from {} sources or repartitions: {names}{join}", shown(node), logs.len());
        let fix = "a task reads exactly one of them: merge them through one `[[repartition]]` and read from that";
        doc.wrong(&node.span, codes::SEVERAL_LOGS, message, fix);
    }
}

/// Form of the records of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputForm {
    /// Records of one form.
    One(Form),
    /// The form is unknown, since a node above it is wrong.
    Unknown,
    /// No such output.
    Nothing,
}

/// Forms of the records along the edges of a graph.
pub struct Forms<'g> {
    graph: &'g Graph,
    /// Forms that processors and repartitions accept; absent where they are not known.
    taken: BTreeMap<&'g str, Form>,
}

impl<'g> Forms<'g> {
    /// Of a graph, even one with rounds: what is known of a node is passed on until nothing new is.
    pub fn of(graph: &'g Graph) -> Forms<'g> {
        let mut forms = Forms { graph, taken: BTreeMap::new() };
        let consumers = || {
            graph.nodes.iter().filter(|n| !matches!(n.kind, GraphNodeKind::Source { .. } | GraphNodeKind::Sink { .. }))
        };
        loop {
            let all = consumers().filter_map(|node| Some((node.name.as_str(), forms.taken_by(node)?)));
            let taken: BTreeMap<&str, Form> = all.collect();
            if taken == forms.taken {
                return forms;
            }
            forms.taken = taken;
        }
    }

    /// Form that a processor accepts: plain JSON where its inputs differ. A repartition carries the
    /// form that its first processor gives; it takes from nothing else.
    fn taken_by(&self, node: &GraphNode) -> Option<Form> {
        let is_repartition = node.kind == GraphNodeKind::Repartition;
        let mut known = node.from.iter().filter_map(|input| {
            let parent = self.graph.node(&input.node)?;
            match self.given(parent, input) {
                InputForm::One(form) if !is_repartition || matches!(parent.kind, GraphNodeKind::Processor { .. }) => {
                    Some(form)
                }
                _ => None,
            }
        });
        let first = known.next()?;
        Some(if is_repartition || known.all(|form| form == first) { first } else { Form::Json })
    }

    /// Form of the records that a node receives from `parent`.
    pub fn given(&self, parent: &GraphNode, input: &Input) -> InputForm {
        let taken = || self.taken.get(parent.name.as_str()).copied();
        match (&parent.kind, &input.output) {
            (GraphNodeKind::Source { .. }, None) => InputForm::One(Form::Message),
            (GraphNodeKind::Processor { spec: Some(_), .. }, Some(output)) => {
                match parent.outputs().into_iter().find(|o| o.name == output).map(|o| o.form) {
                    Some(OutputForm::Always(form)) => InputForm::One(form),
                    Some(OutputForm::Same) => match taken() {
                        Some(Form::Message) => InputForm::One(Form::Json),
                        form => form.map_or(InputForm::Unknown, InputForm::One),
                    },
                    None if parent.has_hidden_outputs() => InputForm::Unknown,
                    None => InputForm::Nothing,
                }
            }
            (GraphNodeKind::Processor { spec: None, .. }, _) => InputForm::Unknown,
            (GraphNodeKind::Repartition, None) => taken().map_or(InputForm::Unknown, InputForm::One),
            _ => InputForm::Nothing,
        }
    }

    /// Form of the records of an output of a node.
    pub fn output(&self, node: &GraphNode, output: &str) -> InputForm {
        let input = Input { node: node.name.clone(), output: Some(output.to_owned()), span: 0..0 };
        self.given(node, &input)
    }

    /// Whether records of this form go through a processor or a repartition.
    pub fn takes(&self, node: &GraphNode, form: Form) -> bool {
        self.taken.get(node.name.as_str()) == Some(&form)
    }
}

/// Operators must be able to read what they take, and nothing internal goes to the world.
fn forms(doc: &Doc<'_>, graph: &Graph, forms: &Forms<'_>) {
    for node in &graph.nodes {
        let mut first: Option<(&Input, Form)> = None;
        for input in &node.from {
            let Some(parent) = graph.node(&input.node) else { continue };
            let InputForm::One(given_form) = forms.given(parent, input) else { continue };
            match &node.kind {
                GraphNodeKind::Processor { spec, .. } => {
                    let Some(op) = spec else { continue };
                    if op.accepts.contains(&given_form) {
                        processor(doc, (node, op), (parent, input), given_form, &first);
                        first.get_or_insert((input, given_form));
                    } else {
                        let message = format!(
                            "the operator `{}` cannot read {}, which `{}` outputs",
                            op.name,
                            given_form.what(),
                            from(input)
                        );
                        let accepted: Vec<&str> = op.accepts.iter().map(|form| form.what()).collect();
                        let fix = format!("read from a node that outputs {}", accepted.join(", or "));
                        doc.wrong(&input.span, codes::UNREADABLE_INPUT, message, fix);
                    }
                }
                GraphNodeKind::Sink { format, .. } if !is_log(parent) => sink(doc, node, input, given_form, *format),
                GraphNodeKind::Repartition => match first {
                    Some((other, form)) if form != given_form => mixed(doc, node, input, given_form, (other, form)),
                    Some(_) => {}
                    None => first = Some((input, given_form)),
                },
                GraphNodeKind::Sink { .. } | GraphNodeKind::Source { .. } => {}
            }
        }
        if let Some(op) = node.spec().filter(|op| op.reads_source) {
            let log = logs_of(graph, node).into_iter().find(|log| log.kind == GraphNodeKind::Repartition);
            if let (Some(log), Some(_)) = (log, first) {
                let message = format!("{} reads records that have passed through {}", shown(node), shown(log));
                let fix = format!(
                    "put `{}` before the repartition: it notes the offset of each record in the topic of its source",
                    op.name
                );
                doc.wrong(&node.span, codes::DECODE_NOT_AT_SOURCE, message, fix);
            }
        }
    }
}

fn from(input: &Input) -> String {
    input.output.as_ref().map_or(input.node.clone(), |o| format!("{}.{o}", input.node))
}

/// Checks an input whose form a processor can read.
fn processor(
    doc: &Doc<'_>,
    (node, op): (&GraphNode, &OperatorSpec),
    (parent, input): (&GraphNode, &Input),
    given_form: Form,
    first: &Option<(&Input, Form)>,
) {
    // Encodings are told apart by the bytes, so one that is told apart already must not be looked
    // at again.
    if let Some((other, form)) = first.filter(|(_, form)| (*form == Form::Message) != (given_form == Form::Message)) {
        mixed(doc, node, input, given_form, (other, form));
    }
    if let (GraphNodeKind::Source { key: Some(key), .. }, true) = (&parent.kind, op.reads_source) {
        let message = format!("the source `{}` has a `key`, but {} sets the keys of events", parent.name, shown(node));
        let fix = "remove `key`, or let the processor read from another source";
        doc.wrong(&key.span, codes::DECODE_NOT_AT_SOURCE, message, fix);
    }
}

fn mixed(doc: &Doc<'_>, node: &GraphNode, input: &Input, given_form: Form, (other, form): (&Input, Form)) {
    let message = format!("{} mixes {} with {}", shown(node), form.what(), given_form.what());
    let what = if node.kind == GraphNodeKind::Repartition { "repartition" } else { "processor" };
    let fix = format!("add a separate {what} for the records of `{}`", other.node);
    doc.wrong(&input.span, codes::MIXED_INPUTS, message, fix);
}

fn sink(doc: &Doc<'_>, node: &GraphNode, input: &Input, given_form: Form, format: Format) {
    let from = from(input);
    let what = given_form.what();
    if !given_form.is_public() {
        let message = format!("a sink cannot write {what}, which `{from}` outputs: their format is internal");
        let fix =
            "read from an output with a public format: JSON, resolved memories, conflict records or user snapshots";
        doc.wrong(&input.span, codes::INTERNAL_RECORDS, message, fix);
    } else if format != Format::Json && !given_form.has_formats() {
        let format = format.as_str();
        let me = shown(node);
        let message = format!("the format `{format}` of {me} cannot represent {what}, which `{from}` outputs");
        let fix = "set `format = \"json\"`, or read resolved memories, conflict records or user snapshots unchanged";
        doc.wrong(&input.span, codes::UNSUPPORTED_FORMAT, message, fix);
    }
}
