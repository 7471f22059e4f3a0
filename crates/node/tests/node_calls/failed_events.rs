//! Events that a broker refuses or that come back as dead letters, and what any producer can write
//! to the topics that a node follows.

use futures::executor::block_on;
use helixstream_node::actor::Incarnation;
use helixstream_node::ports::{DeadLetter, Publication, SnapshotRecord, chain_digest};
use helixstream_node::shown::{EventState, Publishing};
use helixstream_node::write::{MemoryWrite, Refusal, Seen};
use helixstream_node::{Node, NodeSettings};

use super::{accept, apply, open, refusal, resolved, shown, update};

#[test]
fn a_failed_event_is_shown_as_failed_and_blocks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let first = accept(&node, update("m", r#"{"content":"1"}"#));
    accept(&node, update("n", r#"{"content":"2"}"#));
    let waiter = std::thread::spawn({
        let node = node.clone();
        move || block_on(node.wait_published(&first.event_id)).unwrap()
    });
    node.journal().mark_failed(1, "too large").unwrap();
    assert_eq!(waiter.join().unwrap(), Publishing::Failed("too large".to_owned()));
    assert_eq!(block_on(node.read("m", None)).unwrap(), None);
    assert_eq!(block_on(node.events_of("m")).unwrap()[0].state, EventState::Failed("too large".to_owned()));
    let waiting = node.journal().unpublished(10, 1 << 20).unwrap();
    assert_eq!(waiting.iter().map(|event| event.counter).collect::<Vec<_>>(), [2]);
    assert_eq!(block_on(node.wait_published("no event")).unwrap(), Publishing::Unknown);
}

/// The dead letter of an event that waits.
fn dead_letter(node: &Node, counter: u64) -> DeadLetter {
    let waiting = node.journal().unpublished(10, 1 << 20).unwrap();
    let event = waiting.into_iter().find(|event| event.counter == counter).unwrap();
    let digest = xxhash_rust::xxh3::xxh3_128(&event.value);
    let (bytes, reason) = (event.value.len() as u32, "too deep".to_owned());
    DeadLetter { offset: 0, memory_id: event.memory_id, bytes, digest, reason }
}

#[test]
fn an_event_that_comes_back_as_a_dead_letter_is_shown_as_failed_and_stays_published() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    accept(&node, update("m", r#"{"content":"1"}"#));
    let bad = accept(&node, update("m", r#"{"content":"2"}"#));
    let after = accept(&node, update("n", r#"{"content":"3"}"#));
    let letter = dead_letter(&node, 2);
    let others = DeadLetter { digest: letter.digest ^ 1, ..letter.clone() };
    let fail = |letters: &[DeadLetter]| node.journal().fail_dead_letters("dead", 0, letters, 7).unwrap();
    // The letter may be read before the publisher has marked its event.
    assert_eq!([fail(&[others, letter.clone()]), fail(std::slice::from_ref(&letter))], [1, 0]);
    assert_eq!(node.journal().position("dead", 0).unwrap(), Some(7));
    assert_eq!(block_on(node.wait_published(&bad.event_id)).unwrap(), Publishing::Failed("too deep".to_owned()));
    let before = node.journal().identity().unwrap();
    assert!(shown(&node, "m").contains("\"content\":\"1\"") && shown(&node, "n").contains("\"content\":\"3\""));
    // For the publisher it is an event as others are: its chain has it.
    let waiting = node.journal().unpublished(10, 1 << 20).unwrap();
    let chain = waiting.iter().fold(before.chain, |chain, event| chain_digest(chain, &event.value));
    assert_eq!(node.journal().mark_published(3).unwrap(), Publication { counter: 3, chain });
    let states: Vec<EventState> = block_on(node.events_of("m")).unwrap().into_iter().map(|event| event.state).collect();
    assert_eq!(states, [EventState::Published, EventState::Failed("too deep".to_owned())]);
    let status = block_on(node.status()).unwrap();
    assert_eq!((status.failed, status.dead_letters, status.outbox_depth), (1, 1, 0));
    assert_eq!(block_on(node.wait_published(&after.event_id)).unwrap(), Publishing::Published);
    // A node that was fenced meanwhile does not write it again under its new actor.
    let bad = accept(&node, update("m", r#"{"content":"4"}"#));
    fail(&[dead_letter(&node, 4)]);
    node.journal().begin_incarnation(&Incarnation::random(), "a copy").unwrap();
    assert_eq!(node.journal().unpublished(10, 1 << 20).unwrap(), []);
    assert_eq!(block_on(node.status()).unwrap().outbox_depth, 0);
    assert_eq!(block_on(node.wait_published(&bad.event_id)).unwrap(), Publishing::Failed("too deep".to_owned()));
}

/// The clock of a memory without the failed write lacks its counter, so the next write, which has
/// seen that memory, would be stale for ever.
#[test]
fn a_memory_can_be_written_after_a_write_of_it_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    apply(&node, 0, 1, resolved("m", "u", "theirs", r#"{"a":1}"#, ""));
    accept(&node, update("m", r#"{"content":"1"}"#));
    let letter = dead_letter(&node, 1);
    node.journal().mark_published(1).unwrap();
    node.journal().fail_dead_letters("dead", 0, &[letter], 1).unwrap();
    accept(&node, update("m", r#"{"content":"2"}"#));
    node.journal().mark_failed(2, "too large").unwrap();
    let token = block_on(node.read("m", None)).unwrap().unwrap().token.encode();
    let with_token = MemoryWrite { seen: Seen::Token(token.clone()), ..update("m", r#"{"content":"3"}"#) };
    accept(&node, with_token);
    // A token that lacks a write which has not failed is stale as before.
    let stale = MemoryWrite { seen: Seen::Token(token), ..update("m", r#"{"content":"4"}"#) };
    assert!(matches!(refusal(&node, stale), Refusal::Stale(_)));
    let kept = accept(&node, update("m", r#"{"content":"5"}"#));
    accept(&node, update("m", r#"{"content":"6"}"#));
    node.journal().mark_failed(5, "too large").unwrap();
    let stale = MemoryWrite { seen: Seen::Token(kept.token.encode()), ..update("m", r#"{"content":"7"}"#) };
    accept(&node, stale);
}

/// A dead letter of another branch of the topology, or a forged one, says nothing of an event that
/// a resolved memory lists. A later event's counter alone does not show that an event was
/// processed.
#[test]
fn a_dead_letter_of_an_event_that_was_resolved_marks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let keyed = MemoryWrite { idempotency_key: Some("k".to_owned()), ..update("m", r#"{"content":"1"}"#) };
    let first = accept(&node, keyed.clone());
    accept(&node, update("m", r#"{"content":"2"}"#));
    let third = accept(&node, update("m", r#"{"content":"3"}"#));
    let letters = [1, 2, 3].map(|counter| dead_letter(&node, counter));
    node.journal().mark_published(3).unwrap();
    let fail = |at: usize| node.journal().fail_dead_letters("dead", 0, &letters[at..=at], 1).unwrap();
    let states = || block_on(node.events_of("m")).unwrap().into_iter().map(|event| event.state).collect::<Vec<_>>();
    let failed = || EventState::Failed("too deep".to_owned());
    let snapshot = |offset: i64, counter: u64, listed: &str| {
        let mut record = resolved("m", "u", "resolved", &format!("{{\"{}\":{counter}}}", first.actor), "");
        let text = String::from_utf8(record.value).unwrap().replace("[\"e\"]", &format!("[\"{listed}\"]"));
        record.value = text.into_bytes();
        apply(&node, 0, offset, record);
    };
    // The first is resolved before its letter is read, the third after it, and the second never is.
    snapshot(1, 1, &first.event_id);
    assert_eq!([fail(0), fail(1), fail(2)], [0, 1, 1]);
    assert_eq!(states(), [EventState::Published, failed(), failed()]);
    assert!(accept(&node, keyed).repeated, "its key still stands for it");
    snapshot(2, 3, &third.event_id);
    assert_eq!(states(), [EventState::Published, failed(), EventState::Published]);
    assert_eq!(fail(2), 0);
    let status = block_on(node.status()).unwrap();
    assert_eq!((status.failed, status.dead_letters, status.pending), (1, 1, 0));
    // A token that lacks the third write is stale, as it is shown again.
    let stale = MemoryWrite { seen: Seen::Token(first.token.encode()), ..update("m", "{}") };
    assert!(matches!(refusal(&node, stale), Refusal::Stale(_)));
}

#[test]
fn a_failed_event_is_removed_with_its_reason_after_31_days() {
    const DAY_NS: u64 = 24 * 3_600 * 1_000_000_000;
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    ["m", "n", "o"].iter().for_each(|id| drop(accept(&node, update(id, r#"{"content":"1"}"#))));
    let reason = "é".repeat(100_000);
    let letters = [1, 3].map(|counter| DeadLetter { reason: reason.clone(), ..dead_letter(&node, counter) });
    node.journal().mark_failed(2, &reason).unwrap();
    node.journal().mark_published(2).unwrap();
    node.journal().fail_dead_letters("dead", 0, &letters, 1).unwrap();
    for id in ["m", "n", "o"] {
        let state = block_on(node.events_of(id)).unwrap().remove(0).state;
        assert_eq!(state, EventState::Failed("é".repeat(500)), "{id}");
    }
    drop(node);
    let later = |days: u64| {
        let mut settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
        settings.wall_clock = match days {
            30 => || helixstream_node::settings::system_clock() + 30 * DAY_NS,
            _ => || helixstream_node::settings::system_clock() + 32 * DAY_NS,
        };
        let node = Node::open(settings).unwrap();
        // Old rows are removed with the first change.
        accept(&node, update("x", r#"{"content":"1"}"#));
        ["m", "n", "o"].map(|id| block_on(node.events_of(id)).unwrap().len())
    };
    assert_eq!(later(30), [1, 1, 1]);
    assert_eq!(later(32), [0, 0, 1], "the third is not known to be published, so the publisher needs it");
}

/// The members of a resolved memory `m`.
fn members() -> [(&'static str, String); 7] {
    [
        ("created_at", "\"2026-01-01T00:00:00Z\"".to_owned()),
        ("event_ids", "[\"e\"]".to_owned()),
        ("memory_id", "\"m\"".to_owned()),
        ("status", "\"active\"".to_owned()),
        ("updated_at", "\"2026-01-02T00:00:00Z\"".to_owned()),
        ("vector_clock", "{\"a\":1}".to_owned()),
        ("version", "7".to_owned()),
    ]
}

/// Values of all kinds.
fn values() -> Vec<String> {
    let deep = format!("{}{}", "[".repeat(126), "]".repeat(126));
    let long = format!("\"{}\"", "x".repeat(70_000));
    let values = [
        "null",
        "7",
        "-1",
        "1e300",
        "\"\"",
        "\"\\u0000\"",
        "\"deleted\"",
        "\"merged\"",
        "[]",
        "[null,7,\"\",{}]",
        "{}",
        "[{\"id\":\"\"}]",
        "{\"\":null}",
        "{\"a\":0}",
        "{\"a\":9223372036854775807}",
        "9223372036854775807",
        "18446744073709551615",
        "[{\"id\":\"x\",\"id\":7}]",
        "\"0001-01-01T00:00:00Z\"",
        "\"9999-12-31T23:59:59.999999999Z\"",
        deep.as_str(),
        long.as_str(),
    ];
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Any producer may write to the topics that a node follows.
#[test]
fn no_record_of_a_topic_makes_the_database_fail() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    accept(&node, update("m", r#"{"content":"mine"}"#));
    let letter = DeadLetter { bytes: u32::MAX, reason: "\0".to_owned(), ..dead_letter(&node, 1) };
    assert_eq!(node.journal().fail_dead_letters("dead", 0, &[letter], 1).unwrap(), 0);
    let actor = node.journal().identity().unwrap().actor;
    let own_clock = format!("{{\"{actor}\":\"x\"}},\"vector_clock\":{{\"{actor}\":1}}");
    let fields = [
        "content",
        "conflicted_fields",
        "created_at",
        "embedding",
        "entities",
        "event_ids",
        "importance",
        "memory_id",
        "merged_from",
        "merged_into",
        "metadata",
        "relationships",
        "session_id",
        "status",
        "tags",
        "updated_at",
        "user_id",
        "vector_clock",
        "version",
    ];
    let changes = fields.iter().flat_map(|field| values().into_iter().map(|value| (*field, value)));
    let changes = changes.chain([("vector_clock", own_clock)]);
    for (offset, (field, value)) in changes.enumerate() {
        let members = members().into_iter().filter(|(name, _)| *name != field).chain([(field, value.clone())]);
        let members: Vec<String> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let value = format!("{{{}}}", members.join(",")).into_bytes();
        apply(&node, 0, offset as i64, SnapshotRecord { offset: 0, memory_id: "m".to_owned(), value });
    }
    node.journal().mark_published(1).unwrap();
    accept(&node, update("m", r#"{"content":"again"}"#));
    node.journal().mark_failed(2, "too large").unwrap();
}
