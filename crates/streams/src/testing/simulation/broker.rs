//! The logs of the simulated brokers, and the coordinator of transactions: epochs, markers, last
//! stable offsets, aborted records, committed offsets.
//!
//! Sources: KIP-98 (transactions), KIP-447 (offsets of a group in transactions), KIP-360 (epochs).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::offset::{Offset, StartOffset};
use crate::ports::Committed;
use crate::record::{Record, TopicPartition};

/// A place in a simulated log, as the engine has it. None is below 0.
pub(super) fn offset(place: i64) -> Offset {
    Offset::new(place).unwrap_or_default()
}

/// The place in a simulated log at which reading begins.
pub(super) fn place_of(start: StartOffset) -> i64 {
    start.offset().unwrap_or_default().number()
}

/// A record as it lies in a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredRecord {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl StoredRecord {
    /// A copy of a record.
    pub fn of(record: &Record<'_>) -> StoredRecord {
        let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers.iter().map(|(name, value)| (name.to_owned(), bytes(value))).collect();
        StoredRecord { key: bytes(record.key), value: bytes(record.value), headers, timestamp_ms: record.timestamp_ms }
    }

    /// Bytes of key and value.
    pub fn byte_len(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }
}

impl std::fmt::Display for StoredRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or("-".to_owned(), |b| b.escape_ascii().to_string());
        write!(f, "{}={}@{}", text(&self.key), text(&self.value), self.timestamp_ms)
    }
}

/// An entry of a log.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A record, with its transaction if it has one.
    Record(Arc<StoredRecord>, Option<u64>),
    /// The end of a transaction.
    Marker,
    /// A record that compaction has removed. The checks of the simulation still see it.
    Compacted(Arc<StoredRecord>, Option<u64>),
}

/// A partition.
#[derive(Debug, Default)]
pub(super) struct Partition {
    pub entries: Vec<Entry>,
    /// The first offset that was not deleted.
    pub start: i64,
    /// The first offset of each transaction that is open here.
    pub open: BTreeMap<u64, i64>,
    /// No request about it is answered before.
    pub away_until: Duration,
    /// Compaction has cleaned the log below this offset.
    pub compacted_below: i64,
}

impl Partition {
    /// One past the last offset (the high watermark).
    pub fn end(&self) -> i64 {
        self.entries.len() as i64
    }

    /// The last stable offset.
    pub fn stable_end(&self) -> i64 {
        self.open.values().min().copied().unwrap_or_else(|| self.end())
    }
}

/// Where a marker is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MarkedPlace {
    Partition(TopicPartition),
    /// The group's partition of the offsets topic.
    Offsets,
}

/// How a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Open,
    Committed,
    Aborted,
}

/// A transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub id: String,
    pub outcome: Outcome,
    pub began: Duration,
    pub partitions: BTreeSet<TopicPartition>,
    pub offsets: BTreeMap<TopicPartition, Committed>,
    /// Places whose markers are not written yet.
    pub unmarked: usize,
}

/// A transactional id.
#[derive(Debug, Default)]
pub(super) struct TransactionalId {
    pub epoch: u64,
    /// Its last transaction.
    pub transaction: Option<u64>,
}

/// An answer of the transaction coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A newer producer has the transactional id, or the transaction was ended for its age.
    Fenced,
    /// The transaction before is not marked everywhere yet (CONCURRENT_TRANSACTIONS).
    Busy,
    /// The call does not fit how the transaction stands (INVALID_TXN_STATE).
    WrongState,
}

/// The brokers.
#[derive(Default)]
pub(super) struct Broker {
    pub partitions: BTreeMap<TopicPartition, Partition>,
    pub counts: BTreeMap<String, i32>,
    pub configs: BTreeMap<String, Vec<(String, String)>>,
    pub ids: BTreeMap<String, TransactionalId>,
    pub transactions: BTreeMap<u64, Transaction>,
    next_transaction: u64,
    pub committed: BTreeMap<TopicPartition, Committed>,
    /// The metadata of all commits that there ever were, by partition and offset.
    pub commits: BTreeMap<(TopicPartition, Offset), BTreeSet<String>>,
    pub group_coordinator_away_until: Duration,
    pub transaction_coordinator_away_until: Duration,
}

impl Broker {
    pub fn create(&mut self, topic: &str, partitions: i32, config: Vec<(String, String)>) {
        self.counts.entry(topic.to_owned()).or_insert(partitions);
        self.configs.entry(topic.to_owned()).or_insert(config);
        for partition in 0..self.counts[topic] {
            self.partitions.entry(TopicPartition::new(topic, partition)).or_default();
        }
    }

    pub fn partition(&self, at: &TopicPartition) -> Option<&Partition> {
        self.partitions.get(at)
    }

    fn is_aborted(&self, transaction: Option<u64>) -> bool {
        transaction.is_some_and(|number| self.transactions[&number].outcome == Outcome::Aborted)
    }

    /// The record at an offset, as a consumer that reads committed sees it; below the last stable
    /// offset alone.
    pub fn visible(&self, at: &TopicPartition, offset: i64) -> Option<&Arc<StoredRecord>> {
        match self.partitions.get(at)?.entries.get(offset as usize)? {
            Entry::Record(record, transaction) if !self.is_aborted(*transaction) => Some(record),
            _ => None,
        }
    }

    /// All records of a partition that were ever committed, also those that were compacted or
    /// deleted since, with their offsets.
    pub fn committed_records(&self, at: &TopicPartition) -> Vec<(i64, Arc<StoredRecord>)> {
        let Some(partition) = self.partitions.get(at) else { return Vec::new() };
        let end = partition.stable_end();
        let of = |(offset, entry): (usize, &Entry)| match entry {
            Entry::Record(record, transaction) | Entry::Compacted(record, transaction)
                if !self.is_aborted(*transaction) && (offset as i64) < end =>
            {
                Some((offset as i64, record.clone()))
            }
            _ => None,
        };
        partition.entries.iter().enumerate().filter_map(of).collect()
    }

    /// Whether a transaction that is not over has an offset for a partition.
    pub fn is_unstable(&self, partition: &TopicPartition) -> bool {
        // Offsets of an ended transaction leave it with its marker.
        self.transactions.values().any(|transaction| transaction.offsets.contains_key(partition))
    }

    /// The offset of a partition by the transactions that were decided, marked or not: their
    /// outcome changes no more.
    pub fn decided_offset(&self, partition: &TopicPartition) -> Offset {
        let decided = self.transactions.values().filter(|transaction| transaction.outcome == Outcome::Committed);
        let offsets = decided.filter_map(|transaction| transaction.offsets.get(partition));
        let offsets = offsets.chain(self.committed.get(partition)).map(|committed| committed.offset);
        offsets.max().unwrap_or_default()
    }

    fn open(&mut self, id: &str, epoch: u64, now: Duration) -> Result<u64, Refusal> {
        let entry = self.ids.get(id).ok_or(Refusal::Fenced)?;
        if entry.epoch != epoch {
            return Err(Refusal::Fenced);
        }
        if let Some(number) = entry.transaction {
            let transaction = &self.transactions[&number];
            match transaction.outcome {
                Outcome::Open => return Ok(number),
                _ if transaction.unmarked > 0 => return Err(Refusal::Busy),
                _ => {}
            }
        }
        self.next_transaction += 1;
        let number = self.next_transaction;
        let transaction = Transaction {
            id: id.to_owned(),
            outcome: Outcome::Open,
            began: now,
            partitions: BTreeSet::new(),
            offsets: BTreeMap::new(),
            unmarked: 0,
        };
        self.transactions.insert(number, transaction);
        if let Some(entry) = self.ids.get_mut(id) {
            entry.transaction = Some(number);
        }
        Ok(number)
    }

    /// Appends a batch of a transaction; answers its transaction and first offset.
    pub fn append(
        &mut self,
        id: &str,
        epoch: u64,
        at: &TopicPartition,
        records: &[Arc<StoredRecord>],
        now: Duration,
    ) -> Result<(u64, i64), Refusal> {
        let number = self.open(id, epoch, now)?;
        let partition = self.partitions.entry(at.clone()).or_default();
        let first = partition.end();
        partition.open.entry(number).or_insert(first);
        partition.entries.extend(records.iter().map(|record| Entry::Record(record.clone(), Some(number))));
        if let Some(transaction) = self.transactions.get_mut(&number) {
            transaction.partitions.insert(at.clone());
        }
        Ok((number, first))
    }

    /// Appends a record of an outside program, without a transaction.
    pub fn publish(&mut self, at: &TopicPartition, record: StoredRecord) {
        self.partitions.entry(at.clone()).or_default().entries.push(Entry::Record(Arc::new(record), None));
    }

    /// Offsets join the transaction.
    pub fn add_offsets(
        &mut self,
        id: &str,
        epoch: u64,
        offsets: impl IntoIterator<Item = (TopicPartition, Committed)>,
        now: Duration,
    ) -> Result<(), Refusal> {
        let number = self.open(id, epoch, now)?;
        if let Some(transaction) = self.transactions.get_mut(&number) {
            transaction.offsets.extend(offsets);
        }
        Ok(())
    }
}
