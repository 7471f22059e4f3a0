//! Three nodes and two instances of the stream, while processes of both kinds are killed and frozen
//! at random and clients write to the same memories through all nodes. Afterwards each answered
//! write is published once, no refused one is, and all nodes show the bytes that `replay` makes of
//! the events.

mod check;
mod client;
mod faults;
mod http;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use client::{Client, Written};
use faults::Processes;
use node::shown::ListQuery;
use serde_json::Value;
use testkit::process::temp_dir;
use testkit::{Broker, Random, wait_for, wait_until};

use crate::command::NodeCommand;
use crate::stream::StreamCommand;
use crate::trial::{Trial, open};

/// Nodes, instances of the stream, and clients of the nodes.
const NODES: usize = 3;
const INSTANCES: usize = 2;
const CLIENTS: usize = 6;

/// Memories that are patched and nothing else: the keys of their metadata show which writes a
/// reader has seen.
const GROWING: [&str; 2] = ["grows-1", "grows-2"];
/// Memories that are also replaced, deleted and merged.
const ANY: [&str; 4] = ["any-1", "any-2", "any-3", "any-4"];

/// Faults of one round; the test of every run has one round.
const FAULTS: usize = 6;
/// The variable that asks for more rounds.
const ROUNDS: &str = "NODE_CHAOS_ROUNDS";

/// The progress that all threads of a round see.
#[derive(Default)]
pub(super) struct Progress {
    /// Writes that were answered with success.
    accepted: AtomicUsize,
    /// Whether the clients are to finish.
    is_over: AtomicBool,
}

impl Progress {
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

#[test]
fn nodes_and_instances_that_are_killed_at_random_converge_to_the_same_bytes() {
    let rounds = std::env::var(ROUNDS).map_or(1, |text| text.parse().expect("NODE_CHAOS_ROUNDS is a number"));
    for (round, seed) in testkit::seeds(rounds).enumerate() {
        let figures = run(seed);
        println!("round {} of {rounds}, SEED={seed}: {figures}", round + 1);
    }
}

/// One round, on topics of its own.
fn run(seed: u64) -> String {
    let broker = Broker::shared();
    let (trial, mut random) = (Trial::new("chaos", broker), Random::new(seed));
    let stream = StreamCommand::new(&trial, &[]);
    let nodes: Vec<NodeCommand> = (0..NODES).map(|n| NodeCommand::new(&trial, &format!("n{n}"), &[])).collect();
    let urls: Vec<String> = nodes.iter().map(|node| node.url.clone()).collect();
    let states: Vec<_> = (0..INSTANCES).map(|_| temp_dir("state")).collect();
    let folders: Vec<_> = nodes.iter().map(|node| node.folder.clone()).collect();
    let mut processes = Processes::start(nodes, stream.clone(), states);
    let mut written = create_memories(&urls);

    let (progress, start) = (Progress::default(), Instant::now());
    let faults = std::thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|n| Client::new(n, random.number(), &urls, &progress));
        let clients: Vec<_> = clients.map(|client| scope.spawn(move || client.write_until_over())).collect();
        let faults = processes.suffer(&mut random, FAULTS, &progress);
        processes.heal_all();
        progress.is_over.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| written.extend(client.join().unwrap()));
        faults
    });

    let seconds = start.elapsed().as_secs();
    urls.iter().for_each(|url| wait_until_published(url));
    let events = check::events(broker, &trial, &written);
    let expected = stream.replay(broker, &trial);
    let as_json = |bytes: &Vec<u8>| serde_json::from_slice::<Value>(bytes).unwrap();
    let shown: BTreeMap<String, Value> = expected.iter().map(|(id, bytes)| (id.clone(), as_json(bytes))).collect();
    for url in &urls {
        wait_until("a node to show what replay makes of the events", || view(url).as_ref() == Some(&shown));
    }
    processes.stop();
    for (n, folder) in folders.iter().enumerate() {
        let node = open(folder, &format!("n{n}"));
        assert_eq!(bytes_of(&node), expected, "node {n} shows the bytes that replay makes of the events");
    }
    check::snapshots(broker, &trial, &expected);
    check::causality(&events, &written);
    format!("{faults} in {seconds} s; {}", check::figures(&events, &written))
}

/// The memories as one client creates them, and each node shows them.
fn create_memories(urls: &[String]) -> Vec<Written> {
    let memories = GROWING.iter().chain(&ANY).enumerate();
    let created = memories.map(|(n, id)| client::create(&urls[n % urls.len()], id, &format!("u-{}", n % 3)));
    let created: Vec<Written> = created.collect();
    for (url, id) in urls.iter().flat_map(|url| GROWING.iter().chain(&ANY).map(move |id| (url, id))) {
        wait_for("a node to show the first memories", || {
            http::get(url, &format!("/v1/memories/{id}")).filter(|answer| answer["pending"] == false)
        });
    }
    created
}

fn wait_until_published(url: &str) {
    wait_until("the outbox of a node to be empty", || {
        http::get(url, "/v1/sync/status").is_some_and(|status| status["outbox"]["depth"] == 0)
    });
}

/// All memories that a node shows; `None` while something is pending.
fn view(url: &str) -> Option<BTreeMap<String, Value>> {
    let page = http::get(url, "/v1/memories?include_inactive=true&limit=200")?;
    let memories = page["memories"].as_array()?.iter();
    let settled = memories.map(|one| {
        let id = one["memory"]["memory_id"].as_str()?.to_owned();
        (one["pending"] == false).then(|| (id, one["memory"].clone()))
    });
    settled.collect()
}

/// The same of a node that is open in this process, byte for byte.
fn bytes_of(node: &node::Node) -> BTreeMap<String, Vec<u8>> {
    let query = ListQuery { with_inactive: true, limit: 1000, ..ListQuery::default() };
    let memories = futures::executor::block_on(node.list(query)).unwrap().memories.into_iter();
    memories.map(|memory| (memory.memory_id, memory.json)).collect()
}
