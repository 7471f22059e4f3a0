//! The shape of a topology as plain data, sub-topologies cut and topics named as the engine does
//! it: what `topology describe` shows and `topology diff` compares.

mod describe;
pub mod diff;
pub mod dot;
mod drawing;
pub mod mermaid;
pub mod text;

pub use describe::describe;
use serde::Serialize;

use super::{CommandError, topology_from_file};
use memory::event::Encoding;
use streams::topology::{NodeKind, StoreKind, SubTopology, TopicRef, Topology, changelog_topic};
use topology_file::Topology as File;
use topology_file::graph::{GraphNode as FileNode, GraphNodeKind};
use topology_file::store::kind_name;
use topology_file::value::show_duration;

/// A topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopologyDescription {
    /// The application id, which internal topics are named after.
    pub application_id: String,
    /// Its sub-topologies, by the number that tasks bear.
    pub subtopologies: Vec<Part>,
    /// Where records go that cannot be processed.
    pub dead_letters: Topic,
}

/// A topic and its number of partitions in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// Its full name.
    pub topic: String,
    /// How many partitions it gets.
    pub partitions: i32,
}

/// A sub-topology: what one task runs on one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its number.
    pub id: usize,
    /// Its nodes; the first one is its source, parents come before children.
    pub nodes: Vec<DescribedNode>,
    /// Its stores.
    pub stores: Vec<Store>,
}

/// A node of a sub-topology. A repartition shows up twice: at the end of one sub-topology and as
/// the source of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DescribedNode {
    /// Its name.
    pub name: String,
    /// Its role.
    #[serde(flatten)]
    pub role: Role,
    /// Names of its inputs.
    pub from: Vec<Input>,
    /// Names of the nodes that read its records.
    pub to: Vec<String>,
}

/// Role of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Role {
    /// Reads a topic.
    Source {
        /// The topic.
        #[serde(flatten)]
        topic: Topic,
        /// Whether it is a repartition topic.
        internal: bool,
        /// Encoding of its values, unless any is accepted.
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<String>,
        /// The expression of its records' key.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Runs an operator.
    Processor {
        /// The operator's name.
        operator: String,
        /// The stores that it keeps.
        stores: Vec<String>,
        /// Its parameters: keys and expressions.
        #[serde(rename = "told", skip_serializing_if = "Vec::is_empty")]
        params: Vec<ParamText>,
    },
    /// Writes a topic.
    Sink {
        /// The topic.
        #[serde(flatten)]
        topic: Topic,
        /// Whether it is a repartition topic.
        internal: bool,
        /// Format of its records, on an external topic.
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<String>,
        /// The expression of its records' key.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
}

/// A parameter of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParamText {
    /// The key, with the name that it sets: `when`, `set.a.b`, `branch.deletes`.
    pub key: String,
    /// The expression, or the fields.
    pub text: String,
}

/// A node, and which of its outputs is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// The node's name.
    pub node: String,
    /// The output of a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// A store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Store {
    /// Its name.
    pub name: String,
    /// The processor that keeps it.
    pub processor: String,
    /// Its changelog topic.
    pub changelog: Topic,
    /// Where it lies, as a file says it.
    pub kind: &'static str,
    /// How many instances besides a task's owner keep it warm.
    #[serde(skip_serializing_if = "is_zero")]
    pub standby: u32,
    /// After how much stream time a key is forgotten that is not written, as a file says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
}

impl Store {
    /// Remarks about options of the store that differ from the defaults.
    pub fn notes(&self) -> Vec<String> {
        let place = (self.kind != kind_name(StoreKind::default())).then(|| format!("in {}", self.kind));
        let standby = match self.standby {
            0 => None,
            1 => Some("1 standby".to_owned()),
            n => Some(format!("{n} standbys")),
        };
        let retention = self.retention.iter().map(|time| format!("retention {time}"));
        place.into_iter().chain(standby).chain(retention).collect()
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl DescribedNode {
    /// Formats, keys and parameters of operators, by the names that files have for them.
    pub fn said(&self) -> Vec<(&str, &str)> {
        match &self.role {
            Role::Source { format, key, .. } | Role::Sink { format, key, .. } => {
                let all = [("format", format), ("key", key)];
                all.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?))).collect()
            }
            Role::Processor { params, .. } => {
                params.iter().map(|param| (param.key.as_str(), param.text.as_str())).collect()
            }
        }
    }
}

impl Part {
    /// The topic that it reads, and whether that is a repartition topic.
    pub fn source(&self) -> Option<(&Topic, bool)> {
        self.nodes.iter().find_map(|node| match &node.role {
            Role::Source { topic, internal, .. } => Some((topic, *internal)),
            _ => None,
        })
    }

    /// The operator that keeps a store.
    pub fn operator_of(&self, store: &Store) -> &str {
        self.keeper_of(store).map_or("", |(operator, _)| operator)
    }

    /// The operator that owns a store, and its parameters.
    pub fn keeper_of(&self, store: &Store) -> Option<(&str, &[ParamText])> {
        let keeps = self.nodes.iter().find(|node| node.name == store.processor)?;
        match &keeps.role {
            Role::Processor { operator, params, .. } => Some((operator, params)),
            _ => None,
        }
    }
}

impl TopologyDescription {
    /// The shape of a checked file.
    ///
    /// # Errors
    /// The engine refuses a topology that the check of the file accepted.
    pub fn of(file: &File) -> Result<TopologyDescription, CommandError> {
        let engine: Topology = topology_from_file::build(file, &None)?;
        let parts = engine.subtopologies().iter().enumerate();
        let dead_letters = file.graph.dead_letters.as_ref();
        Ok(TopologyDescription {
            application_id: file.values.resolver.application_id.clone(),
            subtopologies: parts.map(|(id, sub)| part(file, id, sub)).collect(),
            dead_letters: dead_letters.map_or(Topic { topic: String::new(), partitions: 0 }, |dead| Topic {
                topic: dead.topic.clone(),
                partitions: dead.partitions,
            }),
        })
    }

    /// Every topic of a role, each once, in order.
    fn topics(&self, of: impl Fn(&DescribedNode) -> Option<&Topic>) -> Vec<&Topic> {
        let mut found: Vec<&Topic> = Vec::new();
        for topic in self.subtopologies.iter().flat_map(|part| &part.nodes).filter_map(of) {
            if !found.contains(&topic) {
                found.push(topic);
            }
        }
        found
    }

    /// Topics of the world that are read.
    pub fn sources(&self) -> Vec<&Topic> {
        self.topics(|node| match &node.role {
            Role::Source { topic, internal: false, .. } => Some(topic),
            _ => None,
        })
    }

    /// Repartition topics.
    pub fn repartitions(&self) -> Vec<&Topic> {
        self.topics(|node| match &node.role {
            Role::Source { topic, internal: true, .. } => Some(topic),
            _ => None,
        })
    }

    /// Topics of the world that are written, without the dead letters.
    pub fn sinks(&self) -> Vec<&Topic> {
        self.topics(|node| match &node.role {
            Role::Sink { topic, internal: false, .. } => Some(topic),
            _ => None,
        })
    }

    /// Format of an external topic.
    pub fn format_of(&self, written: &Topic) -> Option<&str> {
        self.subtopologies.iter().flat_map(|part| &part.nodes).find_map(|node| match &node.role {
            Role::Sink { topic, format, .. } if topic.topic == written.topic => format.as_deref(),
            _ => None,
        })
    }

    /// All stores with their sub-topologies.
    pub fn stores(&self) -> impl Iterator<Item = (&Part, &Store)> {
        self.subtopologies.iter().flat_map(|part| part.stores.iter().map(move |store| (part, store)))
    }
}

fn part(file: &File, id: usize, sub: &SubTopology) -> Part {
    let application_id = &file.values.resolver.application_id;
    let source = topic(file, &sub.source);
    let of_file = |name: &str| file.graph.nodes.iter().find(|node| node.name == name);
    let nodes = sub.nodes.iter().enumerate().map(|(at, node)| {
        let here = of_file(&node.name);
        let role = match &node.kind {
            NodeKind::Source => source_role(here, source.clone(), matches!(sub.source, TopicRef::Repartition(_))),
            NodeKind::Sink(to) => sink_role(here, topic(file, to), matches!(to, TopicRef::Repartition(_))),
            NodeKind::Process { .. } => processor_role(here),
        };
        // What feeds a repartition lies in other sub-topologies, but for its sink.
        let is_member = |name: &str| sub.nodes.iter().any(|other| other.name == name);
        let from = here.filter(|_| at > 0).into_iter().flat_map(|node| &node.from).filter(|i| is_member(&i.node));
        let from = from.map(|input| Input { node: input.node.clone(), output: input.output.clone() });
        let to = node.children.iter().map(|child| sub.nodes[*child].name.clone());
        DescribedNode { name: node.name.clone(), role, from: from.collect(), to: to.collect() }
    });
    let stores = sub.stores.iter().map(|name| {
        let described = file.graph.stores.iter().find(|store| store.name == *name);
        Store {
            name: name.clone(),
            processor: file.graph.keeper(name).map(|node| node.name.clone()).unwrap_or_default(),
            changelog: Topic { topic: changelog_topic(application_id, name), partitions: source.partitions },
            standby: described.map_or(0, |store| store.standby),
            kind: kind_name(described.map_or(StoreKind::default(), |store| store.kind)),
            retention: described.and_then(|store| store.retention).map(show_duration),
        }
    });
    Part { id, nodes: nodes.collect(), stores: stores.collect() }
}

fn source_role(node: Option<&FileNode>, topic: Topic, internal: bool) -> Role {
    match node.map(|node| &node.kind) {
        Some(GraphNodeKind::Source { format, key, .. }) => {
            let format = (*format != Encoding::Auto).then(|| format.as_str().to_owned());
            Role::Source { topic, internal, format, key: key.as_ref().map(|key| key.value.clone()) }
        }
        _ => Role::Source { topic, internal, format: None, key: None },
    }
}

fn sink_role(node: Option<&FileNode>, topic: Topic, internal: bool) -> Role {
    match node.map(|node| &node.kind) {
        Some(GraphNodeKind::Sink { format, key, .. }) => {
            let format = Some(format.as_str().to_owned());
            Role::Sink { topic, internal, format, key: key.as_ref().map(|key| key.value.clone()) }
        }
        _ => Role::Sink { topic, internal, format: None, key: None },
    }
}

fn processor_role(node: Option<&FileNode>) -> Role {
    match node.map(|node| &node.kind) {
        Some(GraphNodeKind::Processor { operator, stores, params, .. }) => Role::Processor {
            operator: operator.clone(),
            stores: stores.iter().map(|store| store.value.clone()).collect(),
            params: params.shown().into_iter().map(|(key, text)| ParamText { key, text }).collect(),
        },
        _ => Role::Processor { operator: String::new(), stores: Vec::new(), params: Vec::new() },
    }
}

fn topic(file: &File, topic: &TopicRef) -> Topic {
    let partitions = match topic {
        TopicRef::Repartition(name) => file.graph.node(name).map_or(0, |node| file.graph.partitions(node)),
        TopicRef::External(name) => {
            let of_file = file.graph.sources().chain(file.graph.sinks()).find(|(_, topic, _)| topic == name);
            of_file.map_or(0, |(.., partitions)| partitions)
        }
    };
    Topic { topic: topic.full_name(&file.values.resolver.application_id), partitions }
}
