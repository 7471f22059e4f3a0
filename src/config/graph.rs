//! The nodes that a topology file names, as they stand in it: sources, repartitions, processors, stores, sinks.

use std::ops::Range;

use super::table::{At, Doc, Table};

/// What `from` of a node names: a node, and which of its outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The node's name.
    pub node: String,
    /// The output of a processor; `None` where the node has only one.
    pub output: Option<String>,
    /// Where it stands in the file.
    pub span: Range<usize>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A topic that records come from.
    Source {
        /// The topic's name.
        topic: String,
        /// How many partitions `topics create` gives it.
        partitions: i32,
    },
    /// An internal topic `<application id>-<name>-repartition`, which opens a new sub-topology. It gets the source's partitions.
    Repartition,
    /// An operator.
    Processor {
        /// Its name in [`super::operator::OPERATORS`].
        operator: String,
        /// Names of the stores that it owns.
        stores: Vec<At<String>>,
    },
    /// A topic that records go to.
    Sink {
        /// The topic's name.
        topic: String,
        /// How many partitions `topics create` gives it.
        partitions: i32,
    },
}

impl PartialEq for At<String> {
    fn eq(&self, other: &At<String>) -> bool {
        self.value == other.value
    }
}

impl Eq for At<String> {}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, one for all kinds.
    pub name: String,
    /// Where the name stands.
    pub span: Range<usize>,
    /// Where the topic stands, or the name again.
    pub topic_span: Range<usize>,
    /// Whom it takes records from; empty for a source.
    pub from: Vec<Input>,
    /// What it is.
    pub kind: Kind,
}

/// A named store, kept in RocksDB, logged to `<application id>-<name>-changelog`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub span: Range<usize>,
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
    pub nodes: Vec<Node>,
    /// Stores.
    pub stores: Vec<Store>,
    /// Dead letters; always there in a topology that was read without a complaint.
    pub dead_letters: Option<DeadLetters>,
}

const SOURCE: &[&str] = &["name", "topic", "partitions"];
const REPARTITION: &[&str] = &["name", "from"];
const PROCESSOR: &[&str] = &["name", "operator", "from", "stores"];
const STORE: &[&str] = &["name"];
const SINK: &[&str] = &["name", "topic", "partitions", "from"];

/// The most partitions that a topic may have here.
const MAX_PARTITIONS: i64 = 10_000;

impl Graph {
    /// Reads the nodes; what is wrong with one of them alone is noted in `doc`.
    pub fn read<'d>(doc: &'d Doc<'d>, root: &Table<'d, '_>) -> Graph {
        let mut graph = Graph::default();
        for t in root.tables("source", SOURCE) {
            let topic = t.required("topic", "helixagent.memory.events");
            graph.add(doc, &t, topic.clone(), partitions(doc, &t), |topic, partitions| Kind::Source {
                topic,
                partitions,
            });
        }
        for t in root.tables("repartition", REPARTITION) {
            graph.add(doc, &t, None, Some(0), |_, _| Kind::Repartition);
        }
        for t in root.tables("processor", PROCESSOR) {
            let operator = t.required("operator", "resolve").map_or(String::new(), |o| o.value.to_owned());
            let stores =
                t.strings("stores", "memories").into_iter().map(|s| At { value: s.value.to_owned(), span: s.span });
            let stores = stores.collect();
            graph.add(doc, &t, None, Some(0), |_, _| Kind::Processor { operator, stores });
        }
        for t in root.tables("sink", SINK) {
            let topic = t.required("topic", "helixagent.memory.snapshots");
            graph.add(doc, &t, topic, partitions(doc, &t), |topic, partitions| Kind::Sink { topic, partitions });
        }
        for t in root.tables("store", STORE) {
            if let Some(name) = name(doc, &t) {
                graph.stores.push(Store { name: name.value, span: name.span });
            }
        }
        graph.dead_letters = dead_letters(doc, root);
        graph
    }

    fn add<'d>(
        &mut self,
        doc: &'d Doc<'d>,
        t: &Table<'d, '_>,
        topic: Option<At<&str>>,
        partitions: Option<i32>,
        kind: impl FnOnce(String, i32) -> Kind,
    ) {
        let from = inputs(doc, t);
        if let Some(topic) = &topic {
            check_topic(doc, topic);
        }
        let (Some(name), Some(partitions)) = (name(doc, t), partitions) else { return };
        let topic_span = topic.as_ref().map_or(name.span.clone(), |t| t.span.clone());
        let topic = topic.map_or(String::new(), |t| t.value.to_owned());
        self.nodes.push(Node { name: name.value, span: name.span, topic_span, from, kind: kind(topic, partitions) });
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.name == name)
    }

    /// Sources, in the file's order.
    pub fn sources(&self) -> impl Iterator<Item = (&Node, &str, i32)> {
        self.nodes.iter().filter_map(|n| match &n.kind {
            Kind::Source { topic, partitions } => Some((n, topic.as_str(), *partitions)),
            _ => None,
        })
    }

    /// Sinks, in the file's order.
    pub fn sinks(&self) -> impl Iterator<Item = (&Node, &str, i32)> {
        self.nodes.iter().filter_map(|n| match &n.kind {
            Kind::Sink { topic, partitions } => Some((n, topic.as_str(), *partitions)),
            _ => None,
        })
    }
}

/// A name that can stand in a topic's name and in a metric.
fn name<'d>(doc: &'d Doc<'d>, t: &Table<'d, '_>) -> Option<At<String>> {
    let found = t.required("name", "memories")?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !found.value.chars().all(good) {
        let message = format!("the name `{}` has characters other than letters, digits, `-` and `_`", found.value);
        doc.wrong(&found.span, message, "internal topics are named after it: keep to letters, digits, `-` and `_`");
        return None;
    }
    Some(At { value: found.value.to_owned(), span: found.span })
}

/// Kafka's own rule for the name of a topic.
fn check_topic<'d>(doc: &'d Doc<'d>, topic: &At<&str>) {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.value.len() > 249 || !topic.value.chars().all(good) || matches!(topic.value, "." | "..") {
        let message = format!("`{}` is no name for a topic", topic.value);
        doc.wrong(&topic.span, message, "Kafka takes up to 249 letters, digits, `.`, `_` and `-`");
    }
}

fn dead_letters<'d>(doc: &'d Doc<'d>, root: &Table<'d, '_>) -> Option<DeadLetters> {
    let Some(t) = root.table("dead_letters") else {
        if root.lacks("dead_letters") {
            let fix = "add `[dead_letters]` with `topic` and `partitions`";
            doc.wrong(
                &root.span,
                "the file has no `[dead_letters]`: records that cannot be processed would be lost",
                fix,
            );
        }
        return None;
    };
    let t = t.only(&["topic", "partitions"]);
    let (topic, partitions) = (t.required("topic", "helixagent.memory.dead-letters"), partitions(doc, &t));
    let topic = topic.inspect(|topic| check_topic(doc, topic))?;
    Some(DeadLetters { topic: topic.value.to_owned(), partitions: partitions?, span: topic.span })
}

fn partitions<'d>(doc: &'d Doc<'d>, t: &Table<'d, '_>) -> Option<i32> {
    let before = t.count("partitions", MAX_PARTITIONS, 6);
    if t.lacks("partitions") {
        let message = format!("{} has no `partitions`", t.what);
        doc.wrong(&t.span, message, "add how many `topics create` gives it: `partitions = 6`");
    }
    before.and_then(|p| i32::try_from(p.value).ok())
}

fn inputs<'d>(doc: &'d Doc<'d>, t: &Table<'d, '_>) -> Vec<Input> {
    let split = |at: At<&str>| {
        let (node, output) = match at.value.split_once('.') {
            Some((node, output)) => (node, Some(output.to_owned())),
            None => (at.value, None),
        };
        Input { node: node.to_owned(), output, span: at.span }
    };
    let from: Vec<Input> = t.strings("from", "decode.events").into_iter().map(split).collect();
    if t.what != "[[source]]" && t.lacks("from") {
        let message = format!("{} takes records from nobody", t.what);
        doc.wrong(
            &t.span,
            message,
            "name the node before it: `from = [\"events\"]`, or one output of it: `from = [\"decode.events\"]`",
        );
    }
    from
}
