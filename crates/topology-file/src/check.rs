//! Checks between the nodes of a topology: names that are one, parents that exist, operators that
//! get what they can read, stores with one owner, topics that are not read and written at once.
//! The flow of records is [`super::flow`]'s.

use std::collections::{BTreeMap, BTreeSet};

use super::codes;
use super::flow;
use super::graph::{Graph, GraphNode, GraphNodeKind, Input, logs_of, meant, possible_parents, shown, what};
use super::problem::{line, nearest};
use super::store::Store;
use super::table::Doc;
use operators::spec::{OperatorRegistry, RetentionSupport};
use streams::topology::{TopicRef, changelog_topic};

/// Notes all that is wrong between the nodes.
pub fn check(doc: &Doc<'_>, graph: &Graph, known: &OperatorRegistry, application_id: &str) {
    names(doc, graph);
    operators(doc, graph, known);
    for node in &graph.nodes {
        for input in &node.from {
            parent(doc, graph, node, input);
        }
    }
    topics(doc, graph);
    internal_topics(doc, graph, application_id);
    stores(doc, graph, known);
    if graph.sources().next().is_none() && !graph.hidden.nodes {
        let fix = "add `[[source]]` with `name`, `topic` and `partitions`";
        doc.wrong(&(0..0), codes::NO_SOURCE, "the topology has no source", fix);
    }
    flow::check(doc, graph);
}

fn names(doc: &Doc<'_>, graph: &Graph) {
    for (node, ..) in graph.sinks().filter(|(node, ..)| node.name == "dead-letters") {
        let fix = "choose another name for the sink, or set its topic as `topic` of `[dead_letters]`";
        doc.wrong(&node.span, codes::RESERVED_NAME, "the name `dead-letters` is reserved for `[dead_letters]`", fix);
    }
    let mut first: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    let nodes = graph.nodes.iter().filter(|n| !n.name.is_empty()).map(|n| (&n.name, what(&n.kind), &n.span));
    // In the file's order, so that the second of two is the one that is told.
    let mut all: Vec<_> = nodes.chain(graph.stores.iter().map(|s| (&s.name, "store", &s.span))).collect();
    all.sort_by_key(|(.., span)| span.start);
    for (name, a, span) in all {
        let Some((b, at)) = first.get(name.as_str()) else {
            first.insert(name, (a, span.start));
            continue;
        };
        let message = match a == *b {
            true => format!("two {a}s have the name `{name}`"),
            false => format!("a {b} and a {a} have the name `{name}`"),
        };
        let fix = format!("choose another name for this {a}: the {b} on line {} has this one", line(doc.text, *at));
        doc.wrong(span, codes::DUPLICATE_NAME, message, fix);
    }
}

fn operators(doc: &Doc<'_>, graph: &Graph, registry: &OperatorRegistry) {
    for node in &graph.nodes {
        let GraphNodeKind::Processor { operator: name, spec, stores, .. } = &node.kind else { continue };
        let Some(op) = spec else {
            if !name.is_empty() {
                let known: Vec<String> = registry.iter().map(|o| format!("{} ({})", o.name, o.description)).collect();
                let hint = nearest(name, registry.iter().map(|o| o.name))
                    .map_or(String::new(), |n| format!("did you mean `{n}`? "));
                let message = format!("{} names the operator `{name}`, which does not exist", shown(node));
                let fix = format!("{hint}the operators are: {}", known.join(", "));
                doc.wrong(&node.topic_span, codes::UNKNOWN_OPERATOR, message, fix);
            }
            continue;
        };
        if stores.len() != op.stores && !graph.hidden.kept {
            let me = shown(node);
            let named = count(stores.len());
            let needs = count(op.stores);
            let message = format!("{me} names {named}, but its operator `{name}` needs {needs}");
            let fix = match op.stores {
                0 => "remove `stores`".to_owned(),
                _ => "name one store, for example `stores = [\"memories\"]`, and define it with `[[store]]`".to_owned(),
            };
            let span = stores.first().filter(|_| op.stores == 0).map_or(&node.span, |s| &s.span);
            doc.wrong(span, codes::WRONG_NUMBER_OF_STORES, message, fix);
        }
        let straight = node
            .from
            .iter()
            .find(|i| graph.node(&i.node).is_some_and(|p| !matches!(p.kind, GraphNodeKind::Repartition)));
        if let (true, Some(input)) = (op.is_keyed, straight) {
            let message = format!(
                "{} stores state by key, so it must read from a repartition, and not directly from `{}`",
                shown(node),
                input.node
            );
            let from = input.output.as_ref().map_or(input.node.clone(), |o| format!("{}.{o}", input.node));
            let fix = format!("add a `[[repartition]]` with `from = [\"{from}\"]`, and write its name here");
            doc.wrong(&input.span, codes::MISSING_REPARTITION, message, fix);
        }
    }
}

fn count(stores: usize) -> String {
    match stores {
        0 => "no store".to_owned(),
        1 => "1 store".to_owned(),
        n => format!("{n} stores"),
    }
}

fn parent(doc: &Doc<'_>, graph: &Graph, node: &GraphNode, input: &Input) {
    if graph.is_ambiguous(&input.node) {
        return;
    }
    let me = shown(node);
    let Some(parent) = graph.node(&input.node) else {
        let meant = meant(graph, node, input);
        if meant.is_none() && graph.hidden.nodes {
            return;
        }
        let hint = meant.map_or(String::new(), |n| format!("did you mean `{n}`? "));
        let known = possible_parents(graph, node).collect::<Vec<_>>().join(", ");
        let message = format!("{me} reads from `{}`, but no node has that name", input.node);
        doc.wrong(&input.span, codes::UNKNOWN_NODE, message, format!("{hint}the nodes with outputs are: {known}"));
        return;
    };
    match (&parent.kind, &input.output) {
        (GraphNodeKind::Sink { .. }, _) => {
            let fix = "read from the node that the sink reads from";
            let message = format!("{me} reads from `{}`, but that is a sink, which has no output", parent.name);
            doc.wrong(&input.span, codes::INPUT_FROM_SINK, message, fix);
        }
        (GraphNodeKind::Processor { spec, .. }, output) => {
            if spec.is_none() || parent.has_hidden_outputs() {
                return;
            }
            let known = parent.outputs();
            let outputs: Vec<String> = known.iter().map(|o| format!("\"{}.{}\"", parent.name, o.name)).collect();
            let fix = format!("the outputs of `{}` are: {}", parent.name, outputs.join(", "));
            match output {
                None => {
                    let message = format!("{me} reads from `{}`, but does not say from which output", parent.name);
                    doc.wrong(&input.span, codes::UNKNOWN_OUTPUT, message, fix);
                }
                Some(o) if !known.iter().any(|known| known.name == o) => {
                    let near = nearest(o, known.iter().map(|known| known.name));
                    let hint = near.map_or(String::new(), |n| format!("did you mean `{}.{n}`? ", parent.name));
                    let message = format!("`{}` has no output `{o}`", parent.name);
                    doc.wrong(&input.span, codes::UNKNOWN_OUTPUT, message, format!("{hint}{fix}"));
                }
                Some(_) => {}
            }
        }
        (kind, Some(o)) => {
            let message = format!("`{}` is a {} and has no output `{o}`", parent.name, what(kind));
            let fix = format!("write `from = [\"{}\"]`", parent.name);
            doc.wrong(&input.span, codes::UNKNOWN_OUTPUT, message, fix);
        }
        (_, None) if matches!(node.kind, GraphNodeKind::Sink { .. } | GraphNodeKind::Repartition) => {
            let kind = what(&parent.kind);
            let message = format!("{me} reads directly from the {kind} `{}`, without a processor between", parent.name);
            doc.wrong(&input.span, codes::NO_PROCESSOR_BETWEEN, message, "add a `[[processor]]` between the two");
        }
        (_, None) => {}
    }
}

fn topics(doc: &Doc<'_>, graph: &Graph) {
    let mut read: BTreeMap<&str, &GraphNode> = BTreeMap::new();
    for (node, topic, _) in graph.sources().filter(|(_, topic, _)| !topic.is_empty()) {
        if let Some(other) = read.insert(topic, node) {
            let at = line(doc.text, other.span.start);
            let fix = format!("remove this source, and read from `{}` (line {at}) instead", other.name);
            let message = format!("two sources read the topic `{topic}`");
            doc.wrong(&node.topic_span, codes::TOPIC_READ_TWICE, message, fix);
        }
    }
    let mut written: BTreeMap<&str, (String, Option<&GraphNode>)> = BTreeMap::new();
    let sinks = graph.sinks().filter(|(_, topic, _)| !topic.is_empty());
    let sinks = sinks.map(|(n, topic, _)| (shown(n), Some(n), topic, &n.topic_span));
    let dead = graph.dead_letters.iter().map(|d| ("`[dead_letters]`".to_owned(), None, d.topic.as_str(), &d.span));
    // In the file's order, so that the second of two is the one that is told.
    let mut all: Vec<_> = sinks.chain(dead).collect();
    all.sort_by_key(|(.., span)| span.start);
    for (writer, node, topic, span) in all {
        if let Some(source) = read.get(topic) {
            let message = format!("{writer} writes to `{topic}`, which {} reads", shown(source));
            let fix = "choose another topic: records would be read and written again and again";
            doc.wrong(span, codes::TOPIC_READ_AND_WRITTEN, message, fix);
        }
        match written.get(topic) {
            Some((other, first)) => {
                if let Some((what, fix)) = first.zip(node).map_or(Some(OWN_TOPIC), |(a, b)| clash(graph, a, b)) {
                    let message = format!("{other} and {writer} both write to `{topic}`{what}");
                    doc.wrong(span, codes::TOPIC_WRITTEN_TWICE, message, fix);
                }
            }
            None => _ = written.insert(topic, (writer, node)),
        }
    }
}

const OWN_TOPIC: (&str, &str) = ("", "use a topic of its own for each, or one sink with the `from` of both");

/// Why two sinks cannot share a topic, and what to do. Those of one log need not, and what they
/// write must be of one kind.
fn clash(graph: &Graph, first: &GraphNode, second: &GraphNode) -> Option<(&'static str, &'static str)> {
    let logs = |node| logs_of(graph, node).into_iter().map(|log| log.name.as_str()).collect::<BTreeSet<_>>();
    let a = logs(first);
    let b = logs(second);
    match (&first.kind, &second.kind) {
        _ if a.is_empty() || !a.is_disjoint(&b) => Some(OWN_TOPIC),
        (GraphNodeKind::Sink { partitions: a, .. }, GraphNodeKind::Sink { partitions: b, .. }) if a != b => {
            Some((", with different numbers of partitions", "set the same `partitions` for both"))
        }
        (GraphNodeKind::Sink { format: a, .. }, GraphNodeKind::Sink { format: b, .. }) if a != b => {
            Some((", in different formats", "set the same `format` for both, or use a topic of its own for each"))
        }
        _ => None,
    }
}

/// Topics of the world must not be internal ones too.
fn internal_topics(doc: &Doc<'_>, graph: &Graph, application_id: &str) {
    let repartitions = graph.nodes.iter().filter(|n| n.kind == GraphNodeKind::Repartition).map(|n| {
        let topic = TopicRef::Repartition(n.name.clone()).full_name(application_id);
        (topic, shown(n))
    });
    let changelogs =
        graph.stores.iter().map(|s| (changelog_topic(application_id, &s.name), format!("store `{}`", s.name)));
    let internal: BTreeMap<String, String> = repartitions.chain(changelogs).collect();
    let world = graph.sources().chain(graph.sinks()).map(|(n, topic, _)| (shown(n), topic, &n.topic_span));
    let dead = graph.dead_letters.iter().map(|d| ("`[dead_letters]`".to_owned(), d.topic.as_str(), &d.span));
    for (node, topic, span) in world.chain(dead) {
        if let Some(owner) = internal.get(topic) {
            let message = format!("{node} has the topic `{topic}`, which is the internal topic of {owner}");
            let fix = "choose another topic: no other node may read or write an internal topic";
            doc.wrong(span, codes::INTERNAL_TOPIC, message, fix);
        }
    }
}

fn stores(doc: &Doc<'_>, graph: &Graph, known: &OperatorRegistry) {
    let mut owner: BTreeMap<&str, &GraphNode> = BTreeMap::new();
    let mut meant: BTreeSet<&str> = BTreeSet::new();
    for node in &graph.nodes {
        let GraphNodeKind::Processor { stores, .. } = &node.kind else { continue };
        for store in stores {
            let near = nearest(&store.value, graph.stores.iter().map(|s| s.name.as_str()));
            let is_there = graph.stores.iter().any(|s| s.name == store.value);
            if !is_there && (near.is_some() || !graph.hidden.stores) {
                meant.extend(near);
                let hint = near.map_or(String::new(), |n| format!("did you mean `{n}`? otherwise "));
                let message = format!("{} names the store `{}`, which is not defined", shown(node), store.value);
                let fix = format!("{hint}add `[[store]]` with `name = \"{}\"`", store.value);
                doc.wrong(&store.span, codes::UNKNOWN_STORE, message, fix);
            }
            if let Some(other) = owner.insert(&store.value, node) {
                let message = format!("{} and {} have the same store `{}`", shown(other), shown(node), store.value);
                let fix = "define a store of its own for each: a store belongs to one processor";
                doc.wrong(&store.span, codes::SHARED_STORE, message, fix);
            }
        }
    }
    for store in graph.stores.iter().filter(|s| s.retention.is_some()) {
        retention(doc, graph, known, store);
    }
    let idle = |name: &str| !owner.contains_key(name) && !meant.contains(name);
    for store in graph.stores.iter().filter(|s| idle(&s.name) && !graph.hidden.kept && !graph.hidden.nodes) {
        let message = format!("no processor uses the store `{}`", store.name);
        let fix = format!("remove it, or name it in a processor: `stores = [\"{}\"]`", store.name);
        doc.wrong(&store.span, codes::UNUSED_STORE, message, fix);
    }
}

/// A key that is gone must mean nothing to the operator that keeps the store.
fn retention(doc: &Doc<'_>, graph: &Graph, known: &OperatorRegistry, store: &Store) {
    let Some(spec) = graph.keeper(&store.name).and_then(GraphNode::spec) else { return };
    let fix = match spec.retention {
        RetentionSupport::Supported => return,
        RetentionSupport::Instead(setting) => format!("remove it; {setting}"),
        RetentionSupport::Unsupported => {
            let supporting = known.iter().filter(|other| other.retention == RetentionSupport::Supported);
            let supporting: Vec<&str> = supporting.map(|other| other.name).collect();
            format!("remove it; the operators with a retention are: {}", supporting.join(", "))
        }
    };
    let name = spec.name;
    let message = format!("the store `{}` has a `retention`, which its operator `{name}` does not support", store.name);
    doc.wrong(&store.retention_span, codes::UNSUPPORTED_RETENTION, message, fix);
}
