//! Events that a process has published from a copy of the folder are taken in by the other one.

use helixstream_node::actor::{EventActor, Incarnation};
use helixstream_node::ports::{OutboxEvent, PublishedEvent};

use super::*;

fn copy(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn waiting(node: &Node) -> Vec<OutboxEvent> {
    node.journal().unpublished(100, 1 << 20).unwrap()
}

/// An event as the topic has it.
fn published(event: &OutboxEvent) -> PublishedEvent {
    let document = json::parse(&event.value).unwrap();
    let text = |name: &str| document.root().get(name).unwrap().as_str().unwrap().to_owned();
    let writer: EventActor = text("node_id").parse().unwrap();
    PublishedEvent { event_id: text("event_id"), writer, counter: event.counter, value: event.value.clone() }
}

#[test]
fn an_event_that_a_copy_has_published_is_not_written_again_and_its_token_counts_as_the_copy_says() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path());
    let common = accept(&node, update("m", r#"{"content":"common"}"#));
    let other = accept(&node, update("n", r#"{"content":"common"}"#));
    node.stop();
    let copied = copy(folder.path());
    let (one, two) = (open(folder.path()), open(copied.path()));
    let own = accept(&two, update("m", r#"{"content":"by the copy"}"#));
    let names: Vec<_> = [&common, &other, &own].map(|accepted| accepted.event_id.clone()).into();
    let ids = |node: &Node, after| -> Vec<String> {
        node.journal().waiting_ids(after, 10).unwrap().into_iter().map(|(_, id)| id).collect()
    };
    assert_eq!((ids(&two, 0), ids(&two, 2)), (names.clone(), names[2..].to_vec()));

    // The original publishes one of the two under its next incarnation.
    let old = common.actor.to_string();
    let first = one.journal().begin_incarnation(&Incarnation::random(), "a test").unwrap().actor;
    let event = published(&waiting(&one)[0]);
    two.journal().note_published_elsewhere(&[event.clone(), event.clone()]).unwrap();
    assert_eq!(ids(&two, 0), names, "it waits until the next incarnation begins");
    let second = two.journal().begin_incarnation(&Incarnation::random(), "a test").unwrap().actor;
    assert_eq!(ids(&two, 0), names[1..]);
    assert_eq!(block_on(two.status()).unwrap().outbox_depth, 2);
    let shown_event = &block_on(two.events_of("m")).unwrap()[0];
    assert_eq!((&shown_event.actor, shown_event.counter), (&event.writer, 1));
    assert_eq!(shown_event.value, event.value);

    // What has seen it names it as it was published.
    let clocks = |node: &Node| -> Vec<String> {
        let events = waiting(node).into_iter();
        let clock = |event: OutboxEvent| {
            let document = json::parse(&event.value).unwrap();
            String::from_utf8(document.root().get("vector_clock").unwrap().canonical()).unwrap()
        };
        events.map(clock).collect()
    };
    let clock = |entries: &[(&str, u64)]| {
        let mut entries: Vec<String> = entries.iter().map(|(name, n)| format!("\"{name}\":{n}")).collect();
        entries.sort();
        format!("{{{}}}", entries.join(","))
    };
    let (first, second) = (first.to_string(), second.to_string());
    assert_eq!(clocks(&two), [clock(&[(&second, 1)]), clock(&[(&first, 1), (&second, 2)])]);
    let by_token = |accepted: &Accepted| Seen::Token(accepted.token.encode());
    let stale = refusal(&two, update("m", r#"{"content":"x"}"#).with_seen(by_token(&common)));
    assert!(matches!(stale, Refusal::Stale(_)), "{stale:?}");
    accept(&two, update("m", r#"{"content":"x"}"#).with_seen(by_token(&own)));
    assert_eq!(clocks(&two)[2], clock(&[(&first, 1), (&second, 3)]));
    assert!(!clocks(&two).concat().contains(&old));

    // Resolved, nothing of it is pending.
    apply(&two, 0, 0, resolved("m", "u", "x", &clock(&[(&first, 1)]), ""));
    assert!(block_on(two.read("m", None)).unwrap().unwrap().is_pending);
    two.journal().mark_published(3).unwrap();
    apply(&two, 0, 1, resolved("m", "u", "x", &clock(&[(&first, 1), (&second, 3)]), ""));
    assert!(!block_on(two.read("m", None)).unwrap().unwrap().is_pending);
}
