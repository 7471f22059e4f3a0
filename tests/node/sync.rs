//! Nodes that have missed records, or have lost their folder: sync requests, and user snapshots
//! that are brought back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{TryRecvError, channel};

use futures::executor::block_on;
use node::write::{Fields, MemoryWrite, WriteKind};
use node::{Node, NodeSettings, Subscription};
use streams::offset::Offset;
use streams::ports::Deletion;
use streams::record::TopicPartition;
use testkit::process::temp_dir;
use testkit::{Broker, LIMIT, records, wait_for, wait_until};

use crate::command::NodeProcess;
use crate::stream::{Stream, has_type};
use crate::trial::{Trial, open, read, view, wait_until_published};

/// Writes fields of a memory, by somebody who has seen what the node shows.
fn update(node: &Node, id: &str, fields: &str) {
    let fields = Fields::from_json(fields.as_bytes()).unwrap();
    block_on(node.write(MemoryWrite::new(id, WriteKind::Update, fields))).unwrap();
}

fn selected(users: &[&str]) -> Subscription {
    let users = users.iter().map(|user| (*user).to_owned()).collect();
    Subscription::Selected { users, sessions: BTreeSet::new() }
}

fn open_with(folder: &std::path::Path, name: &str, subscription: Subscription) -> Node {
    let settings = NodeSettings::new(folder, name.parse().unwrap());
    Node::open(NodeSettings { subscription, ..settings }).unwrap()
}

/// The memories of some users, as a node that subscribes to these shows them.
fn of_users(all: &BTreeMap<String, Vec<u8>>, users: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let is_theirs = |json: &[u8]| {
        let memory: serde_json::Value = serde_json::from_slice(json).unwrap();
        memory["user_id"].as_str().is_some_and(|user| users.contains(&user))
    };
    all.iter().filter(|(_, json)| is_theirs(json)).map(|(id, json)| (id.clone(), json.clone())).collect()
}

/// What retention does: drops all records that the snapshots topic has now.
fn delete_snapshots(trial: &Trial) {
    let kafka = trial.kafka();
    let partitions = kafka.admin.identities(&[&*kafka.topics.snapshots]).unwrap()[0].clone().unwrap().partitions;
    let ends = (0..partitions).map(|partition| {
        let partition = TopicPartition::new(kafka.topics.snapshots.clone(), partition);
        let end = kafka.admin.log_range(&partition).unwrap().end;
        (partition, end)
    });
    let ends: Vec<_> = ends.filter(|(_, end)| *end > Offset::FIRST).collect();
    assert!(!ends.is_empty());
    assert!(matches!(kafka.admin.delete_records(&ends).unwrap(), Deletion::Done));
}

#[test]
fn nodes_whose_records_are_gone_or_were_left_out_ask_for_them() {
    let trial = Trial::new("sync", Broker::shared());
    let stream = Stream::start(&trial);
    let a = open(&temp_dir("node"), "a");
    let of_a = (trial.publisher(a.journal()), trial.follower(&a));
    // A node that has read everything, and keeps the memories of one user.
    let folder = temp_dir("node");
    let narrow = open_with(&folder, "narrow", selected(&["u"]));
    let of_narrow = trial.follower(&narrow);
    for n in 0..12 {
        let user = ["u", "v", "w"][n % 3];
        update(&a, &format!("m{n}"), &format!(r#"{{"content":"{n}","user_id":"{user}"}}"#));
    }
    block_on(a.write(MemoryWrite::new("m1", WriteKind::Delete, Fields::new()))).unwrap();
    let resolved = wait_for("the stream to resolve everything", || view(&a).filter(|view| view.len() == 12));
    wait_until("the narrow node to follow", || view(&narrow) == Some(of_users(&resolved, &["u"])));
    a_client_asks_for_one_user(&trial, &resolved);
    of_narrow.stop(LIMIT);
    narrow.stop();
    delete_snapshots(&trial);

    // A new node asks for all by itself.
    let b = open(&temp_dir("node"), "b");
    let of_b = (trial.publisher(b.journal()), trial.follower(&b));
    wait_until("the new node to catch up", || view(&b).as_ref() == Some(&resolved));
    assert!(of_b.1.status().catch_ups > 0 && of_b.0.status().sync_requests > 0);
    // Another subscription fetches what is new in it.
    let narrow = open_with(&folder, "narrow", selected(&["u", "v"]));
    let of_narrow = (trial.publisher(narrow.journal()), trial.follower(&narrow));
    wait_until("the memories of the other user", || view(&narrow) == Some(of_users(&resolved, &["u", "v"])));

    for (publisher, follower) in [of_a, of_b, of_narrow] {
        publisher.stop(LIMIT);
        follower.stop(LIMIT);
    }
    stream.stop();
}

/// By HTTP, and the stream answers with the memories of this user alone.
fn a_client_asks_for_one_user(trial: &Trial, resolved: &BTreeMap<String, Vec<u8>>) {
    let process = NodeProcess::start_with(trial, "process", &["--subscribe-sessions", "s"]);
    let asked = process.send("POST", "/v1/sync/force?user_id=u", &[]);
    assert_eq!((&asked["user_id"], &asked["repeated"]), (&"u".into(), &false.into()), "{asked}");
    let id = asked["request_id"].as_str().unwrap();
    let events = || records::read_committed(Broker::shared(), &trial.topic("events"));
    let request = wait_for("the request", || events().into_iter().find(|record| record.key_text() == id));
    let node = request.value_json()["node_id"].as_str().unwrap().to_owned();
    let is_for = |record: &testkit::Record| {
        record.headers.iter().any(|(name, value)| name == "sync_for" && value.as_deref() == Some(node.as_bytes()))
    };
    let expected: BTreeSet<String> = of_users(resolved, &["u"]).into_keys().collect();
    wait_until("the answer", || {
        let records = records::read_committed(Broker::shared(), &trial.topic("snapshots"));
        let answered: BTreeSet<String> =
            records.iter().filter(|record| is_for(record)).map(testkit::Record::key_text).collect();
        answered == expected
    });
    let metrics = process.page("/metrics").unwrap();
    for line in ["\nhelixstream_node_sync_requests_total 1\n", "\nhelixstream_node_catch_ups_total 0\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    process.process.terminate().assert_ended_well();
}

#[test]
fn a_snapshot_is_restored_while_the_memories_of_its_user_change() {
    let broker = Broker::shared();
    let trial = Trial::new("restore", broker);
    let stream = Stream::start_with(&trial, &["snapshot_changes=5"]);
    let a = open(&temp_dir("node"), "a");
    let of_a = (trial.publisher(a.journal()), trial.follower(&a));
    let content = |node: &Node, n: usize, text: &str| {
        update(node, &format!("m{n}"), &format!(r#"{{"content":"{text} {n}","user_id":"u","tags":["{text}"]}}"#));
    };
    (0..20).for_each(|n| content(&a, n, "first"));
    let snapshot = wait_for("a snapshot of the user", || {
        let has_ten = |record: &testkit::Record| record.value_json()["memories"].as_array().unwrap().len() >= 10;
        let mut records = records::read_committed(broker, &trial.topic("snapshots")).into_iter();
        records.rfind(|record| has_type(record, b"user.snapshot") && has_ten(record))
    });
    let snapshot = snapshot.value.unwrap();

    // This one keeps the user's memories alone, and forgets one that goes to somebody else.
    let narrow = open_with(&temp_dir("node"), "narrow", selected(&["u"]));
    let of_narrow = (trial.publisher(narrow.journal()), trial.follower(&narrow));
    let in_snapshot: serde_json::Value = serde_json::from_slice(&snapshot).unwrap();
    let moved = in_snapshot["memories"][0]["memory_id"].as_str().unwrap();
    let deleted = in_snapshot["memories"][1]["memory_id"].as_str().unwrap();
    wait_until("the narrow node to follow", || read(&narrow, moved).is_some());
    update(&a, moved, r#"{"user_id":"v"}"#);
    block_on(a.write(MemoryWrite::new(deleted, WriteKind::Delete, Fields::new()))).unwrap();
    wait_until("the memory to be forgotten", || read(&narrow, moved).is_none());

    let fresh = open(&temp_dir("node"), "fresh");
    let publisher_of_fresh = trial.publisher(fresh.journal());
    let changing: Vec<usize> = (0..20).filter(|n| ![moved, deleted].contains(&format!("m{n}").as_str())).collect();
    let follower_of_fresh = std::thread::scope(|scope| {
        // The writers begin before the first restore, and go on until both are done or have failed.
        let ((begun, beginning), (restoring, restored)) = (channel(), channel::<()>());
        let (a, narrow, changing, content) = (&a, &narrow, &changing, &content);
        scope.spawn(move || {
            for (writes, n) in changing.iter().cycle().enumerate() {
                if writes >= 12 * changing.len() && restored.try_recv() == Err(TryRecvError::Disconnected) {
                    return;
                }
                content(a, *n, "again");
                content(narrow, *n, "by the narrow node");
                // Nobody waits for the later ones.
                let _ = begun.send(());
            }
        });
        beginning.recv_timeout(LIMIT).unwrap();
        let done = block_on(fresh.restore(snapshot.clone(), Box::new(()))).unwrap();
        assert_eq!(done.restored, done.memories, "it had nothing");
        assert!(read(&fresh, moved).is_some_and(|memory| !memory.is_pending));
        let follower = trial.follower(&fresh);
        let done = block_on(narrow.restore(snapshot.clone(), Box::new(()))).unwrap();
        assert!(done.restored > 0, "it had forgotten one");
        drop(restoring);
        follower
    });
    [&a, &narrow].into_iter().for_each(wait_until_published);
    wait_until("the requests to be sent", || {
        [&fresh, &narrow].iter().all(|node| block_on(node.status()).unwrap().sync_requests == 0)
    });

    let expected = stream.replay(broker, &trial);
    assert_eq!(expected.len(), 20);
    wait_until("both nodes to show what replay makes of the events", || {
        view(&fresh).as_ref() == Some(&expected) && view(&a).as_ref() == Some(&expected)
    });
    wait_until("the narrow node to show the memories of its user", || {
        view(&narrow).as_ref() == Some(&of_users(&expected, &["u"]))
    });
    for (publisher, follower) in [of_a, of_narrow, (publisher_of_fresh, follower_of_fresh)] {
        publisher.stop(LIMIT);
        follower.stop(LIMIT);
    }
    stream.stop();
}
