//! The comparison, of a task that counts, and does a part of its work in the background.

use std::sync::Arc;

use super::*;
use crate::offset::Offset;
use crate::processor::{Processor, ProcessorContext, ProcessorError};
use crate::record::{Headers, InRecord, Origin, TaskId, TopicPartition};
use crate::store::checkpoint::{Checkpoint, StoreCheckpoint};
use crate::store::entry_hash;
use crate::stream_time::StreamTime;
use crate::task::{Plan, Sizes};
use crate::topology::Topology;

const LOG: &str = "app-by-key-repartition";

/// Counts the records of each key; a record `later` is answered in the background.
#[derive(Default)]
struct Count {
    later: bool,
}

impl Processor for Count {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let key = record.key.unwrap_or_default();
        self.later |= key == b"later";
        let mut store = ctx.store("counts")?;
        let count = store.get(key)?.map_or(0, |value| value[0]) + 1;
        store.put(key, vec![count])?;
        ctx.forward(&Record { value: Some(&[count]), ..*record })
    }

    fn has_background_work(&self) -> bool {
        self.later
    }

    fn background_step(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        self.later = false;
        ctx.store("counts")?.put(b"cursor", vec![9])?;
        let value = Some(&b"x"[..]);
        ctx.forward(&Record { key: Some(b"answer"), value, headers: Headers::NONE, timestamp_ms: 1 })
    }
}

struct Rules;

impl AuditRules for Rules {
    fn output(&self, _topic: &str, record: &Record<'_>) -> DecidedBy {
        if record.key == Some(b"answer") { DecidedBy::BackgroundWork("answers") } else { DecidedBy::Log }
    }

    fn row(&self, _store: &str, key: &[u8]) -> DecidedBy {
        if key == b"cursor" { DecidedBy::BackgroundWork("answers") } else { DecidedBy::Log }
    }
}

fn record<'r>(topic: &'r str, offset: i64, key: &'r str, value: Option<&'r [u8]>) -> InRecord<'r> {
    let origin = Origin { topic, partition: 0, offset, timestamp_ms: 7 };
    InRecord { origin, record: Record { key: Some(key.as_bytes()), value, headers: Headers::NONE, timestamp_ms: 7 } }
}

/// The task, re-run over records of these keys from an offset on, above these rows.
fn rerun(from: i64, rows: &Rows, keys: &[&str]) -> Rerun {
    let topology = Topology::builder()
        .source("in", "in")
        .repartition("by-key", ["in"])
        .process("count", ["by-key"], || Box::new(Count::default()))
        .store("counts", ["count"])
        .sink("out", "out", ["count"])
        .build();
    let plan: Arc<Plan> = Plan::all(&topology.unwrap(), "app", &Sizes::default())[1].clone();
    let store = StoreCheckpoint { changelog_offset: None, checksum: checksum(rows) };
    let checkpoint = Checkpoint {
        next_offset: Offset::new(from).unwrap().into(),
        stream_time: StreamTime::NONE,
        stores: vec![store],
    };
    let mut rerun = Rerun::new(&plan, TaskId { subtopology: 1, partition: 0 }, checkpoint, &[rows], &Rules).unwrap();
    for (at, key) in keys.iter().enumerate() {
        rerun.process(&record(LOG, from + at as i64, key, Some(b"v")), &Rules).unwrap();
    }
    rerun
}

fn checksum(rows: &Rows) -> u128 {
    rows.iter().fold(0, |sum: u128, (key, value)| sum.wrapping_add(entry_hash(key, value)))
}

fn stretch(must_from: i64, must_to: i64) -> Stretch {
    Stretch { source: TopicPartition::new(LOG, 0), must_from, must_to }
}

/// What comes of holding these outputs against the re-run.
fn outputs(rerun: &Rerun, stretch: Stretch, found: &[(&str, &[u8])]) -> AuditOutcome {
    let out = TopicPartition::new("out", 0);
    let sent = rerun.sent(rerun.work_done()).remove(&out).unwrap_or_default();
    let mut audit = OutputAudit::new(out, vec![(stretch, sent)]);
    for (offset, (key, value)) in found.iter().enumerate() {
        audit.found(&record("out", offset as i64, key, Some(value)), rerun.work_done(), &Rules);
    }
    audit.finish()
}

fn kinds(outcome: &AuditOutcome) -> Vec<(DifferenceKind, u64)> {
    outcome.differing.iter().map(|(kind, count)| (*kind, *count)).collect()
}

#[test]
fn outputs_are_lost_doubled_foreign_or_in_another_order() {
    use DifferenceKind::{Doubled, Foreign, Lost, Order};
    let task = rerun(0, &Rows::new(), &["a", "b", "a", "a"]);
    let all: [(&str, &[u8]); 4] = [("a", &[1]), ("b", &[1]), ("a", &[2]), ("a", &[3])];
    let of = |found: &[(&str, &[u8])]| kinds(&outputs(&task, stretch(0, 4), found));
    assert_eq!(of(&all), []);
    assert_eq!(of(&all[1..]), [(Lost, 1)]);
    assert_eq!(of(&[&all[..], &all[3..]].concat()), [(Doubled, 1)]);
    assert_eq!(of(&[&all[..2], &[("a", &[7])], &all[2..]].concat()), [(Foreign, 1)]);
    assert_eq!(of(&[all[1], all[0], all[2], all[3]]), [(Order, 1)]);
    let text = &outputs(&task, stretch(0, 4), &all[..3]).differences[0].text;
    assert_eq!(text, "out-0: an output of app-by-key-repartition-0 offset 3 is missing");
}

#[test]
fn the_edges_of_a_stretch_may_be_missing_and_nothing_between() {
    use DifferenceKind::{Lost, Order};
    let task = rerun(0, &Rows::new(), &["a", "b", "a", "a"]);
    let all: [(&str, &[u8]); 4] = [("a", &[1]), ("b", &[1]), ("a", &[2]), ("a", &[3])];
    let of = |found: &[(&str, &[u8])]| kinds(&outputs(&task, stretch(1, 3), found));
    for found in [&all[..], &all[1..], &all[..3], &all[1..3]] {
        assert_eq!(of(found), [], "{found:?}");
    }
    assert_eq!(of(&all[2..]), [(Lost, 1)]);
    assert_eq!(of(&[all[1], all[2], all[0]]), [(Order, 1)], "what may be missing has a place too");
}

#[test]
fn background_work_is_compared_where_none_was_done_and_counted_where_it_was() {
    let quiet = rerun(0, &Rows::new(), &["a"]);
    let foreign = outputs(&quiet, stretch(0, 1), &[("a", &[1]), ("answer", b"x")]);
    assert_eq!(kinds(&foreign), [(DifferenceKind::Foreign, 1)]);
    let busy = rerun(0, &Rows::new(), &["a", "later"]);
    let found = outputs(&busy, stretch(0, 2), &[("answer", b"y"), ("a", &[1]), ("later", &[1]), ("answer", b"x")]);
    assert_eq!((kinds(&found), found.left_out["answers"]), (Vec::new(), 2));
}

/// What comes of holding a changelog with these records against the re-run.
fn state(task: &Rerun, before: &Rows, found: &[(&str, Option<&[u8]>)], later: &[&str]) -> AuditOutcome {
    let mut changelog = ChangelogAudit::new(TopicPartition::new("app-counts-changelog", 0), "counts", 0);
    for (key, value) in before {
        let key = std::str::from_utf8(key).unwrap();
        changelog.restore(&record("app-counts-changelog", 0, key, Some(value)));
    }
    for (offset, (key, value)) in found.iter().enumerate() {
        changelog.follow(&record("app-counts-changelog", 10 + offset as i64, key, *value));
    }
    for key in later {
        changelog.follow_later(&record("app-counts-changelog", 99, key, None));
    }
    let mut rows = Rows::new();
    task.each_row(0, &mut |key, value| _ = rows.insert(key.into(), value.into())).unwrap();
    let at = StoreCheckpoint { changelog_offset: Offset::new(50), checksum: checksum(&rows) };
    changelog.compare(task, &at, task.work_done(), &Rules).unwrap()
}

#[test]
fn a_changelog_holds_values_of_the_rows_in_their_order_and_the_last_one() {
    use DifferenceKind::{Commit, Foreign, Row};
    let before: Rows = [(b"a"[..].into(), [4][..].into())].into();
    let task = rerun(10, &before, &["a", "b", "a", "a"]);
    let of = |found: &[(&str, Option<&[u8]>)]| kinds(&state(&task, &before, found, &[]));
    assert_eq!(of(&[("a", Some(&[5])), ("b", Some(&[1])), ("a", Some(&[7]))]), []);
    assert_eq!(of(&[("b", Some(&[1])), ("a", Some(&[7]))]), [], "which values it gets depends on the commits");
    assert_eq!(of(&[("a", Some(&[5])), ("b", Some(&[1]))]), [(Row, 1), (Commit, 1)]);
    assert_eq!(of(&[("a", Some(&[7])), ("a", Some(&[5])), ("b", Some(&[1])), ("a", Some(&[7]))]), [(Foreign, 1)]);
    assert_eq!(of(&[("z", Some(&[1])), ("b", Some(&[1])), ("a", Some(&[7]))]), [(Foreign, 1), (Row, 1), (Commit, 1)]);
    let compacted = state(&task, &before, &[("b", Some(&[1]))], &["a"]);
    assert_eq!((kinds(&compacted), compacted.left_out.len()), (Vec::new(), 1));
}

#[test]
fn rows_of_background_work_are_left_out_where_some_was_done() {
    let before = Rows::new();
    let task = rerun(0, &before, &["later"]);
    let outcome = state(&task, &before, &[("later", Some(&[1])), ("cursor", Some(&[3])), ("cursor", Some(&[9]))], &[]);
    assert_eq!((kinds(&outcome), outcome.left_out["answers"]), (Vec::new(), 2));
    let quiet = rerun(0, &before, &["a"]);
    let outcome = state(&quiet, &before, &[("a", Some(&[1])), ("cursor", Some(&[3]))], &[]);
    assert!(outcome.count() > 0, "no work was done: {outcome:?}");
}
