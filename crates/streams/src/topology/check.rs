//! Refuses what the engine could not run exactly once, and cuts the graph into sub-topologies at
//! the repartition topics.

use std::collections::{BTreeMap, BTreeSet};

use super::builder::{Draft, DraftKind, TopologyBuilder};
use super::{Node, NodeKind, StoreOptions, SubTopology, TopicRef, Topology};

/// Why a topology cannot be run, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum TopologyError {
    #[error("the topology has no source: add one with the topic that it reads [HS1029]")]
    NoSource,
    #[error("two nodes or stores are called `{name}`: give one of them another name [HS1029]")]
    TwiceNamed { name: String },
    #[error(
        "a {what} has an empty name or one with other characters than letters, digits, `.`, `_` and `-` (`{name}`): rename it [HS1029]"
    )]
    BadName { what: &'static str, name: String },
    #[error("`{node}` has the parent `{parent}`, which does not exist: define it or correct the name [HS1029]")]
    UnknownParent { node: String, parent: String },
    #[error("`{node}` has no parent: name the node whose records it gets [HS1029]")]
    NoParent { node: String },
    #[error("`{node}` names the parent `{parent}` twice: name it once [HS1029]")]
    TwiceParent { node: String, parent: String },
    #[error(
        "`{node}` has the sink `{parent}` as its parent: a sink ends a path; hang `{node}` on the sink's own parent [HS1029]"
    )]
    BelowSink { node: String, parent: String },
    #[error("`{node}` lies on a cycle: a record would go round for ever; take one of its parents away [HS1029]")]
    Cycle { node: String },
    #[error(
        "`{node}` gets records of `{first}` and of `{second}`: a task reads one topic; merge the two through one repartition topic [HS1029]"
    )]
    TwoSources { node: String, first: String, second: String },
    #[error("`{node}` is never used: no node has it as its parent; add one or take it away [HS1029]")]
    DeadEnd { node: String },
    #[error("store `{store}` belongs to `{node}`, which is no processor: name the processors that use it [HS1029]")]
    StoreUser { store: String, node: String },
    #[error("store `{store}` belongs to no processor: name the processors that use it [HS1029]")]
    UnusedStore { store: String },
    #[error(
        "store `{store}` is used below `{first}` and below `{second}`: a store belongs to one task; keep its users under one source [HS1029]"
    )]
    SharedStore { store: String, first: String, second: String },
    #[error(
        "options are set for store `{store}`, which does not exist or has options already: define the store, and set its options once [HS1029]"
    )]
    StoreOptions { store: String },
    #[error("`{node}` is punctuated but is no processor: name a processor [HS1029]")]
    PunctuatedNode { node: String },
    #[error("`{node}` is punctuated every {millis} ms: the interval must be at least 1 ms and set once [HS1029]")]
    BadInterval { node: String, millis: u128 },
    #[error(
        "topic `{topic}` is read by `{first}` and by `{second}`: read it once and give both the same source [HS1029]"
    )]
    TopicTwice { topic: String, first: String, second: String },
    #[error(
        "topic `{topic}` is both read and written: a record would go round for ever; write to another topic [HS1029]"
    )]
    ReadAndWritten { topic: String },
    #[error(
        "topic `{topic}` has two sinks of one source, `{first}` and `{second}`: give one sink both parents [HS1029]"
    )]
    SinkTwice { topic: String, first: String, second: String },
    #[error(
        "the dead-letter topic is set more than once, or is a sink's topic too (`{topic}`): give it a topic of its own [HS1029]"
    )]
    DeadLetters { topic: String },
}

type Result<T> = std::result::Result<T, TopologyError>;

/// Kafka's rule for topic names, of which our names become parts.
fn check_name(what: &'static str, name: &str) -> Result<()> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name == "." || name == ".." || name.len() > 200 || !name.chars().all(is_legal) {
        return Err(TopologyError::BadName { what, name: name.to_owned() });
    }
    Ok(())
}

fn check_names(draft: &TopologyBuilder) -> Result<()> {
    let mut names: Vec<&str> = draft.nodes.iter().map(|n| n.name.as_str()).collect();
    names.extend(draft.stores.iter().map(|s| s.name.as_str()));
    for name in &names {
        check_name("node or store", name)?;
    }
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(TopologyError::TwiceNamed { name: pair[0].to_owned() }),
        None => Ok(()),
    }
}

fn check_topics(draft: &TopologyBuilder) -> Result<()> {
    let mut read: BTreeMap<&str, &str> = BTreeMap::new();
    let mut written: BTreeSet<&str> = BTreeSet::new();
    for node in &draft.nodes {
        match &node.kind {
            DraftKind::Source(topic) => {
                check_name("topic", topic)?;
                if let Some(first) = read.insert(topic, &node.name) {
                    let first = first.to_owned();
                    let second = node.name.clone();
                    return Err(TopologyError::TopicTwice { topic: topic.clone(), first, second });
                }
            }
            DraftKind::Sink(topic) => {
                check_name("topic", topic)?;
                written.insert(topic);
            }
            DraftKind::Process { .. } | DraftKind::Repartition => {}
        }
    }
    for (at, topic) in draft.dead_letters.iter().enumerate() {
        check_name("topic", topic)?;
        if at > 0 || !written.insert(topic) {
            return Err(TopologyError::DeadLetters { topic: topic.clone() });
        }
    }
    match written.iter().find(|topic| read.contains_key(*topic)) {
        Some(topic) => Err(TopologyError::ReadAndWritten { topic: (*topic).to_owned() }),
        None => Ok(()),
    }
}

/// Parents of each node, as indexes.
fn resolve_parents(nodes: &[Draft]) -> Result<Vec<Vec<usize>>> {
    let by_name: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, n)| (n.name.as_str(), at)).collect();
    let resolve = |node: &Draft| {
        let mut parents = Vec::new();
        for parent in &node.parents {
            let unknown = || TopologyError::UnknownParent { node: node.name.clone(), parent: parent.clone() };
            let at = *by_name.get(parent.as_str()).ok_or_else(unknown)?;
            if parents.contains(&at) {
                return Err(TopologyError::TwiceParent { node: node.name.clone(), parent: parent.clone() });
            }
            if matches!(nodes[at].kind, DraftKind::Sink(_)) {
                return Err(TopologyError::BelowSink { node: node.name.clone(), parent: parent.clone() });
            }
            parents.push(at);
        }
        if parents.is_empty() && !matches!(node.kind, DraftKind::Source(_)) {
            return Err(TopologyError::NoParent { node: node.name.clone() });
        }
        Ok(parents)
    };
    nodes.iter().map(resolve).collect()
}

/// An order in which parents come before children, stable in the order of definition.
fn topological_order(nodes: &[Draft], parents: &[Vec<usize>]) -> Result<Vec<usize>> {
    let mut order: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut placed = vec![false; nodes.len()];
    while order.len() < nodes.len() {
        let next = (0..nodes.len()).find(|&at| !placed[at] && parents[at].iter().all(|&p| placed[p]));
        match next {
            Some(at) => {
                placed[at] = true;
                order.push(at);
            }
            None => {
                let stuck = placed.iter().position(|done| !done).unwrap_or_default();
                return Err(TopologyError::Cycle { node: nodes[stuck].name.clone() });
            }
        }
    }
    Ok(order)
}

/// The source (or repartition) node whose records each node gets; a repartition node's own answer
/// is itself.
fn roots(nodes: &[Draft], parents: &[Vec<usize>], order: &[usize]) -> Result<Vec<usize>> {
    let mut root: Vec<usize> = (0..nodes.len()).collect();
    for &at in order {
        if matches!(nodes[at].kind, DraftKind::Source(_) | DraftKind::Repartition) {
            continue;
        }
        let mut found = parents[at].iter().map(|&p| root[p]);
        let Some(first) = found.next() else { continue };
        if let Some(second) = found.find(|&other| other != first) {
            let first = nodes[first].name.clone();
            let second = nodes[second].name.clone();
            return Err(TopologyError::TwoSources { node: nodes[at].name.clone(), first, second });
        }
        root[at] = first;
    }
    Ok(root)
}

/// Sinks of several sub-topologies may share a topic: each task writes it by itself. Those of one
/// would do the same work twice.
fn check_sinks(nodes: &[Draft], root: &[usize]) -> Result<()> {
    let mut written: BTreeMap<(&str, usize), &str> = BTreeMap::new();
    for (node, root) in nodes.iter().zip(root) {
        let DraftKind::Sink(topic) = &node.kind else { continue };
        if let Some(first) = written.insert((topic, *root), &node.name) {
            let first = first.to_owned();
            let second = node.name.clone();
            return Err(TopologyError::SinkTwice { topic: topic.clone(), first, second });
        }
    }
    Ok(())
}

fn check_dead_ends(nodes: &[Draft], parents: &[Vec<usize>]) -> Result<()> {
    for (at, node) in nodes.iter().enumerate() {
        let must_lead_on = matches!(node.kind, DraftKind::Source(_) | DraftKind::Repartition);
        if must_lead_on && !parents.iter().any(|p| p.contains(&at)) {
            return Err(TopologyError::DeadEnd { node: node.name.clone() });
        }
    }
    Ok(())
}

fn set_intervals(draft: &mut TopologyBuilder) -> Result<()> {
    for (name, interval) in &draft.intervals {
        let node = draft.nodes.iter_mut().find(|n| n.name == *name);
        let Some(DraftKind::Process { punctuate, .. }) = node.map(|n| &mut n.kind) else {
            return Err(TopologyError::PunctuatedNode { node: name.clone() });
        };
        let millis = interval.as_millis();
        if millis == 0 || i64::try_from(millis).is_err() || punctuate.replace(*interval).is_some() {
            return Err(TopologyError::BadInterval { node: name.clone(), millis });
        }
    }
    Ok(())
}

/// The sub-topology (by its root) of each store.
fn place_stores(draft: &TopologyBuilder, root: &[usize]) -> Result<Vec<usize>> {
    let place = |store: &super::builder::StoreDraft| {
        let mut home: Option<usize> = None;
        for user in &store.users {
            let at = draft.nodes.iter().position(|n| n.name == *user);
            let Some(at) = at.filter(|&at| matches!(draft.nodes[at].kind, DraftKind::Process { .. })) else {
                return Err(TopologyError::StoreUser { store: store.name.clone(), node: user.clone() });
            };
            if let Some(first) = home.filter(|&first| first != root[at]) {
                let first = draft.nodes[first].name.clone();
                let second = draft.nodes[root[at]].name.clone();
                return Err(TopologyError::SharedStore { store: store.name.clone(), first, second });
            }
            home = Some(root[at]);
        }
        home.ok_or_else(|| TopologyError::UnusedStore { store: store.name.clone() })
    };
    draft.stores.iter().map(place).collect()
}

/// How each store is kept of which that was said.
fn store_options(draft: &TopologyBuilder) -> Result<BTreeMap<String, StoreOptions>> {
    let mut all = BTreeMap::new();
    for (store, options) in &draft.store_options {
        let is_there = draft.stores.iter().any(|known| known.name == *store);
        if !is_there || all.insert(store.clone(), *options).is_some() {
            return Err(TopologyError::StoreOptions { store: store.clone() });
        }
    }
    Ok(all)
}

/// The whole graph, resolved.
struct Graph<'a> {
    draft: &'a TopologyBuilder,
    parents: Vec<Vec<usize>>,
    order: Vec<usize>,
    root: Vec<usize>,
    store_home: Vec<usize>,
}

impl Graph<'_> {
    /// The nodes below `root`, with it as the first. A repartition node shows up twice: as the sink
    /// of its parents' sub-topologies, and as a source.
    fn subtopology(&self, root: usize) -> SubTopology {
        let nodes = &self.draft.nodes;
        let feeds = |at: usize| self.parents[at].iter().any(|&p| self.root[p] == root);
        let is_member = |at: usize| match nodes[at].kind {
            DraftKind::Repartition => feeds(at),
            _ => self.root[at] == root,
        };
        let mut members: Vec<usize> = vec![root];
        members.extend(self.order.iter().copied().filter(|&at| at != root && is_member(at)));
        let stores: Vec<usize> = (0..self.store_home.len()).filter(|&s| self.store_home[s] == root).collect();
        let build = |(index, &at): (usize, &usize)| {
            let children = (1..members.len()).filter(|&c| self.parents[members[c]].contains(&at));
            // A repartition node that is a sink here leads on in its own sub-topology only.
            let is_own_sink = index > 0 && matches!(nodes[at].kind, DraftKind::Repartition);
            let children = if is_own_sink { Vec::new() } else { children.collect() };
            Node { name: nodes[at].name.clone(), kind: self.kind(index, at, &stores), children }
        };
        let source = match &nodes[root].kind {
            DraftKind::Source(topic) => TopicRef::External(topic.clone()),
            _ => TopicRef::Repartition(nodes[root].name.clone()),
        };
        SubTopology {
            source,
            nodes: members.iter().enumerate().map(build).collect(),
            stores: stores.iter().map(|&s| self.draft.stores[s].name.clone()).collect(),
        }
    }

    fn kind(&self, index: usize, at: usize, stores: &[usize]) -> NodeKind {
        let node = &self.draft.nodes[at];
        match &node.kind {
            _ if index == 0 => NodeKind::Source,
            DraftKind::Source(_) => NodeKind::Source,
            DraftKind::Process { factory, punctuate } => {
                let uses = |&(_, &s): &(usize, &usize)| self.draft.stores[s].users.contains(&node.name);
                let stores = stores.iter().enumerate().filter(uses).map(|(local, _)| local).collect();
                NodeKind::Process { factory: factory.clone(), stores, punctuate: *punctuate }
            }
            DraftKind::Repartition => NodeKind::Sink(TopicRef::Repartition(node.name.clone())),
            DraftKind::Sink(topic) => NodeKind::Sink(TopicRef::External(topic.clone())),
        }
    }
}

impl TopologyBuilder {
    /// Checks and returns the topology.
    ///
    /// # Errors
    /// The first thing that the engine could not run, with how to mend it.
    pub fn build(self) -> std::result::Result<Topology, TopologyError> {
        check(self)
    }
}

/// Checks a draft and cuts it into sub-topologies.
fn check(mut draft: TopologyBuilder) -> Result<Topology> {
    check_names(&draft)?;
    check_topics(&draft)?;
    set_intervals(&mut draft)?;
    let parents = resolve_parents(&draft.nodes)?;
    let order = topological_order(&draft.nodes, &parents)?;
    let root = roots(&draft.nodes, &parents, &order)?;
    check_sinks(&draft.nodes, &root)?;
    check_dead_ends(&draft.nodes, &parents)?;
    let store_home = place_stores(&draft, &root)?;
    let store_options = store_options(&draft)?;
    let graph = Graph { draft: &draft, parents, order, root, store_home };
    let is_root = |at: &usize| matches!(draft.nodes[*at].kind, DraftKind::Source(_) | DraftKind::Repartition);
    let subtopologies: Vec<SubTopology> =
        (0..draft.nodes.len()).filter(is_root).map(|at| graph.subtopology(at)).collect();
    if subtopologies.is_empty() {
        return Err(TopologyError::NoSource);
    }
    Ok(Topology { subtopologies, dead_letters: draft.dead_letters.first().cloned(), store_options })
}
