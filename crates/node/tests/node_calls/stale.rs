//! Stale writes that are accepted as those of branches of the node's actor.

use helixstream_node::actor::{Incarnation, MAX_BRANCHES};
use helixstream_node::settings::StaleWrites;
use helixstream_node::shown::OwnEvent;

use super::*;

fn open_concurrent(folder: &Path) -> Node {
    let settings = NodeSettings::new(folder, "agent".parse().unwrap());
    Node::open(NodeSettings { stale_writes: StaleWrites::Concurrent, ..settings }).unwrap()
}

fn seen(accepted: &Accepted) -> Seen {
    Seen::Token(accepted.token.encode())
}

/// The clock of the event as the node publishes it.
fn clock_of(node: &Node, accepted: &Accepted) -> String {
    let events = block_on(node.events_of(&accepted.memory_id)).unwrap();
    let event = events.iter().find(|event| event.event_id == accepted.event_id).unwrap();
    let document = json::parse(&event.value).unwrap();
    assert_eq!(document.root().get("node_id").unwrap().as_str(), Some(&*accepted.actor.to_string()));
    assert_eq!((&event.actor, event.counter), (&accepted.actor, accepted.counter));
    String::from_utf8(document.root().get("vector_clock").unwrap().canonical()).unwrap()
}

/// A clock as an event has it: the names are sorted, and incarnations are random.
fn clock(entries: &[(&str, u64)]) -> String {
    let mut entries: Vec<String> = entries.iter().map(|(name, counter)| format!("\"{name}\":{counter}")).collect();
    entries.sort();
    format!("{{{}}}", entries.join(","))
}

/// A write as it is after its event was written again.
fn under(accepted: &Accepted, event: &OwnEvent) -> Accepted {
    Accepted { actor: event.actor.clone(), counter: event.counter, ..accepted.clone() }
}

#[test]
fn a_stale_write_is_one_of_a_branch_that_has_seen_what_the_token_says_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let node = open_concurrent(folder.path());
    let first = accept(&node, update("m", r#"{"content":"1"}"#));
    let actor = first.actor.to_string();
    let second = accept(&node, update("m", r#"{"content":"2"}"#));
    let stale = accept(&node, update("m", r#"{"content":"3"}"#).with_seen(seen(&first)));
    assert_eq!((stale.actor.to_string(), stale.counter), (format!("{actor}.b3"), 3));
    assert_eq!(clock_of(&node, &stale), format!("{{\"{actor}\":1,\"{actor}.b3\":3}}"));
    assert!(shown(&node, "m").contains(r#""conflicted_fields":["content"]"#), "{}", shown(&node, "m"));

    // The same caller goes on in its branch; the caller of the other write, in the actor's events.
    let further = accept(&node, update("m", r#"{"tags":["x"]}"#).with_seen(seen(&stale)));
    assert_eq!((further.actor.branch, further.counter), (3, 4));
    assert_eq!(clock_of(&node, &further), format!("{{\"{actor}\":1,\"{actor}.b3\":4}}"));
    let of_main = accept(&node, update("m", r#"{"tags":["y"]}"#).with_seen(seen(&second)));
    assert_eq!(clock_of(&node, &of_main), format!("{{\"{actor}\":5}}"));
    // Who has not seen the last event of the branch begins another one.
    let other = accept(&node, update("m", r#"{"content":"4"}"#).with_seen(seen(&stale)));
    assert_eq!(clock_of(&node, &other), format!("{{\"{actor}\":1,\"{actor}.b3\":3,\"{actor}.b6\":6}}"));

    // A write that has seen all ends the conflict.
    let end = accept(&node, update("m", r#"{"content":"5","tags":["z"]}"#));
    assert_eq!(end.actor.branch, 0);
    assert!(shown(&node, "m").contains(r#""conflicted_fields":[]"#), "{}", shown(&node, "m"));
}

#[test]
fn a_branch_is_answered_again_and_goes_on_after_a_restart_and_under_a_new_incarnation() {
    let folder = tempfile::tempdir().unwrap();
    let node = open_concurrent(folder.path());
    let first = accept(&node, update("m", r#"{"content":"1"}"#));
    accept(&node, update("m", r#"{"content":"2"}"#));
    let key = |json: &str| MemoryWrite { idempotency_key: Some("k".to_owned()), ..update("m", json) };
    let stale = accept(&node, key(r#"{"content":"3"}"#).with_seen(seen(&first)));
    let again = accept(&node, key(r#"{"content":"3"}"#).with_seen(seen(&first)));
    assert!(again.repeated);
    assert_eq!((&again.actor, again.counter, &again.token), (&stale.actor, stale.counter, &stale.token));
    node.stop();

    let node = open_concurrent(folder.path());
    let further = accept(&node, update("m", r#"{"content":"4"}"#).with_seen(seen(&stale)));
    assert_eq!(further.actor, stale.actor);
    // Two of the four are published; the branch was begun by the third.
    node.journal().mark_published(2).unwrap();
    let old = stale.actor.actor.to_string();
    let new = node.journal().begin_incarnation(&Incarnation::random(), "a test").unwrap().actor.to_string();
    let events = block_on(node.events_of("m")).unwrap();
    let names: Vec<String> = events.iter().map(|event| event.actor.to_string()).collect();
    assert_eq!(names, [old.clone(), old.clone(), format!("{new}.b1"), format!("{new}.b1")]);
    assert_eq!(clock_of(&node, &under(&stale, &events[2])), clock(&[(&old, 1), (&format!("{new}.b1"), 1)]));
    assert_eq!(clock_of(&node, &under(&further, &events[3])), clock(&[(&old, 1), (&format!("{new}.b1"), 2)]));
    // Its token says the same in terms of the new incarnation: the branch goes on.
    let last = accept(&node, update("m", r#"{"content":"5"}"#).with_seen(seen(&further)));
    assert_eq!(last.actor.branch, 0, "the new actor has written nothing that the caller has not seen");
    assert_eq!(clock_of(&node, &last), clock(&[(&old, 1), (&new, 3), (&format!("{new}.b1"), 2)]));
}

#[test]
fn a_published_branch_is_no_longer_pending_once_the_resolved_memory_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = open_concurrent(folder.path());
    let first = accept(&node, update("m", r#"{"content":"1"}"#));
    accept(&node, update("m", r#"{"content":"2"}"#));
    let stale = accept(&node, update("m", r#"{"content":"3"}"#).with_seen(seen(&first)));
    let (actor, branch) = (first.actor.to_string(), stale.actor.to_string());
    node.journal().mark_published(3).unwrap();
    let clock = |branch_entry: &str| format!("{{\"{actor}\":2{branch_entry}}}");
    apply(&node, 0, 0, resolved("m", "u", "2", &clock(""), ""));
    assert!(block_on(node.read("m", None)).unwrap().unwrap().is_pending);
    apply(&node, 0, 1, resolved("m", "u", "2", &clock(&format!(",\"{branch}\":3")), ""));
    assert!(!block_on(node.read("m", None)).unwrap().unwrap().is_pending);

    // The same where the mark comes after the resolved memory.
    let late = accept(&node, update("m", r#"{"content":"4"}"#).with_seen(seen(&first)));
    apply(&node, 0, 2, resolved("m", "u", "2", &clock(&format!(",\"{}\":4,\"{branch}\":3", late.actor)), ""));
    assert!(block_on(node.read("m", None)).unwrap().unwrap().is_pending);
    node.journal().mark_published(4).unwrap();
    assert!(!block_on(node.read("m", None)).unwrap().unwrap().is_pending);
}

#[test]
fn a_memory_has_a_bounded_number_of_branches() {
    let folder = tempfile::tempdir().unwrap();
    let node = open_concurrent(folder.path());
    let first = accept(&node, update("m", r#"{"content":"1"}"#));
    accept(&node, update("m", r#"{"content":"2"}"#));
    let stale = || update("m", r#"{"importance":0.5}"#).with_seen(seen(&first));
    for _ in 0..MAX_BRANCHES {
        accept(&node, stale());
    }
    assert!(matches!(refusal(&node, stale()), Refusal::Stale(_)));
}
