//! Builds a topology from named nodes. Nothing is checked before [`TopologyBuilder::build`], so
//! parts may come in any order.

use std::sync::Arc;
use std::time::Duration;

use super::{ProcessorFactory, StoreOptions, Topology};
use crate::processor::Processor;

/// A node as it was named, before it is checked.
#[derive(Clone)]
pub(super) struct Draft {
    pub name: String,
    pub kind: DraftKind,
    pub parents: Vec<String>,
}

/// Kind of a node of the draft.
#[derive(Clone)]
pub(super) enum DraftKind {
    Source(String),
    Process { factory: ProcessorFactory, punctuate: Option<Duration> },
    Repartition,
    Sink(String),
}

/// A store as it was named.
#[derive(Clone)]
pub(super) struct StoreDraft {
    pub name: String,
    pub users: Vec<String>,
}

/// Puts a topology together; see [`Topology::builder`].
#[derive(Clone, Default)]
pub struct TopologyBuilder {
    pub(super) nodes: Vec<Draft>,
    pub(super) stores: Vec<StoreDraft>,
    pub(super) intervals: Vec<(String, Duration)>,
    pub(super) dead_letters: Vec<String>,
    pub(super) store_options: Vec<(String, StoreOptions)>,
}

fn names<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Vec<String> {
    names.into_iter().map(|name| name.as_ref().to_owned()).collect()
}

impl Topology {
    /// Begins a topology.
    pub fn builder() -> TopologyBuilder {
        TopologyBuilder::default()
    }
}

impl TopologyBuilder {
    fn node<S: AsRef<str>>(mut self, name: &str, kind: DraftKind, parents: impl IntoIterator<Item = S>) -> Self {
        self.nodes.push(Draft { name: name.to_owned(), kind, parents: names(parents) });
        self
    }

    /// A source: reads a topic of the world.
    #[must_use]
    pub fn source(self, name: &str, topic: &str) -> Self {
        self.node::<&str>(name, DraftKind::Source(topic.to_owned()), [])
    }

    /// A processor under its parents; the factory runs once a task.
    #[must_use]
    pub fn process<S: AsRef<str>>(
        self,
        name: &str,
        parents: impl IntoIterator<Item = S>,
        factory: impl Fn() -> Box<dyn Processor> + Send + Sync + 'static,
    ) -> Self {
        self.node(name, DraftKind::Process { factory: Arc::new(factory), punctuate: None }, parents)
    }

    /// A topic of ours between two sub-topologies: the parents' records go through it by their key,
    /// and nodes may have it as their parent.
    #[must_use]
    pub fn repartition<S: AsRef<str>>(self, name: &str, parents: impl IntoIterator<Item = S>) -> Self {
        self.node(name, DraftKind::Repartition, parents)
    }

    /// A store with a changelog topic, on disk unless [`TopologyBuilder::configure_store`] says
    /// otherwise, for the processors named, which all read the same source.
    #[must_use]
    pub fn store<S: AsRef<str>>(mut self, name: &str, processors: impl IntoIterator<Item = S>) -> Self {
        self.stores.push(StoreDraft { name: name.to_owned(), users: names(processors) });
        self
    }

    /// Sets how a store is kept.
    #[must_use]
    pub fn configure_store(mut self, store: &str, options: StoreOptions) -> Self {
        self.store_options.push((store.to_owned(), options));
        self
    }

    /// Punctuates a processor whenever stream time crosses a multiple of the interval (a whole
    /// number of milliseconds).
    #[must_use]
    pub fn punctuate(mut self, processor: &str, interval: Duration) -> Self {
        self.intervals.push((processor.to_owned(), interval));
        self
    }

    /// A sink: writes what its parents forward to a topic of the world, by Java's default
    /// partitioner.
    #[must_use]
    pub fn sink<S: AsRef<str>>(self, name: &str, topic: &str, parents: impl IntoIterator<Item = S>) -> Self {
        self.node(name, DraftKind::Sink(topic.to_owned()), parents)
    }

    /// Where records go that cannot be processed.
    #[must_use]
    pub fn dead_letters(mut self, topic: &str) -> Self {
        self.dead_letters.push(topic.to_owned());
        self
    }
}
