//! Records of the output topics: resolved memories, conflict records and dead letters.

use super::Record;
use super::json::{self, Json};

/// A record of an output topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// Key.
    pub key: String,
    /// Value: canonical JSON.
    pub value: String,
    /// Timestamp, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Headers, in their order.
    pub headers: Vec<(String, String)>,
}

/// A record of the dead-letter topic: the source's bytes and headers, and what Kafka Streams'
/// headers say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The source record's key.
    pub key: Option<Vec<u8>>,
    /// The source record's value.
    pub value: Option<Vec<u8>>,
    /// The source record's own.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Timestamp of the dead letter, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Class of the exception.
    pub class: String,
    /// Topic of the source record.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds since 1970.
    pub source_timestamp_ms: i64,
}

/// All outputs, each topic's in order of emission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Resolved memories.
    pub snapshots: Vec<Emitted>,
    /// Conflict records.
    pub conflicts: Vec<Emitted>,
    /// Dead letters.
    pub dead_letters: Vec<DeadLetter>,
}

impl DeadLetter {
    /// The dead letter of a source record: its timestamp is that record's, at least 1, and the true
    /// one stands beside it.
    pub fn of(record: &Record, class: &str) -> DeadLetter {
        DeadLetter {
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
            timestamp_ms: record.timestamp_ms.max(1),
            class: class.to_owned(),
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
            source_timestamp_ms: record.timestamp_ms,
        }
    }
}

impl Outputs {
    /// Adds what was emitted after these.
    pub fn append(&mut self, later: Outputs) {
        self.snapshots.extend(later.snapshots);
        self.conflicts.extend(later.conflicts);
        self.dead_letters.extend(later.dead_letters);
    }

    /// The same with conflict records normalised, see [`normalise_conflict`].
    pub fn normalised(mut self) -> Outputs {
        for conflict in &mut self.conflicts {
            conflict.value = normalise_conflict(&conflict.value);
        }
        self
    }
}

/// A conflict record without the free text (`reason`), and with contenders that are equal in all of
/// last-write order in the order of their JSON: docs/semantics.md leaves both open. Text that is no
/// conflict record stays as it is.
pub fn normalise_conflict(text: &str) -> String {
    let Ok(Json::Obj(mut record)) = json::parse(text.as_bytes(), 1000) else {
        return text.to_owned();
    };
    if let Some(Json::Arr(fields)) = record.get_mut("fields") {
        for field in fields {
            let Json::Obj(field) = field else { continue };
            field.remove("reason");
            if let Some(Json::Arr(contenders)) = field.get_mut("contenders") {
                let key = |c: &Json| -> Vec<String> {
                    let Json::Obj(members) = c else { return Vec::new() };
                    let names = ["timestamp", "version", "node_id", "event_id", "value"];
                    names.iter().map(|n| members.get(*n).map(Json::canonical).unwrap_or_default()).collect()
                };
                for tied in contenders.chunk_by_mut(|a, b| key(a) == key(b)) {
                    tied.sort_by_key(Json::canonical);
                }
            }
        }
    }
    Json::Obj(record).canonical()
}

/// A record of an output topic, with the headers of its kind.
pub(super) fn emitted(kind: &str, key: &str, value: String, timestamp_ms: i64) -> Emitted {
    let headers = vec![("type".to_owned(), kind.to_owned()), ("schema_version".to_owned(), "1".to_owned())];
    Emitted { key: key.to_owned(), value, timestamp_ms, headers }
}
