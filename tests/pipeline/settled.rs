//! A conflict that waits is found, settled by a person, and gone: on Kafka, and in `replay` of the
//! same topic.

use crate::expect::assert_last_resolved;
use crate::support::{Finished, Helix};
use crate::trial::Trial;
use serde_json::{Value, json};
use testkit::{Record, wait_until};

const SCRIPT: &str = "\n[[script]]\nname = \"ask\"\nsource = \"fn resolve(path, contenders) { defer() }\"\n";

fn event(id: &str, node: &str, content: &str) -> Record {
    let value = json!({"event_id": id, "event_type": "memory.updated", "memory_id": "m", "user_id": "u", "node_id": node,
        "timestamp": "2026-01-01T00:00:00Z", "content": content, "version": 1, "vector_clock": {node: 1}});
    Record::new("m", value.to_string())
}

/// `helixstream conflicts ACTION …`.
fn conflicts(trial: &Trial, action: &str, more: &[&str]) -> Finished {
    let (topology, broker) = (trial.topology(), trial.broker().bootstrap());
    let command = ["conflicts", action, "--topology", &topology, "--bootstrap-servers", &broker];
    Helix::run(&[&command[..], more].concat())
}

fn list(trial: &Trial, more: &[&str]) -> Vec<Value> {
    let done = conflicts(trial, "list", &[&["--format", "json"], more].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn resolved(trial: &Trial) -> Value {
    trial.read("snapshots").last().expect("a resolved memory").value_json()
}

#[test]
fn what_waits_is_found_settled_and_gone() {
    let trial = Trial::new("settled", &["strategy.content=custom:ask"]);
    let text = std::fs::read_to_string(trial.topology()).unwrap() + SCRIPT;
    std::fs::write(trial.topology(), text).unwrap();
    trial.feed(&[event("a", "n1", "left"), event("b", "n2", "right")]);
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);

    let waiting = list(&trial, &["--user", "u", "--memory", "m"]);
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!((&waiting[0]["status"], resolved(&trial)["content"].as_str()), (&json!("pending"), Some("right")));
    assert!(list(&trial, &["--user", "somebody"]).is_empty());
    let id = waiting[0]["conflict_id"].as_str().unwrap();
    let shown = conflicts(&trial, "show", &[id]);
    assert!(shown.stdout.contains("  a  n1  2026-01-01T00:00:00Z  version 1  \"left\""), "{shown:?}");
    conflicts(&trial, "resolve", &[id]).assert_failed(2, &["the decision is missing", "[HS0073]"]);
    conflicts(&trial, "resolve", &["nothing", "--winner", "a"]).assert_failed(1, &["there is no conflict `nothing`"]);

    // Published twice before the stream has seen it: the second is a redelivery.
    instance.stop();
    for _ in 0..2 {
        let done = conflicts(&trial, "resolve", &[id, "--value", "\"both\""]);
        assert!(done.code == Some(0) && done.stdout.contains("content = \"both\""), "{done:?}");
    }
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);
    wait_until("the list to be empty", || list(&trial, &[]).is_empty());
    let memory = resolved(&trial);
    assert_eq!((&memory["content"], &memory["conflicted_fields"]), (&json!("both"), &json!([])));
    let settled = format!("resolve-{id}");
    let superseded = list(&trial, &["--status", "superseded"]);
    assert_eq!(superseded.iter().map(|c| c["superseded_by"].as_str()).collect::<Vec<_>>(), [Some(&*settled)]);
    let again = conflicts(&trial, "resolve", &[id, "--winner", "a"]);
    assert!(again.code == Some(0) && again.stdout.contains("is settled already"), "{again:?}");
    assert_eq!(trial.read("events").len(), 4);
    assert_eq!((trial.read("snapshots").len(), trial.read("conflicts").len()), (3, 2));
    instance.stop();

    let replayed = trial.replay(&trial.read("events"));
    assert_last_resolved(&replayed.snapshots, &trial.read("snapshots"));
}
