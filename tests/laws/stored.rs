//! Stored forms: a fixture of each version stays in the repository, and every later program reads
//! it.

use std::fmt::Write as _;

use memory::state::Layout;

use crate::ours::{self, Map};
use reference_model::{Record, Settings};

/// Rows of three memories: pages, a value of its own, an open conflict, a delete against an update,
/// an absorb, a clock of `~`.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/state-v1.rows");

fn records() -> Vec<Record> {
    let metadata: Vec<String> = (0..40).map(|i| format!(r#""key-{i:02}":{{"n":{i}}}"#)).collect();
    let events = [
        format!(
            r#"{{"event_id":"e1","event_type":"memory.created","memory_id":"m","node_id":"n1","user_id":"u","version":3,
            "timestamp":"2026-01-01T00:00:00.5Z","vector_clock":{{"n1":1}},"content":"{}","embedding":[0.5,-1e21],
            "importance":0.25,"tags":["b","a"],"metadata":{{{}}}}}"#,
            "long ".repeat(20),
            metadata.join(",")
        ),
        r#"{"event_id":"e2","event_type":"memory.updated","memory_id":"m","node_id":"n2","version":4,"session_id":"s",
            "timestamp":"2026-01-01T00:00:01Z","vector_clock":"{\"n1\":1,\"n2\":1}","entities":[{"id":"x","confidence":0.5}]}"#
            .to_owned(),
        r#"{"event_id":"e3","event_type":"memory.updated","memory_id":"m","node_id":"n3","version":5,"content":"short",
            "timestamp":"2026-01-01T00:00:02Z","vector_clock":{"n1":1,"n3":1},"relationships":[{"id":"r","strength":2}]}"#
            .to_owned(),
        r#"{"event_id":"e4","event_type":"memory.deleted","memory_id":"m","user_id":"v","version":6,
            "timestamp":"2026-01-01T00:00:03Z","vector_clock":{"n4":7}}"#
            .to_owned(),
        r#"{"event_id":"e5","event_type":"memory.updated","memory_id":"m","version":7,"content":null,
            "timestamp":"2026-01-01T00:00:04Z","vector_clock":{"n1":1,"n2":2,"~":9}}"#
            .to_owned(),
        r#"{"event_id":"e6","event_type":"memory.merged","memory_id":"é","merged_from":["k","é"],"importance":-3,
            "timestamp":"2026-01-01T00:00:05Z"}"#
            .to_owned(),
    ];
    let record = |(offset, value): (usize, String)| Record {
        topic: "helixagent.memory.events".to_owned(),
        partition: 2,
        offset: offset as i64,
        timestamp_ms: 1_767_225_600_000,
        value: Some(value.into_bytes()),
        ..Record::default()
    };
    events.into_iter().enumerate().map(record).collect()
}

fn layout() -> Layout {
    Layout {
        max_inline_bytes: 60,
        max_head_weight: 500,
        min_paged_weight: 400,
        page_weight: 600,
        max_page_weight: 900,
        ..Layout::default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        write!(text, "{b:02x}").expect("writes to a text");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("is hex") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn version_1_is_read_and_still_written() {
    let settings = Settings::default();
    let run = ours::run_in(&records(), &settings, layout());
    let written: String = run.rows.iter().map(|(key, value)| format!("{} {}\n", hex(key), hex(value))).collect();
    if std::env::var_os("HELIXSTREAM_WRITE_FIXTURES").is_some() {
        std::fs::write(VERSION_1, &written).expect("writes the fixture");
    }
    let fixture = std::fs::read_to_string(VERSION_1).expect("the fixture is there");
    assert!(fixture.lines().count() > 6, "pages and values have rows of their own");
    let rows = fixture.lines().map(|line| line.split_once(' ').expect("key and value"));
    let rows: Map = rows.map(|(key, value)| (unhex(key), unhex(value))).collect();
    let ours_settings = ours::settings(&settings);
    let old = ours::Run { rows, ..ours::Run::default() };
    for memory in ["m", "é", "k"] {
        let resolved = old.resolved(memory, &ours_settings);
        assert!(resolved.is_some(), "{memory} is in the fixture");
        assert_eq!(resolved, run.resolved(memory, &ours_settings), "{memory}");
    }
    assert_eq!(written, fixture, "today's program writes version 1");
}
