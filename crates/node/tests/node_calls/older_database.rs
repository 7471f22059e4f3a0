//! The database of an earlier version of the program: `tests/fixtures/node-schema-8.db` was written
//! by commit 51e6801, with a stream and a second node, and killed while Kafka did not answer.
//! `node-schema-8.json` is what that program answered before.

use std::fs;
use std::path::Path;

use futures::executor::block_on;
use helixstream_node::Node;
use helixstream_node::search::SearchQuery;
use helixstream_node::shown::ListQuery;
use helixstream_node::write::{Refusal, Seen};
use serde_json::Value;

use crate::{accept, open, refusal, update};

/// A node on a copy of the database, and what was answered of its memories.
fn open_older(folder: &Path) -> (Node, Vec<Value>) {
    let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::copy(fixture("node-schema-8.db"), folder.join("node.db")).unwrap();
    let answers = fs::read_to_string(fixture("node-schema-8.json")).unwrap();
    (open(folder), serde_json::from_str(&answers).unwrap())
}

#[test]
fn a_database_of_an_earlier_version_shows_the_same_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (node, answered) = open_older(folder.path());
    let all = ListQuery { with_inactive: true, limit: 100, ..ListQuery::default() };
    let memories = block_on(node.list(all)).unwrap().memories;
    assert_eq!((memories.len(), answered.len()), (5, 5));
    for (memory, answered) in memories.iter().zip(&answered) {
        assert_eq!(serde_json::from_slice::<Value>(&memory.json).unwrap(), answered["memory"]);
        assert_eq!(memory.is_pending, answered["pending"], "{answered}");
    }
    let search = SearchQuery { text: "black".to_owned(), limit: 5, ..SearchQuery::default() };
    assert_eq!(block_on(node.search(search)).unwrap().hits[0].memory.memory_id, "tea");

    // Its tokens are good for a write, and its idempotency keys are known.
    let status = block_on(node.status()).unwrap();
    assert_eq!(status.outbox_depth, 2);
    for answered in &answered {
        let id = answered["memory"]["memory_id"].as_str().unwrap();
        let token = answered["clock"].as_str().unwrap().to_owned();
        let written = accept(&node, update(id, r#"{"content":"anew"}"#).with_seen(Seen::Token(token.clone())));
        assert!(written.counter > status.counter && !written.assumed);
        let stale = refusal(&node, update(id, "{}").with_seen(Seen::Token(token)));
        assert!(matches!(stale, Refusal::Stale(_)), "{stale:?}");
    }
    assert_eq!(block_on(node.status()).unwrap().outbox_depth, 7);
}

#[test]
fn what_an_earlier_version_has_accepted_is_still_to_be_published() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = open_older(folder.path());
    let waiting = node.journal().unpublished(10, 1 << 20).unwrap();
    let events: Vec<Value> = waiting.iter().map(|event| serde_json::from_slice(&event.value).unwrap()).collect();
    let contents: Vec<&str> = events.iter().map(|event| event["content"].as_str().unwrap()).collect();
    assert_eq!(contents, ["likes black tea", "waits for Kafka"]);
}
