//! The nodes that every node and `helixstream nodes list` show.

use node::registry::NodesTopic;
use serde_json::{Value, json};
use testkit::postgres::{query, try_query};
use testkit::process::temp_dir;
use testkit::records::{Record, produce};
use testkit::{Broker, LIMIT, Postgres, wait_for, wait_until};

use crate::command::NodeProcess;
use crate::stream::topology_of;
use crate::support::{Finished, Helix};
use crate::trial::{Trial, open, wait_until_published, write};

/// `helixstream nodes list`, which needs neither node nor Postgres.
fn list(trial: &Trial, more: &[&str]) -> Finished {
    let topic = trial.topic("nodes");
    let arguments = ["nodes", "list", "--bootstrap-servers", &trial.bootstrap, "--nodes-topic", &topic];
    Helix::run(&[&arguments, more].concat())
}

/// Name, type and status of each node of a document.
fn rows(document: &Value) -> Vec<[String; 3]> {
    let text = |node: &Value, name: &str| node[name].as_str().unwrap().to_owned();
    let nodes = document["nodes"].as_array().unwrap().iter();
    nodes.map(|node| ["name", "type", "status"].map(|name| text(node, name))).collect()
}

fn row(name: &str, kind: &str, status: &str) -> [String; 3] {
    [name, kind, status].map(str::to_owned)
}

#[test]
fn every_node_and_the_command_show_all_nodes_and_leave_out_records_that_they_cannot_read() {
    let broker = Broker::shared();
    let trial = Trial::with_topics("nodes", broker);
    list(&trial, &[]).assert_failed(1, &["does not exist", "--nodes-topic", "[HS2004]"]);
    let process = NodeProcess::start_with(&trial, "one", &["--node-role", "worker"]);
    let library = open(&temp_dir("node"), "two");
    let publisher = trial.publisher(library.journal());
    write(&library, "m", "by two");
    wait_until_published(&library);
    let both = [row("one", "worker", "active"), row("two", "primary", "active")];
    let shown = || process.json("/v1/nodes").unwrap();
    wait_until("the process to show both", || rows(&shown()) == both && shown()["complete"] == true);
    wait_until("the other node as a peer", || {
        let status = process.json("/v1/sync/status").unwrap();
        let peers = status["peers"].as_array().unwrap();
        peers.len() == 1 && peers[0]["name"] == "two" && peers[0]["status"] == "active"
    });
    wait_until("the lag of each partition", || {
        let status = process.json("/v1/sync/status").unwrap();
        let positions = status["positions"].as_array().unwrap().clone();
        positions.len() == 2 && positions.iter().all(|position| position["lag"] == 0)
    });

    publisher.stop(LIMIT);
    let key = library.journal().identity().unwrap().actor.to_string();
    // Forged under the key of another node, twice; of another version; and no record of a node.
    let good = NodesTopic::new(trial.kafka()).read_nodes(LIMIT).unwrap()[0].record.to_json();
    let newer = String::from_utf8(good.clone()).unwrap().replace("\"schema_version\":1", "\"schema_version\":2");
    let forged = Record::new(&key, &good);
    let records = [forged.clone(), forged, Record::new("three.00000000000000000001", newer), Record::new("x", "y")];
    produce(broker, &trial.topic("nodes"), &records);
    let stopped = [row("one", "worker", "active"), row("two", "primary", "stopped")];
    wait_until("the process to have read them", || shown()["unreadable"] == 3 && rows(&shown()) == stopped);
    wait_until("one line for each key", || process.process.stderr().matches("HS8045").count() == 3);

    let document = wait_for("the command to show the same", || {
        let listed = list(&trial, &["--format", "json"]);
        listed.assert_ended_well();
        assert_eq!(listed.stderr.matches("HS8045").count(), 3, "{}", listed.stderr);
        let document: Value = serde_json::from_str(&listed.stdout).unwrap();
        (rows(&document) == stopped).then_some(document)
    });
    assert_eq!(document["unreadable"], 3);
    assert_eq!(
        document["nodes"][0]["capabilities"],
        json!(["http", "mcp", "mem0", "search.embedding", "search.words"])
    );
    assert_eq!(document["nodes"][1]["capabilities"], json!([]), "nobody serves the library");
    // The same members and values, where no heartbeat lies between.
    let of_two = |document: &Value| document["nodes"][1].clone();
    assert_eq!(of_two(&document), of_two(&shown()));
    assert_eq!(of_two(&document)["clock"], json!({"counter": 1, "published": 1}));
    let table = list(&trial, &[]).stdout;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..4], ["NAME", "INCARNATION", "TYPE", "STATUS"], "{table}");
    assert_eq!((lines.len(), lines[2][0], lines[2][3]), (3, "two", "stopped"), "{table}");

    process.process.terminate().assert_ended_well();
    let ended = wait_for("the end of the process", || {
        let document: Value = serde_json::from_str(&list(&trial, &["--format", "json"]).stdout).unwrap();
        (rows(&document)[0] == row("one", "worker", "stopped")).then_some(document)
    });
    assert_eq!(ended["nodes"][0]["outbox"]["depth"], 0);
}

#[test]
fn a_node_registers_in_postgres_with_no_null_column() {
    let broker = Broker::shared();
    let (trial, url) = (Trial::new("registered", broker), Postgres::shared().create_database());
    let file = topology_of(&trial).display().to_string();
    let setting = format!("nodes_topic={}", trial.topic("nodes"));
    let common = ["--topology", &file, "--bootstrap-servers", &trial.bootstrap];
    Helix::run_ok(&[&["topics", "create"], &common[..]].concat());
    // The mirror is there before the first node, and so before the topic.
    let database = ["--set", &setting, "--postgres-url", &url];
    let mirror = Helix::spawn(&[&["mirror", "run"], &common[..], &database].concat());
    let is_made = || try_query(&url, "select 1 from memory_registered_nodes").is_ok();
    wait_until("the tables", is_made);

    let process = NodeProcess::start_with(&trial, "one", &["--node-role", "replica", "--stale-writes", "concurrent"]);
    let created = process.send("POST", "/v1/memories?ack=kafka", &["-d", r#"{"memory_id": "m", "content": "a"}"#]);
    // The second write with this token is one of a branch, whose events are the node's.
    let condition = format!("If-Match: \"{}\"", created["clock"].as_str().unwrap());
    let write = || process.send("PATCH", "/v1/memories/m?ack=kafka", &["-d", r#"{"content": "b"}"#, "-H", &condition]);
    let actors = [write(), write()].map(|answer| answer["event"]["node_id"].as_str().unwrap().to_owned());
    assert_eq!(actors[1], format!("{}.b3", actors[0]));
    let shown = || query(&url, "select node_name, node_type, status, events from memory_nodes");
    wait_until("the node and its events", || shown() == [["one", "replica", "active", "3"]]);
    let nulls = "select n.node_id, key from memory_nodes as n, jsonb_each(to_jsonb(n)) where value = 'null'";
    assert_eq!(query(&url, nulls), Vec::<Vec<String>>::new());
    let abilities = "select jsonb_array_elements_text(to_jsonb(capabilities)) from memory_nodes";
    let expected = ["http", "mcp", "mem0", "search.embedding", "search.words"].map(|word| vec![word.to_owned()]);
    assert_eq!(query(&url, abilities), expected);
    process.process.terminate().assert_ended_well();
    wait_until("the end of the node", || shown() == [["one", "replica", "stopped", "3"]]);
    let failures = mirror.stderr();
    let mut failures = failures.lines().filter(|line| line.contains("HS4059"));
    assert!(
        !failures.any(|line| line.contains(&trial.topic("nodes"))),
        "a missing topic is no failure: {}",
        mirror.stderr()
    );
    mirror.terminate().assert_ended_well();

    let verified = Helix::run_ok(&[&["mirror", "verify"], &common[..], &database].concat());
    assert!(format!("{verified:?}").contains(&trial.topic("nodes")), "{verified:?}");
    let filled = Postgres::shared().create_database();
    Helix::run_ok(&[&["mirror", "backfill"], &common[..], &["--set", &setting, "--postgres-url", &filled]].concat());
    assert_eq!(query(&filled, "select node_name, status from memory_nodes"), [["one", "stopped"]]);
}
