//! A sub-topology with all references resolved that a task needs in its loop: full topic names,
//! partition counts, limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::partitioner::partition_for;
use crate::record::Record;
use crate::topology::{NodeKind, ProcessorFactory, StoreOptions, TopicRef, Topology, changelog_topic};

/// A topic to send to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its full name.
    pub topic: Arc<str>,
    /// How many partitions it has.
    pub partitions: i32,
    /// Bytes that a record may have, with its headers and Kafka's framing.
    pub max_bytes: usize,
}

/// Kafka's framing of a batch of one record (61 bytes) and of the record (at most 36), rounded up.
const FRAME_BYTES: usize = 128;
/// Kafka's framing of a header: two lengths of at most 5 bytes.
const HEADER_BYTES: usize = 10;

impl Target {
    /// Bytes that a record takes on the topic, at most.
    pub(crate) fn size_of(&self, record: &Record<'_>) -> usize {
        let headers =
            record.headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len) + HEADER_BYTES);
        let data = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        data + headers.sum::<usize>() + FRAME_BYTES
    }

    pub(crate) fn partition_of(&self, key: Option<&[u8]>, source_partition: i32) -> i32 {
        partition_for(key, source_partition, self.partitions)
    }
}

/// Behaviour of a node, with its references resolved.
pub(crate) enum PlanKind {
    Source,
    Process { factory: ProcessorFactory, stores: Vec<usize>, punctuate_ms: Option<i64> },
    Sink(Target),
}

/// A node, looked up.
pub(crate) struct PlanNode {
    pub name: String,
    pub kind: PlanKind,
    pub children: Vec<usize>,
}

/// A store and its changelog.
#[derive(Clone, Debug)]
pub struct PlanStore {
    /// The store's name.
    pub name: String,
    /// Its changelog topic; the task's partition of it is the task's own.
    pub changelog: Arc<str>,
    /// How it is kept.
    pub options: StoreOptions,
}

/// Partition counts and size limits of topics, by full name.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Partition counts.
    pub partitions: BTreeMap<String, i32>,
    /// Limits other than [`Sizes::default_max_bytes`].
    pub max_bytes: BTreeMap<String, usize>,
    /// The limit of a record on the others; 16 MiB by default.
    pub default_max_bytes: usize,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { partitions: BTreeMap::new(), max_bytes: BTreeMap::new(), default_max_bytes: 16 << 20 }
    }
}

impl Sizes {
    fn target(&self, topic: &str) -> Target {
        Target {
            topic: topic.into(),
            partitions: self.partitions.get(topic).copied().unwrap_or(1),
            max_bytes: self.max_bytes.get(topic).copied().unwrap_or(self.default_max_bytes),
        }
    }
}

/// A sub-topology, looked up.
pub struct Plan {
    /// Its number.
    pub subtopology: u32,
    /// The full name of the topic that it reads.
    pub source: Arc<str>,
    /// Kind of the topic.
    pub source_ref: TopicRef,
    pub(crate) nodes: Vec<PlanNode>,
    /// Its stores.
    pub stores: Vec<PlanStore>,
    pub(crate) dead_letters: Option<Target>,
}

impl Plan {
    /// The plans of a topology's sub-topologies, in order.
    pub fn all(topology: &Topology, application_id: &str, sizes: &Sizes) -> Vec<Arc<Plan>> {
        let plan = |(at, sub): (usize, &crate::topology::SubTopology)| {
            let nodes = sub.nodes.iter().map(|node| PlanNode {
                name: node.name.clone(),
                children: node.children.clone(),
                kind: match &node.kind {
                    NodeKind::Source => PlanKind::Source,
                    NodeKind::Process { factory, stores, punctuate } => PlanKind::Process {
                        factory: factory.clone(),
                        stores: stores.clone(),
                        punctuate_ms: punctuate.map(millis),
                    },
                    NodeKind::Sink(topic) => PlanKind::Sink(sizes.target(&topic.full_name(application_id))),
                },
            });
            let store = |name: &String| PlanStore {
                name: name.clone(),
                changelog: changelog_topic(application_id, name).into(),
                options: topology.store_options(name),
            };
            Arc::new(Plan {
                subtopology: at as u32,
                source: sub.source.full_name(application_id).into(),
                source_ref: sub.source.clone(),
                nodes: nodes.collect(),
                stores: sub.stores.iter().map(store).collect(),
                dead_letters: topology.dead_letters().map(|topic| sizes.target(topic)),
            })
        };
        topology.subtopologies().iter().enumerate().map(plan).collect()
    }

    /// The same plan with other processors: `replace` gets the place of each node that has one, and
    /// what makes it.
    pub(crate) fn with_processors(&self, replace: impl Fn(usize, &ProcessorFactory) -> ProcessorFactory) -> Plan {
        let node = |(at, node): (usize, &PlanNode)| PlanNode {
            name: node.name.clone(),
            children: node.children.clone(),
            kind: match &node.kind {
                PlanKind::Source => PlanKind::Source,
                PlanKind::Process { factory, stores, punctuate_ms } => PlanKind::Process {
                    factory: replace(at, factory),
                    stores: stores.clone(),
                    punctuate_ms: *punctuate_ms,
                },
                PlanKind::Sink(target) => PlanKind::Sink(target.clone()),
            },
        };
        Plan {
            subtopology: self.subtopology,
            source: self.source.clone(),
            source_ref: self.source_ref.clone(),
            nodes: self.nodes.iter().enumerate().map(node).collect(),
            stores: self.stores.clone(),
            dead_letters: self.dead_letters.clone(),
        }
    }

    /// Names of the stores, in order.
    pub fn store_names(&self) -> Vec<&str> {
        self.stores.iter().map(|store| store.name.as_str()).collect()
    }
}

/// The builder has refused what does not fit.
fn millis(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX)
}
