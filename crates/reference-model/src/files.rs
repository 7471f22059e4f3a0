//! Record files (one JSON object a line), so that streams can be given to `replay` and its outputs
//! held against the model's.

use super::json::{self, Json};
use super::outputs::{DeadLetter, Emitted};
use super::{Outputs, Record};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

/// The records as a record file.
pub fn write_records(records: &[Record]) -> String {
    let bytes = |b: &Option<Vec<u8>>| b.as_ref().map_or(Json::Null, |b| Json::Str(STANDARD.encode(b)));
    let mut text = String::new();
    for record in records {
        let header =
            |(name, value): &(String, Vec<u8>)| Json::Arr(vec![Json::str(name), Json::Str(STANDARD.encode(value))]);
        let line = Json::obj([
            ("partition", Json::Int(record.partition.into())),
            ("offset", Json::Int(record.offset.into())),
            ("timestamp_ms", Json::Int(record.timestamp_ms.into())),
            ("key_b64", bytes(&record.key)),
            ("value_b64", bytes(&record.value)),
            ("headers", Json::Arr(record.headers.iter().map(header).collect())),
        ]);
        text.push_str(&line.canonical());
        text.push('\n');
    }
    text
}

/// The records of a record file, as records of `topic`. Panics on a line that is none: a test's
/// input is at fault then.
pub fn read_records(text: &str, topic: &str) -> Vec<Record> {
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| read_record(line, topic)).collect()
}

fn read_record(line: &str, topic: &str) -> Record {
    let Ok(Json::Obj(members)) = json::parse(line.as_bytes(), 1000) else {
        panic!("not a record: {line}");
    };
    let int = |name: &str| match members.get(name) {
        Some(Json::Int(i)) => i64::try_from(*i).expect("64 bits"),
        other => panic!("{name} is {other:?} in {line}"),
    };
    let bytes = |value: Option<&Json>| match value {
        None | Some(Json::Null) => None,
        Some(Json::Str(text)) => Some(STANDARD.decode(text).expect("base64")),
        Some(other) => panic!("no base64: {other:?}"),
    };
    let headers = match members.get("headers") {
        Some(Json::Arr(headers)) => headers.iter().map(|header| match header {
            Json::Arr(pair) => match pair.as_slice() {
                [Json::Str(name), value] => (name.clone(), bytes(Some(value)).unwrap_or_default()),
                _ => panic!("no header: {pair:?}"),
            },
            _ => panic!("no header: {header:?}"),
        }),
        other => panic!("headers are {other:?}"),
    };
    Record {
        topic: topic.to_owned(),
        partition: i32::try_from(int("partition")).expect("32 bits"),
        offset: int("offset"),
        timestamp_ms: int("timestamp_ms"),
        key: bytes(members.get("key_b64")),
        value: bytes(members.get("value_b64")),
        headers: headers.collect(),
    }
}

/// `replay`'s three files as outputs, in their order. Of conflicts use [`Outputs::normalised`]
/// before comparing.
pub fn read_outputs(snapshots: &str, conflicts: &str, dead_letters: &str) -> Outputs {
    let emitted = |text: &str| read_records(text, "").into_iter().map(as_emitted).collect();
    let dead_letters = read_records(dead_letters, "").into_iter().map(as_dead_letter).collect();
    Outputs { snapshots: emitted(snapshots), conflicts: emitted(conflicts), dead_letters }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

fn as_emitted(record: Record) -> Emitted {
    Emitted {
        key: text(record.key.unwrap_or_default()),
        value: text(record.value.unwrap_or_default()),
        timestamp_ms: record.timestamp_ms,
        headers: record.headers.into_iter().map(|(name, value)| (name, text(value))).collect(),
    }
}

/// Kafka Streams' headers are taken out of the record's own; the message is dropped, since it is
/// free text.
fn as_dead_letter(record: Record) -> DeadLetter {
    let (errors, headers): (Vec<_>, Vec<_>) =
        record.headers.into_iter().partition(|(name, _)| name.starts_with("__streams.errors."));
    let errors: BTreeMap<String, String> = errors.into_iter().map(|(name, value)| (name, text(value))).collect();
    let error = |name: &str| {
        errors
            .get(&format!("__streams.errors.{name}"))
            .unwrap_or_else(|| panic!("no header {name}: {errors:?}"))
            .clone()
    };
    assert!(!error("message").is_empty(), "a dead letter says what is wrong");
    DeadLetter {
        key: record.key,
        value: record.value,
        headers,
        timestamp_ms: record.timestamp_ms,
        class: error("exception"),
        topic: error("topic"),
        partition: error("partition").parse().expect("a partition"),
        offset: error("offset").parse().expect("an offset"),
        source_timestamp_ms: error("timestamp").parse().expect("milliseconds"),
    }
}
