//! Maps records of a conflicts topic to rows of `memory_conflicts`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::outputs::{instant, json_or_null, kind, read, text_or_null, unknown_kind, value};
use crate::encode::Output;
use mirror::ports::{Cells, LogRecord, NoCells, RowMapper, RowPolicy, Unreadable};
use streams::ports::Codec;

/// Reads records of the conflicts topic into rows, each its own.
#[derive(Clone, Default)]
pub struct ConflictRows {
    codec: Option<Arc<dyn Codec>>,
}

impl ConflictRows {
    /// Rows of records in JSON and, by the codec, in Avro.
    pub fn new(codec: Option<Arc<dyn Codec>>) -> ConflictRows {
        ConflictRows { codec }
    }
}

const COLUMNS: &[&str] = &[
    "conflict_id",
    "memory_id",
    "user_id",
    "conflict_type",
    "local_event_id",
    "remote_event_id",
    "resolution_strategy",
    "resolved_version",
    "resolved_by",
    "detected_at",
    "resolved_at",
    "details",
    "status",
    "superseded_by",
];

/// A conflict record, or the one that ends a conflict.
#[derive(Deserialize)]
struct ConflictFields<'r> {
    conflict_id: String,
    memory_id: String,
    user_id: Option<String>,
    conflict_type: String,
    local_event_id: String,
    remote_event_id: String,
    resolution_strategy: String,
    #[serde(borrow)]
    resolved_version: Option<&'r RawValue>,
    resolved_by: String,
    detected_at: String,
    resolved_at: String,
    #[serde(borrow)]
    fields: Option<&'r RawValue>,
    #[serde(borrow)]
    delete_update: Option<&'r RawValue>,
    status: String,
    superseded_by: Option<String>,
}

impl RowMapper for ConflictRows {
    fn table(&self) -> &'static str {
        "memory_conflicts"
    }

    fn row_policy(&self) -> RowPolicy {
        RowPolicy::Append
    }

    fn columns(&self) -> &'static [&'static str] {
        COLUMNS
    }

    fn cells(&self, record: &LogRecord<'_>, to: &mut dyn Cells) -> Result<(), NoCells> {
        if kind(record) != "memory.conflict" {
            return Err(unknown_kind(record).into());
        }
        let json = value(record, Output::Conflict, self.codec.as_deref())?;
        let conflict: ConflictFields<'_> = read(&json)?;
        let id = Uuid::try_parse(&conflict.conflict_id)
            .map_err(|e| Unreadable { class: "wrong_type", message: format!("`conflict_id`: {e}") })?;
        let times = (instant("detected_at", &conflict.detected_at)?, instant("resolved_at", &conflict.resolved_at)?);
        to.uuid(id.as_u128());
        to.text(&conflict.memory_id);
        text_or_null(conflict.user_id.as_deref(), to);
        to.text(&conflict.conflict_type);
        to.text(&conflict.local_event_id);
        to.text(&conflict.remote_event_id);
        to.text(&conflict.resolution_strategy);
        json_or_null(conflict.resolved_version.map(|raw| raw.get().as_bytes()), to);
        to.text(&conflict.resolved_by);
        to.instant(times.0);
        to.instant(times.1);
        json_or_null(details(&conflict).as_deref().map(str::as_bytes), to);
        to.text(&conflict.status);
        text_or_null(conflict.superseded_by.as_deref(), to);
        Ok(())
    }
}

/// The contenders, and the delete and updates that conflict; `None` where the record names neither.
fn details(conflict: &ConflictFields<'_>) -> Option<String> {
    let member = |name: &str, value: Option<&RawValue>| value.map(|value| format!("\"{name}\":{}", value.get()));
    let members = [member("delete_update", conflict.delete_update), member("fields", conflict.fields)];
    let members: Vec<String> = members.into_iter().flatten().collect();
    if members.is_empty() { None } else { Some(format!("{{{}}}", members.join(","))) }
}

#[cfg(test)]
mod tests {
    use super::super::test_cells::row_of;
    use super::*;

    fn row(kind: &str, value: &str) -> Result<Vec<(&'static str, String)>, &'static str> {
        row_of(&ConflictRows::default(), &[("type", kind)], Some("m"), Some(value))
    }

    const ID: &str = "6ba7b811-9dad-51d1-80b4-00c04fd430c8";

    fn conflict(more: &str) -> String {
        format!(
            r#"{{"conflict_id":"{ID}","memory_id":"m","conflict_type":"delete_update","local_event_id":"a","remote_event_id":"b",
            "resolution_strategy":"merge_all","resolved_by":"app","detected_at":"1970-01-01T00:00:00Z",
            "resolved_at":"1970-01-01T00:00:01Z"{more}}}"#
        )
    }

    #[test]
    fn a_conflict_fills_its_columns() {
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let more = format!(
            r#","fields":[{{"path":"content"}}],"delete_update":{{"deletes":["c"]}},"resolved_version":{deep},"status":"pending","user_id":"u""#
        );
        let row = row("memory.conflict", &conflict(&more)).unwrap();
        let cell = |name: &str| row.iter().find(|(column, _)| *column == name).map(|(_, cell)| cell.as_str());
        assert_eq!(cell("conflict_id"), Some(ID));
        assert_eq!((cell("detected_at"), cell("resolved_at")), (Some("@0"), Some("@1000000000")));
        assert_eq!(cell("details"), Some(r#"{"delete_update":{"deletes":["c"]},"fields":[{"path":"content"}]}"#));
        assert_eq!((cell("status"), cell("superseded_by")), (Some("pending"), None));
        assert_eq!(cell("resolved_version"), Some(deep.as_str()));
    }

    #[test]
    fn the_end_of_a_conflict_has_no_details() {
        let row = row("memory.conflict", &conflict(r#","status":"superseded","superseded_by":"d""#)).unwrap();
        assert!(row.contains(&("superseded_by", "d".to_owned())), "{row:?}");
        assert!(row.iter().all(|(name, _)| !["details", "resolved_version", "user_id"].contains(name)), "{row:?}");
    }

    #[test]
    fn what_cannot_be_read_has_a_class() {
        assert_eq!(row("memory.resolved", "{}"), Err("unknown_record_type"));
        assert_eq!(row("memory.conflict", "{}"), Err("missing_field"));
        let good = conflict(r#","status":"pending""#);
        assert_eq!(row("memory.conflict", &good.replace(ID, "x")), Err("wrong_type"));
        assert_eq!(row("memory.conflict", &good.replace("1970", "19")), Err("bad_timestamp"));
    }
}
