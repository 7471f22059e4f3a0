//! `replay`: the samples give the same bytes on each run, in the form of a record file; what is
//! wrong in a file is told.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod support;

use std::path::{Path, PathBuf};

use support::{Finished, Helix};
use testkit::process::temp_dir;
use testkit::repo_path;

const OUTPUTS: [&str; 3] = ["snapshots.jsonl", "conflicts.jsonl", "dead-letters.jsonl"];

fn replay(input: &Path, output: &Path) -> Finished {
    let topology = repo_path("topologies/memory.toml");
    let path = |p: &Path| p.to_str().unwrap().to_owned();
    Helix::run(&["replay", "--topology", &path(&topology), "--input", &path(input), "--output", &path(output)])
}

fn samples() -> PathBuf {
    repo_path("tests/fixtures/helixagent-events.jsonl")
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let dir = temp_dir("replay");
    let (a, b) = (dir.join("not/yet/there"), dir.join("b"));
    assert_eq!(replay(&samples(), &a).code, Some(0));
    assert_eq!(replay(&samples(), &b).code, Some(0));
    for name in OUTPUTS {
        let bytes = std::fs::read(a.join(name)).unwrap();
        assert_eq!(bytes, std::fs::read(b.join(name)).unwrap(), "{name}");
    }
    assert!(lines(&a.join("snapshots.jsonl")).len() > 100);
    assert!(lines(&a.join("conflicts.jsonl")).len() > 10);
}

#[test]
fn offsets_count_from_0_in_each_partition_and_a_key_keeps_its_partition() {
    let dir = temp_dir("replay");
    replay(&samples(), &dir);
    for (name, partitions) in [("snapshots.jsonl", 6), ("conflicts.jsonl", 3)] {
        let mut next = vec![0; partitions];
        let mut of_key = std::collections::BTreeMap::new();
        for record in lines(&dir.join(name)) {
            let partition = record["partition"].as_u64().unwrap();
            let at = &mut next[usize::try_from(partition).unwrap()];
            assert_eq!(record["offset"].as_u64(), Some(*at), "{name}");
            *at += 1;
            let key = record["key_b64"].as_str().unwrap().to_owned();
            assert_eq!(*of_key.entry(key).or_insert(partition), partition, "{name}");
        }
        assert!(next.iter().filter(|n| **n > 0).count() > 1, "{name}: {next:?}");
    }
}

#[test]
fn a_files_order_counts_not_its_offsets() {
    let dir = temp_dir("replay");
    let text = std::fs::read_to_string(samples()).unwrap();
    let backwards: Vec<&str> = text.lines().rev().collect();
    let input = dir.join("backwards.jsonl");
    std::fs::write(&input, backwards.join("\n")).unwrap();
    replay(&samples(), &dir.join("a"));
    assert_eq!(replay(&input, &dir.join("b")).code, Some(0));
    // The last resolved memory of each key does not hang on the order of arrival.
    let last = |folder: &str| {
        let mut last = std::collections::BTreeMap::new();
        for record in lines(&dir.join(folder).join("snapshots.jsonl")) {
            last.insert(
                record["key_b64"].as_str().unwrap().to_owned(),
                record["value_b64"].as_str().unwrap().to_owned(),
            );
        }
        last
    };
    assert_eq!(last("a"), last("b"));
}

#[test]
fn bad_records_go_to_the_dead_letters_as_they_are() {
    let dir = temp_dir("replay");
    let input = dir.join("bad.jsonl");
    let bad =
        r#"{"partition":4,"offset":17,"timestamp_ms":99,"key_b64":"aw==","value_b64":"bm8=","headers":[["h",null]]}"#;
    std::fs::write(&input, format!("{bad}\n{{\"key_b64\":null,\"value_b64\":null}}\n")).unwrap();
    assert_eq!(replay(&input, &dir).code, Some(0));
    let dead = lines(&dir.join("dead-letters.jsonl"));
    assert_eq!(dead.len(), 2);
    assert_eq!(
        (&dead[0]["key_b64"], &dead[0]["value_b64"], &dead[0]["timestamp_ms"]),
        (&"aw==".into(), &"bm8=".into(), &99.into())
    );
    let header = |n: usize, name: &str| {
        let all = dead[n]["headers"].as_array().unwrap().clone();
        all.into_iter().find(|h| h[0] == name).unwrap_or_else(|| panic!("no header {name}"))[1].clone()
    };
    // base64 of malformed_json, 17, 4 and empty_value.
    assert_eq!(header(0, "__streams.errors.exception"), "bWFsZm9ybWVkX2pzb24=");
    assert_eq!(header(0, "__streams.errors.offset"), "MTc=");
    assert_eq!(header(0, "__streams.errors.partition"), "NA==");
    assert_eq!(header(0, "h"), serde_json::Value::Null);
    assert_eq!(header(1, "__streams.errors.exception"), "ZW1wdHlfdmFsdWU=");
}

#[test]
fn what_is_no_record_file_is_told_with_its_line() {
    let dir = temp_dir("replay");
    let input = dir.join("in.jsonl");
    std::fs::write(&input, "{\"key_b64\":null,\"value_b64\":null}\nnot json\n").unwrap();
    replay(&input, &dir.join("out")).assert_failed(1, &["in.jsonl:2: the line is not a record", "[HS5090]"]);
    replay(&dir.join("nowhere"), &dir.join("out")).assert_failed(1, &["open ", "nowhere"]);
}

#[test]
fn the_standard_input_is_a_file_too() {
    let dir = temp_dir("replay");
    replay(&samples(), &dir.join("a"));
    let mut command = Helix::command();
    command.args(["replay", "--input", "-", "--topology"]).arg(repo_path("topologies/memory.toml"));
    let status = command
        .arg("--output")
        .arg(dir.join("b"))
        .stdin(std::fs::File::open(samples()).unwrap())
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
    for name in OUTPUTS {
        assert_eq!(std::fs::read(dir.join("a").join(name)).unwrap(), std::fs::read(dir.join("b").join(name)).unwrap());
    }
}

#[test]
fn two_replays_into_one_folder_do_not_mix() {
    let dir = temp_dir("replay");
    let (fifo, out) = (dir.join("in.jsonl"), dir.join("out"));
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let topology = repo_path("topologies/memory.toml").display().to_string();
    let path = |p: &Path| p.display().to_string();
    // The first waits for the end of its input, which stays open until the second has been refused.
    let first = Helix::spawn(&["replay", "--topology", &topology, "--input", &path(&fifo), "--output", &path(&out)]);
    let mut input = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    std::io::Write::write_all(&mut input, &std::fs::read(samples()).unwrap()).unwrap();
    testkit::wait_for("the first replay's files", || out.join(".snapshots.jsonl.part").exists().then_some(()));
    replay(&samples(), &out).assert_failed(1, &["another replay is writing into", "--output"]);
    drop(input);
    assert_eq!(first.finish().code, Some(0));
    replay(&samples(), &dir.join("alone"));
    for name in OUTPUTS {
        assert_eq!(
            std::fs::read(out.join(name)).unwrap(),
            std::fs::read(dir.join("alone").join(name)).unwrap(),
            "{name}"
        );
    }
    // One that fails leaves the files of the one before.
    let before = std::fs::read(out.join("snapshots.jsonl")).unwrap();
    std::fs::write(dir.join("wrong.jsonl"), "not json\n").unwrap();
    replay(&dir.join("wrong.jsonl"), &out).assert_failed(1, &["not a record"]);
    assert_eq!(std::fs::read(out.join("snapshots.jsonl")).unwrap(), before);
}
