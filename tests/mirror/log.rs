//! A log in memory, with readers whose partitions the test gives and takes: for tests in which the
//! point is the sink, not Kafka.

use mirror::ports::{LogError, LogHeader, LogReceiver, LogRecord, LogSource};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streams::record::TopicPartition;
use testkit::Record;

pub const TOPIC: &str = "helixagent.memory.events";

pub fn partition(number: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, number)
}

/// Partitions of records; clones share them.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Partition>>>);

#[derive(Default)]
struct Partition {
    /// Offset of the first record: what retention has dropped.
    begin: i64,
    records: Vec<Record>,
}

impl Log {
    pub fn new(partitions: usize) -> Log {
        let log = Log::default();
        log.0.lock().unwrap().resize_with(partitions, Partition::default);
        log
    }

    /// Appends records, each to its partition; their offsets follow from that.
    pub fn append(&self, records: impl IntoIterator<Item = Record>) {
        let mut partitions = self.0.lock().unwrap();
        for record in records {
            let partition = &mut partitions[usize::try_from(record.partition).unwrap()];
            let offset = partition.begin + i64::try_from(partition.records.len()).unwrap();
            partition.records.push(Record { offset, ..record });
        }
    }

    /// Drops the oldest records of a partition, as retention does.
    pub fn drop_before(&self, partition: usize, begin: i64) {
        let partition = &mut self.0.lock().unwrap()[partition];
        let count = usize::try_from(begin - partition.begin).unwrap();
        partition.records.drain(..count);
        partition.begin = begin;
    }

    /// All records that it holds, by partition and offset.
    pub fn records(&self) -> Vec<Record> {
        self.0.lock().unwrap().iter().flat_map(|partition| partition.records.clone()).collect()
    }

    /// A reader that owns these partitions.
    pub fn reader(&self, owned: impl IntoIterator<Item = i32>) -> Reader {
        let reader = Reader { log: self.clone(), group: Group::default(), at: BTreeMap::new() };
        reader.group.give(owned);
        reader
    }
}

/// What the test tells a reader, and what the reader was told by the mirror.
#[derive(Clone, Default)]
pub struct Group(Arc<Mutex<GroupState>>);

#[derive(Default)]
struct GroupState {
    changes: VecDeque<Change>,
    started: Vec<(i32, i64)>,
}

enum Change {
    Given(Vec<TopicPartition>),
    Taken(Vec<TopicPartition>),
}

impl Group {
    pub fn give(&self, owned: impl IntoIterator<Item = i32>) {
        let change = Change::Given(owned.into_iter().map(partition).collect());
        self.0.lock().unwrap().changes.push_back(change);
    }

    pub fn take(&self, owned: impl IntoIterator<Item = i32>) {
        let change = Change::Taken(owned.into_iter().map(partition).collect());
        self.0.lock().unwrap().changes.push_back(change);
    }

    /// From which offsets the mirror had partitions read, in order.
    pub fn started(&self) -> Vec<(i32, i64)> {
        self.0.lock().unwrap().started.clone()
    }
}

pub struct Reader {
    log: Log,
    pub group: Group,
    at: BTreeMap<i32, Option<i64>>,
}

impl LogSource for Reader {
    fn poll(&mut self, wait: Duration, to: &mut dyn LogReceiver) -> Result<(), LogError> {
        let changes: Vec<Change> = self.group.0.lock().unwrap().changes.drain(..).collect();
        for change in changes {
            match change {
                Change::Given(partitions) => {
                    self.at.extend(partitions.iter().map(|partition| (partition.partition, None)));
                    to.assigned(&partitions);
                }
                Change::Taken(partitions) => {
                    self.at.retain(|number, _| partitions.iter().all(|partition| partition.partition != *number));
                    to.revoked(&partitions);
                }
            }
        }
        let mut handed = 0;
        let log = self.log.0.lock().unwrap();
        for (number, at) in &mut self.at {
            let Some(next) = at else { continue };
            let held = &log[usize::try_from(*number).unwrap()];
            let partition = partition(*number);
            while let Some(record) = held.records.get(usize::try_from(*next - held.begin).unwrap()) {
                if to.is_full() {
                    break;
                }
                let header = |(name, value): &'_ (String, Option<Vec<u8>>)| (name.clone().into_bytes(), value.clone());
                let headers: Vec<_> = record.headers.iter().map(header).collect();
                let headers: Vec<LogHeader<'_>> =
                    headers.iter().map(|(name, value)| LogHeader { name, value: value.as_deref() }).collect();
                to.record(&LogRecord {
                    partition: &partition,
                    offset: *next,
                    timestamp_ms: record.timestamp_ms,
                    key: record.key.as_deref(),
                    headers: &headers,
                    value: record.value.as_deref(),
                });
                *next += 1;
                handed += 1;
            }
        }
        drop(log);
        if handed == 0 {
            std::thread::sleep(wait.min(Duration::from_millis(5)));
        }
        Ok(())
    }

    fn start(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        let number = partition.partition;
        let log = self.log.0.lock().unwrap();
        let held = &log[usize::try_from(number).unwrap()];
        let (begin, end) = (held.begin, held.begin + i64::try_from(held.records.len()).unwrap());
        let Some(at) = self.at.get_mut(&number) else { return Ok(()) };
        *at = None;
        if !(begin..=end).contains(&offset) {
            return Err(LogError::OutOfRange { partition: partition.clone(), offset, begin, end });
        }
        *at = Some(offset);
        self.group.0.lock().unwrap().started.push((number, offset));
        Ok(())
    }

    fn stop(&mut self, partition: &TopicPartition) -> Result<(), LogError> {
        if let Some(at) = self.at.get_mut(&partition.partition) {
            *at = None;
        }
        Ok(())
    }

    fn committed(&mut self, _next: &[(TopicPartition, i64)]) {}

    fn ends(&mut self) -> Vec<(TopicPartition, i64)> {
        let log = self.log.0.lock().unwrap();
        let started = self.at.iter().filter(|(_, at)| at.is_some());
        let end = |number: i32| {
            let held = &log[usize::try_from(number).unwrap()];
            held.begin + i64::try_from(held.records.len()).unwrap()
        };
        started.map(|(number, _)| (partition(*number), end(*number))).collect()
    }
}
