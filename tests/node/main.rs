//! Nodes on a real broker: folders that are copied and rolled back, a process that is killed, a
//! broker that is away, and two nodes that see each other's writes through `helixstream run`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod ahead;
mod apart;
mod boot;
mod chaos;
mod command;
mod copies;
mod events;
mod expiry;
mod go_client;
mod killed;
mod mcp;
mod mem0;
mod merge;
mod nodes;
mod python_client;
mod steps;
mod stopped;
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod sync;
mod tokens;
mod trial;

use std::collections::BTreeSet;

use command::NodeProcess;
use memory::event::{Limits, decode};
use node::Node;
use node::registry::{NodeState, NodesTopic};
use serde_json::Value;
use stream::Stream;
use testkit::process::temp_dir;
use testkit::{Broker, LIMIT, tools, wait_for, wait_until};
use trial::{Trial, copy, open, publish_all, read, wait_until_published, write};

#[test]
fn two_copies_of_a_folder_that_write_offline_lose_nothing_and_share_no_counter() {
    let broker = Broker::shared();
    let trial = Trial::new("copies", broker);
    let stream = Stream::start(&trial);
    let folder = temp_dir("node");
    let mut accepted = BTreeSet::new();
    let mut add = |event_id: String| assert!(accepted.insert(event_id));
    {
        // One event is published before the folder is copied, and two are not.
        let node = open(&folder, "agent");
        add(write(&node, "m1", "published").event_id);
        publish_all(&trial, &node);
        add(write(&node, "m1", "before the copy").event_id);
        add(write(&node, "m2", "before the copy").event_id);
        node.stop();
    }
    let (one, two) = (open(&copy(&folder), "agent"), open(&folder, "agent"));
    for n in 0..20 {
        add(write(&one, &format!("m{}", n % 3), &format!("one {n}")).event_id);
        add(write(&two, &format!("m{}", n % 4), &format!("two {n}")).event_id);
    }
    let followers = [trial.follower(&one), trial.follower(&two)];
    let publishers = [trial.publisher(one.journal()), trial.publisher(two.journal())];
    for node in [&one, &two] {
        wait_until_published(node);
        add(write(node, "m1", "connected").event_id);
        wait_until_published(node);
    }
    for publisher in publishers {
        publisher.stop(LIMIT);
    }
    // Not before: a node that has published all may learn only at its end that it is fenced.
    let actors = [&one, &two].map(|node| node.journal().identity().unwrap().actor);
    assert_ne!(actors[0], actors[1]);
    let published: BTreeSet<String> = trial.events(broker).into_keys().collect();
    assert_eq!(published, accepted);
    stream.assert_resolved(broker, &trial, &[&one, &two]);
    let nodes = NodesTopic::new(trial.kafka()).read_nodes(LIMIT).unwrap();
    for actor in &actors {
        let node = nodes.iter().find(|node| node.record.actor == *actor).unwrap();
        assert_eq!((node.record.state.clone(), node.record.outbox_depth), (NodeState::Stopped, 0));
    }
    followers.into_iter().for_each(|follower| drop(follower.stop(LIMIT)));
    stream.stop();
}

#[test]
fn a_folder_that_was_rolled_back_rewrites_nothing_that_was_published() {
    let broker = Broker::shared();
    let trial = Trial::new("rollback", broker);
    let stream = Stream::start(&trial);
    let folder = temp_dir("node");
    let node = open(&folder, "agent");
    let mut accepted: BTreeSet<String> = (0..3).map(|n| write(&node, "m", &format!("{n}")).event_id).collect();
    node.stop();
    let backup = copy(&folder);
    let node = open(&folder, "agent");
    accepted.insert(write(&node, "m", "after the backup").event_id);
    publish_all(&trial, &node);
    let lost = node.journal().identity().unwrap().actor;
    node.stop();
    let node = open(&backup, "agent");
    accepted.insert(write(&node, "m", "after the roll-back").event_id);
    publish_all(&trial, &node);
    assert_ne!(node.journal().identity().unwrap().actor, lost);
    assert_eq!(trial.events(broker).into_keys().collect::<BTreeSet<_>>(), accepted);
    let follower = trial.follower(&node);
    stream.assert_resolved(broker, &trial, &[&node]);
    let nodes = NodesTopic::new(trial.kafka()).read_nodes(LIMIT).unwrap();
    let replaced = nodes.iter().find(|node| node.record.actor == lost).unwrap();
    assert!(matches!(replaced.record.state, NodeState::Replaced { .. }), "{replaced:?}");
    assert_eq!(replaced.record.published.counter, 4);
    follower.stop(LIMIT);
    stream.stop();
}

#[test]
fn writes_are_accepted_while_the_broker_is_away_and_published_when_it_is_back() {
    let broker = Broker::start();
    let trial = Trial::with_topics("away", &broker);
    let node = open(&temp_dir("node"), "agent");
    let publisher = trial.publisher(node.journal());
    let before = write(&node, "m", "before");
    wait_until_published(&node);
    broker.kill();
    let during: Vec<String> = (0..50).map(|n| write(&node, "m", &format!("away {n}")).event_id).collect();
    wait_until("the outage to be seen", || !publisher.status().is_connected);
    broker.restart();
    wait_until_published(&node);
    publisher.stop(LIMIT);
    let accepted: BTreeSet<String> = during.into_iter().chain([before.event_id]).collect();
    assert_eq!(trial.events(&broker).into_keys().collect::<BTreeSet<_>>(), accepted);
}

#[test]
fn a_node_shows_what_another_one_has_written_after_the_stream_has_resolved_it() {
    let broker = Broker::shared();
    let trial = Trial::new("stream", broker);
    let stream = Stream::start_with(&trial, &["max_value_bytes=4096"]);
    let process = NodeProcess::start(&trial, "c");
    let (a, b) = (open(&temp_dir("node"), "a"), open(&temp_dir("node"), "b"));
    let loops = [&a, &b].map(|node| (trial.publisher(node.journal()), trial.follower(node)));
    write(&a, "m", "by a");
    assert!(read(&a, "m").unwrap().is_pending);
    let seen = wait_for("b to show the write of a", || read(&b, "m"));
    assert!(String::from_utf8(seen.json).unwrap().contains("\"content\":\"by a\""));
    write(&b, "m", "by b, who has seen a");
    wait_until("both to show the second write, resolved", || {
        let shown = [&a, &b].map(|node| read(node, "m").unwrap());
        shown.iter().all(|memory| !memory.is_pending && String::from_utf8_lossy(&memory.json).contains("by b"))
            && shown[0].json == shown[1].json
    });
    // A follower counts what it has applied a moment after the node shows it.
    wait_until("both to have counted both", || loops.iter().all(|(_, follower)| follower.status().followed >= 2));
    a_process_shows_and_writes_the_same_memory(process, &b);

    // Kafka's own consumer reads the events, and the decoder of the stream accepts them.
    let (events, class) = (trial.topic("events"), "org.apache.kafka.tools.consumer.ConsoleConsumer");
    let limits = ["--from-beginning", "--max-messages", "3", "--timeout-ms", "60000"];
    let committed = ["--command-property", "isolation.level=read_committed"];
    let said = tools::run(
        class,
        &[&["--bootstrap-server", &trial.bootstrap, "--topic", &events], &limits[..], &committed].concat(),
    );
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(lines.len(), 3, "{said}");
    for line in lines {
        decode(Some(line.as_bytes()), 1, &Limits::default()).unwrap();
    }
    for (publisher, follower) in loops {
        publisher.stop(LIMIT);
        follower.stop(LIMIT);
    }
    stream.stop();
}

/// `helixstream node` shows what the library `node` shows; a write over HTTP reaches that node; the
/// process publishes and follows, and ends in good order.
fn a_process_shows_and_writes_the_same_memory(process: NodeProcess, node: &Node) {
    let shown = wait_for("the process to show the second write", || {
        process.memory("m").filter(|answer| answer["memory"]["content"] == "by b, who has seen a")
    });
    assert_eq!(shown["pending"], false);
    assert_eq!(shown["memory"], serde_json::from_slice::<Value>(&read(node, "m").unwrap().json).unwrap());
    let written = process.patch("m", shown["clock"].as_str().unwrap(), r#"{"content":"by c, over HTTP"}"#);
    assert_eq!((&written["assumed"], &written["event"]["state"]), (&false.into(), &"published".into()), "{written}");
    wait_until("the node to show the write of the process, without a conflict", || {
        let memory: Value = serde_json::from_slice(&read(node, "m").unwrap().json).unwrap();
        memory["content"] == "by c, over HTTP" && memory["conflicted_fields"] == serde_json::json!([])
    });
    let metrics = process.page("/metrics").unwrap();
    assert!(metrics.contains("\nhelixstream_node_published_events_total 1\n"), "{metrics}");
    an_event_that_the_stream_cannot_process_is_shown_as_failed(&process);
    process.process.terminate().assert_ended_well();
}

/// The stream of this test takes smaller events than the node.
fn an_event_that_the_stream_cannot_process_is_shown_as_failed(process: &NodeProcess) {
    let content = |text: &str| format!(r#"{{"memory_id":"large","content":"{text}"}}"#);
    process.send("POST", "/v1/memories", &["-d", &content(&"x".repeat(5000))]);
    let events = wait_for("the dead letter", || {
        process.json("/v1/memories/large/events").filter(|found| found["events"][0]["state"] == "failed")
    });
    assert!(events["events"][0]["reason"].as_str().unwrap().contains("(too_large)"), "{events}");
    assert_eq!(process.memory("large"), None);
    let status = process.json("/v1/sync/status").unwrap();
    assert_eq!((&status["failed"], &status["dead_letters"]), (&1.into(), &1.into()), "{status}");
    assert!(status["consumed"].as_u64().unwrap() >= 3, "two writes of others and one of its own: {status}");
    assert!(process.page("/metrics").unwrap().contains("\nhelixstream_node_dead_letters_total 1\n"));
    process.send("POST", "/v1/memories", &["-d", &content("small")]);
    wait_until("the next event to be resolved", || {
        process.memory("large").is_some_and(|answer| answer["pending"] == false)
    });
}
