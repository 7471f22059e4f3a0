//! The samples end to end: published, run, mirrored.

use crate::expect;
use crate::support::{records, repo_path};
use crate::trial::{Trial, assert_mirrored, database};

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
    instance.stop();
}
