//! A topology as boxes and arrows, the same for every language that draws them.

use super::{DescribedNode, Role, Topic, TopologyDescription};

/// Meaning of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VertexShape {
    Topic,
    Processor,
    Store,
}

/// A box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// Its name in the drawing.
    pub id: String,
    /// Its lines.
    pub label: Vec<String>,
    pub shape: VertexShape,
    /// The sub-topology that it lies in; topics lie between.
    pub part: Option<usize>,
}

/// Meaning of an arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrow {
    /// Records go along it.
    Records,
    /// State is read and written.
    State,
    /// Dead letters and changelogs: no way of the records as such.
    Aside,
}

/// An arrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: String,
    pub to: String,
    /// The output that goes along it.
    pub label: Option<String>,
    pub kind: Arrow,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Drawing {
    pub vertices: Vec<Vertex>,
    pub edges: Vec<Edge>,
}

impl Drawing {
    /// Draws a topology.
    pub fn of(shape: &TopologyDescription) -> Drawing {
        let mut drawing = Drawing::default();
        for topic in shape.sources() {
            drawing.topic(topic, "source");
        }
        for part in &shape.subtopologies {
            for node in &part.nodes {
                drawing.node(shape, part.id, &part.nodes, node);
            }
            for store in &part.stores {
                let label = [vec![store.name.clone()], store.notes()].concat();
                drawing.vertex(&store.name, label, VertexShape::Store, Some(part.id));
                let changelog = drawing.topic(&store.changelog, "changelog");
                drawing.edge(&store.processor, &store.name, None, Arrow::State);
                drawing.edge(&store.name, &changelog, None, Arrow::Aside);
            }
        }
        let dead = drawing.topic(&shape.dead_letters, "dead letters");
        for node in shape.subtopologies.iter().flat_map(|part| &part.nodes) {
            if matches!(node.role, Role::Processor { .. }) {
                drawing.edge(&node.name, &dead, None, Arrow::Aside);
            }
        }
        drawing
    }

    fn node(&mut self, shape: &TopologyDescription, part: usize, nodes: &[DescribedNode], node: &DescribedNode) {
        match &node.role {
            Role::Source { .. } => {}
            Role::Processor { operator, .. } => {
                let mut label = vec![node.name.clone()];
                label.extend((*operator != node.name).then(|| format!("operator {operator}")));
                label.extend(node.said().into_iter().map(|(key, text)| format!("{key}: {text}")));
                self.vertex(&node.name, label, VertexShape::Processor, Some(part));
            }
            Role::Sink { topic, .. } => {
                let is_internal = shape.repartitions().contains(&topic);
                match node.said().into_iter().find(|(key, _)| *key == "format") {
                    Some((_, format)) if !is_internal => self.topic(topic, &format!("{format} sink")),
                    _ => self.topic(topic, if is_internal { "repartition" } else { "sink" }),
                };
            }
        }
        let to = match &node.role {
            Role::Sink { topic, .. } => topic_id(topic),
            _ => node.name.clone(),
        };
        for input in &node.from {
            let parent = nodes.iter().find(|other| other.name == input.node).map(|other| &other.role);
            let from = match parent {
                Some(Role::Source { topic, .. }) => topic_id(topic),
                _ => input.node.clone(),
            };
            self.edge(&from, &to, input.output.clone(), Arrow::Records);
        }
    }

    /// A topic, drawn once; its name in the drawing.
    fn topic(&mut self, topic: &Topic, what: &str) -> String {
        let id = topic_id(topic);
        let label = vec![topic.topic.clone(), format!("{what}, {} partitions", topic.partitions)];
        self.vertex(&id, label, VertexShape::Topic, None);
        id
    }

    fn vertex(&mut self, id: &str, label: Vec<String>, shape: VertexShape, part: Option<usize>) {
        if !self.vertices.iter().any(|vertex| vertex.id == id) {
            self.vertices.push(Vertex { id: id.to_owned(), label, shape, part });
        }
    }

    fn edge(&mut self, from: &str, to: &str, label: Option<String>, kind: Arrow) {
        self.edges.push(Edge { from: from.to_owned(), to: to.to_owned(), label, kind });
    }

    /// The number of a box, for languages whose names take less characters than ours.
    pub fn number(&self, id: &str) -> usize {
        self.vertices.iter().position(|vertex| vertex.id == id).unwrap_or_default()
    }

    /// The sub-topologies that have a box, in order.
    pub fn parts(&self) -> Vec<usize> {
        let mut parts: Vec<usize> = self.vertices.iter().filter_map(|vertex| vertex.part).collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    }

    /// The boxes of a sub-topology, or those between.
    pub fn within(&self, part: Option<usize>) -> impl Iterator<Item = &Vertex> {
        self.vertices.iter().filter(move |vertex| vertex.part == part)
    }
}

/// Nodes and stores have no `:` in their names, so a topic is never taken for one of them.
fn topic_id(topic: &Topic) -> String {
    format!("topic:{}", topic.topic)
}
