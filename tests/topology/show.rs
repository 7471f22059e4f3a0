//! `topology describe`: whole outputs for the memory topology, and that the drawings are
//! well-formed.

use std::collections::BTreeSet;

use crate::{assert_kept, topology};
use testkit::repo_path;

fn describe(format: &str) -> String {
    let finished = topology(&repo_path("topologies"), &["describe", "memory.toml", "--format", format]);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    finished.stdout
}

#[test]
fn text_is_as_kafka_streams_describes_a_topology() {
    assert_kept("shown/memory.txt", &describe("text"));
    let plain = topology(&repo_path("topologies"), &["describe", "memory.toml"]);
    assert_eq!(plain.stdout, describe("text"));
}

#[test]
fn operators_are_shown_with_what_they_are_told() {
    for (format, kept) in [("text", "txt"), ("json", "json"), ("mermaid", "mmd"), ("dot", "dot")] {
        let finished = topology(&repo_path("topologies"), &["describe", "conflict-counts.toml", "--format", format]);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
        assert_kept(&format!("shown/conflict-counts.{kept}"), &finished.stdout);
        assert!(finished.stdout.contains("value.conflict_type") && finished.stdout.contains("superseded"));
    }
}

#[test]
fn json_is_for_programs() {
    let text = describe("json");
    assert_kept("shown/memory.json", &text);
    let shape: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shape["subtopologies"][1]["stores"][0]["changelog"]["topic"], "helixstream-memories-changelog");
}

#[test]
fn how_a_store_is_kept_is_shown() {
    let dir = testkit::process::temp_dir("topology");
    let text = crate::changed(&[("name = \"memories\"", "name = \"memories\"\nkind = \"memory\"\nstandby = 1")]);
    std::fs::write(dir.join("t.toml"), text).unwrap();
    let describe = |format| topology(&dir, &["describe", "t.toml", "--format", format]).stdout;
    assert!(describe("text").contains("(store memories of sub-topology 1, in memory, 1 standby)\n"));
    assert!(describe("json").contains("\"kind\": \"memory\",\n          \"standby\": 1\n"));
    assert!(describe("mermaid").contains("[(\"memories<br>in memory<br>1 standby\")]"));
    assert!(describe("dot").contains("[label=\"memories\\nin memory\\n1 standby\", shape=cylinder]"));
}

#[test]
fn mermaid_is_a_well_formed_flowchart() {
    let text = describe("mermaid");
    assert_kept("shown/memory.mmd", &text);
    let mut lines = text.lines().map(str::trim);
    assert_eq!(lines.next(), Some("flowchart TD"));
    let (mut boxes, mut edges, mut open) = (BTreeSet::new(), Vec::new(), 0);
    for line in lines {
        let arrow = ["<-->", "-->", "-.->"].into_iter().find_map(|arrow| line.split_once(arrow));
        if line.starts_with("subgraph ") {
            assert!(line.ends_with("\"]"), "{line}");
            open += 1;
        } else if line == "end" {
            open -= 1;
        } else if let Some((from, to)) = arrow {
            let to = to.strip_prefix('|').map_or(to, |to| to.split_once('|').expect("a label is closed").1);
            edges.push((from.trim().to_owned(), to.trim().to_owned()));
        } else {
            let (id, rest) = line.split_at(line.find(['[', '(']).expect("a box has a shape"));
            let opened: Vec<char> = rest.chars().take_while(|c| *c != '"').collect();
            let closed: Vec<char> = rest.chars().rev().take_while(|c| *c != '"').collect();
            let partner = |c: &char| match c {
                '[' => ']',
                '(' => ')',
                other => *other,
            };
            assert_eq!(opened.iter().map(partner).collect::<Vec<_>>(), closed, "{line}");
            assert!(boxes.insert(id.to_owned()), "{line}");
        }
        assert!((0..=1).contains(&open), "{line}");
    }
    assert_eq!(open, 0);
    assert_joined(&boxes, &edges);
}

#[test]
fn dot_is_a_well_formed_graph() {
    let text = describe("dot");
    assert_kept("shown/memory.dot", &text);
    let (mut boxes, mut edges, mut depth) = (BTreeSet::new(), Vec::new(), 0);
    for statement in text.lines().map(str::trim) {
        assert_eq!(statement.matches('"').count() % 2, 0, "{statement}");
        if statement.ends_with('{') {
            let expected = if depth == 0 { "digraph " } else { "subgraph cluster_" };
            assert!(statement.starts_with(expected), "{statement}");
            depth += 1;
            continue;
        }
        if statement == "}" {
            depth -= 1;
            continue;
        }
        assert!(depth > 0, "{statement}");
        let statement = statement.strip_suffix(';').expect("a statement ends in a semicolon");
        let (head, attributes) = statement.split_once(" [").map_or((statement, None), |(h, a)| (h, Some(a)));
        assert!(attributes.is_none_or(|a| a.ends_with(']') && a.contains('=')), "{statement}");
        let name = |text: &str| text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).map(str::to_owned);
        match head.split_once(" -> ") {
            Some((from, to)) => edges.push((name(from).expect("is quoted"), name(to).expect("is quoted"))),
            None => boxes.extend(name(head)),
        }
    }
    assert_eq!(depth, 0);
    assert_joined(&boxes, &edges);
}

/// Arrows join boxes that are there, and no box stands alone.
#[track_caller]
fn assert_joined(boxes: &BTreeSet<String>, edges: &[(String, String)]) {
    let joined: BTreeSet<String> = edges.iter().flat_map(|(from, to)| [from.clone(), to.clone()]).collect();
    assert_eq!(&joined, boxes);
    assert_eq!((boxes.len(), edges.len()), (13, 15));
}
