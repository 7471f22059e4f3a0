//! For the audit of a running application: which records and rows of the memory topology are no
//! function of a task's log, since background work makes them.

use std::collections::BTreeSet;

use streams::audit::{AuditRules, DecidedBy};
use streams::record::Record;

use super::resolve::SYNC_REQUESTS;
use super::users::{DIRTY, PENDING};

/// Answers to sync requests, and how far they are.
const SYNC_ANSWERS: &str = "answers to sync requests and their cursors";
/// The users that an interval's end emits after its first slice.
const LATER_USERS: &str = "user snapshots of stretches in which an interval ended with more than 500 changed users";

/// The rules for the stores of these operators.
pub struct MemoryAuditRules {
    memories: BTreeSet<String>,
    users: BTreeSet<String>,
}

impl MemoryAuditRules {
    /// The rules of a topology whose operators have these stores: pairs of an operator's name and
    /// a store's. Those of other operators are decided by the log alone.
    pub fn new<'s>(stores: impl IntoIterator<Item = (&'s str, &'s str)>) -> MemoryAuditRules {
        let mut rules = MemoryAuditRules { memories: BTreeSet::new(), users: BTreeSet::new() };
        for (operator, store) in stores {
            match operator {
                "resolve" => _ = rules.memories.insert(store.to_owned()),
                "user_snapshots" => _ = rules.users.insert(store.to_owned()),
                _ => {}
            }
        }
        rules
    }
}

impl AuditRules for MemoryAuditRules {
    fn output(&self, _topic: &str, record: &Record<'_>) -> DecidedBy {
        if record.headers.last("sync_for").is_some() {
            return DecidedBy::BackgroundWork(SYNC_ANSWERS);
        }
        match record.headers.last("type") {
            Some(Some(b"user.snapshot")) => DecidedBy::BackgroundWork(LATER_USERS),
            _ => DecidedBy::Log,
        }
    }

    fn row(&self, store: &str, key: &[u8]) -> DecidedBy {
        if self.memories.contains(store) && key.starts_with(&SYNC_REQUESTS) {
            return DecidedBy::BackgroundWork(SYNC_ANSWERS);
        }
        if self.users.contains(store) && (key == PENDING || key.starts_with(DIRTY)) {
            return DecidedBy::BackgroundWork(LATER_USERS);
        }
        DecidedBy::Log
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streams::record::Headers;

    #[test]
    fn rows_are_told_apart_by_the_operator_of_their_store() {
        let rules = MemoryAuditRules::new([("resolve", "memories"), ("user_snapshots", "users"), ("count", "counts")]);
        let of = |store, key: &[u8]| rules.row(store, key) == DecidedBy::Log;
        assert!(!of("memories", &[0, b's', 0, 0, 0, 0, 0, 0, 0, 7]) && of("memories", b"dm"));
        assert!(!of("users", b"dmary") && !of("users", b"p") && of("users", b"u\x04mary") && of("users", b"pa"));
        assert!(of("counts", b"dmary"));
        let record = |headers| Record { key: None, value: None, headers: Headers::List(headers), timestamp_ms: 1 };
        assert_eq!(rules.output("t", &record(&[("type", Some(b"memory.resolved"))])), DecidedBy::Log);
        let answer = rules.output("t", &record(&[("type", Some(b"memory.resolved")), ("sync_for", Some(b""))]));
        assert_eq!(answer, DecidedBy::BackgroundWork(SYNC_ANSWERS));
    }
}
