//! The samples end to end: published, run, mirrored.

use crate::changed::change_of;
use crate::expect;
use crate::mirrored::assert_outputs_mirrored;
use crate::trial::{Trial, assert_mirrored, database};
use testkit::{postgres, records, repo_path, wait_until};

#[test]
fn the_samples_come_out_and_each_is_mirrored_once() {
    let trial = Trial::new("samples", &[]);
    let file = repo_path("tests/fixtures/helixagent-events.jsonl");
    trial.produce(file.to_str().unwrap(), 305);
    let url = database();
    let mut instance = trial.start("state", &["--threads", "2", "--postgres-url", &url]);
    trial.wait_until_done(&mut [&mut instance]);
    let events = expect::assert_outputs(&trial);
    assert_eq!(events.len(), 305);
    // As they were captured: keys, headers, timestamps.
    let mut captured = records::read_file(file);
    captured.sort_by_key(|record| (record.partition, record.offset));
    let without_offset = |records: &[records::Record]| -> Vec<String> {
        records.iter().map(|record| records::Record { offset: 0, ..record.clone() }.to_line()).collect()
    };
    assert_eq!(without_offset(&captured), without_offset(&events));
    assert_mirrored(&url, &events);
    assert_outputs_mirrored(&url, &trial);
    let settings =
        "select application_id, strategy, overrides, delete_policy, max_contenders from memory_resolver_settings";
    assert_eq!(postgres::query(&url, settings), [[trial.application_id(), "merge_all", "{}", "update_wins", "100"]]);
    instance.stop();
    // Started again with other settings, on purpose, it says so.
    let other = ["--postgres-url", &url, "--set", "strategy=importance", "--set", "strategy.content=vector_clock"];
    let change = change_of(&trial.start("state", &other).finish());
    let instance = trial.start("state", &[&other[..], &["--accept-topology-change", &change]].concat());
    let changed = [[trial.application_id(), "importance", r#"{"content": "vector_clock"}"#, "update_wins", "100"]];
    wait_until("the settings of the second start", || postgres::query(&url, settings) == changed);
    instance.stop();
}
