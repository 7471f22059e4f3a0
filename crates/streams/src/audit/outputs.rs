//! One partition of an output topic, held against what tasks have sent there.
//!
//! Two questions are asked: whether each record is there as often as it was sent, and whether the
//! records of each task are there in its order. The second one only of records whose key no other
//! task sends, since the key alone tells of which task a record is.

use std::collections::{BTreeMap, BTreeSet};

use super::rerun::{ExpectedRecord, hash_of, key_hash};
use super::stretch::Stretch;
use super::{AuditOutcome, AuditRules, DecidedBy, DifferenceKind, WorkDone, shown};
use crate::record::{InRecord, TopicPartition};

/// How often a record was sent and found.
#[derive(Default)]
struct SentCount {
    must: u32,
    may: u32,
    found: u32,
    /// The place of a task, and the offset of its log, that sends it.
    task: usize,
    offset: i64,
}

/// The records of one task whose keys are its own.
struct Sequence {
    source: TopicPartition,
    hashes: Vec<u128>,
    /// Places from which the next record that is found may be; several where the sequence repeats
    /// itself. The sequence may begin anywhere among what may be missing.
    candidates: Vec<usize>,
    /// How many records must have been found in the end.
    must_reach: usize,
    broken: Option<i64>,
}

/// One partition of an output topic.
pub struct OutputAudit {
    partition: TopicPartition,
    counts: BTreeMap<u128, SentCount>,
    sequences: Vec<Sequence>,
    task_of: BTreeMap<u64, usize>,
    shared_keys: BTreeSet<u64>,
    outcome: AuditOutcome,
}

impl OutputAudit {
    /// A partition, with what each task has sent there: its stretch and the records, in order.
    pub fn new(partition: TopicPartition, sent: Vec<(Stretch, Vec<ExpectedRecord>)>) -> OutputAudit {
        let mut task_of: BTreeMap<u64, usize> = BTreeMap::new();
        let mut shared_keys = BTreeSet::new();
        let mut counts: BTreeMap<u128, SentCount> = BTreeMap::new();
        for (task, (stretch, list)) in sent.iter().enumerate() {
            for ExpectedRecord { offset, hash, key } in list {
                if *task_of.entry(*key).or_insert(task) != task {
                    shared_keys.insert(*key);
                }
                let count = counts.entry(*hash).or_insert(SentCount { task, offset: *offset, ..SentCount::default() });
                if stretch.must(*offset) {
                    (count.task, count.offset) = (task, *offset);
                    count.must += 1;
                } else {
                    count.may += 1;
                }
            }
        }
        let sequence = |(stretch, list): (Stretch, Vec<ExpectedRecord>)| {
            let own: Vec<ExpectedRecord> = list.into_iter().filter(|one| !shared_keys.contains(&one.key)).collect();
            let before = own.iter().filter(|one| one.offset < stretch.must_from).count();
            let must_reach = own.iter().rposition(|one| stretch.must(one.offset)).map_or(0, |last| last + 1);
            Sequence {
                source: stretch.source,
                candidates: (0..=before).collect(),
                hashes: own.iter().map(|one| one.hash).collect(),
                must_reach,
                broken: None,
            }
        };
        let sequences = sent.into_iter().map(sequence).collect();
        OutputAudit { partition, counts, sequences, task_of, shared_keys, outcome: AuditOutcome::default() }
    }

    /// The next record of the partition.
    pub fn found(&mut self, record: &InRecord<'_>, work: &WorkDone, rules: &dyn AuditRules) {
        if let DecidedBy::BackgroundWork(name) = rules.output(&self.partition.topic, &record.record)
            && work.contains(name)
        {
            return self.outcome.leaves_out(name);
        }
        self.outcome.compared += 1;
        let (hash, key) = (hash_of(&record.record), key_hash(record.record.key));
        let place = || {
            let key = shown(record.record.key);
            format!("{} offset {}, key {key}", self.partition, record.origin.offset)
        };
        let Some(count) = self.counts.get_mut(&hash) else {
            let text = format!("{}: no task has sent this record", place());
            return self.outcome.differs(DifferenceKind::Foreign, || text);
        };
        count.found += 1;
        if count.found > count.must + count.may {
            let sent = count.must + count.may;
            let text = format!("{}: it was sent {sent} times, and is there once more", place());
            return self.outcome.differs(DifferenceKind::Doubled, || text);
        }
        if self.shared_keys.contains(&key) {
            self.outcome.unordered += 1;
            return;
        }
        let Some(task) = self.task_of.get(&key) else { return };
        let sequence = &mut self.sequences[*task];
        if sequence.broken.is_some() {
            return;
        }
        sequence.candidates.retain(|at| sequence.hashes.get(*at) == Some(&hash));
        sequence.candidates.iter_mut().for_each(|at| *at += 1);
        if sequence.candidates.is_empty() {
            sequence.broken = Some(record.origin.offset);
        }
    }

    /// The outcome, once the last record was found.
    pub fn finish(mut self) -> AuditOutcome {
        let mut lost: Vec<&SentCount> = self.counts.values().filter(|count| count.found < count.must).collect();
        lost.sort_by_key(|count| (count.task, count.offset));
        for count in lost {
            let missing = u64::from(count.must - count.found);
            let source = &self.sequences[count.task].source;
            let partition = &self.partition;
            for _ in 0..missing {
                self.outcome.differs(DifferenceKind::Lost, || {
                    format!("{partition}: an output of {source} offset {} is missing", count.offset)
                });
            }
        }
        // What is lost, doubled or foreign moves what follows.
        if self.outcome.count() > 0 {
            return self.outcome;
        }
        for sequence in &self.sequences {
            let is_short = !sequence.candidates.iter().any(|at| *at >= sequence.must_reach);
            let partition = &self.partition;
            if let Some(offset) = sequence.broken {
                self.outcome.differs(DifferenceKind::Order, || {
                    format!("{partition} offset {offset}: not the next output of {}", sequence.source)
                });
            } else if is_short && sequence.must_reach > 0 {
                self.outcome.differs(DifferenceKind::Order, || {
                    format!("{partition}: the outputs of {} end in another order", sequence.source)
                });
            }
        }
        self.outcome
    }
}
