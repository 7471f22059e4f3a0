//! The nodes that the registry knows, and the other nodes in the status of one.

use node::actor::Incarnation;
use node::ports::Publication;
use node::registry::{NodeRecord, NodeRole, NodeState, RegisteredNode, now_ms};
use serde_json::{Value, json};

use crate::site::Site;

fn add(site: &Site, actor: &str, age_ms: i64, state: NodeState) {
    let record = NodeRecord {
        actor: actor.parse().unwrap(),
        role: NodeRole::Worker,
        software_version: "helixstream 0.1.0".to_owned(),
        capabilities: vec!["search".to_owned()],
        counter: 7,
        published: Publication { counter: 5, chain: 1 },
        outbox_depth: 2,
        outbox_since_ms: Some(1_700_000_000_000),
        joined_ms: 1_600_000_000_000,
        heartbeat_ms: 1,
        state,
    };
    site.directory.insert(RegisteredNode { record, record_ms: now_ms() - age_ms });
}

fn member(nodes: &Value, name: &str) -> Vec<String> {
    let nodes = nodes.as_array().unwrap().iter();
    nodes.map(|node| node[name].as_str().unwrap().to_owned()).collect()
}

const ACTIVE: &str = "a.00000000000000000001";
const HOUR_MS: i64 = 3_600_000;

/// One node of each status; times of records are far from the limits.
fn fill(site: &Site) {
    let successor = ACTIVE.parse().unwrap();
    add(site, ACTIVE, -HOUR_MS, NodeState::Running);
    add(site, "b.00000000000000000001", 120_000, NodeState::Running);
    add(site, "c.00000000000000000001", HOUR_MS, NodeState::Running);
    add(site, "d.00000000000000000001", HOUR_MS, NodeState::Stopped);
    add(site, "e.00000000000000000001", HOUR_MS, NodeState::Replaced { successor });
}

#[test]
fn the_nodes_are_listed_with_the_status_that_follows_from_the_times_of_their_records() {
    let site = Site::open();
    let none = site.get("/v1/nodes").of(200).json();
    assert_eq!(none, json!({"complete": false, "nodes": [], "truncated": false, "unreadable": 0}));
    fill(&site);
    let nodes = &site.get("/v1/nodes").of(200).json()["nodes"];
    assert_eq!(member(nodes, "status"), ["active", "inactive", "failed", "stopped", "replaced"]);
    assert_eq!(nodes[4]["successor"], ACTIVE);
    let mut first = nodes[0].clone();
    first.as_object_mut().unwrap().remove("last_heartbeat").unwrap();
    let expected = json!({
        "capabilities": ["search"],
        "clock": {"counter": 7, "published": 5},
        "incarnation": "00000000000000000001",
        "joined_at": "2020-09-13T12:26:40Z",
        "name": "a",
        "node_id": ACTIVE,
        "outbox": {"depth": 2, "oldest": "2023-11-14T22:13:20Z"},
        "software_version": "helixstream 0.1.0",
        "status": "active",
        "type": "worker",
    });
    assert_eq!(first, expected);
    assert_eq!(site.get("/v1/nodes?status=active").of(400).text("/code"), "HS8060");
}

#[test]
fn the_status_of_a_node_has_the_other_nodes_as_its_peers() {
    let site = Site::open();
    fill(&site);
    let own = site.get("/v1/sync/status").text("/node_id");
    add(&site, &own, 0, NodeState::Running);
    let status = site.get("/v1/sync/status").of(200).json();
    assert_eq!(member(&status["peers"], "name"), ["a", "b", "c", "d", "e"]);
    assert_eq!(member(&status["peers"], "status"), ["active", "inactive", "failed", "stopped", "replaced"]);
    assert_eq!(status["consumed"], 0);
    // A new incarnation of the node is no peer of the former one.
    site.node.journal().begin_incarnation(&Incarnation::random(), "a test").unwrap();
    assert_eq!(member(&site.get("/v1/sync/status").json()["peers"], "name"), ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_status_with_as_many_peers_as_a_node_keeps_is_no_larger_than_another_answer() {
    let site = Site::open();
    for n in 0..10_001 {
        add(&site, &format!("{n:064}.00000000000000000001"), HOUR_MS, NodeState::Running);
    }
    let status = site.page("/v1/sync/status");
    assert_eq!(status.matches("\"node_id\"").count(), 1 + 10_000);
    assert!(status.len() < 4 << 20, "{}", status.len());
}

#[test]
fn a_token_that_is_bound_to_users_sees_no_nodes() {
    let site = Site::with_tokens(&[("ann", Some(&["u-ann"])), ("all", None)]);
    fill(&site);
    assert_eq!(site.ask_as("ann", "GET", "/v1/nodes", &[], "").of(403).text("/code"), "HS8079");
    let status = |token: &str| site.ask_as(token, "GET", "/v1/sync/status", &[], "").of(200).json();
    assert_eq!(status("ann").get("peers"), None);
    assert_eq!(status("all")["peers"].as_array().unwrap().len(), 5);
    assert_eq!(site.ask_as("all", "GET", "/v1/nodes", &[], "").of(200).json()["nodes"].as_array().unwrap().len(), 5);
}
