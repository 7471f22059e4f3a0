//! Scripts as resolvers: what the shipped ones decide, what is told of wrong ones, and that
//! `replay`, the driver and a second run give the same bytes.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod support;

use std::path::{Path, PathBuf};

use helixstream::Program;
use helixstream::app::{self, Custom};
use serde_json::{Value, json};
use streams::driver::TopologyDriver;
use streams::record::{Origin, RecordBatch};
use support::{Finished, Helix};
use testkit::process::temp_dir;
use testkit::{Record, records, repo_path};

/// The memory topology with a script and strategies.
fn topology(script: &str, resolver: &str) -> String {
    let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    let text = text.replacen("[resolver.strategies]", &format!("[resolver.strategies]\n{resolver}"), 1);
    format!("{text}\n[[script]]\nname = \"mine\"\n{script}\n")
}

fn inline(body: &str) -> String {
    format!("source = '''fn resolve(path, contenders) {{ {body} }}'''")
}

/// The file of a shipped script.
fn shipped(name: &str) -> String {
    format!("file = {:?}", repo_path(&format!("topologies/scripts/{name}.rhai")).to_str().unwrap())
}

/// A write of memory `m` that saw no other: node, importance, what it writes. Later ones come later
/// in last-write order.
type Write<'w> = (&'w str, f64, Value);

fn events(writes: &[Write<'_>]) -> Vec<Record> {
    let one = |(i, (node, importance, written)): (usize, &Write<'_>)| {
        let mut event = json!({"event_id": format!("e{i}"), "event_type": "memory.updated", "memory_id": "m",
            "node_id": node, "timestamp": format!("2026-01-01T00:00:{i:02}Z"), "version": 1,
            "vector_clock": {format!("c{i}"): 1}, "importance": importance});
        event.as_object_mut().unwrap().extend(written.as_object().unwrap().clone());
        Record::new("m", event.to_string())
    };
    writes.iter().enumerate().map(one).collect()
}

struct Run {
    dir: PathBuf,
    done: Finished,
}

impl Run {
    fn new(topology: &str, events: &[Record]) -> Run {
        let dir = temp_dir("scripts");
        std::fs::write(dir.join("t.toml"), topology).unwrap();
        records::write_file(dir.join("in.jsonl"), events);
        let mut command = Helix::command();
        command.args(["replay", "--topology", "t.toml", "--input", "in.jsonl", "--output", "out"]).current_dir(&dir);
        let done = Helix::spawn_command(command).finish();
        Run { dir, done }
    }

    fn read(&self, name: &str) -> Vec<Record> {
        assert_eq!(self.done.code, Some(0), "{:?}", self.done);
        records::read_file(self.dir.join("out").join(format!("{name}.jsonl")))
    }

    /// The last resolved memory.
    fn resolved(&self) -> Value {
        self.read("snapshots").last().unwrap().value_json()
    }

    /// The last conflict record.
    fn conflict(&self) -> Value {
        self.read("conflicts").last().unwrap().value_json()
    }
}

#[test]
fn the_longest_content_wins_unless_confidence_differs() {
    let run = |writes: &[Write<'_>]| {
        let topology = topology(&shipped("longest"), "content = \"custom:mine\"\nentities = \"custom:mine\"");
        Run::new(&topology, &events(writes)).resolved()
    };
    let content = |text: &str| json!({"content": text});
    let same = [("a", 0.5, content("ééé")), ("b", 0.5, content("four")), ("c", 0.5, content("two"))];
    assert_eq!(run(&same)["content"], "four");
    assert_eq!(run(&[("a", 0.5, content("longer")), ("b", 0.9, content("short"))])["content"], "short");
    assert_eq!(run(&[("a", 0.5, content("aaa")), ("b", 0.5, content("bbb"))])["content"], "bbb");
    let entity =
        |name: &str, confidence: f64| json!({"entities": [{"id": "e", "name": name, "confidence": confidence}]});
    let memory = run(&[("a", 0.9, entity("long name", 0.3)), ("b", 0.1, entity("short", 0.7))]);
    assert_eq!(memory["entities"][0]["name"], "short");
    let memory = run(&[("a", 0.1, entity("long name", 0.7)), ("b", 0.9, entity("short", 0.7))]);
    assert_eq!(memory["entities"][0]["name"], "long name");
}

#[test]
fn each_tenant_has_its_preference_and_others_wait() {
    let run = |writes: &[Write<'_>]| {
        Run::new(&topology(&shipped("per_tenant"), "content = \"custom:mine\""), &events(writes))
    };
    let content = |text: &str| json!({"content": text});
    let decided = [
        (["acme/primary", "acme/eu", "acme/us"], "first"),
        (["acme/eu", "acme/us", "acme/asia"], "last"),
        (["globex/1", "globex/2", "globex/3"], "middle"),
        (["initech/1", "initech/2", "initech/3"], "first"),
    ];
    for (nodes, expected) in decided {
        let [a, b, c] = nodes;
        let run = run(&[(a, 0.1, content("first")), (b, 0.9, content("middle")), (c, 0.5, content("last"))]);
        assert_eq!(
            (run.resolved()["content"].as_str(), run.conflict()["status"].as_str()),
            (Some(expected), Some("auto_resolved")),
            "{nodes:?}"
        );
    }
    for nodes in [["acme/1", "globex/1"], ["nobody/1", "nobody/2"], ["plain", "names"]] {
        let run = run(&[(nodes[0], 0.1, content("first")), (nodes[1], 0.9, content("last"))]);
        assert_eq!(
            (run.resolved()["content"].as_str(), run.conflict()["status"].as_str()),
            (Some("last"), Some("pending")),
            "{nodes:?}"
        );
    }
}

#[test]
fn numbers_are_averaged() {
    let run = |writes: &[Write<'_>]| {
        Run::new(
            &topology(&shipped("average"), "importance = \"custom:mine\"\nmetadata = \"custom:mine\""),
            &events(writes),
        )
    };
    let score = |score: Value| json!({"metadata": {"score": score}});
    let memory = run(&[("a", 0.5, score(json!(1))), ("b", 1.0, score(json!(2.5))), ("c", 0.0, score(Value::Null))]);
    assert_eq!(
        (&memory.resolved()["importance"], &memory.resolved()["metadata"]["score"]),
        (&json!(0.5), &json!(1.75))
    );
    let field = memory.conflict()["fields"][1].clone();
    assert_eq!((&field["winner_event_id"], &field["reason"]), (&Value::Null, &json!("decided by the custom resolver")));
    let waits = run(&[("a", 0.5, score(json!(1))), ("b", 0.5, score(json!("much")))]);
    assert_eq!(
        (&waits.resolved()["metadata"]["score"], &waits.conflict()["status"]),
        (&json!("much"), &json!("pending"))
    );
}

#[test]
fn a_script_that_fails_or_has_no_end_is_told_in_the_record_and_last_write_order_decides() {
    let writes = [("a", 0.5, json!({"content": "first"})), ("b", 0.5, json!({"content": "last"}))];
    for (body, why) in [
        ("loop {}", "Too many operations"),
        ("resolve(path, contenders)", "Stack overflow"),
        ("let s = \"x\"; loop { s += s; }", "Length of string too large"),
        ("1", "its value for content is of a wrong type"),
        ("throw \"no\"", "no"),
    ] {
        let run = Run::new(&topology(&inline(body), "content = \"custom:mine\""), &events(&writes));
        let record = run.conflict();
        assert_eq!((&record["status"], &record["fields"][0]["value"]), (&json!("auto_resolved"), &json!("last")));
        let reason = record["fields"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("the custom resolver failed (") && reason.contains(why), "{body}: {reason}");
        assert!(reason.ends_with("; greatest in last-write order"), "{reason}");
    }
}

#[test]
fn the_samples_give_the_same_bytes_again_and_under_the_driver() {
    let script = "let n = 0; for c in contenders { n += c.time_ns % 7 + c.vector_clock.len() + c.event_id.len; } \
                  if n % 5 == 0 { defer() } else { contenders[n % contenders.len].value }";
    let topology = topology(&inline(script), "").replacen("strategy = \"merge_all\"", "strategy = \"custom\"", 1);
    let input = records::read_file(repo_path("tests/fixtures/helixagent-events.jsonl"));
    let (a, b) = (Run::new(&topology, &input), Run::new(&topology, &input));
    let conflicts = a.read("conflicts");
    let with = |part: &str| conflicts.iter().filter(|c| c.value_json().to_string().contains(part)).count();
    assert!(with("decided by the custom resolver") > 3 && with("\"status\":\"pending\"") > 0);
    for name in ["snapshots", "conflicts"] {
        assert_eq!(a.read(name), b.read(name), "{name}");
    }
    let file = topology_file::parse("t.toml", &topology, &Program::default().operators)
        .unwrap_or_else(|problems| panic!("{problems}"));
    let resolver = app::resolvers::join(&file, &Custom::default()).unwrap();
    let engine = app::topology_from_file::build(&file, &resolver).unwrap();
    let mut driver = TopologyDriver::new(&engine, "helixstream", &app::topology_from_file::sizes(&file));
    let mut batch = RecordBatch::new();
    for record in &input {
        let Record { partition, offset, timestamp_ms, .. } = *record;
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        batch.clear();
        let origin = Origin { topic: "helixagent.memory.events", partition, offset, timestamp_ms };
        batch.push(origin, record.key.as_deref(), record.value.as_deref(), headers);
        batch.iter().for_each(|input| driver.pipe(&input).unwrap());
    }
    for (name, topic) in [("snapshots", "helixagent.memory.snapshots"), ("conflicts", "helixagent.memory.conflicts")] {
        let outputs = driver.outputs().iter().filter(|output| output.origin.topic == topic);
        let driven: Vec<Vec<u8>> = outputs.map(|output| output.record.value.unwrap_or_default().to_vec()).collect();
        let replayed: Vec<Vec<u8>> = a.read(name).into_iter().filter_map(|record| record.value).collect();
        assert_eq!(driven, replayed, "{name}");
    }
}

fn check(dir: &Path, topology: &str) -> Finished {
    std::fs::write(dir.join("t.toml"), topology).unwrap();
    let mut command = Helix::command();
    command.args(["topology", "check", "t.toml"]).current_dir(dir);
    Helix::spawn_command(command).finish()
}

#[test]
fn what_is_wrong_with_scripts_is_told_at_the_start() {
    let dir = temp_dir("scripts");
    std::fs::create_dir(dir.join("s")).unwrap();
    let strategies = "content = \"custom:mine\"";
    std::fs::write(dir.join("s/a.rhai"), "fn resolve(path, contenders) {\n    let x = ;\n}\n").unwrap();
    let file = topology("file = \"s/a.rhai\"", strategies);
    check(&dir, &file).assert_failed(
        2,
        &["s/a.rhai:2:13", "let x = ;", "fix: correct the line so that it is valid Rhai", "1 problem"],
    );
    std::fs::write(dir.join("in.jsonl"), "").unwrap();
    Run::new(&file, &[])
        .done
        .assert_failed(2, &["t.toml:", "error[HS7003]: cannot read the script", "s/a.rhai: No such file"]);
    std::fs::write(dir.join("s/a.rhai"), "fn other() {}").unwrap();
    check(&dir, &file)
        .assert_failed(2, &["s/a.rhai:1:1", "error[HS7004]: ", "no function `resolve` with two parameters"]);
    std::fs::write(dir.join("s/a.rhai"), "fn resolve(path, contenders) { defer() }").unwrap();
    assert_eq!(check(&dir, &file).code, Some(0));
    let unknown = topology("file = \"s/a.rhai\"", "content = \"custom:mime\"");
    check(&dir, &unknown).assert_failed(2, &["`strategy.content` is `custom:mime`", "did you mean `custom:mine`?"]);
    check(&dir, &topology("", strategies)).assert_failed(2, &["neither a `file` nor a `source`"]);
    let both = format!("file = \"s/a.rhai\"\n{}", inline("1"));
    check(&dir, &topology(&both, strategies)).assert_failed(2, &["both a `file` and a `source`"]);
    let twice = topology(&inline("defer()"), strategies) + "[[script]]\nname = \"mine\"\nsource = \"x\"\n";
    check(&dir, &twice).assert_failed(2, &["two scripts have the name `mine`"]);
    let two = topology(&inline("defer()"), "content = \"custom\"") + "[[script]]\nname = \"b\"\nfile = \"s/a.rhai\"\n";
    check(&dir, &two)
        .assert_failed(2, &["error[HS7005]: ", "there are several custom resolvers", "one of these names: mine, b"]);
}

#[test]
fn budgets_are_settings() {
    let writes = [("a", 0.5, json!({"content": "first"})), ("b", 0.5, json!({"content": "last"}))];
    let body = "let n = 0; for i in 0..100 { n += i; } contenders[0].value";
    let text = topology(&inline(body), "content = \"custom:mine\"");
    assert_eq!(Run::new(&text, &events(&writes)).resolved()["content"], "first");
    let small = text.replacen("[limits]", "[limits]\nscript_operations = 50", 1);
    assert_eq!(Run::new(&small, &events(&writes)).resolved()["content"], "last");
}
