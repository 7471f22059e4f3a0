//! The calls of a node on its real database: answers, refusals, views; one transaction for many
//! writes.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod changes;
mod failed_events;
mod history;
mod merge;
mod older_database;
mod published_elsewhere;
mod restore;
mod sizes;
mod stale;
mod subscription;
mod sync;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use futures::executor::block_on;
use helixstream_node::actor::Incarnation;
use helixstream_node::ports::{JournalError, SnapshotRecord};
use helixstream_node::search::SearchQuery;
use helixstream_node::shown::{ListQuery, MemoryStatus, Publishing};
use helixstream_node::write::{Accepted, Fields, MemoryWrite, Refusal, Seen, WriteError, WriteKind};
use helixstream_node::{Node, NodeError, NodeSettings, Subscription};

fn open(folder: &Path) -> Node {
    Node::open(NodeSettings::new(folder, "agent".parse().unwrap())).unwrap()
}

fn fields(json: &str) -> Fields {
    Fields::from_json(json.as_bytes()).unwrap()
}

fn update(memory_id: &str, json: &str) -> MemoryWrite {
    MemoryWrite::new(memory_id, WriteKind::Update, fields(json))
}

fn accept(node: &Node, write: MemoryWrite) -> Accepted {
    block_on(node.write(write)).unwrap()
}

fn refusal(node: &Node, write: MemoryWrite) -> Refusal {
    match block_on(node.write(write)) {
        Err(WriteError::Refused(refusal)) => refusal,
        other => panic!("it should be refused: {other:?}"),
    }
}

fn shown(node: &Node, memory_id: &str) -> String {
    String::from_utf8(block_on(node.read(memory_id, None)).unwrap().unwrap().json).unwrap()
}

/// A resolved memory as the stream writes it.
fn resolved(memory_id: &str, user: &str, content: &str, clock: &str, more: &str) -> SnapshotRecord {
    let value = format!(
        "{{\"conflicted_fields\":[{more}],\"content\":\"{content}\",\"created_at\":\"2026-01-01T00:00:00Z\",\
        \"event_ids\":[\"e\"],\"memory_id\":\"{memory_id}\",\"status\":\"active\",\
        \"updated_at\":\"2026-01-02T00:00:00Z\",\"user_id\":\"{user}\",\"vector_clock\":{clock},\"version\":7}}"
    );
    SnapshotRecord { offset: 0, memory_id: memory_id.to_owned(), value: value.into_bytes() }
}

fn apply(node: &Node, partition: i32, offset: i64, record: SnapshotRecord) {
    let record = SnapshotRecord { offset, ..record };
    node.journal().apply("snapshots", partition, &[record], offset + 1).unwrap();
}

#[test]
fn a_folder_that_is_created_and_its_files_are_for_this_user_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a").join("node");
    let node = open(&folder);
    accept(&node, update("m", r#"{"content":"1"}"#));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(folder.parent().unwrap())), (0o700, 0o700));
    let files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().any(|file| file.ends_with("node.db-wal")), "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn an_update_that_requires_an_active_memory_does_not_bring_a_deleted_one_back() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let required = |json: &str| MemoryWrite { requires_active: true, ..update("m", json) };
    accept(&node, required(r#"{"content":"1"}"#));
    accept(&node, required(r#"{"content":"2"}"#));
    accept(&node, MemoryWrite::new("m", WriteKind::Delete, Fields::new()));
    let refused = refusal(&node, required(r#"{"content":"3"}"#));
    let Refusal::Inactive(present) = refused else { panic!("{refused:?}") };
    assert_eq!(present.status, MemoryStatus::Deleted);
    accept(&node, update("m", r#"{"content":"3"}"#));
    accept(&node, required(r#"{"content":"4"}"#));
}

#[test]
fn a_write_with_a_stale_token_is_refused_with_the_present_state() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let first = accept(&node, update("m", r#"{"content":"1"}"#));
    assert!(first.assumed && first.memory.is_pending && !first.repeated);
    let second = accept(&node, update("m", r#"{"content":"2"}"#).with_seen(Seen::Token(first.token.encode())));
    assert!(!second.assumed);
    assert_eq!((first.counter, second.counter), (1, 2));
    let stale = refusal(&node, update("m", r#"{"content":"3"}"#).with_seen(Seen::Token(first.token.encode())));
    let Refusal::Stale(present) = stale else { panic!("{stale:?}") };
    assert_eq!(present.token.clock, second.token.clock);
    let again = update("m", r#"{"content":"3"}"#).with_seen(Seen::Token(present.token.encode()));
    assert_eq!(accept(&node, again).counter, 3, "a refused write takes no counter");
    let other = refusal(&node, update("n", "{}").with_seen(Seen::Token(first.token.encode())));
    assert_eq!(other, Refusal::TokenOfAnotherMemory { of: "m".to_owned(), write: "n".to_owned() });
    assert_eq!(refusal(&node, update("m", "{}").with_seen(Seen::Token("x".to_owned()))), Refusal::InvalidToken);
}

#[test]
fn the_stream_s_decoder_decides_and_nothing_of_a_refused_write_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let Refusal::BadEvent(wrong) = refusal(&node, update("m", r#"{"tags":"x"}"#)) else { panic!() };
    assert_eq!(wrong.class.as_str(), "wrong_type");
    let large = format!("{{\"content\":\"{}\"}}", "x".repeat(9 << 20));
    let Refusal::BadEvent(wrong) = refusal(&node, update("m", &large)) else { panic!() };
    assert_eq!(wrong.class.as_str(), "too_large");
    assert_eq!(Fields::from_json(br#"{"version":1}"#), Err(Refusal::UnknownField("version".to_owned())));
    assert_eq!(block_on(node.read("m", None)).unwrap(), None);
    let status = block_on(node.status()).unwrap();
    assert_eq!((status.counter, status.outbox_depth, status.memories), (0, 0, 0));
}

#[test]
fn a_repeated_request_is_answered_as_the_first_was() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let write = MemoryWrite {
        memory_id: None,
        idempotency_key: Some("k".to_owned()),
        ..MemoryWrite::new("", WriteKind::Create, fields(r#"{"content":"1"}"#))
    };
    let first = accept(&node, write.clone());
    drop(node);
    let node = open(folder.path());
    let second = accept(&node, write.clone());
    assert!(second.repeated);
    assert_eq!((second.event_id, second.counter, second.memory_id), (first.event_id, first.counter, first.memory_id));
    assert_eq!(second.token.clock, first.token.clock);
    let other = MemoryWrite { fields: fields(r#"{"content":"2"}"#), ..write };
    assert_eq!(refusal(&node, other), Refusal::KeyReused);
}

#[test]
fn a_session_has_seen_what_it_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    apply(&node, 0, 1, resolved("m", "u", "old", r#"{"a":1}"#, ""));
    block_on(node.read("m", Some("s"))).unwrap();
    apply(&node, 0, 2, resolved("m", "u", "new", r#"{"a":2}"#, ""));
    let write = update("m", r#"{"tags":["t"]}"#);
    let accepted = accept(&node, write.clone().with_seen(Seen::Session("s".to_owned())));
    assert!(accepted.assumed);
    let entry = |accepted: &Accepted, name: &str| {
        accepted.token.clock.entries().iter().find(|(n, _)| n == name).map_or(0, |(_, counter)| *counter)
    };
    assert_eq!(entry(&accepted, "a"), 1, "this session has not seen the second");
    let accepted = accept(&node, write.with_seen(Seen::Session("t".to_owned())));
    assert_eq!(entry(&accepted, "a"), 2, "nothing was shown to this one, so what is shown now counts");
}

#[test]
fn own_events_lie_over_the_resolved_memory_until_it_covers_them() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    apply(&node, 0, 1, resolved("m", "u", "old", r#"{"a":1}"#, "\"content\",\"metadata.k\""));
    let accepted = accept(&node, update("m", r#"{"content":"mine"}"#));
    let text = shown(&node, "m");
    assert!(text.contains("\"content\":\"mine\"") && text.contains("\"conflicted_fields\":[\"metadata.k\"]"), "{text}");
    assert!(text.contains("\"created_at\":\"2026-01-01T00:00:00Z\"") && text.contains("\"user_id\":\"u\""), "{text}");
    let actor = accepted.actor.to_string();
    let covering = resolved("m", "u", "resolved", &format!("{{\"a\":1,\"{actor}\":1}}"), "");
    apply(&node, 0, 2, covering.clone());
    assert!(block_on(node.read("m", None)).unwrap().unwrap().is_pending, "it is not known to be published");
    node.journal().mark_published(1).unwrap();
    assert_eq!(shown(&node, "m").as_bytes(), covering.value);
    assert!(block_on(node.events_of("m")).unwrap()[0].is_resolved);
    assert_eq!(block_on(node.wait_published(&accepted.event_id)).unwrap(), Publishing::Published);
}

#[test]
fn the_events_of_a_memory_are_read_some_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(accept(&node, update("m", &format!(r#"{{"content":"{n}"}}"#))).event_id);
        accept(&node, update("other", r#"{"content":"x"}"#));
    }
    let (mut read, mut pages, mut next) = (Vec::new(), Vec::new(), Some(0));
    while let Some(after) = next {
        let page = block_on(node.events_from("m", after)).unwrap();
        pages.push(page.events.len());
        read.extend(page.events);
        next = page.next;
    }
    assert_eq!(pages, [16, 16, 8, 0]);
    assert_eq!(read.iter().map(|event| event.event_id.as_str()).collect::<Vec<_>>(), ids);
    assert_eq!(block_on(node.events_of("m")).unwrap(), read);
}

#[test]
fn memories_are_listed_and_found_within_the_users_of_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    for (id, user, content) in
        [("a", "u", "the cat sat"), ("b", "u", "a cat and a cat"), ("c", "v", "cat"), ("d", "u", "Hündin")]
    {
        accept(&node, update(id, &format!("{{\"content\":\"{content}\",\"user_id\":\"{user}\"}}")));
    }
    accept(&node, MemoryWrite::new("a", WriteKind::Delete, Fields::new()));
    let users = Some(BTreeSet::from(["u".to_owned()]));
    let list = |query: ListQuery| block_on(node.list(query)).unwrap();
    let ids = |query: ListQuery| list(query).memories.into_iter().map(|m| m.memory_id).collect::<Vec<_>>();
    let all = ListQuery { limit: 10, ..ListQuery::default() };
    assert_eq!(ids(all.clone()), ["b", "c", "d"]);
    assert_eq!(ids(ListQuery { with_inactive: true, users: users.clone(), ..all.clone() }), ["a", "b", "d"]);
    let page = list(ListQuery { limit: 2, ..all.clone() });
    assert_eq!(page.next.as_deref(), Some("c"));
    assert_eq!(ids(ListQuery { after: page.next, ..all }), ["d"]);
    assert_eq!(block_on(node.read("a", None)).unwrap().unwrap().status, MemoryStatus::Deleted);

    let search = |text: &str, users| {
        let query = SearchQuery { text: text.to_owned(), users, limit: 10, ..SearchQuery::default() };
        block_on(node.search(query)).unwrap().hits.into_iter().map(|hit| hit.memory.memory_id).collect::<Vec<_>>()
    };
    assert_eq!(search("CAT", None).len(), 2);
    assert_eq!(search("cat", users.clone()), ["b"]);
    assert_eq!(search("hundin \"OR\" ( *", users), ["d"]);
    assert_eq!(search("\" ) -", None), [""; 0]);
    let allowed = BTreeSet::from(["v".to_owned()]);
    let write = |id: &str, json: &str| MemoryWrite { allowed_users: Some(allowed.clone()), ..update(id, json) };
    assert_eq!(refusal(&node, write("b", "{}")), Refusal::ForbiddenUser);
    assert_eq!(refusal(&node, write("c", r#"{"user_id":"u"}"#)), Refusal::ForbiddenUser);
    assert_eq!(refusal(&node, write("new", "{}")), Refusal::ForbiddenUser);
    accept(&node, write("c", r#"{"content":"cats"}"#));
}

#[test]
fn a_node_keeps_the_users_that_it_subscribes_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
    let users = BTreeSet::from(["u".to_owned()]);
    settings.subscription = Subscription::Selected { users, sessions: BTreeSet::new() };
    let node = Node::open(settings).unwrap();
    apply(&node, 0, 1, resolved("m", "u", "1", r#"{"a":1}"#, ""));
    apply(&node, 0, 2, resolved("n", "v", "2", r#"{"a":2}"#, ""));
    assert_eq!(block_on(node.read("n", None)).unwrap(), None);
    apply(&node, 0, 3, resolved("m", "v", "3", r#"{"a":3}"#, ""));
    assert_eq!(block_on(node.read("m", None)).unwrap(), None, "it belongs to another user now");
    assert_eq!(node.journal().position("snapshots", 0).unwrap(), Some(4));
    // A memory that it writes stays, also where nothing of its writes is to be seen any more.
    apply(&node, 0, 4, resolved("own", "u", "4", r#"{"a":4}"#, ""));
    accept(&node, update("own", r#"{"content":"mine"}"#));
    node.journal().mark_failed(1, "too large").unwrap();
    apply(&node, 0, 5, resolved("own", "v", "5", r#"{"a":5}"#, ""));
    assert!(shown(&node, "own").contains("\"content\":\"5\""));
    node.journal().begin_incarnation(&Incarnation::random(), "a copy").unwrap();
    apply(&node, 0, 6, resolved("own", "v", "6", r#"{"a":6}"#, ""));
    assert!(shown(&node, "own").contains("\"content\":\"6\""));
}

#[test]
fn an_older_record_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    apply(&node, 0, 5, resolved("m", "u", "5", r#"{"a":5}"#, ""));
    apply(&node, 0, 4, resolved("m", "u", "4", r#"{"a":4}"#, ""));
    apply(&node, 1, 9, resolved("m", "u", "3", r#"{"a":3}"#, ""));
    assert!(shown(&node, "m").contains("\"content\":\"5\""));
    apply(&node, 1, 1, resolved("m", "u", "6", r#"{"a":6}"#, ""));
    assert!(shown(&node, "m").contains("\"content\":\"6\""), "the topic has grown by a partition");
    apply(&node, 1, 2, SnapshotRecord { offset: 0, memory_id: "m".to_owned(), value: b"{}".to_vec() });
    assert!(shown(&node, "m").contains("\"content\":\"6\""), "a record that is no memory is left out");
}

#[test]
fn a_folder_has_one_process_and_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let other = || Node::open(NodeSettings::new(folder.path(), "other".parse().unwrap()));
    assert!(matches!(other().err(), Some(NodeError::InUse(_))));
    node.stop();
    assert!(matches!(other().err(), Some(NodeError::OtherName { .. })));
    assert_eq!(block_on(node.read("m", None)), Err(JournalError::Stopped));
    let refused = block_on(node.write(update("m", "{}")));
    assert!(matches!(refused, Err(WriteError::Database(JournalError::Stopped))));
    open(folder.path());
}

/// Group commit: while one transaction is written, the writes that come wait for the next.
#[test]
fn one_transaction_serves_many_writes() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let before = block_on(node.status()).unwrap().commits;
    let writes = (0..200).map(|n| node.write(update(&format!("m{n}"), r#"{"content":"1"}"#)));
    let accepted = block_on(futures::future::try_join_all(writes)).unwrap();
    assert_eq!(accepted.iter().map(|one| one.counter).collect::<BTreeSet<_>>(), (1..=200).collect());
    let commits = block_on(node.status()).unwrap().commits - before;
    assert!(commits <= 100, "{commits} transactions for 200 writes");
}
