//! The audit of a running application: tasks are re-run from their logs, beginning at a commit, and
//! what they make is held against what is on the topics, byte by byte.
//!
//! | module | what it does |
//! |---|---|
//! | `rerun` | re-runs one task above a copy of its stores, and notes what it sends and stores |
//! | `outputs` | compares one partition of an output topic with what the tasks have sent there |
//! | `changelog` | folds a changelog, and compares it with what the task has stored |
//! | `stretch` | the offsets between which a task is audited |
//!
//! A transaction's outputs become visible with its commit, so a stretch of a live log has no sharp
//! edges in the topics that it writes: [`Stretch`] says which records must be there, and which may.
//! Background work (`Processor::background_step`) is done between two commits, wherever these fall,
//! so what comes of it is no function of the log. The engine does not know what that is:
//! [`AuditRules`] say it.

mod changelog;
mod outputs;
mod rerun;
mod stretch;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use changelog::ChangelogAudit;
pub use outputs::OutputAudit;
pub use rerun::{ExpectedRecord, Rerun};
pub use stretch::{Commit, Stretch, sizes};

use crate::record::Record;

/// The causes of the bytes of a record or of a row, and of their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The task's log alone.
    Log,
    /// The moments at which background work was done, too; with a name for it in reports. Where no
    /// task has done such work in the stretch, it is the log alone.
    BackgroundWork(&'static str),
}

/// Says of the records and rows of a topology what decides them.
pub trait AuditRules {
    /// The causes of a record that goes to `topic`.
    fn output(&self, topic: &str, record: &Record<'_>) -> DecidedBy;

    /// The causes of a row of a store.
    fn row(&self, store: &str, key: &[u8]) -> DecidedBy;
}

/// The name under which rows are left out that background work has written or deleted last: when it
/// does so depends on when commits fall.
pub const TOUCHED_IN_BACKGROUND: &str = "rows that background work has written or deleted last";

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// A record that must be there is not.
    Lost,
    /// A record is there more often than it was sent.
    Doubled,
    /// A record that no task has sent.
    Foreign,
    /// The records of a task are there, in another order.
    Order,
    /// A row of a store has another value than in the re-run, or only one of the two has it.
    Row,
    /// A commit's metadata says something else of the state than the re-run.
    Commit,
}

impl DifferenceKind {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            DifferenceKind::Lost => "lost",
            DifferenceKind::Doubled => "doubled",
            DifferenceKind::Foreign => "foreign",
            DifferenceKind::Order => "order",
            DifferenceKind::Row => "row",
            DifferenceKind::Commit => "commit",
        }
    }
}

/// One difference, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its kind.
    pub kind: DifferenceKind,
    /// Topic, partition, offset and key, as far as they are known.
    pub text: String,
}

/// How many differences of one partition or store are kept in words; all are counted.
const KEPT_DIFFERENCES: usize = 10;

/// The outcome of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditOutcome {
    /// Records or rows that were compared.
    pub compared: u64,
    /// Those of them whose order was not compared: their key is sent by several tasks.
    pub unordered: u64,
    /// Records and rows that were left out, by the reason.
    pub left_out: BTreeMap<&'static str, u64>,
    /// How many differences there are, by kind.
    pub differing: BTreeMap<DifferenceKind, u64>,
    /// The first of them.
    pub differences: Vec<Difference>,
}

impl AuditOutcome {
    /// Notes a difference.
    pub fn differs(&mut self, kind: DifferenceKind, text: impl FnOnce() -> String) {
        *self.differing.entry(kind).or_default() += 1;
        if self.differences.len() < KEPT_DIFFERENCES {
            self.differences.push(Difference { kind, text: text() });
        }
    }

    /// Counts something that is not compared.
    pub fn leaves_out(&mut self, reason: &'static str) {
        *self.left_out.entry(reason).or_default() += 1;
    }

    /// How many differences there are.
    pub fn count(&self) -> u64 {
        self.differing.values().sum()
    }

    /// Adds another outcome to this one.
    pub fn add(&mut self, other: AuditOutcome) {
        self.compared += other.compared;
        self.unordered += other.unordered;
        for (reason, count) in other.left_out {
            *self.left_out.entry(reason).or_default() += count;
        }
        for (kind, count) in other.differing {
            *self.differing.entry(kind).or_default() += count;
        }
        self.differences.extend(other.differences);
    }
}

/// Rows of a store, by key.
pub type Rows = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The kinds of background work that were done in a stretch.
pub type WorkDone = BTreeSet<&'static str>;

/// Bytes for a person: text where it is text, other bytes escaped, and no more than `120` of them.
fn shown(bytes: Option<&[u8]>) -> String {
    const MOST: usize = 120;
    match bytes {
        None => "null".to_owned(),
        Some(bytes) if bytes.len() > MOST => format!("{}… ({} bytes)", bytes[..MOST].escape_ascii(), bytes.len()),
        Some(bytes) => bytes.escape_ascii().to_string(),
    }
}
