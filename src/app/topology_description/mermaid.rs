//! A topology as a Mermaid flowchart, which Markdown shows.

use std::fmt::Write as _;

use super::TopologyDescription;
use super::drawing::{Arrow, Drawing, Vertex, VertexShape};

/// The whole flowchart.
pub fn draw(shape: &TopologyDescription) -> String {
    let drawing = Drawing::of(shape);
    let mut out = String::from("flowchart TD\n");
    drawing.within(None).for_each(|vertex| out.push_str(&draw_vertex("  ", &drawing, vertex)));
    for part in drawing.parts() {
        // Writing into a string does not fail.
        let _ = writeln!(out, "  subgraph sub{part}[\"Sub-topology {part}\"]");
        drawing.within(Some(part)).for_each(|vertex| out.push_str(&draw_vertex("    ", &drawing, vertex)));
        out.push_str("  end\n");
    }
    for edge in &drawing.edges {
        let arrow = match edge.kind {
            Arrow::Records => "-->",
            Arrow::State => "<-->",
            Arrow::Aside => "-.->",
        };
        let label = edge.label.as_ref().map_or(String::new(), |label| format!("|{label}|"));
        let _ = writeln!(out, "  n{} {arrow}{label} n{}", drawing.number(&edge.from), drawing.number(&edge.to));
    }
    out
}

fn draw_vertex(indent: &str, drawing: &Drawing, vertex: &Vertex) -> String {
    let (open, close) = match vertex.shape {
        VertexShape::Topic => ("[/", "/]"),
        VertexShape::Processor => ("(", ")"),
        VertexShape::Store => ("[(", ")]"),
    };
    let label: Vec<String> = vertex.label.iter().map(|line| escaped(line)).collect();
    format!("{indent}n{}{open}\"{}\"{close}\n", drawing.number(&vertex.id), label.join("<br>"))
}

/// A line as Mermaid has it in quotes, where some characters are written by name.
fn escaped(line: &str) -> String {
    let line = line.replace('#', "#35;").replace('"', "#quot;");
    line.replace('<', "#lt;").replace('>', "#gt;").replace(['\n', '\r'], " ")
}
