//! Changes of memories, and the keys of searches, as the database keeps them.

use std::collections::BTreeSet;

use futures::executor::block_on;
use helixstream_node::changes::{ChangeId, ChangeQuery};
use helixstream_node::ports::SnapshotRecord;
use helixstream_node::search::{Direction, Near, SearchQuery};
use helixstream_node::write::{Fields, MemoryWrite, WriteKind};
use helixstream_node::{Node, NodeSettings, Subscription};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use crate::{accept, apply, open, resolved, update};

/// Changes after one: the memory, and whether it is shown.
fn after(node: &Node, id: &ChangeId, query: &ChangeQuery) -> Vec<(String, bool)> {
    let (mut found, mut at) = (Vec::new(), id.clone());
    loop {
        let page = block_on(node.changes(&at, query)).unwrap().unwrap();
        found.extend(page.changes.into_iter().map(|change| (change.memory_id, change.memory.is_some())));
        if page.next == at {
            return found;
        }
        at = page.next;
    }
}

#[test]
fn a_memory_that_the_node_no_longer_keeps_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
    let users = BTreeSet::from(["u".to_owned()]);
    settings.subscription = Subscription::Selected { users, sessions: BTreeSet::new() };
    let node = Node::open(settings).unwrap();
    let begin = block_on(node.last_change()).unwrap();
    apply(&node, 0, 1, resolved("m", "u", "1", r#"{"a":1}"#, ""));
    apply(&node, 0, 2, resolved("other", "v", "2", r#"{"a":2}"#, ""));
    apply(&node, 0, 3, resolved("m", "v", "3", r#"{"a":3}"#, ""));
    let all = ChangeQuery::default();
    assert_eq!(after(&node, &begin, &all), [("m".to_owned(), true), ("m".to_owned(), false)]);
    let of_others = ChangeQuery { users: Some(BTreeSet::from(["v".to_owned()])), ..all };
    assert_eq!(after(&node, &begin, &of_others), []);
}

#[test]
fn a_write_that_is_undone_or_shows_nothing_new_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let begin = block_on(node.last_change()).unwrap();
    assert!(block_on(node.write(update("m", r#"{"tags":"wrong"}"#))).is_err());
    let written = accept(&node, update("m", r#"{"content":"1"}"#));
    // That it is published changes nothing that is shown, and its resolved memory does.
    node.journal().mark_published(written.counter).unwrap();
    let clock = format!("{{\"{}\":1}}", written.actor);
    apply(&node, 0, 1, resolved("m", "u", "1", &clock, ""));
    apply(&node, 0, 2, resolved("m", "u", "1", &clock, ""));
    let found = after(&node, &begin, &ChangeQuery::default());
    assert_eq!(found, [("m".to_owned(), true), ("m".to_owned(), true)]);
}

#[test]
fn the_confirmation_of_a_delete_belongs_to_the_session_that_the_memory_had() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let begin = block_on(node.last_change()).unwrap();
    accept(&node, update("m", r#"{"content":"1","session_id":"s"}"#));
    accept(&node, update("n", r#"{"content":"without a session"}"#));
    accept(&node, MemoryWrite::new("n", WriteKind::Delete, Fields::new()));
    let deleted = accept(&node, MemoryWrite::new("m", WriteKind::Delete, Fields::new()));
    node.journal().mark_published(deleted.counter).unwrap();
    let (actor, counter) = (&deleted.actor, deleted.counter);
    let record = |id: &str, offset: i64, event: &str| {
        let value = format!(
            "{{\"conflicted_fields\":[],\"created_at\":\"2026-01-01T00:00:00Z\",\"event_ids\":[\"{event}\"],\
            \"memory_id\":\"{id}\",\"status\":\"deleted\",\"updated_at\":\"2026-01-02T00:00:00Z\",\
            \"vector_clock\":{{\"{actor}\":{counter}}},\"version\":7}}"
        );
        apply(&node, 0, offset, SnapshotRecord { offset, memory_id: id.to_owned(), value: value.into_bytes() });
    };
    record("m", 1, "e");
    record("n", 2, "e");
    // Another record of the deleted memory, as the stream writes one for each event.
    record("m", 3, "f");
    let of_session = ChangeQuery { session_id: Some("s".to_owned()), ..ChangeQuery::default() };
    let page = block_on(node.changes(&begin, &of_session)).unwrap().unwrap();
    let states = page.changes.iter().map(|change| {
        let memory = change.memory.as_ref().unwrap();
        let text = String::from_utf8(memory.json.clone()).unwrap();
        (change.memory_id.as_str(), text.contains("\"status\":\"deleted\""), memory.is_pending)
    });
    let expected = [("m", false, true), ("m", true, true), ("m", true, false), ("m", true, false)];
    assert_eq!(states.collect::<Vec<_>>(), expected);
    // It comes back to another session, and has left this one.
    accept(&node, update("m", r#"{"content":"2","session_id":"t"}"#));
    assert_eq!(after(&node, &page.next, &of_session), [("m".to_owned(), false)]);
}

#[test]
fn the_size_of_the_kept_changes_has_a_limit_and_a_large_change_is_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
    let node = Node::open(NodeSettings { kept_change_bytes: 3 << 20, ..settings }).unwrap();
    let content = "x".repeat(1 << 20);
    let ids: Vec<ChangeId> = (0..6)
        .map(|n| {
            accept(&node, update(&format!("m{n}"), &format!("{{\"content\":\"{content}\"}}")));
            block_on(node.last_change()).unwrap()
        })
        .collect();
    let page = |id| block_on(node.changes(id, &ChangeQuery::default())).unwrap();
    assert_eq!(page(&ids[2]), None);
    let next = page(&ids[4]).unwrap();
    assert_eq!((next.changes.len(), &next.next), (1, &ids[5]));
    assert_eq!(page(&ids[3]).unwrap().changes.len(), 1);
}

/// Writes this content to a memory of a user, and returns the last change.
fn write(node: &Node, user: &str, memory: &str, content: &str) -> ChangeId {
    accept(node, update(memory, &format!("{{\"content\":\"{content}\",\"user_id\":\"{user}\"}}")));
    block_on(node.last_change()).unwrap()
}

fn of_user(user: &str) -> ChangeQuery {
    ChangeQuery { users: Some(BTreeSet::from([user.to_owned()])), ..ChangeQuery::default() }
}

#[test]
fn who_writes_much_takes_from_no_other_user_the_changes_of_its_share() {
    let folder = tempfile::tempdir().unwrap();
    let settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
    let limits = |settings| NodeSettings { kept_change_bytes: 4 << 20, kept_changes: 64, ..settings };
    let node = Node::open(limits(settings)).unwrap();
    let begin = block_on(node.last_change()).unwrap();
    let small: Vec<ChangeId> = (0..8).map(|n| write(&node, "small", &format!("s{n}"), "x")).collect();
    // 20 MiB at a time, and then very many.
    let large = "x".repeat(1 << 20);
    (0..20).for_each(|n| _ = write(&node, "much", &format!("m{}", n % 3), &large));
    (0..200).for_each(|n| _ = write(&node, "often", "o", &n.to_string()));
    let page = |node: &Node, id, query: &ChangeQuery| block_on(node.changes(id, query)).unwrap();
    let ids = |n: usize| (n..8).map(|n| (format!("s{n}"), true)).collect::<Vec<_>>();
    assert_eq!(after(&node, &begin, &of_user("small")), ids(0));
    assert_eq!(after(&node, &small[2], &of_user("small")), ids(3));
    for query in [of_user("much"), of_user("often"), ChangeQuery::default()] {
        assert_eq!(page(&node, &small[7], &query), None, "{query:?}");
    }
    let both = BTreeSet::from(["small".to_owned(), "much".to_owned()]);
    assert_eq!(page(&node, &begin, &ChangeQuery { users: Some(both), ..ChangeQuery::default() }), None);
}

#[test]
fn a_reader_of_all_users_has_the_last_half_of_the_changes_whoever_their_users_are() {
    let folder = tempfile::tempdir().unwrap();
    let settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
    let node = Node::open(NodeSettings { kept_changes: 64, ..settings }).unwrap();
    let seed = testkit::seed();
    let mut random = testkit::Random::new(seed);
    let mut written: Vec<(ChangeId, String)> = Vec::new();
    for n in 0..400 {
        // Very many users, so that no two of them have equal shares for long.
        let (user, memory) = (format!("u{}", random.below(1 + n / 2)), format!("m{n}"));
        written.push((write(&node, &user, &memory, "x"), memory));
        let from = written.len().saturating_sub(32);
        let expected: Vec<(String, bool)> = written[from + 1..].iter().map(|(_, id)| (id.clone(), true)).collect();
        assert_eq!(after(&node, &written[from].0, &ChangeQuery::default()), expected, "SEED={seed}");
    }
    // What is answered has no gap, and what has one is not answered.
    for (at, (id, _)) in written.iter().enumerate() {
        if block_on(node.changes(id, &ChangeQuery::default())).unwrap().is_some() {
            assert_eq!(after(&node, id, &ChangeQuery::default()).len(), written.len() - at - 1, "SEED={seed}");
        }
    }
}

#[test]
fn changes_are_kept_over_a_restart_and_those_of_a_removed_user_are_not_begun_with() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
        Node::open(NodeSettings { kept_changes: 8, ..settings }).unwrap()
    };
    let node = open();
    let first = write(&node, "a", "m", "1");
    (0..20).for_each(|n| _ = write(&node, "b", "n", &n.to_string()));
    node.stop();
    drop(node);
    let node = open();
    assert_eq!(after(&node, &first, &of_user("a")), []);
    write(&node, "a", "m", "2");
    assert_eq!(after(&node, &first, &of_user("a")), [("m".to_owned(), true)]);
    // It has gone to the user `b`, whose changes are removed: a reader of `a` would miss that.
    write(&node, "b", "m", "3");
    (20..40).for_each(|n| _ = write(&node, "b", "n", &n.to_string()));
    assert_eq!(block_on(node.changes(&first, &of_user("a"))).unwrap(), None);
}

#[test]
fn whoever_waits_for_a_change_gets_the_next_one_or_learns_that_the_node_stops() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let begin = block_on(node.last_change()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(node.wait_for_change(&begin)));
        accept(&node, update("m", "{}"));
        waiting.join().unwrap().unwrap();
        block_on(node.wait_for_change(&begin)).unwrap();
    });
    let last = block_on(node.last_change()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(node.wait_for_change(&last)));
        node.stop();
        assert!(waiting.join().unwrap().is_err());
    });
}

#[test]
fn embeddings_with_very_many_numbers_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    for dimensions in [65_536, 65_537] {
        let numbers = vec!["1"; dimensions].join(",");
        accept(&node, update(&format!("m{dimensions}"), &format!(r#"{{"embedding":[{numbers}]}}"#)));
    }
    let found = |dimensions: usize| {
        let near = Near { direction: Direction::of(&vec![1.0; dimensions]).unwrap(), weight: 1.0 };
        let found = block_on(node.search_near(SearchQuery { limit: 10, ..SearchQuery::default() }, near)).unwrap();
        (found.compared, found.skipped, found.hits.len())
    };
    assert_eq!((found(65_536), found(65_537)), ((1, 1, 1), (0, 2, 0)));
}

#[test]
fn the_memories_of_an_earlier_version_are_found_by_their_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    let near = |node: &Node| {
        let near = Near { direction: Direction::of(&[1.0, 0.0]).unwrap(), weight: 1.0 };
        let query = SearchQuery { limit: 10, kind: Some("semantic".to_owned()), ..SearchQuery::default() };
        block_on(node.search_near(query, near)).unwrap().hits.len()
    };
    let node = open(folder.path());
    let memory = r#"{"embedding":[1,2],"metadata":{"helixagent.type":"semantic"}}"#;
    let writes = (0..600).map(|n| node.write(update(&format!("m{n}"), memory)));
    block_on(futures::future::try_join_all(writes)).unwrap();
    assert_eq!(near(&node), 10);
    node.stop();
    let file = format!("sqlite:{}", folder.path().join("node.db").display());
    block_on(async {
        let mut connection = SqliteConnection::connect(&file).await.unwrap();
        for statement in ["DELETE FROM search_keys", "INSERT INTO search_keys_due SELECT number FROM memories"] {
            sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    });
    assert_eq!(near(&open(folder.path())), 10);
}
