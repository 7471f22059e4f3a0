//! Maps records of a snapshots topic to rows of `memory_snapshots`: a resolved memory, or the
//! snapshot of a user.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::outputs::{instant, json_or_null, kind, read, text_or_null, unknown_kind, value};
use crate::encode::Output;
use mirror::ports::{Cells, LogRecord, NoCells, RowMapper, RowPolicy, Unreadable};
use streams::ports::Codec;

/// Reads records of the snapshots topic into rows, of which the last of each key stands.
#[derive(Clone, Default)]
pub struct SnapshotRows {
    codec: Option<Arc<dyn Codec>>,
}

impl SnapshotRows {
    /// Rows of records in JSON and, by the codec, in Avro.
    pub fn new(codec: Option<Arc<dyn Codec>>) -> SnapshotRows {
        SnapshotRows { codec }
    }
}

const COLUMNS: &[&str] = &[
    "record_type",
    "memory_id",
    "user_id",
    "timestamp",
    "vector_clock",
    "status",
    "resolved",
    "snapshot_id",
    "node_id",
    "memories",
    "entities",
    "relationships",
    "metadata",
    "memory_count",
    "entity_count",
    "relationship_count",
];
/// Columns of the snapshot of a user alone.
const OF_USERS: usize = 9;

/// Members of a resolved memory that the columns hold.
#[derive(Deserialize)]
struct Resolved<'r> {
    memory_id: String,
    user_id: Option<String>,
    status: String,
    updated_at: String,
    #[serde(borrow)]
    vector_clock: &'r RawValue,
}

/// The snapshot of a user.
#[derive(Deserialize)]
struct OfUser<'r> {
    snapshot_id: String,
    timestamp: String,
    node_id: Option<String>,
    user_id: String,
    #[serde(borrow)]
    memories: Option<&'r RawValue>,
    #[serde(borrow)]
    entities: Option<&'r RawValue>,
    #[serde(borrow)]
    relationships: Option<&'r RawValue>,
    #[serde(borrow)]
    vector_clock: Option<&'r RawValue>,
    #[serde(borrow)]
    metadata: Option<&'r RawValue>,
}

impl RowMapper for SnapshotRows {
    fn table(&self) -> &'static str {
        "memory_snapshots"
    }

    fn row_policy(&self) -> RowPolicy {
        RowPolicy::UpsertByKey
    }

    fn columns(&self) -> &'static [&'static str] {
        COLUMNS
    }

    fn cells(&self, record: &LogRecord<'_>, to: &mut dyn Cells) -> Result<(), NoCells> {
        match kind(record) {
            "memory.resolved" => {
                let json = value(record, Output::Resolved, self.codec.as_deref())?;
                Ok(resolved(record, &json, to)?)
            }
            "user.snapshot" => {
                let json = value(record, Output::UserSnapshot, self.codec.as_deref())?;
                Ok(of_user(record, &json, to)?)
            }
            _ => Err(unknown_kind(record).into()),
        }
    }
}

fn resolved(record: &LogRecord<'_>, json: &[u8], to: &mut dyn Cells) -> Result<(), Unreadable> {
    let memory: Resolved<'_> = read(json)?;
    check_key(record, &memory.memory_id)?;
    let updated_at = instant("updated_at", &memory.updated_at)?;
    to.text("memory.resolved");
    to.text(&memory.memory_id);
    text_or_null(memory.user_id.as_deref(), to);
    to.instant(updated_at);
    to.json(memory.vector_clock.get().as_bytes());
    to.text(&memory.status);
    to.json(json);
    (0..OF_USERS).for_each(|_| to.null());
    Ok(())
}

fn of_user(record: &LogRecord<'_>, json: &[u8], to: &mut dyn Cells) -> Result<(), Unreadable> {
    let snapshot: OfUser<'_> = read(json)?;
    check_key(record, &format!("user:{}", snapshot.user_id))?;
    let timestamp = instant("timestamp", &snapshot.timestamp)?;
    let lists = [snapshot.memories, snapshot.entities, snapshot.relationships];
    let mut counts = [0; 3];
    for (count, list) in counts.iter_mut().zip(lists) {
        *count = length(list)?;
    }
    let json = |raw: Option<&RawValue>, to: &mut dyn Cells| json_or_null(raw.map(|raw| raw.get().as_bytes()), to);
    to.text("user.snapshot");
    to.null();
    to.text(&snapshot.user_id);
    to.instant(timestamp);
    json(snapshot.vector_clock, to);
    to.null();
    to.null();
    to.text(&snapshot.snapshot_id);
    text_or_null(snapshot.node_id.as_deref(), to);
    lists.into_iter().for_each(|list| json(list, to));
    json(snapshot.metadata, to);
    counts.into_iter().for_each(|count| to.integer(count));
    Ok(())
}

/// A row stands for its key, so the key must be that of what it says.
fn check_key(record: &LogRecord<'_>, expected: &str) -> Result<(), Unreadable> {
    if record.key == Some(expected.as_bytes()) {
        return Ok(());
    }
    Err(Unreadable { class: "wrong_key", message: format!("the record is about `{expected}`, and its key is another") })
}

/// How many items a list has; none where it is absent.
fn length(list: Option<&RawValue>) -> Result<i64, Unreadable> {
    let Some(list) = list else { return Ok(0) };
    let items: Vec<IgnoredAny> = serde_json::from_str(list.get())
        .map_err(|e| Unreadable { class: "wrong_type", message: format!("a list of the snapshot is none: {e}") })?;
    Ok(i64::try_from(items.len()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::test_cells::row_of;
    use super::*;

    fn row(kind: &str, key: &str, value: &str) -> Result<Vec<(&'static str, String)>, &'static str> {
        row_of(&SnapshotRows::default(), &[("type", kind)], Some(key), Some(value))
    }

    #[test]
    fn a_resolved_memory_is_kept_whole() {
        let json = r#"{"content":"x","memory_id":"m","status":"active","updated_at":"1970-01-01T00:00:00.000000005Z",
            "user_id":"u","vector_clock":{"n":1}}"#;
        let expected = [
            ("record_type", "memory.resolved"),
            ("memory_id", "m"),
            ("user_id", "u"),
            ("timestamp", "@5"),
            ("vector_clock", r#"{"n":1}"#),
            ("status", "active"),
            ("resolved", json),
        ];
        assert_eq!(row("memory.resolved", "m", json).unwrap(), expected.map(|(name, cell)| (name, cell.to_owned())));
    }

    #[test]
    fn the_snapshot_of_a_user_is_laid_out() {
        let json = r#"{"snapshot_id":"s","timestamp":"1970-01-01T00:00:00Z","user_id":"u","memories":[{},[1,2]],"entities":[],
            "vector_clock":{}}"#;
        let expected = [
            ("record_type", "user.snapshot"),
            ("user_id", "u"),
            ("timestamp", "@0"),
            ("vector_clock", "{}"),
            ("snapshot_id", "s"),
            ("memories", "[{},[1,2]]"),
            ("entities", "[]"),
            ("memory_count", "2"),
            ("entity_count", "0"),
            ("relationship_count", "0"),
        ];
        assert_eq!(row("user.snapshot", "user:u", json).unwrap(), expected.map(|(name, cell)| (name, cell.to_owned())));
    }

    #[test]
    fn what_cannot_be_read_has_a_class() {
        let good = r#"{"memory_id":"m","status":"active","updated_at":"1970-01-01T00:00:00Z","vector_clock":{}}"#;
        assert!(row("memory.resolved", "m", good).is_ok());
        assert_eq!(row("memory.resolved", "n", good), Err("wrong_key"));
        assert_eq!(row("memory.conflict", "m", good), Err("unknown_record_type"));
        assert_eq!(row("memory.resolved", "m", "{"), Err("malformed_json"));
        assert_eq!(row("memory.resolved", "m", ""), Err("empty_value"));
        assert_eq!(row("memory.resolved", "m", r#"{"memory_id":"m"}"#), Err("missing_field"));
        assert_eq!(row("memory.resolved", "m", r#"{"memory_id":1}"#), Err("wrong_type"));
        assert_eq!(row("memory.resolved", "m", &good.replace("1970", "once")), Err("bad_timestamp"));
        assert_eq!(
            row(
                "user.snapshot",
                "user:u",
                r#"{"snapshot_id":"s","timestamp":"1970-01-01T00:00:00Z","user_id":"u","memories":1}"#
            ),
            Err("wrong_type")
        );
    }
}
