//! The topics that conflict records are written to: the topology file decides.

use operators::spec::Form;
use topology_file::Topology as File;

/// The topics that conflict records go to.
pub fn names(file: &File) -> Vec<String> {
    let graph = &file.graph;
    let sinks = graph.sinks().filter(|(node, ..)| node.from.iter().any(|input| graph.produces(input, Form::Conflict)));
    sinks.map(|(_, topic, _)| topic.to_owned()).collect()
}
