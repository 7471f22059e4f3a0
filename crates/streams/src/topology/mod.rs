//! A topology as plain data: sub-topologies of one source topic each, their nodes, stores and
//! sinks.
//!
//! [`Topology::builder`] puts one together by names, so that code and topology files build the same
//! thing; [`TopologyBuilder::build`] refuses whatever the engine cannot run exactly once, and says
//! how to mend it.

mod builder;
mod check;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use builder::TopologyBuilder;
pub use check::TopologyError;
pub use store::{StoreKind, StoreOptions};

use super::processor::Processor;

/// Makes the processor of a node, anew for each task (and again after an abort).
pub type ProcessorFactory = Arc<dyn Fn() -> Box<dyn Processor> + Send + Sync>;

/// A topic, as a topology names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicRef {
    /// A topic of the world, by its full name.
    External(String),
    /// A repartition topic of ours, by its short name (`by-memory`); its full name has the
    /// application id.
    Repartition(String),
}

impl TopicRef {
    /// The full name: `<application id>-<name>-repartition` for one of ours.
    pub fn full_name(&self, application_id: &str) -> String {
        match self {
            TopicRef::External(name) => name.clone(),
            TopicRef::Repartition(name) => format!("{application_id}-{name}-repartition"),
        }
    }
}

/// The name of a store's changelog topic: `<application id>-<store>-changelog`.
pub fn changelog_topic(application_id: &str, store: &str) -> String {
    format!("{application_id}-{store}-changelog")
}

/// Kind of a node.
#[derive(Clone)]
pub enum NodeKind {
    /// Hands the source topic's records on.
    Source,
    /// Runs a processor.
    Process {
        /// Makes the processor.
        factory: ProcessorFactory,
        /// Indexes of the stores that it may use.
        stores: Vec<usize>,
        /// It is punctuated when stream time crosses a multiple of this.
        punctuate: Option<Duration>,
    },
    /// Sends to a topic.
    Sink(TopicRef),
}

impl fmt::Debug for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeKind::Source => f.write_str("Source"),
            NodeKind::Process { stores, punctuate, .. } => {
                f.debug_struct("Process").field("stores", stores).field("punctuate", punctuate).finish_non_exhaustive()
            }
            NodeKind::Sink(topic) => f.debug_tuple("Sink").field(topic).finish(),
        }
    }
}

/// A node of a sub-topology.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, unique in the topology.
    pub name: String,
    /// Its kind.
    pub kind: NodeKind,
    /// Indexes of the nodes that it may forward to, in order of definition.
    pub children: Vec<usize>,
}

/// The part of a topology that reads one topic. A task is one of these on one partition of that
/// topic.
#[derive(Clone, Debug)]
pub struct SubTopology {
    /// The topic that it reads.
    pub source: TopicRef,
    /// Its nodes; the first one is the source, parents come before children.
    pub nodes: Vec<Node>,
    /// Names of its stores.
    pub stores: Vec<String>,
}

/// A checked topology.
#[derive(Clone, Debug)]
pub struct Topology {
    pub(crate) subtopologies: Vec<SubTopology>,
    pub(crate) dead_letters: Option<String>,
    /// Of the stores that are not kept as by default.
    pub(crate) store_options: BTreeMap<String, StoreOptions>,
}

impl Topology {
    /// Its sub-topologies, in order of definition of their sources.
    pub fn subtopologies(&self) -> &[SubTopology] {
        &self.subtopologies
    }

    /// The topic for records that cannot be processed, if one was named.
    pub fn dead_letters(&self) -> Option<&str> {
        self.dead_letters.as_deref()
    }

    /// How a store is kept.
    pub fn store_options(&self, store: &str) -> StoreOptions {
        self.store_options.get(store).copied().unwrap_or_default()
    }

    /// The topics of the world that it reads.
    pub fn source_topics(&self) -> Vec<&str> {
        let sources = self.subtopologies.iter().filter_map(|sub| match &sub.source {
            TopicRef::External(name) => Some(name.as_str()),
            TopicRef::Repartition(_) => None,
        });
        sources.collect()
    }

    /// The topics of the world that it writes, the dead-letter topic among them; sorted, each once.
    pub fn sink_topics(&self) -> Vec<&str> {
        let nodes = self.subtopologies.iter().flat_map(|sub| &sub.nodes);
        let mut sinks: Vec<&str> = nodes
            .filter_map(|node| match &node.kind {
                NodeKind::Sink(TopicRef::External(name)) => Some(name.as_str()),
                _ => None,
            })
            .chain(self.dead_letters())
            .collect();
        sinks.sort_unstable();
        sinks.dedup();
        sinks
    }
}
