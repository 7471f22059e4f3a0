//! Maps records of the events topic to rows of the mirror: the columns of `memory_events`
//! (migrations/), for good and unknown events alike, or the class and message of what is wrong with
//! it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::outputs::text_or_null;
use crate::avro;
use memory::clock::Clock;
use memory::event::{Encoding, Event, FieldWrite, Limits};
use mirror::ports::{Cells, LogRecord, NoCells, RowMapper, RowPolicy, Unreadable};
use streams::ports::Codec;

/// Decodes records of the events topic into rows.
#[derive(Clone, Default)]
pub struct EventRows {
    limits: Limits,
    codec: Option<Arc<dyn Codec>>,
    encodings: BTreeMap<String, Encoding>,
}

impl EventRows {
    /// Rows of events within `limits`, which must be the resolver's, as the codec must be one like
    /// its own: a record is bad here iff it is a dead letter there.
    pub fn new(limits: Limits, codec: Option<Arc<dyn Codec>>) -> EventRows {
        EventRows { limits, codec, encodings: BTreeMap::new() }
    }

    /// The same, where some topics take values of one encoding alone.
    #[must_use]
    pub fn of(self, encodings: impl IntoIterator<Item = (String, Encoding)>) -> EventRows {
        EventRows { encodings: encodings.into_iter().collect(), ..self }
    }
}

const COLUMNS: &[&str] = &[
    "event_id",
    "event_type",
    "event_time",
    "event_time_ns",
    "node_id",
    "memory_id",
    "user_id",
    "session_id",
    "content",
    "embedding",
    "importance",
    "tags",
    "entities",
    "relationships",
    "metadata",
    "version",
    "vector_clock",
    "merged_from",
    "cleared",
];

impl RowMapper for EventRows {
    fn table(&self) -> &'static str {
        "memory_events"
    }

    fn row_policy(&self) -> RowPolicy {
        RowPolicy::Append
    }

    fn columns(&self) -> &'static [&'static str] {
        COLUMNS
    }

    fn cells(&self, record: &LogRecord<'_>, to: &mut dyn Cells) -> Result<(), NoCells> {
        let encoding = self.encodings.get(&*record.partition.topic).copied().unwrap_or_default();
        let event = avro::event(record.value, record.timestamp_ms, &self.limits, encoding, self.codec.as_deref());
        write(&event.map_err(avro::unread)?, to).map_err(|e| {
            Unreadable { class: "mirror_rejected", message: format!("a decoded field is no JSON: {e}") }.into()
        })
    }
}

fn write(event: &Event, to: &mut dyn Cells) -> Result<(), serde_json::Error> {
    let field = |path: &str| field(&event.writes, path);
    to.text(&event.event_id);
    to.text(event.kind.as_str());
    to.instant(event.timestamp);
    to.integer(i64::try_from(event.timestamp).unwrap_or(i64::MAX));
    text_or_null(event.node_id.as_deref(), to);
    text_or_null(event.memory_id.as_deref(), to);
    for path in ["user_id", "session_id", "content"] {
        match field(path) {
            Some(json) => to.text(&serde_json::from_slice::<String>(json)?),
            None => to.null(),
        }
    }
    match field("embedding") {
        Some(json) => to.json(json),
        None => to.null(),
    }
    match field("importance").and_then(|json| std::str::from_utf8(json).ok()) {
        Some(number) => to.decimal(number),
        None => to.null(),
    }
    texts_or_null(field("tags"), to)?;
    objects(&event.writes, "entities.", to)?;
    objects(&event.writes, "relationships.", to)?;
    metadata(&event.writes, to)?;
    to.integer(i64::try_from(event.version).unwrap_or(i64::MAX));
    to.json(&clock_json(&event.clock)?);
    texts_or_null(field("merged_from"), to)?;
    cleared(&event.writes, to);
    Ok(())
}

/// The value written to a plain field; `None` when it is not written or cleared.
fn field<'e>(writes: &'e [FieldWrite], path: &str) -> Option<&'e [u8]> {
    let at = writes.binary_search_by(|write| write.path.as_str().cmp(path)).ok()?;
    Some(writes[at].value.as_slice()).filter(|value| *value != b"null")
}

/// The writes to the keys of a container, with each key; `prefix` is its name and a dot.
fn keyed<'e>(writes: &'e [FieldWrite], prefix: &'e str) -> impl Iterator<Item = (&'e str, &'e [u8])> {
    let first = writes.partition_point(|write| write.path.as_str() < prefix);
    let with_key =
        move |write: &'e FieldWrite| write.path.strip_prefix(prefix).map(|key| (key, write.value.as_slice()));
    writes[first..].iter().map_while(with_key)
}

fn texts_or_null(json: Option<&[u8]>, to: &mut dyn Cells) -> Result<(), serde_json::Error> {
    let Some(json) = json else {
        to.null();
        return Ok(());
    };
    let texts: Vec<String> = serde_json::from_slice(json)?;
    to.texts(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    Ok(())
}

/// An array of the objects written; of one that is cleared its id alone.
fn objects(writes: &[FieldWrite], prefix: &str, to: &mut dyn Cells) -> Result<(), serde_json::Error> {
    let mut json = Vec::new();
    for (id, value) in keyed(writes, prefix) {
        json.push(if json.is_empty() { b'[' } else { b',' });
        if value == b"null" {
            json.extend_from_slice(b"{\"id\":");
            serde_json::to_writer(&mut json, id)?;
            json.push(b'}');
        } else {
            json.extend_from_slice(value);
        }
    }
    close(json, b']', to);
    Ok(())
}

fn metadata(writes: &[FieldWrite], to: &mut dyn Cells) -> Result<(), serde_json::Error> {
    let mut json = Vec::new();
    for (key, value) in keyed(writes, "metadata.") {
        json.push(if json.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut json, key)?;
        json.push(b':');
        json.extend_from_slice(value);
    }
    close(json, b'}', to);
    Ok(())
}

fn close(mut json: Vec<u8>, bracket: u8, to: &mut dyn Cells) {
    if json.is_empty() {
        to.null();
    } else {
        json.push(bracket);
        to.json(&json);
    }
}

fn clock_json(clock: &Clock) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = vec![b'{'];
    for (index, (name, counter)) in clock.entries().iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, name)?;
        json.push(b':');
        json.extend_from_slice(itoa::Buffer::new().format(*counter).as_bytes());
    }
    json.push(b'}');
    Ok(json)
}

/// The plain fields written as null. (A cleared key of a container shows in the container's
/// column.)
fn cleared(writes: &[FieldWrite], to: &mut dyn Cells) {
    let plain = writes.iter().filter(|write| write.value == b"null" && !write.path.contains('.'));
    let paths: Vec<&str> = plain.map(|write| write.path.as_str()).collect();
    if paths.is_empty() {
        to.null();
    } else {
        to.texts(&paths);
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_cells::row_of;
    use super::*;

    fn row(value: Option<&str>) -> Result<Vec<(&'static str, String)>, &'static str> {
        row_of(&EventRows::default(), &[], None, value)
    }

    fn cell(value: &str, column: &str) -> Option<String> {
        row(Some(value)).unwrap().into_iter().find(|(name, _)| *name == column).map(|(_, cell)| cell)
    }

    #[test]
    fn an_event_fills_its_columns_and_leaves_the_others_null() {
        let small = r#"{"event_id":"e","event_type":"memory.created","memory_id":"m","vector_clock":"{\"n\":2}"}"#;
        let expected = [
            ("event_id", "e"),
            ("event_type", "memory.created"),
            ("event_time", "@5000000"),
            ("event_time_ns", "5000000"),
            ("memory_id", "m"),
            ("version", "0"),
            ("vector_clock", r#"{"n":2}"#),
        ];
        assert_eq!(row(Some(small)).unwrap(), expected.map(|(name, cell)| (name, cell.to_owned())));
    }

    #[test]
    fn containers_are_put_together_again_and_cleared_fields_are_named() {
        let event = r#"{"event_id":"e","event_type":"memory.updated","memory_id":"m","content":null,"tags":["b","a","b"],
            "importance":1e-7,"entities":[{"id":"y.z","confidence":1.0},{"id":"x"}],"metadata":{"k.l":{"z":1,"a":null},"b":null},
            "embedding":null,"user_id":"","session_id":"s\"1"}"#;
        assert_eq!(cell(event, "tags").unwrap(), r#"["a", "b"]"#);
        assert_eq!(cell(event, "importance").unwrap(), "1e-7");
        assert_eq!(cell(event, "entities").unwrap(), r#"[{"id":"x"},{"confidence":1,"id":"y.z"}]"#);
        assert_eq!(cell(event, "metadata").unwrap(), r#"{"b":null,"k.l":{"a":null,"z":1}}"#);
        assert_eq!(cell(event, "cleared").unwrap(), r#"["content", "embedding"]"#);
        assert_eq!(cell(event, "session_id").unwrap(), "s\"1");
        assert_eq!(cell(event, "user_id"), None);
        assert_eq!(cell(event, "vector_clock").unwrap(), r#"{"~":5000000}"#);
    }

    #[test]
    fn deleted_relationships_keep_their_ids_and_unknown_types_are_rows() {
        let event = r#"{"event_id":"e","event_type":"relationship.deleted","memory_id":"m",
            "relationships":[{"id":"r2","type":"knows"},{"id":"r\"1"}]}"#;
        assert_eq!(cell(event, "relationships").unwrap(), r#"[{"id":"r\"1"},{"id":"r2"}]"#);
        assert_eq!(cell(r#"{"event_id":"e","event_type":"x.y"}"#, "event_type").unwrap(), "x.y");
    }

    #[test]
    fn a_sync_request_shows_the_user_that_it_asks_for() {
        let request = r#"{"event_id":"e","event_type":"memory.sync_request","user_id":"u"}"#;
        assert_eq!(cell(request, "user_id").unwrap(), "u");
    }

    #[test]
    fn bad_records_have_a_class() {
        assert_eq!(row(None), Err("empty_value"));
        assert_eq!(row(Some("{")), Err("malformed_json"));
        assert_eq!(row(Some(r#"{"event_id":"e"}"#)), Err("missing_field"));
    }
}
