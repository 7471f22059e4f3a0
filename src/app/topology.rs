//! From a topology file to the engine's topology: nodes by name, operators by what `memories` offers.

use std::sync::Arc;

use super::{Resolver, Stop};
use crate::config::Topology as File;
use crate::config::format::Format;
use crate::config::graph::{Kind, Node};
use crate::memories::{
    AvroOutputs, Decode, Encoder, HelixAgent, Resolve, ResolveOptions, Taker, UserOptions, UserSnapshots,
};
use crate::streams::ports::Codec;
use crate::streams::processor::Processor;
use crate::streams::task::Sizes;
use crate::streams::topology::{TopicRef, Topology, TopologyBuilder};

/// What a record on the dead-letter topic may have above an event: its headers.
const DEAD_LETTER_ROOM: usize = 64 << 10;

/// Limit of a record on topics of ours (exactly-once.md, "Settings").
const TOPIC_MAX_BYTES: usize = 16 << 20;

/// Makes a processor, once a task.
type Factory = Box<dyn Fn() -> Box<dyn Processor> + Send + Sync>;

/// The engine's topology of a checked file.
///
/// # Errors
/// What the engine refuses, which the check of the file has let pass.
pub fn build(file: &File, custom: &Resolver) -> Result<Topology, Stop> {
    build_with(file, custom, None)
}

/// As [`build`], with what reads and writes Avro.
///
/// # Errors
/// As for [`build`].
pub fn build_with(file: &File, custom: &Resolver, codec: Option<Arc<dyn Codec>>) -> Result<Topology, Stop> {
    let mut builder = Topology::builder();
    for node in &file.graph.nodes {
        builder = add(builder, file, node, custom, &codec);
    }
    for node in &file.graph.nodes {
        if let Kind::Processor { stores, .. } = &node.kind {
            for store in stores {
                builder = builder.store(&store.value, [&node.name]);
            }
        }
        if matches!(&node.kind, Kind::Processor { operator, .. } if operator == "user_snapshots") {
            builder = builder.punctuate(&node.name, file.values.snapshots.interval);
        }
    }
    for store in &file.graph.stores {
        builder = builder.keep(&store.name, store.options());
    }
    if let Some(dead) = &file.graph.dead_letters {
        builder = builder.dead_letters(&dead.topic);
    }
    builder.build().map_err(|e| Stop::Usage(format!("{}: {e}", file.file)))
}

fn add(
    builder: TopologyBuilder,
    file: &File,
    node: &Node,
    custom: &Resolver,
    codec: &Option<Arc<dyn Codec>>,
) -> TopologyBuilder {
    let mut parents: Vec<&str> = node.from.iter().map(|input| input.node.as_str()).collect();
    parents.sort_unstable();
    parents.dedup();
    match &node.kind {
        Kind::Source { topic, .. } => builder.source(&node.name, topic),
        Kind::Repartition => builder.repartition(&node.name, parents),
        Kind::Sink { topic, .. } => builder.sink(&node.name, topic, parents),
        Kind::Processor { operator, stores } => {
            let store = stores.first().map_or("", |s| s.value.as_str());
            match factory(file, node, (operator, store), custom, codec) {
                Some(make) => builder.process(&node.name, parents, make),
                None => builder,
            }
        }
    }
}

/// The nodes that take an output of a processor.
fn takers(file: &File, node: &Node, output: &str, codec: &Option<Arc<dyn Codec>>) -> Vec<Taker> {
    let takes = |n: &&Node| n.from.iter().any(|i| i.node == node.name && i.output.as_deref() == Some(output));
    let taker = |n: &Node| Taker { node: n.name.clone(), encoder: encoder(file, n, codec) };
    file.graph.nodes.iter().filter(takes).map(taker).collect()
}

/// What writes the format that a sink is set to.
fn encoder(file: &File, node: &Node, codec: &Option<Arc<dyn Codec>>) -> Option<Arc<dyn Encoder>> {
    let Kind::Sink { format, topic, .. } = &node.kind else { return None };
    match format {
        Format::Json => None,
        Format::HelixAgent => Some(Arc::new(HelixAgent { node_id: file.values.resolver.application_id.clone() })),
        Format::Avro => Some(Arc::new(AvroOutputs { codec: codec.clone(), topic: topic.clone() })),
    }
}

/// The operators of [`crate::config::operator::OPERATORS`].
fn factory(
    file: &File,
    node: &Node,
    (operator, store): (&str, &str),
    custom: &Resolver,
    codec: &Option<Arc<dyn Codec>>,
) -> Option<Factory> {
    match operator {
        "decode" => {
            let (limits, codec) = (file.values.limits, codec.clone());
            let carries = file.values.resolver.tombstone_retention_ns.is_some();
            Some(Box::new(move || Box::new(Decode::new(limits, codec.clone()).carrying(carries))))
        }
        "resolve" => {
            let options = Arc::new(ResolveOptions {
                settings: file.values.resolver.clone(),
                custom: custom.clone(),
                store: store.to_owned(),
                snapshots: takers(file, node, "snapshots", codec),
                conflicts: takers(file, node, "conflicts", codec),
                users: takers(file, node, "users", codec).into_iter().map(|taker| taker.node).collect(),
            });
            Some(Box::new(move || Box::new(Resolve::new(options.clone()))))
        }
        "user_snapshots" => {
            let options = Arc::new(UserOptions {
                application_id: file.values.resolver.application_id.clone(),
                store: store.to_owned(),
                changes: file.values.snapshots.changes,
                snapshots: takers(file, node, "snapshots", codec),
            });
            Some(Box::new(move || Box::new(UserSnapshots::new(options.clone()))))
        }
        _ => None,
    }
}

/// Limit of a record on the dead-letter topic: an event of the greatest size with its headers fits.
pub fn dead_letter_bytes(file: &File) -> usize {
    TOPIC_MAX_BYTES.max(file.values.limits.max_value_bytes + DEAD_LETTER_ROOM)
}

/// Partition counts as the file says, and limits of records.
pub fn sizes(file: &File) -> Sizes {
    let mut sizes = Sizes::default();
    for (_, topic, partitions) in file.graph.sinks() {
        sizes.partitions.insert(topic.to_owned(), partitions);
        sizes.max_bytes.insert(topic.to_owned(), file.values.runtime.max_output_bytes);
    }
    if let Some(dead) = &file.graph.dead_letters {
        sizes.partitions.insert(dead.topic.clone(), dead.partitions);
        sizes.max_bytes.insert(dead.topic.clone(), dead_letter_bytes(file));
    }
    for node in file.graph.nodes.iter().filter(|node| node.kind == Kind::Repartition) {
        let topic = TopicRef::Repartition(node.name.clone()).full_name(&file.values.resolver.application_id);
        sizes.partitions.insert(topic, file.graph.partitions(node));
    }
    sizes
}
