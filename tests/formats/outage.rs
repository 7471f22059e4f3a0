//! A registry that is down: the tasks that need it rest, others go on, nothing is dead-lettered,
//! and all is there once it is back.

use crate::support::Helix;
use crate::to_avro::{self, framed};
use apache_avro::Schema;
use avro::schemas::VERSIONS;
use rustix::process::Signal;
use std::collections::BTreeMap;
use testkit::process::temp_dir;
use testkit::{Broker, Record, Registry, records, repo_path, unique, wait_for};

const PARTITIONS: i32 = 12;

fn event(id: i32) -> String {
    format!(
        r#"{{"event_id":"e{id}","event_type":"memory.created","memory_id":"m{id}","content":"c{id}","timestamp":"2026-01-01T00:00:00Z"}}"#
    )
}

#[test]
fn a_dead_registry_stops_only_what_needs_it_and_loses_nothing() {
    let registry = Registry::start();
    let text = VERSIONS.iter().rfind(|v| v.name == "event").unwrap().text;
    let (id, schema) = (registry.register("events-value", text), Schema::parse_str(text).unwrap());
    let (dir, name, broker) = (temp_dir("outage"), unique("outage"), Broker::shared().bootstrap());
    // Bare JSON on the even partitions, Avro on the odd ones.
    let lines = (0..PARTITIONS).map(|partition| {
        let json = event(partition).into_bytes();
        let avro = || framed(id, &to_avro::event(&schema, Some(&json)).unwrap());
        let value = if partition % 2 == 0 { json.clone() } else { avro() };
        Record::new("k", value).in_partition(partition).to_line()
    });
    let path = |of: &str| dir.join(of).display().to_string();
    std::fs::write(dir.join("events.jsonl"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let toml = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    let toml = toml.replace("\"helixstream\"", &format!("\"{name}\"")).replace("helixagent.memory", &name);
    std::fs::write(dir.join("t.toml"), toml).unwrap();
    let (file, input, events, url) = (path("t.toml"), path("events.jsonl"), format!("{name}.events"), registry.url());
    let servers = ["--bootstrap-servers", broker.as_str()];
    Helix::run_ok(&[&["topics", "create", "--topology", &file], &servers[..]].concat());
    Helix::run_ok(&[&["produce", "--input", &input, "--topic", &events], &servers[..]].concat());
    registry.stop();
    let (state, by) = (path("state"), ["--schema-registry-url", url.as_str()]);
    let run = ["run", "--topology", &file, "--state-dir", &state, "--no-mirror", "--threads", "2"];
    let mut helix = Helix::spawn(&[&run[..], &servers, &by].concat());
    helix.wait_for_stderr("the schema registry is not available");
    let resolved = || -> BTreeMap<String, Record> {
        let found = records::read_committed(Broker::shared(), &format!("{name}.snapshots"));
        found.into_iter().map(|r| (r.key_text(), r)).collect()
    };
    let expected = |all: bool| (0..PARTITIONS).filter(move |p| all || p % 2 == 0).map(|p| format!("m{p}"));
    wait_for("what needs no registry", || expected(false).all(|m| resolved().contains_key(&m)).then_some(()));
    assert_eq!(resolved().len(), 6);
    registry.restart();
    wait_for("the rest, once it is back", || {
        assert!(helix.is_running(), "{}", helix.stderr());
        expected(true).all(|m| resolved().contains_key(&m)).then_some(())
    });
    assert_eq!(records::read_committed(Broker::shared(), &format!("{name}.dead-letters")), []);
    helix.signal(Signal::INT);
    assert_eq!(helix.finish().code, Some(0));
}

#[test]
fn avro_without_a_registry_is_told_before_anything_starts() {
    let dir = temp_dir("outage");
    let toml = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    let sink = "from = [\"resolve.conflicts\"]";
    std::fs::write(dir.join("t.toml"), toml.replace(sink, &format!("{sink}\nformat = \"avro\""))).unwrap();
    let file = dir.join("t.toml").display().to_string();
    let replay = ["replay", "--topology", &file, "--input", "-", "--output", "out"];
    Helix::run(&replay).assert_failed(2, &["helixagent.memory.conflicts", "--schema-registry-url", "[HS5511]"]);
    let wrong = [&replay[..], &["--schema-registry-url", "nowhere"]].concat();
    Helix::run(&wrong).assert_failed(2, &["is not a URL such as http://localhost:8081", "[HS5501]"]);
}
