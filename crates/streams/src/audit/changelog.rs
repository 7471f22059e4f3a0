//! The changelog of a store of a task: folded up to a commit, and held against the re-run.

use std::collections::{BTreeMap, BTreeSet};

use super::rerun::{Rerun, value_hash};
use super::{AuditOutcome, AuditRules, DecidedBy, DifferenceKind, Rows, TOUCHED_IN_BACKGROUND, WorkDone, shown};
use crate::error::Result;
use crate::record::{InRecord, TopicPartition};
use crate::store::checkpoint::StoreCheckpoint;
use crate::store::{Checksum, entry_hash};

/// Rows that have a newer record behind the commit, so that compaction may have taken the record
/// that is looked for.
const SUPERSEDED: &str = "rows whose record at the commit was compacted away since";

/// A record of a changelog behind the start.
struct ChangelogRecord {
    offset: i64,
    key: Box<[u8]>,
    value: u128,
}

/// One changelog of a task.
pub struct ChangelogAudit {
    changelog: TopicPartition,
    /// The store's name, and its place among the stores of the task.
    name: String,
    store: usize,
    rows: Rows,
    written: Vec<ChangelogRecord>,
    /// Keys with a record behind the commit.
    later: BTreeSet<Box<[u8]>>,
}

impl ChangelogAudit {
    /// The changelog of the store `name`, the task's `store`th, before its first record.
    pub fn new(changelog: TopicPartition, name: &str, store: usize) -> ChangelogAudit {
        let (rows, written, later) = Default::default();
        ChangelogAudit { changelog, name: name.to_owned(), store, rows, written, later }
    }

    /// Its partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.changelog
    }

    /// The place of its store among the stores of the task.
    pub fn store(&self) -> usize {
        self.store
    }

    /// The rows so far.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The checksum of the rows so far.
    pub fn checksum(&self) -> Checksum {
        self.rows.iter().fold(0, |sum: Checksum, (key, value)| sum.wrapping_add(entry_hash(key, value)))
    }

    /// A record up to the start.
    pub fn restore(&mut self, record: &InRecord<'_>) {
        let key = record.record.key.unwrap_or_default();
        match record.record.value {
            Some(value) => drop(self.rows.insert(key.into(), value.into())),
            None => drop(self.rows.remove(key)),
        }
    }

    /// A record between the start and the commit at which the state is compared.
    pub fn follow(&mut self, record: &InRecord<'_>) {
        let key = record.record.key.unwrap_or_default().into();
        self.written.push(ChangelogRecord {
            offset: record.origin.offset,
            key,
            value: value_hash(record.record.value),
        });
        self.restore(record);
    }

    /// A record behind that commit.
    pub fn follow_later(&mut self, record: &InRecord<'_>) {
        self.later.insert(record.record.key.unwrap_or_default().into());
    }

    /// Holds the rows at the commit against those of the re-run there, and each record between
    /// against the values that its row had: at a commit the changelog gets the last value of each
    /// key, so in their order these are some of them.
    ///
    /// # Errors
    /// The stores of the re-run cannot be read.
    pub fn compare(
        &self,
        rerun: &Rerun,
        at: &StoreCheckpoint,
        work: &WorkDone,
        rules: &dyn AuditRules,
    ) -> Result<AuditOutcome> {
        let mut outcome = AuditOutcome::default();
        let left_out = |key: &[u8]| match rules.row(&self.name, key) {
            DecidedBy::BackgroundWork(name) if work.contains(name) => Some(name),
            _ => None,
        };
        self.compare_records(rerun, &left_out, &mut outcome);
        let mut visit = Vec::new();
        let mut seen = 0_u64;
        rerun.each_row(self.store, &mut |key, value| {
            seen += 1;
            if self.rows.get(key).is_none_or(|found| **found != *value) {
                visit.push(Box::<[u8]>::from(key));
            }
        })?;
        outcome.compared += seen;
        for key in self.rows.keys() {
            if rerun.row(self.store, key)?.is_none() {
                visit.push(key.clone());
            }
        }
        let mut is_compacted = false;
        for key in visit {
            is_compacted |= self.later.contains(&key);
            let (expected, found) = (rerun.row(self.store, &key)?, self.rows.get(&key));
            if let Some(reason) = left_out(&key) {
                outcome.leaves_out(reason);
            } else if rerun.is_touched(self.store, &key) {
                outcome.leaves_out(TOUCHED_IN_BACKGROUND);
            } else if self.later.contains(&key) {
                outcome.leaves_out(SUPERSEDED);
            } else {
                outcome.differs(DifferenceKind::Row, || {
                    format!(
                        "row {} of store `{}`, task {} ({}): the changelog has {}, the re-run {}",
                        shown(Some(&key)),
                        self.name,
                        rerun.id(),
                        self.changelog,
                        shown(found.map(|value| &**value)),
                        shown(expected.as_deref())
                    )
                });
            }
        }
        let checksum = self.checksum();
        // Where compaction took a record, the changelog has lost the state of the commit.
        if checksum != at.checksum && !is_compacted {
            outcome.differs(DifferenceKind::Commit, || {
                format!(
                    "store `{}` of task {}: the commit has the checksum {:x}, and the changelog up to it {checksum:x}",
                    self.name,
                    rerun.id(),
                    at.checksum
                )
            });
        }
        Ok(outcome)
    }

    fn compare_records(
        &self,
        rerun: &Rerun,
        left_out: &dyn Fn(&[u8]) -> Option<&'static str>,
        outcome: &mut AuditOutcome,
    ) {
        let mut reached: BTreeMap<&[u8], usize> = BTreeMap::new();
        for ChangelogRecord { offset, key, value } in &self.written {
            if let Some(reason) = left_out(key) {
                outcome.leaves_out(reason);
                continue;
            }
            outcome.compared += 1;
            let history = rerun.history(self.store).get(key).map_or(&[][..], Vec::as_slice);
            let from = reached.get(&**key).copied().unwrap_or(0);
            match history.iter().skip(from).position(|known| known == value) {
                Some(further) => _ = reached.insert(key, from + further),
                None => outcome.differs(DifferenceKind::Foreign, || {
                    let place = format!("{} offset {offset}, key {}", self.changelog, shown(Some(key)));
                    match history.contains(value) {
                        true => format!("{place}: a value that the row had before an earlier record's"),
                        false => format!("{place}: a value that the row never had in the re-run"),
                    }
                }),
            }
        }
    }
}
