//! Nodes that are killed with SIGKILL at each named step of accept, publish, mark and apply, while
//! clients write to them: no write that was answered is missing, and none is published twice but
//! with the same bytes.

use std::collections::BTreeSet;
use std::thread;

use node::steps::STEPS;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use testkit::{Broker, wait_until};
use tokio::runtime::{Builder, Runtime};

use crate::command::{NodeCommand, NodeProcess};
use crate::stream::{Stream, assert_no_equivocation};
use crate::trial::Trial;

/// Clients that write to a node at the same time.
const CLIENTS: usize = 2;

/// The time of a step at which the process dies: not the first one, so that it is under load.
fn time(step: &str) -> usize {
    match step.split_once('.').unwrap() {
        ("accept", _) => 8,
        ("mark", _) => 3,
        _ => 2,
    }
}

/// Writes to a node until it answers no more, in turn to a memory that all nodes write and to one
/// of its own. Returns the ids of the events that were answered.
async fn write_until_killed(client: Client, url: String, name: String, writer: usize) -> Vec<String> {
    let mut answered = Vec::new();
    for serial in 0.. {
        let memory = if serial % 2 == 0 { "shared" } else { &name };
        let fields = json!({"content": format!("{name} {writer} {serial}"), "user_id": "u"}).to_string();
        // The first one to each makes it, which other clients try at the same time.
        let method = if serial < 2 { Method::PUT } else { Method::PATCH };
        let request = client.request(method, format!("{url}/v1/memories/{memory}"));
        let request = request.header("Content-Type", "application/json");
        let Ok(answer) = request.body(fields).send().await else { break };
        let status = answer.status();
        let Ok(body) = answer.text().await else { break };
        assert!(status.is_success(), "{status} {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        answered.push(answer["event"]["event_id"].as_str().unwrap().to_owned());
    }
    answered
}

/// A node that is killed at a step under load, and was started again on its folder and has
/// published all it had accepted; and the ids of the events that it had answered.
fn killed_and_restarted(trial: &Trial, runtime: &Runtime, step: &str) -> (NodeProcess, Vec<String>) {
    let name = step.replace('.', "-");
    let command = NodeCommand::new(trial, &name, &[]);
    let kill_at = format!("{step}:{}", time(step));
    let process = command.spawn_killed_at(Some(&kill_at));
    process.wait_until_ready();
    let client = Client::new();
    let writers: Vec<_> = (0..CLIENTS)
        .map(|writer| runtime.spawn(write_until_killed(client.clone(), process.url.clone(), name.clone(), writer)))
        .collect();
    let answered: Vec<Vec<String>> = writers.into_iter().map(|writer| runtime.block_on(writer).unwrap()).collect();
    let ended = process.process.finish_after(&format!("the step {kill_at}"));
    assert_eq!(ended.code, None, "a signal ended it at {kill_at}: {ended:?}");
    let process = command.spawn();
    process.wait_until_ready();
    wait_until("the outbox to be empty", || {
        process.json("/v1/sync/status").is_some_and(|status| status["outbox"]["depth"] == 0)
    });
    (process, answered.concat())
}

#[test]
fn a_node_killed_at_any_step_under_load_loses_no_answered_write_and_publishes_none_anew() {
    // It is there already where another test of this process has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (broker, runtime) = (Broker::shared(), Builder::new_multi_thread().enable_all().build().unwrap());
    let trial = Trial::new("steps", broker);
    let stream = Stream::start(&trial);
    let nodes: Vec<(NodeProcess, Vec<String>)> = thread::scope(|scope| {
        let start = |step| {
            let (trial, runtime) = (&trial, &runtime);
            scope.spawn(move || killed_and_restarted(trial, runtime, step))
        };
        let nodes: Vec<_> = STEPS.into_iter().map(start).collect();
        nodes.into_iter().map(|node| node.join().unwrap()).collect()
    });
    let published: BTreeSet<String> = trial.events(broker).into_keys().collect();
    for (step, (_, answered)) in STEPS.iter().zip(&nodes) {
        let lost: Vec<&String> = answered.iter().filter(|id| !published.contains(*id)).collect();
        assert!(!answered.is_empty(), "nobody was answered before the kill at {step}");
        assert!(lost.is_empty(), "lost by the kill at {step}: {lost:?}");
    }
    let expected = stream.replayed_json(broker, &trial);
    assert_eq!(expected.len(), STEPS.len() + 1);
    for (step, (process, _)) in STEPS.iter().zip(nodes) {
        wait_until(&format!("the node that was killed at {step} to show what replay makes of the events"), || {
            process.view().as_ref() == Some(&expected)
        });
        process.process.terminate().assert_ended_well();
    }
    assert_no_equivocation(broker, &trial);
    stream.stop();
}
