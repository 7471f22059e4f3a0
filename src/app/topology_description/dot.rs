//! A topology for Graphviz.

use std::fmt::Write as _;

use super::TopologyDescription;
use super::drawing::{Arrow, Drawing, Vertex, VertexShape};

/// The whole graph.
pub fn draw(shape: &TopologyDescription) -> String {
    let drawing = Drawing::of(shape);
    let mut out = format!("digraph \"{}\" {{\n  node [fontname=\"sans-serif\"];\n", shape.application_id);
    drawing.within(None).for_each(|vertex| out.push_str(&draw_vertex("  ", vertex)));
    for part in drawing.parts() {
        // Writing into a string does not fail.
        let _ = write!(out, "  subgraph cluster_{part} {{\n    label=\"Sub-topology {part}\";\n");
        drawing.within(Some(part)).for_each(|vertex| out.push_str(&draw_vertex("    ", vertex)));
        out.push_str("  }\n");
    }
    for edge in &drawing.edges {
        let mut attributes: Vec<String> = edge.label.iter().map(|label| format!("label=\"{label}\"")).collect();
        attributes.extend(match edge.kind {
            Arrow::Records => None,
            Arrow::State => Some("dir=both".to_owned()),
            Arrow::Aside => Some("style=dashed".to_owned()),
        });
        let attributes = if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
        let _ = writeln!(out, "  \"{}\" -> \"{}\"{attributes};", edge.from, edge.to);
    }
    out.push_str("}\n");
    out
}

fn draw_vertex(indent: &str, vertex: &Vertex) -> String {
    let shape = match vertex.shape {
        VertexShape::Topic => "shape=cds",
        VertexShape::Processor => "shape=box, style=rounded",
        VertexShape::Store => "shape=cylinder",
    };
    let label: Vec<String> = vertex.label.iter().map(|line| escaped(line)).collect();
    format!("{indent}\"{}\" [label=\"{}\", {shape}];\n", vertex.id, label.join("\\n"))
}

/// A line as a string of DOT's holds it.
fn escaped(line: &str) -> String {
    line.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ")
}
