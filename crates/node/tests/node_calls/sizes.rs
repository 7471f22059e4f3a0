//! Pages of memories, hits and events end by their bytes.

use futures::executor::block_on;
use helixstream_node::Node;
use helixstream_node::search::{Direction, Near, SearchHit, SearchQuery};
use helixstream_node::shown::ListQuery;
use helixstream_node::write::Refusal;

use crate::{accept, open, refusal, update};

/// Bytes of the content of each memory: a page of 4 MiB ends with the third.
const LARGE: usize = 3 << 19;

/// Writes a memory whose content is large, and which a search for the same words finds.
fn write_large(node: &Node, id: &str) {
    let content = format!("tea {}", "x".repeat(LARGE));
    accept(node, update(id, &format!("{{\"content\":\"{content}\",\"embedding\":[1]}}")));
}

fn ids(hits: &[SearchHit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.memory.memory_id.as_str()).collect()
}

#[test]
fn a_page_of_large_memories_ends_by_its_bytes_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    ["a", "b", "c", "d", "e", "f"].iter().for_each(|id| write_large(&node, id));
    accept(&node, update("g", r#"{"content":"small"}"#));
    let mut query = ListQuery { limit: 6, ..ListQuery::default() };
    let mut pages = Vec::new();
    loop {
        let page = block_on(node.list(query.clone())).unwrap();
        pages.push(page.memories.into_iter().map(|memory| memory.memory_id).collect::<String>());
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(pages, ["abc", "def", "g"]);
}

#[test]
fn large_hits_end_by_their_bytes_in_each_search() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    ["a", "b", "c", "d", "e"].iter().for_each(|id| write_large(&node, id));
    let query = SearchQuery { text: "tea".to_owned(), limit: 5, ..SearchQuery::default() };
    let first = block_on(node.search(query.clone())).unwrap();
    assert_eq!((ids(&first.hits), first.is_truncated), (vec!["a", "b", "c"], true));
    let rest = block_on(node.search_from(query.clone(), 3)).unwrap();
    assert_eq!((ids(&rest.hits), rest.is_truncated), (vec!["d", "e"], false));
    let near = |text: &str, limit| {
        let near = Near { direction: Direction::of(&[1.0]).unwrap(), weight: 0.5 };
        block_on(node.search_near(SearchQuery { text: text.to_owned(), limit, ..SearchQuery::default() }, near))
            .unwrap()
    };
    for text in ["", "tea"] {
        let found = near(text, 5);
        assert_eq!((ids(&found.hits), found.is_truncated, found.compared), (vec!["a", "b", "c"], true, 5));
        let found = near(text, 3);
        assert_eq!((ids(&found.hits), found.is_truncated), (vec!["a", "b", "c"], false));
    }
}

#[test]
fn large_events_end_a_page_by_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    (0..5).for_each(|_| write_large(&node, "m"));
    let (mut pages, mut next) = (Vec::new(), Some(0));
    while let Some(after) = next {
        let page = block_on(node.events_from("m", after)).unwrap();
        pages.push(page.events.iter().map(|event| event.counter).collect::<Vec<_>>());
        next = page.next;
    }
    assert_eq!(pages, [vec![1, 2, 3], vec![4, 5], vec![]]);
}

#[test]
fn a_memory_that_many_writes_would_make_too_large_to_be_published_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let part = |key: &str| update("m", &format!("{{\"metadata\":{{\"{key}\":\"{}\"}}}}", "x".repeat(6 << 20)));
    accept(&node, part("a"));
    accept(&node, part("b"));
    let refused = refusal(&node, part("c"));
    let Refusal::LargeMemory { most, bytes } = refused else { panic!("{refused:?}") };
    assert!(bytes > most && most < 16 << 20, "{bytes}, {most}");
    assert_eq!(block_on(node.status()).unwrap().counter, 2, "a refused write takes no counter");
    accept(&node, update("m", r#"{"metadata":{"a":null}}"#));
    accept(&node, part("c"));
}
