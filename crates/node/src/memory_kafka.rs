//! A Kafka in memory, for the cases that a real one does not show on demand: transactions with
//! fencing, read-committed readers, and hooks that run another process's step in the midst of a
//! call, or fail it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use streams::error::{Error, Result};
use streams::offset::{Offset, StartOffset};
use streams::ports::{
    Admin, BatchLimit, Committed, Deletion, DeliveryFailure, GroupMember, GroupMetadata, LogRange, NewTopic,
    OffsetCommit, OutRecord, Producer, ProducerFactory, RestoreClient, RestoreReader, TopicId, TopicIdentity,
    TopicInfo,
};
use streams::record::{Header, Origin, RecordBatch, TopicPartition};

use crate::kafka::{KafkaClients, Topics};

/// A record as it stands in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub kind: Option<Vec<u8>>,
    /// Headers beside the one of its kind.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub timestamp_ms: i64,
}

enum Entry {
    Record(Stored, Option<u64>),
    Marker,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transaction {
    Open,
    Committed,
    Aborted,
}

type Hook = Box<dyn FnOnce(&MemoryKafka) -> Result<()> + Send>;

#[derive(Default)]
struct State {
    topics: BTreeMap<String, TopicIdentity>,
    logs: BTreeMap<TopicPartition, Vec<Entry>>,
    starts: BTreeMap<TopicPartition, i64>,
    epochs: BTreeMap<String, u64>,
    transactions: Vec<(String, Transaction, BTreeSet<TopicPartition>)>,
    hooks: BTreeMap<String, VecDeque<Hook>>,
    /// A value with this text is refused.
    refused: Option<String>,
    /// A record of the events topic with a later time is refused, in milliseconds since 1970.
    latest_ms: Option<i64>,
    /// A batch with more bytes than that is refused.
    batch_limit: Option<usize>,
}

/// The broker; a copy of the value is the same one.
#[derive(Clone, Default)]
pub(crate) struct MemoryKafka(Arc<Mutex<State>>);

impl MemoryKafka {
    /// With the topics of events and snapshots.
    pub fn start() -> MemoryKafka {
        let kafka = MemoryKafka::default();
        kafka.make_topic("helixagent.memory.events", 2);
        kafka.make_topic("helixagent.memory.snapshots", 2);
        kafka
    }

    pub fn clients(&self) -> KafkaClients {
        self.clients_of("")
    }

    /// Clients of a process: the steps of its producers also have names of their own, which begin
    /// with the process and a blank.
    pub fn clients_of(&self, process: &str) -> KafkaClients {
        let (kafka, process) = (self.clone(), process.to_owned());
        KafkaClients {
            topics: Topics::default(),
            producers: Arc::new(move |id: &str| {
                Box::new(Producers { kafka: kafka.clone(), id: id.to_owned(), process: process.clone() })
            }),
            reader: Arc::new(self.clone()),
            admin: Arc::new(self.clone()),
        }
    }

    /// Makes a topic, or makes it anew: its logs are empty, and it has another id.
    pub fn make_topic(&self, name: &str, partitions: i32) {
        let mut state = self.lock();
        let id = state.topics.get(name).and_then(|topic| topic.id).map_or(1, |id| id.0 + 1);
        state.logs.retain(|partition, _| *partition.topic != *name);
        state.topics.insert(name.to_owned(), TopicIdentity { partitions, id: Some(TopicId(id)) });
    }

    pub fn grow_topic(&self, name: &str, partitions: i32) {
        self.lock().topics.get_mut(name).unwrap().partitions = partitions;
    }

    /// Deletes the records of a partition below an offset.
    pub fn cut(&self, partition: &TopicPartition, start: i64) {
        self.lock().starts.insert(partition.clone(), start);
    }

    /// Appends a record outside of any transaction.
    pub fn append(&self, partition: &TopicPartition, record: Stored) {
        self.lock().logs.entry(partition.clone()).or_default().push(Entry::Record(record, None));
    }

    /// Runs at the next call of this step.
    pub fn hook(&self, step: &str, hook: impl FnOnce(&MemoryKafka) -> Result<()> + Send + 'static) {
        self.lock().hooks.entry(step.to_owned()).or_default().push_back(Box::new(hook));
    }

    pub fn refuse(&self, text: &str) {
        self.lock().refused = Some(text.to_owned());
    }

    /// Refuses events with a later time; `None`: no longer.
    pub fn limit_times(&self, latest_ms: Option<i64>) {
        self.lock().latest_ms = latest_ms;
    }

    pub fn limit_batches(&self, bytes: usize) {
        self.lock().batch_limit = Some(bytes);
    }

    /// How often a transactional id was initialised.
    pub fn epoch(&self, id: &str) -> u64 {
        self.lock().epochs.get(id).copied().unwrap_or(0)
    }

    /// As another process's first call: fences the producer with this id and ends its transaction.
    pub fn init(&self, id: &str) -> u64 {
        let open = |state: &State| {
            let is_its = |one: &(String, Transaction, _)| one.0 == *id && one.1 == Transaction::Open;
            state.transactions.iter().position(is_its)
        };
        let number = open(&self.lock());
        if let Some(number) = number {
            self.end(number, Transaction::Aborted);
        }
        let mut state = self.lock();
        let epoch = state.epochs.entry(id.to_owned()).or_default();
        *epoch += 1;
        *epoch
    }

    /// The committed records of a topic.
    pub fn committed_records(&self, topic: &str) -> Vec<Stored> {
        let state = self.lock();
        let logs = state.logs.iter().filter(|(partition, _)| *partition.topic == *topic);
        let records = logs.flat_map(|(_, log)| log).filter_map(|entry| match entry {
            Entry::Record(record, None) => Some(record.clone()),
            Entry::Record(record, Some(number)) => {
                (state.transactions[*number as usize].1 == Transaction::Committed).then(|| record.clone())
            }
            Entry::Marker => None,
        });
        records.collect()
    }

    fn trip(&self, step: &str) -> Result<()> {
        let hook = self.lock().hooks.get_mut(step).and_then(VecDeque::pop_front);
        hook.map_or(Ok(()), |hook| hook(self))
    }

    /// A step of a producer of this process.
    fn trip_of(&self, process: &str, step: &str) -> Result<()> {
        self.trip(step)?;
        if process.is_empty() { Ok(()) } else { self.trip(&format!("{process} {step}")) }
    }

    fn end(&self, number: usize, how: Transaction) {
        let mut state = self.lock();
        state.transactions[number].1 = how;
        let partitions = state.transactions[number].2.clone();
        for partition in partitions {
            state.logs.entry(partition).or_default().push(Entry::Marker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

struct Producers {
    kafka: MemoryKafka,
    id: String,
    process: String,
}

impl ProducerFactory for Producers {
    fn create(&mut self, batches: BatchLimit) -> Result<Box<dyn Producer>> {
        self.kafka.trip("create")?;
        let (kafka, id, process) = (self.kafka.clone(), self.id.clone(), self.process.clone());
        Ok(Box::new(MemoryProducer {
            kafka,
            id,
            process,
            batches,
            epoch: 0,
            is_fenced: false,
            number: None,
            queue: Vec::new(),
            failures: VecDeque::new(),
        }))
    }
}

struct MemoryProducer {
    kafka: MemoryKafka,
    id: String,
    process: String,
    batches: BatchLimit,
    epoch: u64,
    /// Whether it has learned that another one has taken its transactional id.
    is_fenced: bool,
    number: Option<usize>,
    queue: Vec<(TopicPartition, Stored, u64)>,
    failures: VecDeque<DeliveryFailure>,
}

impl MemoryProducer {
    fn number(&self) -> Result<usize> {
        if self.kafka.epoch(&self.id) != self.epoch {
            return Err(Error::Fenced("another has started".to_owned()));
        }
        self.number.ok_or_else(|| Error::ProducerLost("no transaction was begun".to_owned()))
    }

    fn refusal(&self, topic: &str, record: &Stored) -> Option<Error> {
        let state = self.kafka.lock();
        let is_event = topic == &*Topics::default().events;
        if is_event && state.latest_ms.is_some_and(|latest| record.timestamp_ms > latest) {
            return Some(Error::RecordTime("its time is out of range".to_owned()));
        }
        let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
        if state.refused.as_ref().is_some_and(|refused| text.contains(refused)) {
            return Some(Error::Record("it is invalid".to_owned()));
        }
        let batch = match self.batches {
            BatchLimit::Bytes(bytes) => bytes.max(text.len()),
            BatchLimit::OneRecord => text.len(),
        };
        let is_too_large = state.batch_limit.is_some_and(|limit| batch > limit);
        is_too_large.then(|| Error::BatchTooLarge("message too large".to_owned()))
    }
}

impl Producer for MemoryProducer {
    fn init(&mut self, _timeout: Duration) -> Result<()> {
        self.kafka.trip_of(&self.process, "init")?;
        self.epoch = self.kafka.init(&self.id);
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.kafka.trip_of(&self.process, "begin")?;
        assert!(self.number.is_none(), "a transaction is ended before the next begins");
        self.failures.clear();
        let mut state = self.kafka.lock();
        state.transactions.push((self.id.clone(), Transaction::Open, BTreeSet::new()));
        self.number = Some(state.transactions.len() - 1);
        drop(state);
        self.number().map(drop)
    }

    fn send(&mut self, out: &OutRecord<'_>) -> Result<bool> {
        if self.queue.len() == 3 {
            return Ok(false);
        }
        let record = out.record;
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let (key, value) = (owned(record.key), owned(record.value));
        let stored = Stored { key, value, timestamp_ms: record.timestamp_ms, ..Stored::default() };
        self.queue.push((TopicPartition::new(out.topic.clone(), out.partition), stored, out.token));
        Ok(true)
    }

    fn poll(&mut self, _timeout: Duration) {
        for (partition, record, token) in std::mem::take(&mut self.queue) {
            // As librdkafka does: the records are purged, and the producer has failed for good.
            let fenced = self.number().err();
            self.is_fenced |= matches!(fenced, Some(Error::Fenced(_)));
            let error = fenced
                .map(|_| Error::Aborted("it was purged".to_owned()))
                .or_else(|| self.kafka.trip_of(&self.process, "deliver").err())
                .or_else(|| self.refusal(&partition.topic, &record));
            if let Some(error) = error {
                self.failures.push_back(DeliveryFailure { token, error });
                continue;
            }
            let number = self.number.unwrap();
            let mut state = self.kafka.lock();
            state.transactions[number].2.insert(partition.clone());
            state.logs.entry(partition).or_default().push(Entry::Record(record, Some(number as u64)));
        }
    }

    fn in_flight(&self) -> usize {
        self.queue.len()
    }

    fn in_flight_bytes(&self) -> usize {
        0
    }

    fn take_failure(&mut self) -> Option<DeliveryFailure> {
        self.failures.pop_front()
    }

    fn last_offset(&self, _partition: &TopicPartition) -> Option<Offset> {
        None
    }

    fn track(&mut self, _topics: &[Arc<str>]) {}

    fn send_offsets(&mut self, _: &[OffsetCommit], _: &GroupMetadata, _: Duration) -> Result<()> {
        panic!("a node commits no offsets to Kafka")
    }

    fn commit(&mut self, _timeout: Duration) -> Result<()> {
        assert!(self.queue.is_empty() && self.failures.is_empty(), "all is delivered before a commit");
        self.kafka.trip_of(&self.process, "before commit")?;
        self.kafka.end(self.number()?, Transaction::Committed);
        self.number = None;
        self.kafka.trip_of(&self.process, "after commit")
    }

    fn abort(&mut self, _timeout: Duration) -> Result<()> {
        self.kafka.end(self.number()?, Transaction::Aborted);
        self.number = None;
        self.queue.clear();
        Ok(())
    }

    fn fatal_error(&self) -> Option<Error> {
        self.is_fenced.then(|| Error::Fenced("another has started".to_owned()))
    }
}

impl Drop for MemoryProducer {
    /// The time limit of its transaction passes.
    fn drop(&mut self) {
        let is_open = |number: &usize| self.kafka.lock().transactions[*number].1 == Transaction::Open;
        if let Some(number) = self.number.filter(is_open) {
            self.kafka.end(number, Transaction::Aborted);
        }
    }
}

struct Reader {
    kafka: MemoryKafka,
    partition: TopicPartition,
    next: i64,
    last_end: Option<i64>,
}

impl RestoreClient for MemoryKafka {
    fn open(&self, partition: &TopicPartition, from: StartOffset) -> Result<Box<dyn RestoreReader>> {
        self.trip("open")?;
        let start = self.lock().starts.get(partition).copied().unwrap_or(0);
        let next = from.offset().map_or(start, Offset::number);
        Ok(Box::new(Reader { kafka: self.clone(), partition: partition.clone(), next, last_end: None }))
    }
}

impl RestoreReader for Reader {
    fn poll(&mut self, _max_bytes: usize, _timeout: Duration, batch: &mut RecordBatch) -> Result<()> {
        let state = self.kafka.lock();
        let topic = &*self.partition.topic;
        let start = state.starts.get(&self.partition).copied().unwrap_or(0);
        let none = Vec::new();
        let log = state.logs.get(&self.partition).unwrap_or(&none);
        if !(start..=log.len() as i64).contains(&self.next) {
            return Err(Error::Fatal("the offset is outside the log [HS1020]".to_owned()));
        }
        while let Some(entry) = log.get(self.next as usize) {
            let how = |number: &u64| state.transactions[*number as usize].1;
            if let Entry::Record(record, number) = entry {
                let how = number.as_ref().map_or(Transaction::Committed, how);
                if how == Transaction::Open {
                    break;
                }
                if how == Transaction::Committed {
                    let (partition, timestamp_ms) = (self.partition.partition, record.timestamp_ms);
                    let origin = Origin { topic, partition, offset: self.next, timestamp_ms };
                    let kind: Option<Header<'_>> = record.kind.as_ref().map(|kind| ("type", Some(&kind[..])));
                    let others = record.headers.iter().map(|(name, value)| (*name, Some(&value[..])));
                    batch.push(origin, record.key.as_deref(), record.value.as_deref(), kind.into_iter().chain(others));
                }
            }
            self.next += 1;
        }
        if self.last_end != Some(self.next) {
            self.last_end = Some(self.next);
            batch.push_end(topic, self.partition.partition, Offset::new(self.next).unwrap());
        }
        Ok(())
    }
}

impl Admin for MemoryKafka {
    fn topics(&self, _names: &[&str]) -> Result<Vec<Option<TopicInfo>>> {
        panic!("a node asks for identities")
    }

    fn identities(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        self.trip("identities")?;
        let state = self.lock();
        Ok(names.iter().map(|name| state.topics.get(*name).cloned()).collect())
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<()> {
        topics.iter().for_each(|topic| self.make_topic(&topic.name, topic.partitions));
        Ok(())
    }

    fn topic_config(&self, _topic: &str) -> Result<Vec<(String, String)>> {
        panic!("a node reads no settings of topics")
    }

    fn offset_metadata_limit(&self) -> Result<Option<usize>> {
        panic!("a node commits no offsets to Kafka")
    }

    fn delete_records(&self, _below: &[(TopicPartition, Offset)]) -> Result<Deletion> {
        panic!("a node deletes no records")
    }

    fn committed(&self, _partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>> {
        panic!("a node commits no offsets to Kafka")
    }

    fn all_committed(&self) -> Result<Vec<(TopicPartition, Committed)>> {
        panic!("a node commits no offsets to Kafka")
    }

    fn member_ids(&self) -> Result<Vec<String>> {
        panic!("a node is in no group")
    }

    fn group_members(&self) -> Result<Option<Vec<GroupMember>>> {
        panic!("a node is in no group")
    }

    fn reach_group(&self, _topic: &str) -> Result<()> {
        panic!("a node is in no group")
    }

    fn append(&self, _partition: &TopicPartition, _key: &[u8], _value: Option<&[u8]>) -> Result<()> {
        panic!("a node publishes in transactions")
    }

    fn end_transaction(&self, _transactional_id: &str) -> Result<()> {
        panic!("a node ends no transactions but its own")
    }

    fn log_range(&self, partition: &TopicPartition) -> Result<LogRange> {
        let state = self.lock();
        let start = state.starts.get(partition).copied().unwrap_or(0);
        let end = state.logs.get(partition).map_or(0, Vec::len) as i64;
        Ok(LogRange { start: Offset::new(start).unwrap(), end: Offset::new(end).unwrap() })
    }
}
