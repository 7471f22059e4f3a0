//! Merges: the events that one is, what each of them has seen, and that they stand and fall
//! together.

use helixstream_node::actor::Incarnation;
use helixstream_node::changes::ChangeQuery;
use helixstream_node::ports::DeadLetter;
use helixstream_node::settings::StaleWrites;
use helixstream_node::shown::{EventState, OwnEvent};
use helixstream_node::write::MAX_ABSORBED;

use super::*;

fn merge(memory_id: &str, json: &str) -> MemoryWrite {
    MemoryWrite::new(memory_id, WriteKind::Merge, fields(json))
}

fn events(node: &Node, memory_id: &str) -> Vec<OwnEvent> {
    block_on(node.events_of(memory_id)).unwrap()
}

/// Type and clock of an event, with `self` for the node's actor.
fn described(event: &OwnEvent) -> String {
    let document = json::parse(&event.value).unwrap();
    let clock = String::from_utf8(document.root().get("vector_clock").unwrap().canonical()).unwrap();
    let kind = document.root().get("event_type").unwrap().as_str().unwrap().to_owned();
    format!("{kind} {}", clock.replace(&event.actor.actor.to_string(), "self"))
}

fn has_member(event: &OwnEvent, name: &str, value: &str) {
    let document = json::parse(&event.value).unwrap();
    let found = document.root().get(name).map(|member| String::from_utf8(member.canonical()).unwrap());
    assert_eq!(found.as_deref(), Some(value));
}

/// A node that holds the memories `b`, `c` and `m`, the last writes of which are node `a.x`'s
/// seventh and ninth, and another node's first.
fn with_three(folder: &Path) -> Node {
    let node = open(folder);
    apply(&node, 0, 0, resolved("b", "u", "1", r#"{"a.x":7}"#, ""));
    apply(&node, 0, 1, resolved("c", "u", "2", r#"{"a.x":9}"#, ""));
    apply(&node, 0, 2, resolved("m", "u", "3", r#"{"z.x":1}"#, ""));
    node
}

#[test]
fn each_event_of_a_merge_has_seen_what_was_seen_of_its_own_memory_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_three(folder.path());
    let accepted = accept(&node, merge("m", r#"{"merged_from":["b","c","unknown"],"content":"4"}"#));
    assert_eq!((accepted.counter, accepted.assumed), (4, true));
    assert_eq!(events(&node, "b").iter().map(described).collect::<Vec<_>>(), [r#"memory.deleted {"a.x":7,"self":1}"#]);
    assert_eq!(events(&node, "c").iter().map(described).collect::<Vec<_>>(), [r#"memory.deleted {"a.x":9,"self":2}"#]);
    let of_m = events(&node, "m");
    let expected = [r#"memory.merged {"self":3}"#, r#"memory.updated {"self":4,"z.x":1}"#];
    assert_eq!(of_m.iter().map(described).collect::<Vec<_>>(), expected);
    has_member(&of_m[1], "content", r#""4""#);
    assert_eq!(of_m[1].event_id, accepted.event_id);
    for (id, status) in [("b", MemoryStatus::Merged), ("c", MemoryStatus::Merged), ("m", MemoryStatus::Active)] {
        assert_eq!(block_on(node.read(id, None)).unwrap().unwrap().status, status, "{id}");
    }
    assert!(shown(&node, "b").contains(r#""merged_into":"m""#), "{}", shown(&node, "b"));
    assert!(shown(&node, "unknown").contains(r#""merged_into":"m""#), "{}", shown(&node, "unknown"));

    // A later merge keeps the earlier ids, and is in conflict with nothing.
    accept(&node, update("d", r#"{"content":"5"}"#));
    accept(&node, merge("m", r#"{"merged_from":["d"]}"#));
    let last = events(&node, "m").pop().unwrap();
    has_member(&last, "merged_from", r#"["b","c","d","unknown"]"#);
    assert!(shown(&node, "m").contains(r#""conflicted_fields":[]"#), "{}", shown(&node, "m"));
}

#[test]
fn the_events_of_a_merge_are_published_and_fail_together() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_three(folder.path());
    let accepted = accept(&node, merge("m", r#"{"merged_from":["b","c"]}"#));
    let after = accept(&node, update("m", r#"{"content":"5"}"#));
    let batch = node.journal().unpublished(2, 1).unwrap();
    assert_eq!(batch.iter().map(|event| event.counter).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(batch.iter().all(|event| event.part_of.as_deref() == Some(&*accepted.event_id)));
    node.journal().mark_failed(2, "the record is too large").unwrap();
    for event in ["b", "c", "m"].iter().flat_map(|id| events(&node, id)) {
        let is_failed = matches!(event.state, EventState::Failed(_));
        assert_eq!(is_failed, event.event_id != after.event_id, "{event:?}");
    }
    assert_eq!(block_on(node.read("b", None)).unwrap().unwrap().status, MemoryStatus::Active);
    assert_eq!(node.journal().unpublished(10, 1 << 20).unwrap().len(), 1);
    let outcome = block_on(node.wait_published(&accepted.event_id));
    assert!(matches!(outcome, Ok(Publishing::Failed(_))), "{outcome:?}");
}

#[test]
fn a_merge_that_waits_goes_on_whole_under_a_new_incarnation() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_three(folder.path());
    let accepted = accept(&node, merge("m", r#"{"merged_from":["b"]}"#));
    node.journal().begin_incarnation(&Incarnation::random(), "a test").unwrap();
    let expected = [r#"memory.merged {"self":2}"#, r#"memory.updated {"self":3,"z.x":1}"#];
    assert_eq!(events(&node, "m").iter().map(described).collect::<Vec<_>>(), expected);
    let batch = node.journal().unpublished(1, 1).unwrap();
    assert_eq!(batch.iter().map(|event| event.counter).collect::<Vec<_>>(), [1, 2, 3]);
    // The token of the answer, and that of what is shown of an absorbed memory, are still good.
    let next = update("m", r#"{"content":"5"}"#).with_seen(Seen::Token(accepted.token.encode()));
    assert!(!accept(&node, next).assumed);
}

#[test]
fn a_token_of_an_absorbed_memory_says_what_was_seen_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_three(folder.path());
    let token = |id: &str| block_on(node.read(id, None)).unwrap().unwrap().token.encode();
    let (of_b, of_m) = (token("b"), token("m"));
    let with = |id: &str, token: &str| {
        let write = merge("m", r#"{"merged_from":["b"]}"#).with_seen(Seen::Token(of_m.clone()));
        MemoryWrite { absorbed_tokens: [(id.to_owned(), token.to_owned())].into(), ..write }
    };
    // What another node has written since is not covered by the delete.
    apply(&node, 0, 3, resolved("b", "u", "newer", r#"{"a.x":7,"y.x":1}"#, ""));
    let accepted = accept(&node, with("b", &of_b));
    assert!(!accepted.assumed);
    assert_eq!(events(&node, "b").iter().map(described).collect::<Vec<_>>(), [r#"memory.deleted {"a.x":7,"self":1}"#]);
    assert_eq!(block_on(node.read("b", None)).unwrap().unwrap().status, MemoryStatus::Active, "the update is newer");

    let Refusal::Stale(memory) = refusal(&node, with("b", &of_b)) else { panic!("the token lacks the delete") };
    assert_eq!(memory.memory_id, "b");
    assert_eq!(refusal(&node, with("c", &token("c"))), Refusal::UnabsorbedToken("c".to_owned()));
    let another = with("b", &token("c"));
    assert!(matches!(refusal(&node, another), Refusal::TokenOfAnotherMemory { .. }));
    let many: Vec<String> = (0..=MAX_ABSORBED).map(|n| format!("\"b{n}\"")).collect();
    let many = merge("m", &format!("{{\"merged_from\":[{}]}}", many.join(",")));
    assert_eq!(refusal(&node, many), Refusal::TooManyAbsorbed);
    assert_eq!(block_on(node.status()).unwrap().counter, 3, "a refused merge leaves nothing");
}

#[test]
fn a_stale_merge_is_one_of_a_branch_and_a_repeated_one_is_answered_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = NodeSettings::new(folder.path(), "agent".parse().unwrap());
    let node = Node::open(NodeSettings { stale_writes: StaleWrites::Concurrent, ..settings }).unwrap();
    let first = accept(&node, update("m", r#"{"content":"1"}"#));
    accept(&node, update("m", r#"{"content":"2"}"#));
    accept(&node, update("b", r#"{"content":"3"}"#));
    let stale = || {
        let write = merge("m", r#"{"merged_from":["b"],"content":"4"}"#);
        MemoryWrite { idempotency_key: Some("k".to_owned()), ..write }.with_seen(Seen::Token(first.token.encode()))
    };
    let accepted = accept(&node, stale());
    assert_eq!(events(&node, "b").last().map(described).unwrap(), r#"memory.deleted {"self":4}"#);
    let of_m: Vec<String> = events(&node, "m").iter().map(described).collect();
    assert_eq!(of_m[2..], [r#"memory.merged {"self.b5":5}"#, r#"memory.updated {"self":1,"self.b5":6}"#]);
    assert!(shown(&node, "m").contains(r#""conflicted_fields":["content"]"#), "{}", shown(&node, "m"));
    let again = accept(&node, stale());
    assert!(again.repeated);
    assert_eq!((&again.event_id, again.counter, &again.token), (&accepted.event_id, 6, &accepted.token));

    // A further one begins a branch of its own: an absorbed memory may have an event of the first
    // one that this caller has not seen.
    accept(&node, update("c", r#"{"content":"5"}"#));
    let further = merge("m", r#"{"merged_from":["c"]}"#).with_seen(Seen::Token(accepted.token.encode()));
    let further = accept(&node, further);
    assert_eq!((further.actor.branch, further.counter), (9, 10));
    let of_m: Vec<String> = events(&node, "m").iter().map(described).collect();
    assert_eq!(of_m[4..], [r#"memory.merged {"self.b9":9}"#, r#"memory.updated {"self":1,"self.b5":6,"self.b9":10}"#]);
}

#[test]
fn a_dead_letter_of_each_event_of_a_merge_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_three(folder.path());
    let write = || {
        let write = merge("m", r#"{"merged_from":["b"],"content":"4"}"#);
        MemoryWrite { idempotency_key: Some("k".to_owned()), ..write }
    };
    let accepted = accept(&node, write());
    node.journal().mark_published(3).unwrap();
    let delete = events(&node, "b").pop().unwrap();
    let letter = DeadLetter {
        offset: 0,
        memory_id: "m".to_owned(),
        bytes: delete.value.len() as u32,
        digest: xxhash_rust::xxh3::xxh3_128(&delete.value),
        reason: "too many entries".to_owned(),
    };
    assert_eq!(node.journal().fail_dead_letters("dead", 0, &[letter], 1).unwrap(), 1);
    assert!(matches!(events(&node, "b").pop().unwrap().state, EventState::Failed(_)));
    assert_eq!(block_on(node.read("b", None)).unwrap().unwrap().status, MemoryStatus::Active);
    // The write can be sent again with its key.
    let again = accept(&node, write());
    assert!(!again.repeated && again.event_id != accepted.event_id);
}

#[test]
fn a_merge_is_one_change_of_each_memory() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_three(folder.path());
    let before = block_on(node.last_change()).unwrap();
    accept(&node, merge("m", r#"{"merged_from":["b"],"content":"4"}"#));
    let changes = block_on(node.changes(&before, &ChangeQuery::default())).unwrap().unwrap();
    let seen: Vec<String> = changes.changes.iter().map(|change| format!("{change:?}")).collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
}
