//! Nodes that do not see each other: the network between them and Kafka is cut, or their clocks are
//! far apart.

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use node::settings::system_clock;
use node::write::{Accepted, Fields, MemoryWrite, Seen, WriteKind};
use node::{Node, NodeSettings};
use serde_json::{Value, json};
use testkit::broker::More;
use testkit::process::temp_dir;
use testkit::{Broker, LIMIT, Proxy, ports, wait_for, wait_until};

use crate::command::NodeProcess;
use crate::stream::Stream;
use crate::trial::{Trial, read, view};

/// A broker with a listener more for each of two proxies, which are all that clients behind them
/// ever see of it.
fn broker_behind_proxies() -> (Broker, [(Proxy, u16); 2]) {
    let [listen_a, listen_b, via_a, via_b] = [(); 4].map(|()| ports::free_port());
    let properties = format!(
        "listeners=PLAINTEXT://localhost:{{client}},A://localhost:{listen_a},B://localhost:{listen_b},CONTROLLER://localhost:{{controller}}
advertised.listeners=PLAINTEXT://localhost:{{client}},A://localhost:{via_a},B://localhost:{via_b}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,A:PLAINTEXT,B:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"
    );
    let broker = Broker::start_with_more(More { properties, ..More::default() });
    (broker, [(Proxy::start(via_a, listen_a), via_a), (Proxy::start(via_b, listen_b), via_b)])
}

/// A memory of a node that shows nothing of its own which is not resolved.
fn settled(node: &NodeProcess, id: &str) -> Option<Value> {
    node.memory(id).filter(|answer| answer["pending"] == false)
}

/// Writes to a memory by a client that has seen what the node shows, and returns the id of the
/// event.
fn write(node: &NodeProcess, id: &str, fields: &Value) -> String {
    let clock = node.memory(id).unwrap()["clock"].as_str().unwrap().to_owned();
    let condition = format!("If-Match: \"{clock}\"");
    let path = format!("/v1/memories/{id}");
    let answer = node.send("PATCH", &path, &["-H", &condition, "-d", &fields.to_string()]);
    assert_eq!(answer["assumed"], false, "{answer}");
    answer["event"]["event_id"].as_str().unwrap().to_owned()
}

#[test]
fn two_nodes_that_are_cut_apart_show_the_conflict_once_they_are_healed() {
    let (broker, [(to_a, port_a), (to_b, port_b)]) = broker_behind_proxies();
    let trial = Trial::new("apart", &broker);
    let stream = Stream::start(&trial);
    let behind = |port: u16| Trial { name: trial.name.clone(), bootstrap: format!("localhost:{port}") };
    let (a, b) = (NodeProcess::start(&behind(port_a), "a"), NodeProcess::start(&behind(port_b), "b"));
    let first = json!({"memory_id": "m", "user_id": "u", "content": "first", "tags": ["first"]}).to_string();
    let created = a.send("POST", "/v1/memories?ack=kafka", &["-d", &first]);
    let mut accepted = BTreeSet::from([created["event"]["event_id"].as_str().unwrap().to_owned()]);
    for node in [&a, &b] {
        wait_for("both to show the memory", || settled(node, "m"));
    }

    // The one learns that it is cut off, the other does not.
    to_a.cut();
    to_b.silence();
    for n in 0..5 {
        accepted.insert(write(&a, "m", &json!({"content": format!("by a, {n}")})));
        accepted.insert(write(&b, "m", &json!({"content": format!("by b, {n}"), "importance": 0.5})));
    }
    for (node, content) in [(&a, "by a, 4"), (&b, "by b, 4")] {
        let shown = node.memory("m").unwrap();
        assert_eq!((&shown["memory"]["content"], &shown["pending"]), (&content.into(), &true.into()), "{shown}");
        assert_eq!(shown["memory"]["conflicted_fields"], json!([]), "it has seen no conflict");
        let waiting = node.send("POST", "/v1/memories?ack=kafka&ack_timeout=1", &["-d", r#"{"content":"other"}"#]);
        assert_eq!(waiting["event"]["state"], "pending", "{waiting}");
        accepted.insert(waiting["event"]["event_id"].as_str().unwrap().to_owned());
    }

    to_a.heal();
    to_b.heal();
    let in_conflict = wait_for("both to show the conflict", || {
        let [of_a, of_b] = [&a, &b].map(|node| settled(node, "m").map(|shown| shown["memory"].clone()));
        of_a.filter(|memory| Some(memory) == of_b.as_ref() && memory["conflicted_fields"] == json!(["content"]))
    });
    assert_eq!(in_conflict["importance"], 0.5, "what nobody else has written is no conflict");
    // Somebody who has seen it decides.
    accepted.insert(write(&b, "m", &json!({"content": "decided"})));
    for node in [&a, &b] {
        wait_until("the conflict to be over", || {
            settled(node, "m").is_some_and(|shown| {
                shown["memory"]["content"] == "decided" && shown["memory"]["conflicted_fields"] == json!([])
            })
        });
        wait_until("all to be published", || node.json("/v1/sync/status").unwrap()["outbox"]["depth"] == 0);
    }
    assert_eq!(trial.events(&broker).into_keys().collect::<BTreeSet<_>>(), accepted);
    let expected = stream.replay(&broker, &trial);
    assert_eq!(expected.len(), 3);
    for (id, bytes) in &expected {
        let expected: Value = serde_json::from_slice(bytes).unwrap();
        for node in [&a, &b] {
            wait_until("both to show what replay makes of the events", || {
                settled(node, id).is_some_and(|shown| shown["memory"] == expected)
            });
        }
    }
    a.process.terminate().assert_ended_well();
    b.process.terminate().assert_ended_well();
    stream.stop();
}

const MINUTE_NS: u64 = 60_000_000_000;

fn open_at(name: &str, wall_clock: fn() -> u64) -> Node {
    Node::open(NodeSettings { wall_clock, ..NodeSettings::new(temp_dir("node"), name.parse().unwrap()) }).unwrap()
}

fn write_seen(node: &Node, id: &str, content: &str, seen: Seen) -> Accepted {
    let fields = Fields::new().with_text("content", content).unwrap().with_text("user_id", "u").unwrap();
    block_on(node.write(MemoryWrite::new(id, WriteKind::Update, fields).with_seen(seen))).unwrap()
}

/// Content and fields in conflict.
fn content(node: &Node, id: &str) -> Option<(String, Vec<String>)> {
    let shown = read(node, id).filter(|shown| !shown.is_pending)?;
    let memory: Value = serde_json::from_slice(&shown.json).unwrap();
    let conflicted = memory["conflicted_fields"].as_array().unwrap().iter();
    let conflicted = conflicted.map(|path| path.as_str().unwrap().to_owned()).collect();
    Some((memory["content"].as_str().unwrap().to_owned(), conflicted))
}

#[test]
fn nodes_with_clocks_more_than_an_hour_apart_make_no_conflict_where_they_see_each_other() {
    let broker = Broker::shared();
    let trial = Trial::new("clocks", broker);
    let stream = Stream::start(&trial);
    // A broker refuses events that are more than an hour ahead.
    let nodes = [
        open_at("ahead", || system_clock() + 50 * MINUTE_NS),
        open_at("behind", || system_clock() - 50 * MINUTE_NS),
        open_at("right", system_clock),
    ];
    let loops: Vec<_> = nodes.iter().map(|node| (trial.publisher(node.journal()), trial.follower(node))).collect();
    let all_show = |id: &str, expected: &(String, Vec<String>)| {
        wait_until(&format!("all to show {expected:?}"), || {
            nodes.iter().all(|node| content(node, id).as_ref() == Some(expected))
        });
    };

    // One after the other, each of which has seen the one before by what its node shows.
    for turn in 0..6 {
        let expected = (format!("turn {turn}"), Vec::new());
        write_seen(&nodes[turn % 3], "shown", &expected.0, Seen::Present);
        all_show("shown", &expected);
    }
    // By a client that carries its token from node to node, without waiting for any of them.
    let mut seen = Seen::Present;
    for (turn, at) in [0, 1, 2, 0, 2, 1].into_iter().enumerate() {
        wait_until("the node to know that its writes are published", || {
            block_on(nodes[at].status()).unwrap().outbox_depth == 0
        });
        let accepted = write_seen(&nodes[at], "carried", &format!("turn {turn}"), seen);
        seen = Seen::Token(accepted.token.encode());
    }
    all_show("carried", &("turn 5".to_owned(), Vec::new()));
    // Two that have not seen each other are in conflict, whatever the clocks say.
    let tokens = [0, 1].map(|at| Seen::Token(read(&nodes[at], "carried").unwrap().token.encode()));
    for (at, token) in tokens.into_iter().enumerate() {
        write_seen(&nodes[at], "carried", ["longer, by the one ahead", "by the one behind"][at], token);
    }
    all_show("carried", &("longer, by the one ahead".to_owned(), vec!["content".to_owned()]));

    let expected: BTreeMap<String, Vec<u8>> = stream.replay(broker, &trial);
    assert_eq!(expected.len(), 2);
    for node in &nodes {
        assert_eq!(view(node).as_ref(), Some(&expected));
    }
    for (publisher, follower) in loops {
        publisher.stop(LIMIT);
        follower.stop(LIMIT);
    }
    stream.stop();
}
