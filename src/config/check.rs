//! What must hold between the nodes of a topology: names that are one, parents that exist, no cycle, nothing that nobody
//! reaches, and one log a task (exactly-once.md, "Shapes").

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Graph, Input, Kind, Node};
use super::operator::{OPERATORS, operator};
use super::problem::nearest;
use super::table::Doc;

/// Notes all that is wrong between the nodes.
pub fn check(doc: &Doc<'_>, graph: &Graph) {
    names(doc, graph);
    operators(doc, graph);
    for node in &graph.nodes {
        for input in &node.from {
            parent(doc, graph, node, input);
        }
    }
    topics(doc, graph);
    stores(doc, graph);
    outputs(doc, graph);
    if graph.sources().next().is_none() {
        doc.wrong(&(0..0), "the topology has no source", "add `[[source]]` with `name`, `topic` and `partitions`");
    }
    if !cycles(doc, graph) {
        logs(doc, graph);
    }
}

/// What a message calls a node.
fn what(kind: &Kind) -> &'static str {
    match kind {
        Kind::Source { .. } => "source",
        Kind::Repartition => "repartition",
        Kind::Processor { .. } => "processor",
        Kind::Sink { .. } => "sink",
    }
}

fn line(doc: &Doc<'_>, at: usize) -> usize {
    doc.text[..at.min(doc.text.len())].matches('\n').count() + 1
}

fn names(doc: &Doc<'_>, graph: &Graph) {
    for (node, ..) in graph.sinks().filter(|(node, ..)| node.name == "dead-letters") {
        let fix = "give the sink another name, or its topic to `[dead_letters]`";
        doc.wrong(&node.span, "the name `dead-letters` is that of `[dead_letters]`", fix);
    }
    let mut first: BTreeMap<&str, &Node> = BTreeMap::new();
    for node in &graph.nodes {
        if let Some(other) = first.get(node.name.as_str()) {
            let (a, b) = (what(&node.kind), what(&other.kind));
            let message = if a == b {
                format!("two {a}s of one name, `{}`", node.name)
            } else {
                format!("a {b} and a {a} of one name, `{}`", node.name)
            };
            let fix = format!("the {b} on line {} has it: give this {a} another name", line(doc, other.span.start));
            doc.wrong(&node.span, message, fix);
        } else {
            first.insert(&node.name, node);
        }
    }
    let mut seen: BTreeMap<&str, usize> = first.iter().map(|(name, node)| (*name, node.span.start)).collect();
    for store in &graph.stores {
        if let Some(at) = seen.insert(store.name.as_str(), store.span.start) {
            let fix = format!("line {} has the name: give this store another", line(doc, at));
            doc.wrong(&store.span, format!("a store of a name that is taken, `{}`", store.name), fix);
        }
    }
}

fn operators(doc: &Doc<'_>, graph: &Graph) {
    for node in &graph.nodes {
        let Kind::Processor { operator: name, stores } = &node.kind else { continue };
        let Some(op) = operator(name) else {
            if !name.is_empty() {
                let known: Vec<String> = OPERATORS.iter().map(|o| format!("{} ({})", o.name, o.what)).collect();
                let hint = nearest(name, OPERATORS.iter().map(|o| o.name))
                    .map_or(String::new(), |n| format!("did you mean `{n}`? "));
                let message = format!("processor `{}` names the operator `{name}`, which does not exist", node.name);
                doc.wrong(&node.span, message, format!("{hint}operators: {}", known.join(", ")));
            }
            continue;
        };
        if stores.len() != op.stores {
            let message = format!(
                "processor `{}` names {} stores, its operator `{name}` keeps {}",
                node.name,
                stores.len(),
                op.stores
            );
            let fix = match op.stores {
                0 => "remove `stores`".to_owned(),
                _ => "name a store of its own: `stores = [\"memories\"]`, and describe it with `[[store]]`".to_owned(),
            };
            doc.wrong(&node.span, message, fix);
        }
        let straight =
            node.from.iter().find(|i| graph.node(&i.node).is_some_and(|p| !matches!(p.kind, Kind::Repartition)));
        if let (true, Some(input)) = (op.keyed, straight) {
            let message = format!(
                "processor `{}` keeps state by key, so it must read a repartition, not `{}`",
                node.name, input.node
            );
            let fix =
                format!("put a `[[repartition]]` between: from = [\"{}\"] there, and its name here", shown(input));
            doc.wrong(&input.span, message, fix);
        }
    }
}

fn shown(input: &Input) -> String {
    input.output.as_ref().map_or(input.node.clone(), |o| format!("{}.{o}", input.node))
}

fn parent(doc: &Doc<'_>, graph: &Graph, node: &Node, input: &Input) {
    let me = format!("{} `{}`", what(&node.kind), node.name);
    let Some(parent) = graph.node(&input.node) else {
        let can = || {
            graph
                .nodes
                .iter()
                .filter(|n| n.name != node.name && !matches!(n.kind, Kind::Sink { .. }))
                .map(|n| n.name.as_str())
        };
        let hint = nearest(&input.node, can()).map_or(String::new(), |n| format!("did you mean `{n}`? "));
        let fix = format!("{hint}nodes that give records: {}", can().collect::<Vec<_>>().join(", "));
        doc.wrong(&input.span, format!("{me} takes from `{}`, which no node is named", input.node), fix);
        return;
    };
    match (&parent.kind, &input.output) {
        (Kind::Sink { .. }, _) => {
            let fix = "take from the node that the sink takes from";
            doc.wrong(&input.span, format!("{me} takes from `{}`, a sink, which gives no records", parent.name), fix);
        }
        (Kind::Processor { operator: name, .. }, output) => {
            let Some(op) = operator(name) else { return };
            let outputs: Vec<String> = op.outputs.iter().map(|o| format!("\"{}.{o}\"", parent.name)).collect();
            let fix = format!("outputs of `{}`: {}", parent.name, outputs.join(", "));
            match output {
                None => {
                    doc.wrong(&input.span, format!("{me} does not say which output of `{}` it takes", parent.name), fix)
                }
                Some(o) if !op.outputs.contains(&o.as_str()) => {
                    doc.wrong(&input.span, format!("`{}` has no output `{o}`", parent.name), fix);
                }
                Some(_) => {}
            }
        }
        (kind, Some(o)) => {
            let message = format!("`{}` is a {} and has no output `{o}`", parent.name, what(kind));
            doc.wrong(&input.span, message, format!("write `from = [\"{}\"]`", parent.name));
        }
        (_, None) if matches!(node.kind, Kind::Sink { .. } | Kind::Repartition) => {
            let fix = "put a processor between them";
            doc.wrong(
                &input.span,
                format!("{me} takes straight from `{}`, with nothing done to the records", parent.name),
                fix,
            );
        }
        (_, None) => {}
    }
}

fn topics(doc: &Doc<'_>, graph: &Graph) {
    let mut read: BTreeMap<&str, &Node> = BTreeMap::new();
    for (node, topic, _) in graph.sources() {
        if let Some(other) = read.insert(topic, node) {
            let fix = format!("take from `{}` (line {}) instead", other.name, line(doc, other.span.start));
            doc.wrong(&node.topic_span, format!("two sources read the topic `{topic}`"), fix);
        }
    }
    let mut written: BTreeMap<&str, &str> = BTreeMap::new();
    let dead = graph.dead_letters.iter().map(|d| ("dead_letters", d.topic.as_str(), &d.span));
    for (name, topic, span) in graph.sinks().map(|(n, topic, _)| (n.name.as_str(), topic, &n.topic_span)).chain(dead) {
        if let Some(source) = read.get(topic) {
            let message = format!("sink `{name}` writes to `{topic}`, which the source `{}` reads", source.name);
            doc.wrong(span, message, "records would go round for ever: give the sink a topic of its own");
        }
        if let Some(other) = written.insert(topic, name) {
            let message = format!("`{other}` and `{name}` both write to `{topic}`");
            doc.wrong(span, message, "give each a topic of its own, or one sink the `from` of both");
        }
    }
}

fn stores(doc: &Doc<'_>, graph: &Graph) {
    let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
    for node in &graph.nodes {
        let Kind::Processor { stores, .. } = &node.kind else { continue };
        for store in stores {
            if !graph.stores.iter().any(|s| s.name == store.value) {
                let hint = nearest(&store.value, graph.stores.iter().map(|s| s.name.as_str()))
                    .map_or(String::new(), |n| format!("did you mean `{n}`? or "));
                let message =
                    format!("processor `{}` keeps the store `{}`, which is not described", node.name, store.value);
                doc.wrong(&store.span, message, format!("{hint}add `[[store]]` with `name = \"{}\"`", store.value));
            }
            if let Some(other) = owner.insert(&store.value, &node.name) {
                let message = format!("processors `{other}` and `{}` share the store `{}`", node.name, store.value);
                doc.wrong(&store.span, message, "give each a store of its own: a store belongs to one processor");
            }
        }
    }
    for store in graph.stores.iter().filter(|s| !owner.contains_key(s.name.as_str())) {
        let message = format!("nobody keeps the store `{}`", store.name);
        doc.wrong(
            &store.span,
            message,
            format!("remove it, or name it in a processor: `stores = [\"{}\"]`", store.name),
        );
    }
}

/// Every output must be taken, and every source and repartition read.
fn outputs(doc: &Doc<'_>, graph: &Graph) {
    let taken: BTreeSet<(&str, Option<&str>)> =
        graph.nodes.iter().flat_map(|n| &n.from).map(|i| (i.node.as_str(), i.output.as_deref())).collect();
    for node in &graph.nodes {
        match &node.kind {
            Kind::Sink { .. } => {}
            Kind::Source { .. } | Kind::Repartition => {
                if !taken.contains(&(node.name.as_str(), None)) {
                    let message = format!("nobody takes the records of {} `{}`", what(&node.kind), node.name);
                    doc.wrong(&node.span, message, format!("remove it, or take from it: `from = [\"{}\"]`", node.name));
                }
            }
            Kind::Processor { operator: name, .. } => {
                let all = operator(name).map_or(&[][..], |o| o.outputs);
                for output in all.iter().filter(|o| !taken.contains(&(node.name.as_str(), Some(o)))) {
                    let message = format!("nobody takes the output `{output}` of `{}`", node.name);
                    doc.wrong(&node.span, message, format!("add a sink with `from = [\"{}.{output}\"]`", node.name));
                }
            }
        }
    }
}

/// Notes each cycle once; whether there was any.
fn cycles(doc: &Doc<'_>, graph: &Graph) -> bool {
    let mut found = false;
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for node in &graph.nodes {
        let mut path: Vec<&Node> = Vec::new();
        found |= walk(doc, graph, node, &mut path, &mut done);
    }
    found
}

fn walk<'g>(
    doc: &Doc<'_>,
    graph: &'g Graph,
    node: &'g Node,
    path: &mut Vec<&'g Node>,
    done: &mut BTreeSet<&'g str>,
) -> bool {
    if let Some(from) = path.iter().position(|n| n.name == node.name) {
        let mut round: Vec<&str> = path[from..].iter().map(|n| n.name.as_str()).rev().collect();
        round.insert(0, &node.name);
        let message = format!("records would go round for ever: {}", round.join(" → "));
        doc.wrong(
            &node.span,
            message,
            format!("take one of these out of the `from` of another: {}", round[1..].join(", ")),
        );
        return true;
    }
    if !done.insert(&node.name) {
        return false;
    }
    path.push(node);
    let mut found = false;
    for parent in node.from.iter().filter_map(|i| graph.node(&i.node)) {
        let open = path.iter().any(|n| n.name == parent.name);
        if open || !done.contains(parent.name.as_str()) {
            found |= walk(doc, graph, parent, path, done);
        }
    }
    path.pop();
    found
}

/// A processor must hang on exactly one source or repartition, and be reached from a source at all.
fn logs(doc: &Doc<'_>, graph: &Graph) {
    for node in &graph.nodes {
        let logs = logs_of(graph, node);
        match &node.kind {
            Kind::Source { .. } => {}
            Kind::Processor { .. } if logs.len() > 1 => {
                let names: Vec<&str> = logs.into_iter().collect();
                let message = format!("processor `{}` reads {} logs: {}", node.name, names.len(), names.join(", "));
                let fix = "a task reads exactly one: merge them through one `[[repartition]]` and take from that";
                doc.wrong(&node.span, message, fix);
            }
            _ if !reached(graph, node)
                && node.from.iter().all(|i| graph.node(&i.node).is_some())
                && !node.from.is_empty() =>
            {
                let message = format!("no source reaches {} `{}`", what(&node.kind), node.name);
                doc.wrong(&node.span, message, "take from a node that a source leads to, or remove it");
            }
            _ => {}
        }
    }
}

/// The sources and repartitions that a node's records come from, without looking behind a repartition.
fn logs_of<'g>(graph: &'g Graph, node: &'g Node) -> BTreeSet<&'g str> {
    let parents = node.from.iter().filter_map(|i| graph.node(&i.node));
    parents
        .flat_map(|p| match p.kind {
            Kind::Source { .. } | Kind::Repartition => BTreeSet::from([p.name.as_str()]),
            _ => logs_of(graph, p),
        })
        .collect()
}

fn reached(graph: &Graph, node: &Node) -> bool {
    matches!(node.kind, Kind::Source { .. })
        || node.from.iter().filter_map(|i| graph.node(&i.node)).any(|parent| reached(graph, parent))
}
