//! The topics that are mirrored in Postgres, by table: the topology file decides.

use std::sync::Arc;

use super::CommandError;
use memory_operators::mirror::{ConflictRows, EventRows, NodeRows, SnapshotRows};
use mirror::ports::RowMapper;
use operators::spec::Form;
use streams::ports::Codec;
use topology_file::Topology as File;
use topology_file::format::Format;
use topology_file::graph::{GraphNode, GraphNodeKind, Input, logs_of};

/// Group of the events' mirror, behind the application id; those of the others go on with what they
/// mirror.
pub const GROUP: &str = "mirror";

/// The topics whose records are decoded as events.
pub fn event_sources(file: &File) -> Vec<String> {
    let is_decode = |node: &&GraphNode| node.spec().is_some_and(|spec| spec.produces(Form::Event));
    let decoded: Vec<&GraphNode> =
        file.graph.nodes.iter().filter(is_decode).flat_map(|n| logs_of(&file.graph, n)).collect();
    let sources = file.graph.sources().filter(|(node, ..)| decoded.iter().any(|log| log.name == node.name));
    sources.map(|(_, topic, _)| topic.to_owned()).collect()
}

/// A table of Postgres that a mirror fills.
pub struct MirroredTable {
    /// The consumer group, behind the application id.
    pub group: String,
    /// The topics whose records become its rows.
    pub topics: Vec<String>,
    /// Maps records to rows.
    pub rows: Arc<dyn RowMapper>,
    /// Whether the topics may be missing. They are mirrored as soon as they exist.
    pub is_optional: bool,
}

/// All that is mirrored, the events first; the codec is for those who make rows of it.
pub fn mirrored_tables(file: &File, codec: Option<&Arc<dyn Codec>>) -> Vec<MirroredTable> {
    let events = event_sources(file);
    let encodings = file.graph.nodes.iter().filter_map(|node| match &node.kind {
        GraphNodeKind::Source { topic, format, .. } => Some((topic.clone(), *format)),
        _ => None,
    });
    let rows = Arc::new(EventRows::new(file.values.limits, codec.cloned()).of(encodings));
    let mut all = vec![MirroredTable { group: GROUP.to_owned(), topics: events, rows, is_optional: false }];
    // Snapshots of users differ from those of memories by their header, so that both may have the
    // same topic.
    let outputs: [(&str, &[Form], Arc<dyn RowMapper>); 2] = [
        ("snapshots", &[Form::Memory, Form::UserSnapshot], Arc::new(SnapshotRows::new(codec.cloned()))),
        ("conflicts", &[Form::Conflict], Arc::new(ConflictRows::new(codec.cloned()))),
    ];
    for (output, forms, rows) in outputs {
        let mut topics: Vec<String> = forms.iter().flat_map(|form| topics(file, *form, output)).collect();
        if forms.len() > 1 {
            topics.sort();
            topics.dedup();
        }
        if !topics.is_empty() {
            all.push(MirroredTable { group: format!("{GROUP}-{output}"), topics, rows, is_optional: false });
        }
    }
    // The first node makes the topic, which may be long after the mirror's start.
    if let Some(topic) = &file.values.mirror.nodes_topic {
        let (group, rows) = (format!("{GROUP}-nodes"), Arc::new(NodeRows));
        all.push(MirroredTable { group, topics: vec![topic.clone()], rows, is_optional: true });
    }
    all
}

/// Refuses a nodes topic whose records are mirrored as something else already. Two mirrors would
/// share its checkpoint, so that each would pass over records of the other, and say nothing.
///
/// # Errors
/// [`CommandError::Usage`] with the setting and the node of the topology.
pub fn check_nodes_topic(file: &File) -> Result<(), CommandError> {
    let Some(topic) = &file.values.mirror.nodes_topic else { return Ok(()) };
    let (sources, sinks) = (file.graph.sources(), file.graph.sinks());
    let of_file = sources.map(|(node, topic, _)| (node, topic)).chain(sinks.map(|(node, topic, _)| (node, topic)));
    let same: Vec<&GraphNode> = of_file.filter(|(_, other)| other == topic).map(|(node, _)| node).collect();
    let Some(node) = same.first() else { return Ok(()) };
    let tables = mirrored_tables(file, None);
    let Some(table) = tables.iter().find(|table| !table.is_optional && table.topics.contains(topic)) else {
        return Ok(());
    };
    Err(CommandError::Usage(format!(
        "{}: `nodes_topic` of [mirror] is `{topic}`, which is the topic of `{}` too and is mirrored by the group `{}`: set \
         the topic that the nodes write to, or off [HS4530]",
        file.file, node.name, table.group
    )))
}

/// The topics of these tables that must exist.
pub fn required_topics(tables: &[MirroredTable]) -> Vec<String> {
    tables.iter().filter(|table| !table.is_optional).flat_map(|table| table.topics.clone()).collect()
}

/// The topics of these tables that may be missing.
pub fn optional_topics(tables: &[MirroredTable]) -> Vec<String> {
    tables.iter().filter(|table| table.is_optional).flat_map(|table| table.topics.clone()).collect()
}

/// The group of each mirror, without the application id, and its topics.
pub fn mirrored(file: &File) -> Vec<(String, Vec<String>)> {
    mirrored_tables(file, None).into_iter().map(|table| (table.group, table.topics)).collect()
}

/// The topics that take the output of an operator which has this form, and no other output of the
/// operator: records of both on one topic have no place in one table. Those in Avro where there is
/// none in JSON, which say the same; what HelixAgent's nodes read says less than a row has.
fn topics(file: &File, form: Form, output: &str) -> Vec<String> {
    let graph = &file.graph;
    let spec = |input: &Input| graph.node(&input.node).and_then(GraphNode::spec).filter(|spec| spec.produces(form));
    let mut json = Vec::new();
    let mut avro = Vec::new();
    for (node, topic, _) in graph.sinks() {
        let of_operator = || node.from.iter().filter(|input| spec(input).is_some());
        let is_of_form = |input: &Input| graph.produces(input, form);
        let Some(of) = node.from.iter().filter(|input| is_of_form(input)).find_map(spec) else {
            continue;
        };
        let topics = match &node.kind {
            GraphNodeKind::Sink { format: Format::Json, .. } => &mut json,
            GraphNodeKind::Sink { format: Format::Avro, .. } => &mut avro,
            _ => {
                tracing::warn!(
                    code = "HS4053",
                    "topic {topic} is written for HelixAgent's nodes, so its {output} are not mirrored"
                );
                continue;
            }
        };
        if of_operator().all(is_of_form) {
            topics.push(topic.to_owned());
        } else {
            tracing::warn!(
                code = "HS4053",
                "topic {topic} receives several outputs of `{}`, so its {output} are not mirrored",
                of.name
            );
        }
    }
    if json.is_empty() { avro } else { json }
}
