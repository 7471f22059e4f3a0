//! The mirror's functions on a real PostgreSQL: what SQL rebuilds from mirrored events is what the
//! stream resolves, field by field, and the functions beside it tell what they say they do.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod database;
mod equal;
mod history;
mod names;
mod odd_roles;
#[expect(dead_code, reason = "the stream as the laws run it, and they use more of it than this test")]
#[path = "../laws/ours.rs"]
mod ours;
mod plans;
mod retention;
mod settings;
mod stats;
mod unseen;
mod values;

use memory::event::Limits;
use reference_model::Record;
use serde_json::{Value, json};

/// Events as records of one partition, in order, a second apart from 2026-01-01 on in Kafka's time.
fn records(events: impl IntoIterator<Item = Value>) -> Vec<Record> {
    let record = |(offset, event): (usize, Value)| Record {
        topic: "helixagent.memory.events".to_owned(),
        offset: i64::try_from(offset).unwrap(),
        timestamp_ms: 1_767_225_600_000 + 1000 * i64::try_from(offset).unwrap(),
        value: Some(event.to_string().into_bytes()),
        ..Record::default()
    };
    events.into_iter().enumerate().map(record).collect()
}

/// An update of memory `m` with an id, a clock and a time in seconds after 2026-01-01, and more
/// members.
fn event(id: &str, clock: &Value, second: u32, more: Value) -> Value {
    let time = format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
    let mut event = json!({"event_id": id, "event_type": "memory.updated", "memory_id": "m", "timestamp": time, "vector_clock": clock});
    let Value::Object(more) = more else { panic!("{more} is no object") };
    event.as_object_mut().unwrap().extend(more);
    event
}

/// A database that holds the events alone.
fn mirrored(events: impl IntoIterator<Item = Value>) -> database::Database {
    let mut database = database::Database::create();
    database.mirror(&records(events), Limits::default());
    database
}
