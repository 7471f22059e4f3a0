//! The kinds of records on the snapshots topic, as a node distinguishes them.

use std::sync::Arc;

use streams::record::{InRecord, TopicPartition};

use super::feed::{Feed, Sorted};
use crate::kafka::Topics;
use crate::ports::{Journal, JournalError, SnapshotRecord};

/// The header that says what a record is.
const TYPE: &str = "type";
/// Its value for a resolved memory.
const RESOLVED: &[u8] = b"memory.resolved";

/// The topic of resolved memories, which go to the database.
pub(super) struct SnapshotFeed {
    pub journal: Arc<dyn Journal>,
}

impl Feed for SnapshotFeed {
    type Kept = SnapshotRecord;

    const WHAT: &'static str = "resolved memories";

    const AFTER_LOSS: &'static str = "the node asks the stream for all resolved memories by a sync request";

    fn topic<'t>(&self, topics: &'t Topics) -> &'t Arc<str> {
        &topics.snapshots
    }

    fn position(&self, partition: &TopicPartition) -> Result<Option<i64>, JournalError> {
        self.journal.position(&partition.topic, partition.partition)
    }

    fn begin_again(&self, partition: &TopicPartition, start: i64) -> Result<bool, JournalError> {
        self.journal.begin_again(&partition.topic, partition.partition, start)?;
        Ok(true)
    }

    fn sort(&self, record: &InRecord<'_>) -> Sorted<SnapshotRecord> {
        sort(record)
    }

    fn apply(&self, partition: &TopicPartition, records: &[SnapshotRecord], next: i64) -> Result<(), JournalError> {
        self.journal.apply(&partition.topic, partition.partition, records, next)
    }
}

/// Sorts a record by its header `type` and the form of its value.
pub(super) fn sort(record: &InRecord<'_>) -> Sorted<SnapshotRecord> {
    if record.record.headers.last(TYPE).flatten() != Some(RESOLVED) {
        return Sorted::Other;
    }
    let key = record.record.key.and_then(|key| std::str::from_utf8(key).ok()).filter(|key| !key.is_empty());
    let value = record.record.value.unwrap_or_default();
    // Confluent's wire format begins with the byte 0, which no JSON does.
    if value.first() == Some(&0) {
        return Sorted::Foreign("avro");
    }
    let Ok(document) = json::parse(value) else { return Sorted::Unusable("its value is not JSON") };
    let root = document.root();
    let has = |name: &str| root.kind() == json::ValueKind::Object && root.get(name).is_some();
    match (key, has("memory_id")) {
        (_, false) if has("payload") => Sorted::Foreign("helixagent"),
        (_, false) => Sorted::Unusable("its value has no memory_id"),
        (None, _) => Sorted::Unusable("its key is not the id of a memory"),
        (Some(key), true) => Sorted::Kept(SnapshotRecord {
            offset: record.origin.offset,
            memory_id: key.to_owned(),
            value: value.to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streams::record::{Origin, RecordBatch};

    fn sorted(key: Option<&[u8]>, value: Option<&[u8]>, kind: Option<&[u8]>) -> Sorted<SnapshotRecord> {
        let mut batch = RecordBatch::new();
        let origin = Origin { topic: "t", partition: 0, offset: 7, timestamp_ms: 1 };
        batch.push(origin, key, value, kind.map(|kind| ("type", Some(kind))));
        sort(&batch.get(0).unwrap())
    }

    #[test]
    fn the_header_and_the_form_of_the_value_decide() {
        let json = br#"{"memory_id":"m"}"#;
        let kept = SnapshotRecord { offset: 7, memory_id: "m".to_owned(), value: json.to_vec() };
        assert_eq!(sorted(Some(b"m"), Some(json), Some(RESOLVED)), Sorted::Kept(kept));
        assert_eq!(sorted(Some(b"m"), Some(json), Some(b"user.snapshot")), Sorted::Other);
        assert_eq!(sorted(Some(b"m"), Some(json), None), Sorted::Other);
        let envelope = br#"{"id":"e","payload":"e30=","type":"memory.updated"}"#;
        assert_eq!(sorted(Some(b"m"), Some(envelope), Some(RESOLVED)), Sorted::Foreign("helixagent"));
        assert_eq!(sorted(Some(b"m"), Some(b"\0\0\0\0\x01x"), Some(RESOLVED)), Sorted::Foreign("avro"));
        for (key, value) in [
            (None, Some(&json[..])),
            (Some(&b""[..]), Some(&json[..])),
            (Some(b"\xff"), Some(json)),
            (Some(b"m"), None),
            (Some(b"m"), Some(b"7")),
            (Some(b"m"), Some(b"{}")),
        ] {
            assert!(matches!(sorted(key, value, Some(RESOLVED)), Sorted::Unusable(_)), "{key:?} {value:?}");
        }
    }
}
