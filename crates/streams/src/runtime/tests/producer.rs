//! A transactional producer over the broker in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::broker::{Broker, Entry, Stored};
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::ports::*;
use crate::record::TopicPartition;

pub struct Producers {
    pub broker: Broker,
    pub id: String,
}

impl ProducerFactory for Producers {
    fn create(&mut self, batches: BatchLimit) -> Result<Box<dyn Producer>> {
        self.broker.trip("create")?;
        Ok(Box::new(MemoryProducer {
            broker: self.broker.clone(),
            id: self.id.clone(),
            epoch: 0,
            transaction: None,
            failures: VecDeque::new(),
            last: BTreeMap::new(),
            tracked: Vec::new(),
            in_flight: 0,
            batches,
            queued: Vec::new(),
        }))
    }
}

struct MemoryProducer {
    broker: Broker,
    id: String,
    epoch: u64,
    transaction: Option<u64>,
    failures: VecDeque<DeliveryFailure>,
    last: BTreeMap<TopicPartition, i64>,
    tracked: Vec<Arc<str>>,
    in_flight: usize,
    batches: BatchLimit,
    /// What goes with the next poll: records for topics that limit their batches or refuse records,
    /// in order.
    queued: Vec<Queued>,
}

struct Queued {
    at: TopicPartition,
    record: Stored,
    token: u64,
}

impl Queued {
    /// Its bytes in a batch.
    fn bytes(&self) -> usize {
        self.record.key.as_ref().map_or(0, Vec::len) + self.record.value.as_ref().map_or(0, Vec::len)
    }
}

/// The queue takes so many records between two polls, so that a full queue is met all the time.
const QUEUE: usize = 3;

impl MemoryProducer {
    fn alive(&self) -> Result<()> {
        let current = self.broker.lock().epochs.get(&self.id).copied();
        if current == Some(self.epoch) { Ok(()) } else { Err(Error::Fenced("another has started".to_owned())) }
    }

    fn number(&self) -> Result<u64> {
        self.alive()?;
        self.transaction.ok_or_else(|| Error::ProducerLost("no transaction was begun".to_owned()))
    }

    fn append(&mut self, number: u64, at: TopicPartition, record: Stored) {
        let mut state = self.broker.lock();
        state.open.get_mut(&number).expect("the transaction is open").1.partitions.insert(at.clone());
        let log = state.logs.entry(at.clone()).or_default();
        log.push(Entry::Record { record, transaction: Some(number) });
        let offset = log.len() as i64 - 1;
        if self.tracked.contains(&at.topic) {
            self.last.insert(at, offset);
        }
    }

    fn is_refused(&self, queued: &Queued) -> bool {
        let state = self.broker.lock();
        let Some((topic, bytes)) = &state.refused else { return false };
        let value = queued.record.value.as_deref().unwrap_or_default();
        **topic == *queued.at.topic && value.windows(bytes.len()).any(|part| part == &bytes[..])
    }

    /// Sends what is queued, as batches of a partition each, as librdkafka makes them: a record
    /// that is larger than a batch may be goes alone.
    fn send_batches(&mut self) {
        let Some(number) = self.transaction.filter(|number| self.broker.lock().open.contains_key(number)) else {
            return self.queued.clear();
        };
        while let Some(first) = self.queued.first() {
            let at = first.at.clone();
            let (mut batch, mut bytes): (Vec<Queued>, usize) = (Vec::new(), 0);
            while let Some(next) = self.queued.iter().position(|queued| queued.at == at) {
                let fits = match self.batches {
                    BatchLimit::Bytes(limit) => bytes + self.queued[next].bytes() <= limit,
                    BatchLimit::OneRecord => false,
                };
                if !batch.is_empty() && !fits {
                    break;
                }
                bytes += self.queued[next].bytes();
                batch.push(self.queued.remove(next));
            }
            let limit = self.broker.lock().batch_limits.get(&*at.topic).copied().unwrap_or(usize::MAX);
            if batch.iter().any(|queued| self.is_refused(queued)) {
                // The broker names the records at fault (KIP-467), and takes none of the batch.
                for queued in batch {
                    let error = match self.is_refused(&queued) {
                        true => Error::Record("its timestamp is out of range".to_owned()),
                        false => Error::Aborted("it was part of a batch with an invalid record".to_owned()),
                    };
                    self.failures.push_back(DeliveryFailure { token: queued.token, error });
                }
                continue;
            }
            if bytes > limit {
                let refused = |queued: Queued| DeliveryFailure {
                    token: queued.token,
                    error: Error::BatchTooLarge("message too large".to_owned()),
                };
                self.failures.extend(batch.into_iter().map(refused));
                continue;
            }
            self.broker.lock().batches.push(batch.len());
            batch.into_iter().for_each(|queued| self.append(number, queued.at, queued.record));
        }
    }
}

impl Producer for MemoryProducer {
    fn init(&mut self, _timeout: Duration) -> Result<()> {
        self.broker.trip("init")?;
        self.epoch = self.broker.lock().init(&self.id);
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.broker.trip("begin")?;
        self.alive()?;
        assert!(self.transaction.is_none(), "a transaction is ended before the next begins");
        self.transaction = Some(self.broker.lock().begin(&self.id));
        self.failures.clear();
        self.last.clear();
        self.queued.clear();
        Ok(())
    }

    fn send(&mut self, out: &OutRecord<'_>) -> Result<bool> {
        if self.in_flight == QUEUE {
            return Ok(false);
        }
        self.broker.trip("send")?;
        let number = self.number()?;
        assert!(out.record.timestamp_ms >= 1, "librdkafka takes 0 for now");
        self.in_flight += 1;
        if let Err(error) = self.broker.trip("deliver") {
            self.failures.push_back(DeliveryFailure { token: out.token, error });
            return Ok(true);
        }
        let state = self.broker.lock();
        let at = TopicPartition::new(out.topic.clone(), out.partition);
        let record = Stored::of(&out.record);
        assert!(out.partition < state.counts[&*at.topic], "the partition exists");
        let refuses = state.refused.as_ref().is_some_and(|(topic, _)| **topic == *at.topic);
        let is_queued = refuses || state.batch_limits.contains_key(&*at.topic);
        drop(state);
        if is_queued {
            self.queued.push(Queued { at, record, token: out.token });
        } else {
            self.append(number, at, record);
        }
        Ok(true)
    }

    fn poll(&mut self, _timeout: Duration) {
        self.send_batches();
        self.in_flight = 0;
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn in_flight_bytes(&self) -> usize {
        0
    }

    fn take_failure(&mut self) -> Option<DeliveryFailure> {
        self.failures.pop_front()
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<Offset> {
        self.last.get(partition).copied().map(super::broker::offset)
    }

    fn track(&mut self, topics: &[Arc<str>]) {
        self.tracked = topics.to_vec();
    }

    fn send_offsets(&mut self, offsets: &[OffsetCommit], group: &GroupMetadata, _timeout: Duration) -> Result<()> {
        self.broker.trip("send_offsets")?;
        assert!(group.generation >= 0);
        let number = self.number()?;
        let mut state = self.broker.lock();
        let transaction = &mut state.open.get_mut(&number).expect("the transaction is open").1;
        for commit in offsets {
            let committed = Committed { offset: commit.offset, metadata: commit.metadata.clone() };
            transaction.offsets.insert(commit.partition.clone(), committed);
        }
        Ok(())
    }

    fn commit(&mut self, _timeout: Duration) -> Result<()> {
        self.broker.trip("commit")?;
        let number = self.number()?;
        assert!(self.in_flight == 0 && self.failures.is_empty(), "all is delivered before a commit");
        self.broker.lock().end_transaction(number, true);
        self.transaction = None;
        self.broker.trip("after commit")
    }

    fn abort(&mut self, _timeout: Duration) -> Result<()> {
        self.broker.trip("abort")?;
        let number = self.number()?;
        self.broker.lock().end_transaction(number, false);
        self.transaction = None;
        self.in_flight = 0;
        self.queued.clear();
        Ok(())
    }

    fn fatal_error(&self) -> Option<Error> {
        None
    }
}
