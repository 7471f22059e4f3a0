//! The example that knows no memories, through the driver: only the public API is used.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[allow(dead_code, reason = "its main reads standard input")]
#[path = "../examples/word_count.rs"]
mod word_count;

use streams::driver::TopologyDriver;
use streams::record::{Headers, InRecord, Origin, Record};
use streams::task::Sizes;

#[test]
fn words_are_counted_and_bad_lines_put_aside() {
    let mut driver = TopologyDriver::new(&word_count::word_count().unwrap(), "app", &Sizes::default());
    for (offset, line) in [&b"The quick fox"[..], b"the\xff", b"fox, the FOX"].into_iter().enumerate() {
        let origin = Origin { topic: "lines", partition: 0, offset: offset as i64, timestamp_ms: 1 };
        let record = Record { key: None, value: Some(line), headers: Headers::NONE, timestamp_ms: 1 };
        driver.pipe(&InRecord { origin, record }).unwrap();
    }
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let show = |out: InRecord<'_>| format!("{} {}={}", out.origin.topic, text(out.record.key), text(out.record.value));
    let outputs: Vec<String> = driver.outputs().iter().map(show).collect();
    let counts = ["the=1", "quick=1", "fox=1", "fox=2", "the=2", "fox=3"].map(|count| format!("word-counts {count}"));
    let (before, after) = counts.split_at(3);
    let expected: Vec<String> = [before, &["bad-lines =the\u{fffd}".to_owned()], after].concat();
    assert_eq!(outputs, expected);
    let mut stored = Vec::new();
    driver.scan_store("counts", |_, word, count| stored.push((text(Some(word)), count.to_vec()))).unwrap();
    let count = |n: u64| n.to_be_bytes().to_vec();
    assert_eq!(stored, [("fox".to_owned(), count(3)), ("quick".to_owned(), count(1)), ("the".to_owned(), count(2))]);
}
