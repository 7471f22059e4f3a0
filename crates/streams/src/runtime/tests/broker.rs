//! A Kafka in memory, as far as the engine can tell: logs with transactions and their markers, read
//! committed, committed offsets, fencing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::Error;
use crate::offset::{Offset, StartOffset};
use crate::ports::{Committed, GroupMember};
use crate::record::{Record, TopicPartition};

/// A place in a log, as the engine has it.
pub fn offset(place: i64) -> Offset {
    Offset::new(place).unwrap()
}

/// The place in a log at which reading begins.
pub fn place_of(start: StartOffset) -> i64 {
    start.offset().unwrap_or_default().number()
}

/// A record as it lies in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp_ms: i64,
}

impl Stored {
    pub fn of(record: &Record<'_>) -> Stored {
        let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers.iter().map(|(name, value)| (name.to_owned(), bytes(value))).collect();
        Stored { key: bytes(record.key), value: bytes(record.value), headers, timestamp_ms: record.timestamp_ms }
    }

    pub fn text(&self) -> String {
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map_or("-".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
        };
        format!("{}={}", text(&self.key), text(&self.value))
    }
}

/// What stands at an offset.
#[derive(Clone, Debug)]
pub enum Entry {
    Record { record: Stored, transaction: Option<u64> },
    Marker,
    Compacted,
}

/// How a transaction stands.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    pub partitions: BTreeSet<TopicPartition>,
    pub offsets: BTreeMap<TopicPartition, Committed>,
}

#[derive(Default)]
pub struct State {
    pub logs: BTreeMap<TopicPartition, Vec<Entry>>,
    pub counts: BTreeMap<String, i32>,
    pub configs: BTreeMap<String, Vec<(String, String)>>,
    pub topic_ids: BTreeMap<String, u128>,
    /// Topics that the broker does not know for a moment: each is left out of one answer for each
    /// time that it stands here.
    pub unknown: Vec<String>,
    pub committed: BTreeMap<TopicPartition, Committed>,
    /// Transactional ids whose transactions others have ended, in order.
    pub ended_for_others: Vec<String>,
    pub epochs: BTreeMap<String, u64>,
    pub open: BTreeMap<u64, (String, Transaction)>,
    pub aborted: BTreeSet<u64>,
    pub next_transaction: u64,
    pub deleted_below: BTreeMap<TopicPartition, Offset>,
    /// So many answers to come say falsely that the group has no committed offset, and so many that
    /// its list of offsets is empty.
    pub false_none: usize,
    pub false_empty: usize,
    /// Commits that were answered, each once, before the ones that are there now were made.
    pub outdated: BTreeMap<TopicPartition, Committed>,
    /// So many answers to come say falsely that a log ends at its beginning.
    pub false_ends: usize,
    /// So many answers to come say falsely that a log begins at its end.
    pub false_starts: usize,
    /// Whether the server does not know DeleteRecords.
    pub cannot_delete: bool,
    /// What `offset.metadata.max.bytes` is; `None`: it may not be read.
    pub metadata_limit: Option<usize>,
    /// How often the group was asked for its members.
    pub asked_for_members: usize,
    /// How often a restore asked for records of a changelog and there were none before the first
    /// open transaction.
    pub fruitless_restore_polls: usize,
    /// Whether the group's coordinator does not answer.
    pub is_down: bool,
    /// What the group says of itself.
    pub members: Option<Vec<GroupMember>>,
    /// The client ids of all members.
    pub member_ids: Vec<String>,
    /// Faults, each used up by the first call of its name.
    pub faults: Vec<(&'static str, Error)>,
    /// Records whose value contains this are refused by the broker, on these topics.
    pub refused: Option<(String, Vec<u8>)>,
    /// The largest batch that a topic takes, as the broker has it; a producer learns of it by a
    /// refusal.
    pub batch_limits: BTreeMap<String, usize>,
    /// The records of each batch that was appended to a topic with such a limit.
    pub batches: Vec<usize>,
}

/// The broker; clones share it.
#[derive(Clone, Default)]
pub struct Broker(Arc<Mutex<State>>);

impl Broker {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn create(&self, topic: &str, partitions: i32) {
        self.lock().counts.insert(topic.to_owned(), partitions);
    }

    /// Writes a record outside of transactions.
    pub fn publish(&self, topic: &str, partition: i32, key: Option<&str>, value: &str, timestamp_ms: i64) {
        let key = key.map(|key| key.as_bytes().to_vec());
        let record = Stored { key, value: Some(value.as_bytes().to_vec()), headers: Vec::new(), timestamp_ms };
        let at = TopicPartition::new(topic, partition);
        self.lock().logs.entry(at).or_default().push(Entry::Record { record, transaction: None });
    }

    /// A record of an open transaction.
    pub fn append(&self, at: &TopicPartition, transaction: u64, key: &str, value: &str) {
        self.publish(&at.topic, at.partition, Some(key), value, 1);
        let mut state = self.lock();
        state.open.get_mut(&transaction).expect("it is open").1.partitions.insert(at.clone());
        let last = state.logs.get_mut(at).and_then(|log| log.last_mut());
        if let Some(Entry::Record { transaction: of, .. }) = last {
            *of = Some(transaction);
        }
    }

    /// The committed records of a partition.
    pub fn read(&self, topic: &str, partition: i32) -> Vec<Stored> {
        let state = self.lock();
        let at = TopicPartition::new(topic, partition);
        (0..state.end(&at)).filter_map(|offset| state.visible(&at, offset).cloned()).collect()
    }

    pub fn texts(&self, topic: &str, partition: i32) -> Vec<String> {
        self.read(topic, partition).iter().map(Stored::text).collect()
    }

    pub fn fault(&self, call: &'static str, error: Error) {
        self.lock().faults.push((call, error));
    }

    /// The fault that this call runs into, if any.
    pub fn trip(&self, call: &'static str) -> Result<(), Error> {
        let mut state = self.lock();
        match state.faults.iter().position(|(name, _)| *name == call) {
            Some(at) => Err(state.faults.remove(at).1),
            None => Ok(()),
        }
    }

    /// Compaction: of each key only the last record stays, but for the part of the log that is
    /// open.
    pub fn compact(&self, topic: &str, partition: i32) {
        let mut state = self.lock();
        let at = TopicPartition::new(topic, partition);
        let mut seen = BTreeSet::new();
        for entry in state.logs.get_mut(&at).into_iter().flatten().rev() {
            if let Entry::Record { record, .. } = entry
                && !seen.insert(record.key.clone())
            {
                *entry = Entry::Compacted;
            }
        }
    }
}

impl State {
    pub fn end(&self, at: &TopicPartition) -> i64 {
        self.logs.get(at).map_or(0, |log| log.len() as i64)
    }

    /// The last stable offset: the first record of an open transaction, or the end.
    pub fn stable_end(&self, at: &TopicPartition) -> i64 {
        let is_open =
            |entry: &Entry| matches!(entry, Entry::Record { transaction: Some(id), .. } if self.open.contains_key(id));
        let log = self.logs.get(at).map_or(&[][..], Vec::as_slice);
        log.iter().position(is_open).unwrap_or(log.len()) as i64
    }

    /// The record at an offset, if a read-committed consumer sees one there.
    pub fn visible(&self, at: &TopicPartition, offset: i64) -> Option<&Stored> {
        match self.logs.get(at)?.get(usize::try_from(offset).ok()?)? {
            Entry::Record { transaction: Some(id), .. } if self.aborted.contains(id) || self.open.contains_key(id) => {
                None
            }
            Entry::Record { record, .. } => Some(record),
            Entry::Marker | Entry::Compacted => None,
        }
    }

    pub fn init(&mut self, id: &str) -> u64 {
        let abandoned: Vec<u64> = self.open.iter().filter(|(_, (of, _))| of == id).map(|(number, _)| *number).collect();
        abandoned.into_iter().for_each(|number| self.end_transaction(number, false));
        let epoch = self.epochs.entry(id.to_owned()).or_default();
        *epoch += 1;
        *epoch
    }

    pub fn begin(&mut self, id: &str) -> u64 {
        self.next_transaction += 1;
        self.open.insert(self.next_transaction, (id.to_owned(), Transaction::default()));
        self.next_transaction
    }

    pub fn end_transaction(&mut self, number: u64, commit: bool) {
        let Some((_, transaction)) = self.open.remove(&number) else { return };
        if commit {
            self.committed.extend(transaction.offsets);
        } else {
            self.aborted.insert(number);
        }
        for at in transaction.partitions {
            self.logs.entry(at).or_default().push(Entry::Marker);
        }
    }
}
