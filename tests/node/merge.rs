//! A merge by one node, and writes of another one to the memories that it absorbs.

use futures::executor::block_on;
use node::Node;
use node::write::{Accepted, Fields, MemoryWrite, Seen, WriteKind};
use serde_json::Value;
use testkit::process::temp_dir;
use testkit::{Broker, LIMIT, records, wait_until};

use crate::stream::Stream;
use crate::trial::{Trial, open, read, wait_until_published, write};

/// The token of what a node shows of a memory.
fn token(node: &Node, id: &str) -> String {
    read(node, id).unwrap().token.encode()
}

/// Lets `m` absorb memories by a caller who has tokens of all.
fn merge(node: &Node, tokens: &[(&str, String)], absorbed: &str) -> Accepted {
    let fields = Fields::new().with_json("merged_from", absorbed.as_bytes()).unwrap();
    let of = |id: &str| tokens.iter().find(|(known, _)| *known == id).unwrap().1.clone();
    let write = MemoryWrite::new("m", WriteKind::Merge, fields).with_seen(Seen::Token(of("m")));
    let others = tokens.iter().filter(|(id, _)| *id != "m");
    let absorbed_tokens = others.map(|(id, token)| ((*id).to_owned(), token.clone())).collect();
    let accepted = block_on(node.write(MemoryWrite { absorbed_tokens, ..write })).unwrap();
    assert!(!accepted.assumed);
    accepted
}

/// Content and status of a memory of which nothing is pending.
fn settled(node: &Node, id: &str) -> Option<(Option<String>, String)> {
    let shown = read(node, id).filter(|shown| !shown.is_pending)?;
    let memory: Value = serde_json::from_slice(&shown.json).unwrap();
    Some((memory["content"].as_str().map(str::to_owned), memory["status"].as_str().unwrap().to_owned()))
}

#[test]
fn a_merge_swallows_no_write_of_another_node_that_its_caller_had_not_seen_and_makes_no_false_conflict() {
    let broker = Broker::shared();
    let trial = Trial::new("merge", broker);
    let stream = Stream::start(&trial);
    let nodes = [open(&temp_dir("a"), "a"), open(&temp_dir("b"), "b")];
    let loops: Vec<_> = nodes.iter().map(|node| (trial.publisher(node.journal()), trial.follower(node))).collect();
    let [writer, merger] = &nodes;
    let active = |content: &str| Some((Some(content.to_owned()), "active".to_owned()));
    let merged = Some((None, "merged".to_owned()));
    for id in ["m", "b", "c", "d", "e"] {
        write(writer, id, "first");
        wait_until("the other node to show it", || settled(merger, id) == active("first"));
    }

    // The caller knows the writer's later write, to `c`, and not the earlier one, to `b`.
    let of_b = token(merger, "b");
    write(writer, "b", "later, and not seen");
    write(writer, "c", "later, and seen");
    wait_until("the other node to show it", || settled(merger, "c") == active("later, and seen"));
    let tokens = [("m", token(merger, "m")), ("b", of_b), ("c", token(merger, "c"))];
    merge(merger, &tokens, r#"["b","c"]"#);
    wait_until("the merge to be resolved", || settled(writer, "c") == merged);
    for node in &nodes {
        wait_until("the write that was not seen to stand", || settled(node, "b") == active("later, and not seen"));
    }

    // Merges by both nodes, one after the other, each of which has seen the one before.
    let merged_from = |node: &Node| {
        let shown = read(node, "m").filter(|shown| !shown.is_pending)?;
        serde_json::from_slice::<Value>(&shown.json).unwrap()["merged_from"].as_array().map(Vec::len)
    };
    for (known, (node, id)) in [(2, (writer, "d")), (3, (merger, "e"))] {
        wait_until("the last merge to be shown", || merged_from(node) == Some(known));
        merge(node, &[("m", token(node, "m")), (id, token(node, id))], &format!("[{id:?}]"));
        nodes.iter().for_each(|node| wait_until("the memory to be merged", || settled(node, id) == merged));
    }
    nodes.iter().for_each(wait_until_published);
    stream.assert_resolved(broker, &trial, &[writer, merger]);
    let memory: Value = serde_json::from_slice(&read(writer, "m").unwrap().json).unwrap();
    assert_eq!(memory["merged_from"], serde_json::json!(["b", "c", "d", "e"]));
    for conflict in records::read_committed(broker, &trial.topic("conflicts")) {
        let conflict = conflict.value_json();
        let kind = (conflict["memory_id"].as_str().unwrap(), conflict["conflict_type"].as_str().unwrap());
        assert_eq!(kind, ("b", "delete_update"), "{conflict}");
    }
    for (publisher, follower) in loops {
        publisher.stop(LIMIT);
        follower.stop(LIMIT);
    }
    stream.stop();
}
