//! The publisher over a Kafka in memory: the hard cases.

mod copies;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use streams::error::Error;
use testkit::{LIMIT, wait_until};

use super::{Publisher, PublisherSettings};
use crate::kafka::transactional_id;
use crate::memory_journal::{JournalEventState, MemoryJournal};
use crate::memory_kafka::{MemoryKafka, Stored};
use crate::ports::Journal;
use crate::registry::{Liveness, NodeState, NodesTopic, RegisteredNode, now_ms};

const EVENTS: &str = "helixagent.memory.events";
const NODES: &str = "helixagent.memory.nodes";

fn publisher(kafka: &MemoryKafka, journal: &Arc<MemoryJournal>) -> Publisher {
    publisher_with(kafka, journal, Duration::from_millis(20))
}

/// A publisher that waits so long for a sign of the process that has fenced it.
fn publisher_with(kafka: &MemoryKafka, journal: &Arc<MemoryJournal>, departure_patience: Duration) -> Publisher {
    let nodes = Arc::new(NodesTopic::new(kafka.clients()));
    let heartbeat_interval = Duration::from_millis(10);
    let settings =
        PublisherSettings { max_records: 2, heartbeat_interval, departure_patience, ..PublisherSettings::default() };
    Publisher::start(kafka.clients(), nodes, journal.clone(), settings).unwrap()
}

fn pending(journal: &MemoryJournal) -> usize {
    journal.states().iter().filter(|(_, state)| *state == JournalEventState::Pending).count()
}

/// Runs a publisher until nothing is pending, and ends it in good order.
fn publish_all(kafka: &MemoryKafka, journal: &Arc<MemoryJournal>) -> super::PublisherStatus {
    let running = publisher(kafka, journal);
    wait_until("all events to be decided", || pending(journal) == 0 && running.status().is_connected);
    running.stop(LIMIT)
}

fn nodes(kafka: &MemoryKafka) -> Vec<RegisteredNode> {
    NodesTopic::new(kafka.clients()).read_nodes(LIMIT).unwrap()
}

/// Event ids of the topic, each with its values; no event has two, and no actor a counter twice.
fn published(kafka: &MemoryKafka) -> Vec<String> {
    let mut by_id: BTreeMap<String, String> = BTreeMap::new();
    let mut by_counter: BTreeMap<String, String> = BTreeMap::new();
    for record in kafka.committed_records(EVENTS) {
        let value = String::from_utf8(record.value.unwrap()).unwrap();
        if let Some(id) = value.strip_prefix("sync ") {
            by_id.insert(id.to_owned(), value.clone());
            continue;
        }
        let document = json::parse(value.as_bytes()).unwrap();
        let text = |name: &str| document.root().get(name).unwrap().as_str().unwrap().to_owned();
        let (id, actor) = (text("event_id"), text("node_id"));
        let counter = document.root().get("vector_clock").unwrap().get(&actor).unwrap().number_text().unwrap();
        let known = by_id.insert(id.clone(), value.clone());
        assert!(known.is_none_or(|known| known == value), "event {id} has two values");
        let actor_and_counter = format!("{actor} {counter}");
        let known = by_counter.insert(actor_and_counter.clone(), id.clone());
        assert!(known.is_none_or(|known| known == id), "{actor_and_counter} is of two events");
    }
    by_id.into_keys().collect()
}

/// The sync requests of the topic, each as often as it was sent.
fn sync_requests(kafka: &MemoryKafka) -> Vec<String> {
    let values = kafka.committed_records(EVENTS).into_iter().map(|record| String::from_utf8(record.value.unwrap()));
    let mut ids: Vec<String> =
        values.filter_map(|value| value.unwrap().strip_prefix("sync ").map(str::to_owned)).collect();
    ids.sort_unstable();
    ids
}

fn journal_with(seed: u128, ids: &[&str]) -> Arc<MemoryJournal> {
    let journal = MemoryJournal::new(seed);
    ids.iter().for_each(|id| journal.write(id));
    journal
}

#[test]
fn events_are_published_once_with_the_nodes_record_and_it_stops() {
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", "b", "c", "d", "e"]));
    let status = publish_all(&kafka, &journal);
    assert_eq!((status.events, status.refused, status.incarnations), (5, 0, 0));
    assert_eq!(kafka.committed_records(EVENTS).len(), 5);
    let identity = journal.identity().unwrap();
    let [node] = &nodes(&kafka)[..] else { panic!("one node is registered") };
    assert_eq!(node.record.actor, identity.actor);
    assert_eq!((node.record.published.counter, node.record.published.chain), (5, identity.chain));
    assert_eq!((node.record.state.clone(), node.record.outbox_depth), (NodeState::Stopped, 0));
    assert_eq!(node.liveness(i64::MAX), Liveness::Stopped);

    // It is back, and sends nothing again.
    journal.write("f");
    assert_eq!(publish_all(&kafka, &journal).events, 1);
    assert_eq!(kafka.committed_records(EVENTS).len(), 6);
}

#[test]
fn sync_requests_go_with_the_events_and_count_for_nothing() {
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", "b", "c"]));
    ["r", "s"].iter().for_each(|id| journal.request(id));
    let status = publish_all(&kafka, &journal);
    assert_eq!((status.events, status.sync_requests, status.incarnations), (3, 2, 0));
    assert_eq!((sync_requests(&kafka), journal.requests()), (vec!["r".to_owned(), "s".to_owned()], Vec::new()));
    let [node] = &nodes(&kafka)[..] else { panic!("one node is registered") };
    assert_eq!((node.record.published.counter, node.record.published.chain), (3, journal.identity().unwrap().chain));

    // Without an event, too.
    journal.request("t");
    assert_eq!(publish_all(&kafka, &journal).sync_requests, 1);
    assert_eq!(sync_requests(&kafka), ["r", "s", "t"]);
    assert_eq!(nodes(&kafka)[0].record.published.counter, 3);
}

#[test]
fn a_sync_request_is_sent_until_a_transaction_with_it_is_known_to_be_committed() {
    for (step, sent) in [("before commit", 1), ("after commit", 2)] {
        let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
        journal.request("r");
        kafka.hook(step, |_| Ok(()));
        kafka.hook(step, |_| Err(Error::ProducerLost("no answer to the commit".to_owned())));
        publish_all(&kafka, &journal);
        assert_eq!((sync_requests(&kafka).len(), journal.requests().len()), (sent, 0), "{step}");
    }
}

#[test]
fn a_refused_sync_request_blocks_nothing() {
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", "b", "c"]));
    kafka.refuse("sync refused");
    ["refused", "r"].iter().for_each(|id| journal.request(id));
    let status = publish_all(&kafka, &journal);
    assert_eq!((status.events, status.sync_requests, status.refused, status.failures), (3, 1, 0, 0));
    assert_eq!((sync_requests(&kafka), journal.dropped()), (vec!["r".to_owned()], vec!["refused".to_owned()]));
}

#[test]
fn heartbeats_go_on_without_events() {
    let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
    let running = publisher(&kafka, &journal);
    wait_until("heartbeats", || running.status().transactions > 3);
    assert_eq!(nodes(&kafka)[0].record.state, NodeState::Running);
    running.stop(LIMIT);
    assert!(kafka.committed_records(NODES).len() > 4);
}

#[test]
fn a_commit_of_unknown_outcome_is_cleared_up_by_the_record() {
    for step in ["before commit", "after commit"] {
        let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", "b", "c"]));
        // The first commit is that of the record alone.
        kafka.hook(step, |_| Ok(()));
        kafka.hook(step, |_| Err(Error::ProducerLost("no answer to the commit".to_owned())));
        let status = publish_all(&kafka, &journal);
        assert_eq!((status.failures, status.incarnations), (1, 0), "{step}");
        assert_eq!(kafka.committed_records(EVENTS).len(), 3, "{step}");
        published(&kafka);
    }
}

#[test]
fn a_fenced_publisher_becomes_a_new_incarnation_and_never_takes_its_id_back() {
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", "b", "c"]));
    let old = journal.identity().unwrap().actor;
    let id = transactional_id(&old.incarnation);
    let other = id.clone();
    kafka.hook("before commit", |_| Ok(()));
    kafka.hook("before commit", move |kafka| {
        kafka.init(&other);
        Ok(())
    });
    let status = publish_all(&kafka, &journal);
    assert_eq!(status.incarnations, 1);
    assert_eq!(kafka.epoch(&id), 3, "by the publisher, by the other process, and to close the incarnation");
    assert_eq!(published(&kafka), ["a", "b", "c"]);
    assert!(
        kafka
            .committed_records(EVENTS)
            .iter()
            .all(|record| { !String::from_utf8_lossy(record.value.as_deref().unwrap()).contains(&old.to_string()) })
    );
}

#[test]
fn a_publisher_that_was_fenced_after_its_commit_writes_nothing_again() {
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", "b", "c"]));
    kafka.hook("after commit", |_| Ok(()));
    kafka.hook("after commit", |_| Err(Error::Fenced("the answer to the commit was lost".to_owned())));
    publish_all(&kafka, &journal);
    assert_eq!(published(&kafka), ["a", "b", "c"]);
    assert_eq!(kafka.committed_records(EVENTS).len(), 3);
}

#[test]
fn a_copy_and_its_original_lose_nothing_and_share_no_counter() {
    // Both know a to c, of which a is published; each writes two of its own while Kafka is away.
    let (kafka, original) = (MemoryKafka::start(), journal_with(1, &["a"]));
    publish_all(&kafka, &original);
    ["b", "c"].iter().for_each(|id| original.write(id));
    let copy = original.copy();
    ["d", "e"].iter().for_each(|id| original.write(id));
    ["f", "g"].iter().for_each(|id| copy.write(id));
    let (one, two) = (publisher_with(&kafka, &original, LIMIT), publisher_with(&kafka, &copy, LIMIT));
    wait_until("all events to be decided", || pending(&original) + pending(&copy) == 0);
    one.stop(LIMIT);
    two.stop(LIMIT);
    assert_eq!(published(&kafka), ["a", "b", "c", "d", "e", "f", "g"]);
    assert_ne!(original.identity().unwrap().actor, copy.identity().unwrap().actor);
}

#[test]
fn a_folder_that_was_rolled_back_goes_on_as_a_new_incarnation() {
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", "b", "c"]));
    let backup = journal.copy();
    journal.write("d");
    publish_all(&kafka, &journal);
    backup.write("x");
    let status = publish_all(&kafka, &backup);
    assert_eq!((status.incarnations, status.events), (1, 1));
    assert_eq!(published(&kafka), ["a", "b", "c", "d", "x"]);
    let states: Vec<NodeState> = nodes(&kafka).into_iter().map(|node| node.record.state).collect();
    let successor = backup.identity().unwrap().actor;
    assert!(states.contains(&NodeState::Replaced { successor }), "{states:?}");

    // Another copy of the given-up folder does not go on as it, though it knows all of it.
    let late = journal.copy();
    assert_eq!(publish_all(&kafka, &late).incarnations, 1);
    assert_eq!(published(&kafka), ["a", "b", "c", "d", "x"]);
}

#[test]
fn a_refused_event_blocks_nothing() {
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", "refused", "c", "d"]));
    kafka.refuse("\"refused\"");
    let copy = journal.copy();
    let status = publish_all(&kafka, &journal);
    assert_eq!((status.events, status.refused, status.failures), (3, 1, 0));
    assert_eq!(published(&kafka), ["a", "c", "d"]);
    assert_eq!(journal.states()[1], ("refused".to_owned(), JournalEventState::Failed));
    // A copy from before learns it from the topic.
    publish_all(&kafka, &copy);
    assert_eq!(copy.states(), journal.states());
    assert_eq!(kafka.committed_records(EVENTS).len(), 3);
}

#[test]
fn a_batch_that_is_too_large_is_sent_in_smaller_ones_and_a_record_that_is_too_large_is_refused() {
    let long = "l".repeat(600);
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", &long, "c"]));
    kafka.limit_batches(100);
    let running = publisher(&kafka, &journal);
    // The record of the node itself is larger than that, which is for a person to mend.
    wait_until("the failure", || running.status().last_error.is_some_and(|text| text.contains("HS8025")));
    kafka.limit_batches(590);
    wait_until("the events", || pending(&journal) == 0);
    let status = running.stop(LIMIT);
    assert_eq!((status.events, status.refused), (2, 1));
    assert_eq!(published(&kafka), ["a", "c"]);
}

#[test]
fn an_outage_pauses_and_a_topic_that_is_missing_is_waited_for() {
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", "b"]));
    for _ in 0..2 {
        kafka.hook("identities", |_| Err(Error::Retry("no broker is there".to_owned())));
        kafka.hook("create", |_| Err(Error::Fatal("the principal lacks a right [HS2030]".to_owned())));
    }
    journal.fail(1);
    let status = publish_all(&kafka, &journal);
    assert_eq!(published(&kafka), ["a", "b"]);
    assert_eq!((status.failures, status.last_error), (5, None));
}

#[test]
fn a_record_of_this_node_that_cannot_be_read_is_not_taken_for_none() {
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a"]));
    kafka.make_topic(NODES, 1);
    let partition = streams::record::TopicPartition::new(NODES, 0);
    let key = Some(journal.identity().unwrap().actor.to_string().into_bytes());
    let value = Some(br#"{"schema_version":2}"#.to_vec());
    kafka.append(&partition, Stored { key: key.clone(), value, ..Stored::default() });
    let running = publisher(&kafka, &journal);
    wait_until("the failure", || running.status().last_error.is_some_and(|text| text.contains("HS8027")));
    assert_eq!(kafka.committed_records(EVENTS), []);
    // A person has deleted it.
    kafka.append(&partition, Stored { key, ..Stored::default() });
    wait_until("the event", || pending(&journal) == 0);
    running.stop(LIMIT);
}

#[test]
fn a_topic_of_nodes_that_was_made_anew_gets_the_record_again() {
    let (kafka, journal) = (MemoryKafka::start(), journal_with(1, &["a", "b"]));
    publish_all(&kafka, &journal);
    kafka.make_topic(NODES, 3);
    journal.write("c");
    assert_eq!(publish_all(&kafka, &journal).incarnations, 0);
    assert_eq!(published(&kafka), ["a", "b", "c"]);
    assert_eq!(nodes(&kafka)[0].record.published.counter, 3);
}

#[test]
fn the_record_of_an_event_whose_time_is_refused_has_an_earlier_one_and_nothing_fails() {
    const HOUR_MS: i64 = 3_600_000;
    for hours in [1, 5, 1000] {
        // The clock of this machine is ahead of what the broker accepts by so many hours.
        let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
        let now = now_ms();
        let latest = now - hours * HOUR_MS;
        kafka.limit_times(Some(latest));
        ["a", "b", "c", "d", "e"].iter().for_each(|id| journal.write_at(id, now));
        journal.request("r");
        let status = publish_all(&kafka, &journal);
        assert_eq!((status.events, status.sync_requests, status.refused, status.incarnations), (5, 1, 0, 0));
        assert_eq!(published(&kafka), ["a", "b", "c", "d", "e", "r"]);
        assert_eq!(sync_requests(&kafka), ["r"]);
        for record in kafka.committed_records(EVENTS) {
            let behind = latest - record.timestamp_ms;
            // An event of 1970 keeps its time until another one is refused.
            assert!((0..=HOUR_MS).contains(&behind) || record.timestamp_ms == 1, "{behind} ms, {hours} hours");
        }
    }
}

#[test]
fn where_no_time_is_accepted_the_events_wait_and_the_error_names_the_clock() {
    let (kafka, journal) = (MemoryKafka::start(), MemoryJournal::new(1));
    kafka.limit_times(Some(0));
    journal.write_at("a", now_ms());
    let running = publisher(&kafka, &journal);
    wait_until("the search to end", || {
        running
            .status()
            .last_error
            .is_some_and(|error| error.contains("the clock of this machine") && error.contains("HS8028"))
    });
    assert_eq!(pending(&journal), 1);
    kafka.limit_times(None);
    wait_until("the event to be published", || pending(&journal) == 0);
    assert_eq!(running.stop(LIMIT).refused, 0);
    assert_eq!(journal.states(), [("a".to_owned(), JournalEventState::Published)]);
}
