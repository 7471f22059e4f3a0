//! How many calls of SQLite's thread the changes of a node take. They are what a change costs, so a
//! change that takes more of them than before is slower.

use std::sync::Arc;

use futures::channel::oneshot;
use futures::executor::block_on;

use super::schema::tests::plan_of;
use super::signals::Signals;
use super::writer::{Batch, Request, Writer};
use crate::ports::SnapshotRecord;
use crate::settings::NodeSettings;
use crate::write::{Fields, MemoryWrite, WriteKind};

/// A writer whose database has this memory, and the folder of that.
fn writer() -> (Writer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings = NodeSettings::new(folder.path(), "calls".parse().unwrap());
    let mut writer = Writer::open(settings, Arc::new(Signals::default())).unwrap();
    // The first transaction removes what is old, too.
    calls(&mut writer, vec![write(WriteKind::Create, "known")]);
    (writer, folder)
}

fn write(kind: WriteKind, memory_id: &str) -> Request {
    let fields = Fields::from_json(br#"{"content":"likes tea","user_id":"u"}"#).unwrap();
    let fields = if kind == WriteKind::Delete { Fields::new() } else { fields };
    Request::Write(Box::new(MemoryWrite::new(memory_id, kind, fields)), oneshot::channel().0)
}

/// So many resolved memories, in records from this offset on.
fn resolved(first: u32, count: u32, content: &str) -> Request {
    let record = |number| {
        let memory_id = format!("m{number}");
        let value = format!(
            r#"{{"content":"{content}","created_at":"2026-01-01T00:00:00Z","event_ids":["e"],"memory_id":"{memory_id}","status":"active","updated_at":"2026-01-01T00:00:00Z","vector_clock":{{"a":1}},"version":1}}"#
        );
        SnapshotRecord { offset: i64::from(first + number), memory_id, value: value.into_bytes() }
    };
    let records = (0..count).map(record).collect();
    let batch = Batch { topic: "snapshots".to_owned(), partition: 0, records, next_offset: i64::from(first + count) };
    Request::Apply(batch, oneshot::channel().0)
}

/// The calls of a transaction with these requests.
fn calls(writer: &mut Writer, requests: Vec<Request>) -> u64 {
    let before = writer.connection.calls();
    block_on(writer.serve(requests, &mut Vec::new()));
    writer.connection.calls() - before
}

#[test]
fn a_change_takes_few_calls() {
    let (mut writer, _folder) = writer();
    assert_eq!(calls(&mut writer, vec![write(WriteKind::Create, "one")]), CREATE);
    assert_eq!(calls(&mut writer, vec![write(WriteKind::Update, "known")]), CREATE);
    assert_eq!(calls(&mut writer, vec![write(WriteKind::Delete, "known")]), CREATE);
    let several = (0..10).map(|number| write(WriteKind::Create, &format!("several{number}"))).collect();
    assert_eq!(calls(&mut writer, several), 10 * 2 + 2);
    assert_eq!(calls(&mut writer, vec![resolved(0, 100, "tea")]), 100 + 3);
    assert_eq!(calls(&mut writer, vec![resolved(100, 100, "coffee")]), 100 + 3);
    // One that is refused has changed nothing.
    assert_eq!(calls(&mut writer, vec![write(WriteKind::Create, "one")]), 2 + 1);
    assert_eq!(calls(&mut writer, Vec::new()), 0);
}

/// The calls of a transaction with one write: to read the row of its memory, to write its event and
/// the row, to count the changes that are kept, and to commit.
const CREATE: u64 = 4;

#[test]
fn no_statement_reads_what_it_does_not_change() {
    for (statement, table) in [(super::history::TRIM_STATES, "history"), (super::view::ROW, "memories")] {
        let plan = plan_of(statement);
        assert!(!plan.iter().any(|step| *step == format!("SCAN {table}")), "{statement}: {plan:?}");
    }
}

#[test]
fn the_counts_of_the_state_read_no_memory() {
    let plan = plan_of(super::queries::COUNTS);
    assert!(plan.iter().any(|step| step.contains("memories USING COVERING INDEX memories_shown")), "{plan:?}");
    assert!(!plan.iter().any(|step| step == "SCAN memories"), "{plan:?}");
}
