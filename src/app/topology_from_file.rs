//! Builds the engine's topology from a topology file: nodes by name, processors by
//! `app::operators`.

use std::sync::Arc;

use super::operators::Parts;
use super::{CommandError, Resolver};
use operators::spec::ProcessorSupplier;
use streams::ports::Codec;
use streams::task::Sizes;
use streams::topology::{TopicRef, Topology, TopologyBuilder};
use topology_file::Topology as File;
use topology_file::graph::{GraphNode, GraphNodeKind};

/// Bytes by which a dead letter may be larger than an event: its headers.
const DEAD_LETTER_ROOM: usize = 64 << 10;

/// Limit of a record on topics of ours (docs/exactly-once.md, "Settings").
const TOPIC_MAX_BYTES: usize = 16 << 20;

/// The engine's topology of a checked file.
///
/// # Errors
/// The engine refuses a topology that the check of the file accepted.
pub fn build(file: &File, custom: &Resolver) -> Result<Topology, CommandError> {
    build_with(file, custom, None)
}

/// As [`build`], with what reads and writes Avro.
///
/// # Errors
/// As for [`build`].
pub fn build_with(file: &File, custom: &Resolver, codec: Option<Arc<dyn Codec>>) -> Result<Topology, CommandError> {
    let mut builder = Topology::builder();
    let parts = Parts::of(file, custom, codec);
    for node in &file.graph.nodes {
        builder = add(builder, &parts, node)?;
    }
    for node in &file.graph.nodes {
        if let GraphNodeKind::Processor { stores, .. } = &node.kind {
            for store in stores {
                builder = builder.store(&store.value, [&node.name]);
            }
        }
    }
    for store in &file.graph.stores {
        builder = builder.configure_store(&store.name, store.options());
    }
    if let Some(dead) = &file.graph.dead_letters {
        builder = builder.dead_letters(&dead.topic);
    }
    builder.build().map_err(|e| CommandError::Usage(format!("{}: {e}", file.file)))
}

fn add(builder: TopologyBuilder, parts: &Parts<'_>, node: &GraphNode) -> Result<TopologyBuilder, CommandError> {
    let mut parents: Vec<&str> = node.from.iter().map(|input| input.node.as_str()).collect();
    parents.sort_unstable();
    parents.dedup();
    Ok(match &node.kind {
        GraphNodeKind::Source { topic, .. } => builder.source(&node.name, topic),
        GraphNodeKind::Repartition => builder.repartition(&node.name, parents),
        GraphNodeKind::Sink { topic, .. } => builder.sink(&node.name, topic, parents),
        GraphNodeKind::Processor { .. } => match parts.supplier(node)? {
            Some(ProcessorSupplier { make, punctuation_interval }) => {
                let builder = builder.process(&node.name, parents, make);
                match punctuation_interval {
                    Some(interval) => builder.punctuate(&node.name, interval),
                    None => builder,
                }
            }
            None => builder,
        },
    })
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
    for node in file.graph.nodes.iter().filter(|node| node.kind == GraphNodeKind::Repartition) {
        let topic = TopicRef::Repartition(node.name.clone()).full_name(&file.values.resolver.application_id);
        sizes.partitions.insert(topic, file.graph.partitions(node));
    }
    sizes
}
