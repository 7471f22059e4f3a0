//! `topologies/helixagent.toml` on a real broker: what its topics get is what `replay` says, and
//! nodes can apply it.

use crate::go;
use crate::support::Helix;
use rustix::process::Signal;
use std::collections::BTreeMap;
use testkit::process::temp_dir;
use testkit::{Broker, Record, records, repo_path, unique, wait_for};

/// The last record of each key.
fn last(records: impl IntoIterator<Item = Record>) -> BTreeMap<String, Record> {
    records.into_iter().map(|r| (r.key_text(), r)).collect()
}

#[test]
fn nodes_get_what_replay_says() {
    let (dir, name, broker) = (temp_dir("formats"), unique("formats"), Broker::shared().bootstrap());
    let text = std::fs::read_to_string(repo_path("topologies/helixagent.toml")).unwrap();
    let text =
        text.replace("\"helixstream-nodes\"", &format!("\"{name}\"")).replace("helixagent.", &format!("{name}."));
    std::fs::write(dir.join("t.toml"), text).unwrap();
    let path = |of: &str| dir.join(of).display().to_string();
    let (file, input) = (path("t.toml"), repo_path("tests/fixtures/helixagent-events.jsonl").display().to_string());
    let servers = ["--bootstrap-servers", broker.as_str()];
    Helix::run_ok(&[&["topics", "create", "--topology", &file], &servers[..]].concat());
    let events = format!("{name}.memory.events");
    Helix::run_ok(&[&["produce", "--input", &input, "--topic", &events], &servers[..]].concat());
    Helix::run_ok(&["replay", "--topology", &file, "--input", &input, "--output", &path("out")]);
    let expected = last(records::read_file(dir.join("out/resolved.jsonl")));
    let state = path("state");
    let run = ["run", "--topology", &file, "--state-dir", &state, "--no-mirror"];
    let mut helix = Helix::spawn(&[&run, &servers[..]].concat());
    let topic = format!("{name}.nodes.memory.events");
    wait_for("all resolved memories", || {
        assert!(helix.is_running(), "{}", helix.stderr());
        let found = last(records::read_committed(Broker::shared(), &topic));
        let same = |(key, record): (&String, &Record)| found.get(key).is_some_and(|f| f.value == record.value);
        expected.iter().all(same).then_some(())
    });
    helix.signal(Signal::INT);
    assert_eq!(helix.finish().code, Some(0));
    for record in records::read_committed(Broker::shared(), &topic) {
        let message = go::message(record.value.as_deref().unwrap()).unwrap();
        let event = go::event(&message.payload).unwrap();
        assert_eq!((event.node_id, event.memory_id), (name.clone(), record.key_text()));
    }
    let conflicts = records::read_committed(Broker::shared(), &format!("{name}.nodes.memory.conflicts"));
    assert!(!conflicts.is_empty());
    for record in conflicts {
        go::report(&go::message(record.value.as_deref().unwrap()).unwrap().payload).unwrap();
    }
}
