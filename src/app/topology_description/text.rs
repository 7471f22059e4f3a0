//! A topology as Kafka Streams' `Topology#describe` prints one, so that tools which draw that draw
//! this; then its topics.

use std::fmt::Write as _;

use super::{DescribedNode, Role, Topic, TopologyDescription};

/// The whole description.
pub fn describe(shape: &TopologyDescription) -> String {
    let mut out = String::from("Topologies:\n");
    for part in &shape.subtopologies {
        // Writing into a string does not fail.
        let _ = writeln!(out, "   Sub-topology: {}", part.id);
        part.nodes.iter().for_each(|node| out.push_str(&describe_node(node)));
        out.push('\n');
    }
    out.push_str("Topics:\n");
    let mut line = |what: &str, topic: &Topic, more: &str| {
        let _ = writeln!(out, "   {what:<12} {:>5}  {}{more}", topic.partitions, topic.topic);
    };
    shape.sources().into_iter().for_each(|topic| line("source", topic, ""));
    shape.repartitions().into_iter().for_each(|topic| line("repartition", topic, ""));
    for (part, store) in shape.stores() {
        let notes: String = store.notes().iter().map(|note| format!(", {note}")).collect();
        line("changelog", &store.changelog, &format!("  (store {} of sub-topology {}{notes})", store.name, part.id));
    }
    shape.sinks().into_iter().for_each(|topic| line("sink", topic, ""));
    line("dead letters", &shape.dead_letters, "");
    out
}

fn describe_node(node: &DescribedNode) -> String {
    let mut lines = match &node.role {
        Role::Source { topic, .. } => format!("    Source: {} (topics: [{}])\n", node.name, topic.topic),
        Role::Processor { operator, stores, .. } => {
            format!("    Processor: {} (stores: [{}])\n      operator: {operator}\n", node.name, stores.join(", "))
        }
        Role::Sink { topic, .. } => format!("    Sink: {} (topic: {})\n", node.name, topic.topic),
    };
    for (key, text) in node.said() {
        lines.push_str(&format!("      {key}: {text}\n"));
    }
    if !matches!(node.role, Role::Sink { .. }) {
        let to = if node.to.is_empty() { "none".to_owned() } else { node.to.join(", ") };
        lines.push_str(&format!("      --> {to}\n"));
    }
    if !matches!(node.role, Role::Source { .. }) {
        let mut from: Vec<&str> = node.from.iter().map(|input| input.node.as_str()).collect();
        from.dedup();
        lines.push_str(&format!("      <-- {}\n", from.join(", ")));
    }
    lines
}
