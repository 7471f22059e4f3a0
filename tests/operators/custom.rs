//! `examples/custom_operator.rs`: a program with an operator of its own has every command of
//! `helixstream` with it.

use std::path::{Path, PathBuf};

use crate::support::{Finished, Helix};
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::process::temp_dir;
use testkit::{Broker, Record, records, repo_path, unique, wait_for};

/// The topology of the example.
fn text() -> String {
    std::fs::read_to_string(repo_path("examples/custom_operator.toml")).unwrap()
}

/// Starts the example in a folder.
fn start(dir: &Path, arguments: &[&str]) -> Helix {
    let mut command = Helix::example_command("custom_operator");
    command.args(arguments).current_dir(dir);
    Helix::spawn_command(command)
}

#[track_caller]
fn run_ok(dir: &Path, arguments: &[&str]) -> String {
    let finished = start(dir, arguments).finish();
    assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
    finished.stdout
}

/// A folder with the topology under `t.toml`.
fn folder(text: &str) -> PathBuf {
    let dir = temp_dir("custom");
    std::fs::write(dir.join("t.toml"), text).unwrap();
    dir
}

/// What `topology check` says of the topology with one part changed.
fn checked(from: &str, to: &str) -> Finished {
    assert!(text().contains(from), "the topology has no {from:?}");
    start(&folder(&text().replacen(from, to, 1)), &["topology", "check", "t.toml"]).finish()
}

#[test]
fn check_knows_the_operator_and_its_parameters() {
    let sound = checked("", "");
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert_eq!(sound.stdout, "t.toml: sound: 2 sub-topologies, 5 nodes, 1 store\n");
    checked("within = \"1h\"", "witin = \"1h\"").assert_failed(2, &["HS0014", "did you mean `within`?"]);
    checked("within = \"1h\"", "").assert_failed(2, &["HS0015", "`deduplicate` requires the parameter `within`"]);
    checked("within = \"1h\"", "within = 5")
        .assert_failed(2, &["HS0018", "the number 5 is not a duration from 1s to 366d"]);
    checked("within = \"1h\"", "within = \"1h\"\nwhen = \"true\"")
        .assert_failed(2, &["HS0033", "the parameters of `deduplicate` are: `id`, `within`"]);
    checked("id = \"value.payment_id\"", "id = \"value.\"").assert_failed(2, &["HS7001"]);
    checked("stores = [\"seen-payments\"]\n", "")
        .assert_failed(2, &["HS0036", "its operator `deduplicate` needs 1 store"]);
    checked("\"deduplicate\"", "\"deduplicte\"")
        .assert_failed(2, &["HS0032", "did you mean `deduplicate`?", "deduplicate (passes on the first record"]);
    checked("name = \"seen-payments\"", "name = \"seen-payments\"\nretention = \"1h\"")
        .assert_failed(2, &["HS0049", "its operator `deduplicate` does not support"]);
}

#[test]
fn the_shipped_program_does_not_have_it() {
    let mut command = Helix::command();
    command.args(["topology", "check", "t.toml"]).current_dir(folder(&text()));
    Helix::spawn_command(command)
        .finish()
        .assert_failed(2, &["HS0032", "names the operator `deduplicate`, which does not exist"]);
}

#[test]
fn describe_and_diff_show_the_parameters() {
    let dir = folder(&text());
    let described: Value =
        serde_json::from_str(&run_ok(&dir, &["topology", "describe", "t.toml", "--format", "json"])).unwrap();
    let nodes = described["subtopologies"][1]["nodes"].as_array().unwrap();
    let once = nodes.iter().find(|node| node["name"] == "once").unwrap();
    assert_eq!(once["operator"], "deduplicate");
    assert_eq!(once["stores"], json!(["seen-payments"]));
    let parameters = json!([{"key": "id", "text": "value.payment_id"}, {"key": "within", "text": "1h"}]);
    assert_eq!(once["told"], parameters);
    std::fs::write(dir.join("new.toml"), text().replacen("within = \"1h\"", "within = \"2h\"", 1)).unwrap();
    let diff = run_ok(&dir, &["topology", "diff", "t.toml", "new.toml"]);
    assert!(diff.contains("`within` of `once`: 1h -> 2h"), "{diff}");
    assert!(diff.ends_with("state survives\n"), "{diff}");
}

#[test]
fn schema_has_the_operator_beside_those_that_are_shipped() {
    let schema: Value = serde_json::from_str(&run_ok(&temp_dir("custom"), &["topology", "schema"])).unwrap();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let is_valid =
        |text: &str| validator.is_valid(&serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap());
    assert!(is_valid(&text()));
    for (from, to) in [
        ("within = \"1h\"", ""),
        ("within = \"1h\"", "within = \"long\""),
        ("within = \"1h\"", "within = \"1h\"\nwhen = \"true\""),
        ("stores = [\"seen-payments\"]\n", ""),
    ] {
        assert!(!is_valid(&text().replacen(from, to, 1)), "the schema accepts {to:?}");
    }
    let within = &schema["properties"]["processor"]["items"]["properties"]["within"];
    assert_eq!(within["description"], "deduplicate: for so much stream time an id is remembered.");
    let kept = std::fs::read_to_string(repo_path("schemas/topology.schema.json")).unwrap();
    let shipped: Value = serde_json::from_str(&kept).unwrap();
    let operators = |schema: &Value| {
        let operator = &schema["properties"]["processor"]["items"]["properties"]["operator"];
        operator["anyOf"][0]["oneOf"].as_array().unwrap().clone()
    };
    assert_eq!(operators(&schema)[..operators(&shipped).len()], operators(&shipped));
}

/// A payment of an account, of its record's time. All are in one partition, so that their order is
/// the same in every run.
fn payment(account: &str, id: &str, minute: i64) -> Record {
    let value = json!({"account": account, "payment_id": id, "minute": minute}).to_string();
    Record::new("", value).at_ms(1_700_000_000_000 + minute * 60_000)
}

/// Payments, in two parts: the second repeats ids of the first, of which one has been forgotten by
/// then.
fn payments() -> (Vec<Record>, Vec<Record>) {
    let first = vec![
        payment("a", "1", 0),
        payment("a", "1", 1),
        payment("b", "1", 2),
        payment("a", "2", 30),
        payment("c", "9", 31),
    ];
    let second = vec![
        payment("a", "2", 45),
        payment("c", "9", 50),
        payment("a", "1", 61),
        payment("a", "1", 62),
        payment("b", "2", 63),
        Record::new("", "{}").at_ms(1_700_000_000_000 + 64 * 60_000),
        Record::new("", "{\"account\": \"b\"}").at_ms(1_700_000_000_000 + 65 * 60_000),
    ];
    (first, second)
}

/// What each account has: the minutes of its payments that are passed on, in their order.
fn minutes(records: &[Record], account: &str) -> Vec<i64> {
    let own = records.iter().filter(|record| record.key_text() == account);
    own.map(|record| record.value_json()["minute"].as_i64().unwrap_or(-1)).collect()
}

#[track_caller]
fn assert_unique(records: &[Record]) {
    assert_eq!(minutes(records, "a"), [0, 30, 61], "61 minutes after the first, its id is forgotten");
    assert_eq!(minutes(records, "b"), [2, 63, -1], "ids of another account count apart");
    assert_eq!(minutes(records, "c"), [31]);
    assert_eq!(records.len(), 7);
}

#[test]
fn replay_runs_it() {
    let dir = folder(&text());
    let (first, second) = payments();
    records::write_file(dir.join("in.jsonl"), &[first, second].concat());
    let arguments = ["replay", "--topology", "t.toml", "--input", "in.jsonl", "--output", "out"];
    run_ok(&dir, &arguments);
    assert_unique(&records::read_file(dir.join("out/unique-payments.jsonl")));
    assert!(records::read_file(dir.join("out/dead-letters.jsonl")).is_empty());
}

#[test]
fn run_keeps_its_store_over_a_restart() {
    let name = unique("payments");
    let text = text().replace("\"unique-payments\"", &format!("\"{name}\"")).replace("example.", &format!("{name}."));
    let dir = folder(&text);
    let servers = Broker::shared().bootstrap();
    run_ok(&dir, &["topics", "create", "--topology", "t.toml", "--bootstrap-servers", &servers]);
    let run = || start(&dir, &["run", "--topology", "t.toml", "--state-dir", "state", "--bootstrap-servers", &servers]);
    let topic = format!("{name}.payments.unique");
    let wait = |helix: &mut Helix, least: usize| {
        wait_for(&format!("{least} payments"), || {
            assert!(helix.is_running(), "{}", helix.stderr());
            let found = records::read_committed(Broker::shared(), &topic);
            (found.len() >= least).then_some(found)
        })
    };
    let stop = |helix: Helix| {
        helix.signal(Signal::INT);
        let finished = helix.finish();
        assert_eq!(finished.code, Some(0), "{finished:?}");
    };
    let (first, second) = payments();
    let mut helix = run();
    records::produce(Broker::shared(), &format!("{name}.payments"), &first);
    wait(&mut helix, 4);
    stop(helix);
    records::produce(Broker::shared(), &format!("{name}.payments"), &second);
    let mut helix = run();
    let found = wait(&mut helix, 7);
    stop(helix);
    assert_unique(&found);
}
