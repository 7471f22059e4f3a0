//! Generic operators around `decode` and `resolve`: what goes into them, and what comes out.

use crate::drive::{Out, Run};
use testkit::{Record, records, repo_path};

const EVENTS: &str = "helixagent.memory.events";

fn shipped(name: &str) -> String {
    std::fs::read_to_string(repo_path("topologies").join(name)).unwrap()
}

pub fn samples() -> Vec<Record> {
    records::read_file(repo_path("tests/fixtures/helixagent-events.jsonl"))
}

/// A topology with a processor between an output and its first taker.
fn between(text: &str, output: &str, node: &str) -> String {
    let from = format!("from = [\"{output}\"]");
    assert!(text.contains(&from), "{from}");
    let text = text.replacen(&from, "from = [\"extra.records\"]", 1);
    format!("{text}\n[[processor]]\nname = \"extra\"\n{from}\n{node}\n")
}

fn texts(out: &[Out]) -> Vec<(String, String)> {
    out.iter().map(|out| (out.topic.clone(), out.text())).collect()
}

#[test]
fn a_sink_behind_a_filter_writes_its_format() {
    for (name, output) in [
        ("helixagent.toml", "resolve.snapshots"),
        ("helixagent.toml", "resolve.conflicts"),
        ("memory.toml", "resolve.conflicts"),
    ] {
        let plain = texts(&Run::new(&shipped(name)).pipe_all(EVENTS, &samples()));
        let filtered = between(&shipped(name), output, "operator = \"filter\"\nwhen = 'value.memory_id != ()'");
        let filtered = texts(&Run::new(&filtered).pipe_all(EVENTS, &samples()));
        assert!(plain.len() > 100 && plain == filtered, "{name} {output}");
    }
}

#[test]
fn what_fails_behind_a_resolver_is_buried_as_it_was_and_says_whose_it_is() {
    let text =
        between(&shipped("memory.toml"), "resolve.conflicts", "operator = \"filter\"\nwhen = 'value.memory_id.x.y'");
    let plain = Run::new(&shipped("memory.toml")).pipe_all(EVENTS, &samples());
    let conflicts: Vec<String> =
        plain.iter().filter(|out| out.topic == "helixagent.memory.conflicts").map(Out::text).collect();
    let out = Run::new(&text).pipe_all(EVENTS, &samples());
    let dead: Vec<&Out> = out.iter().filter(|out| out.reason().0 == "script_failed").collect();
    assert_eq!(dead.iter().map(|out| out.text()).collect::<Vec<_>>(), conflicts);
    assert!(
        dead.iter().all(|out| out.reason().2 == EVENTS && out.header("type").as_deref() == Some("memory.conflict"))
    );
}

#[test]
fn events_of_another_shape_are_mapped_and_decoded() {
    let told = "operator = \"map\"\nkeep = [\"id\"]\nset = { event_id = 'value.id', event_type = '\"memory.created\"', memory_id = 'key', content = 'value.text' }\ndrop = [\"id\"]";
    let text = shipped("memory.toml").replacen("from = [\"events\"]", "from = [\"extra.records\"]", 1);
    let text = format!("{text}\n[[processor]]\nname = \"extra\"\nfrom = [\"events\"]\n{told}\n");
    let out = Run::new(&text).pipe(EVENTS, &Record::new("m1", "{\"id\":\"e1\",\"text\":\"hello\"}"));
    let memory = out[0].record.value_json();
    assert_eq!(
        (&memory["memory_id"], &memory["content"], &memory["event_ids"][0]),
        (&"m1".into(), &"hello".into(), &"e1".into())
    );
    let out = Run::new(&text).pipe(EVENTS, &Record::new("m1", "{\"id\":\"\"}"));
    assert_eq!(
        (out[0].reason().0.as_str(), out[0].text().as_str()),
        ("missing_field", "m1={\"id\":\"\"}"),
        "as it came"
    );
}
