//! The ports over the broker in memory. The group is played by the test: it pushes events, the
//! consumer shows them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::broker::{Broker, Entry, Stored, offset, place_of};
use super::producer::Producers;
use crate::error::{Error, Result};
use crate::offset::{Offset, StartOffset};
use crate::ports::*;
use crate::record::{Origin, RecordBatch, TaskId, TopicPartition};
use crate::store::memory::MemoryStores;

/// A clock that goes on by a millisecond whenever it is asked.
#[derive(Default)]
pub struct TickingClock(AtomicU64);

impl Clock for TickingClock {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn sleep(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
        std::thread::yield_now();
    }
}

fn show(state: &super::broker::State, at: &TopicPartition, offset: i64, batch: &mut RecordBatch) {
    if let Some(record) = state.visible(at, offset) {
        let origin = Origin { topic: &at.topic, partition: at.partition, offset, timestamp_ms: record.timestamp_ms };
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        batch.push(origin, record.key.as_deref(), record.value.as_deref(), headers);
    }
}

#[derive(Default)]
pub struct Consumer {
    pub events: VecDeque<GroupEvent>,
    unanswered: Option<GroupEvent>,
    positions: BTreeMap<TopicPartition, i64>,
    held: BTreeMap<TopicPartition, ()>,
    told_end: BTreeMap<TopicPartition, i64>,
    pub is_leaving: bool,
    left: bool,
    pub is_member: bool,
    /// How often the subscribed topics were looked at.
    pub refreshes: usize,
    /// How often the group was left with the client still open.
    pub leaves: usize,
    is_departing: bool,
    has_departed: bool,
}

/// Both consumer ports of one thread.
#[derive(Clone)]
pub struct Group {
    pub broker: Broker,
    pub consumer: Rc<RefCell<Consumer>>,
}

impl Group {
    pub fn new(broker: &Broker) -> Group {
        let consumer = Consumer { is_member: true, ..Consumer::default() };
        Group { broker: broker.clone(), consumer: Rc::new(RefCell::new(consumer)) }
    }
}

impl Membership for Group {
    fn subscribe(&mut self, _topics: &[&str]) -> Result<()> {
        let mut consumer = self.consumer.borrow_mut();
        consumer.is_member |= std::mem::take(&mut consumer.has_departed);
        Ok(())
    }

    fn refresh(&mut self) -> Result<()> {
        self.consumer.borrow_mut().refreshes += 1;
        Ok(())
    }

    fn event(&mut self) -> Option<GroupEvent> {
        let mut consumer = self.consumer.borrow_mut();
        assert!(consumer.unanswered.is_none(), "an event is answered before the next poll");
        consumer.unanswered = consumer.events.pop_front();
        consumer.unanswered.clone()
    }

    fn metadata(&mut self) -> Result<GroupMetadata> {
        let consumer = self.consumer.borrow();
        let generation = if consumer.is_member { 1 } else { -1 };
        Ok(GroupMetadata { generation, member_id: "member".to_owned(), handle: Arc::new(()) })
    }

    fn leave(&mut self) -> Result<()> {
        let mut consumer = self.consumer.borrow_mut();
        consumer.leaves += 1;
        consumer.is_departing = true;
        let all = consumer.positions.keys().cloned().collect();
        consumer.events.push_back(GroupEvent::Revoked(all));
        Ok(())
    }

    fn unsubscribe(&mut self) -> Result<()> {
        let mut consumer = self.consumer.borrow_mut();
        consumer.is_leaving = true;
        let all = consumer.positions.keys().cloned().collect();
        consumer.events.push_back(GroupEvent::Revoked(all));
        Ok(())
    }

    fn left(&self) -> bool {
        self.consumer.borrow().left
    }
}

impl Fetching for Group {
    fn assign(&mut self, starts: &[PartitionStart]) -> Result<()> {
        let mut consumer = self.consumer.borrow_mut();
        assert!(!matches!(consumer.unanswered, Some(GroupEvent::Revoked(_) | GroupEvent::Lost(_))));
        consumer.unanswered = None;
        for start in starts {
            consumer.positions.insert(start.partition.clone(), place_of(start.offset));
            consumer.held.remove(&start.partition);
            consumer.told_end.remove(&start.partition);
        }
        Ok(())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let mut consumer = self.consumer.borrow_mut();
        match consumer.unanswered.take() {
            Some(GroupEvent::Assigned(_)) => panic!("an assignment is answered by assign"),
            Some(GroupEvent::Revoked(_) | GroupEvent::Lost(_)) => {
                for partition in partitions {
                    assert!(consumer.positions.remove(partition).is_some(), "only what was added is unassigned");
                }
                consumer.left = consumer.is_leaving;
                if std::mem::take(&mut consumer.is_departing) {
                    (consumer.is_member, consumer.has_departed) = (false, true);
                }
            }
            None => consumer.held.extend(partitions.iter().map(|partition| (partition.clone(), ()))),
        }
        Ok(())
    }

    fn seek(&mut self, starts: &[PartitionStart]) -> Result<()> {
        let mut consumer = self.consumer.borrow_mut();
        assert!(consumer.unanswered.is_none());
        for start in starts {
            let position = consumer.positions.get_mut(&start.partition).expect("only assigned partitions are sought");
            *position = place_of(start.offset);
            consumer.told_end.remove(&start.partition);
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.consumer.borrow_mut().held.extend(partitions.iter().map(|partition| (partition.clone(), ())));
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.consumer.borrow_mut().held.retain(|partition, ()| !partitions.contains(partition));
        Ok(())
    }

    fn poll(
        &mut self,
        max_records: usize,
        _max_bytes: usize,
        _timeout: Duration,
        batch: &mut RecordBatch,
    ) -> Result<()> {
        self.broker.trip("poll")?;
        let mut consumer = self.consumer.borrow_mut();
        assert!(consumer.unanswered.is_none(), "no poll between an event and its answer");
        let state = self.broker.lock();
        let consumer = &mut *consumer;
        for (at, position) in &mut consumer.positions {
            if consumer.held.contains_key(at) {
                continue;
            }
            let end = state.stable_end(at);
            while *position < end && batch.len() < max_records {
                show(&state, at, *position, batch);
                *position += 1;
            }
            if *position >= end && consumer.told_end.get(at) != Some(&end) {
                consumer.told_end.insert(at.clone(), end);
                batch.push_end(&at.topic, at.partition, offset(end));
            }
        }
        Ok(())
    }

    fn end_offset(&self, partition: &TopicPartition) -> Option<Offset> {
        Some(offset(self.broker.lock().end(partition)))
    }
}

/// The broker's admin and restore client.
pub struct Client(pub Broker);

impl Admin for Client {
    fn topics(&self, names: &[&str]) -> Result<Vec<Option<TopicInfo>>> {
        let state = self.0.lock();
        let info = |name: &&str| {
            state.counts.get(*name).map(|count| TopicInfo { name: (*name).to_owned(), partitions: *count })
        };
        Ok(names.iter().map(info).collect())
    }

    fn identities(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        let mut state = self.0.lock();
        let mut identity = |name: &&str| {
            if let Some(at) = state.unknown.iter().position(|unknown| unknown == name) {
                state.unknown.remove(at);
                return None;
            }
            let id = Some(TopicId(state.topic_ids.get(*name).copied().unwrap_or(1)));
            state.counts.get(*name).map(|count| TopicIdentity { partitions: *count, id })
        };
        Ok(names.iter().map(&mut identity).collect())
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<()> {
        let mut state = self.0.lock();
        for topic in topics {
            state.counts.insert(topic.name.clone(), topic.partitions);
            state.configs.insert(topic.name.clone(), topic.config.clone());
        }
        Ok(())
    }

    fn topic_config(&self, topic: &str) -> Result<Vec<(String, String)>> {
        Ok(self.0.lock().configs.get(topic).cloned().unwrap_or_default())
    }

    fn offset_metadata_limit(&self) -> Result<Option<usize>> {
        Ok(self.0.lock().metadata_limit)
    }

    fn delete_records(&self, below: &[(TopicPartition, Offset)]) -> Result<Deletion> {
        self.0.trip("delete_records")?;
        let mut state = self.0.lock();
        if state.cannot_delete {
            return Ok(Deletion::Unsupported("the proxy does not know it".to_owned()));
        }
        state.deleted_below.extend(below.iter().cloned());
        Ok(Deletion::Done)
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>> {
        self.0.trip("committed")?;
        let mut state = self.0.lock();
        if state.false_none > 0 {
            state.false_none -= 1;
            return Ok(vec![None; partitions.len()]);
        }
        let mut answer = |partition| {
            let outdated = state.outdated.remove(partition);
            outdated.or_else(|| state.committed.get(partition).cloned())
        };
        Ok(partitions.iter().map(&mut answer).collect())
    }

    fn all_committed(&self) -> Result<Vec<(TopicPartition, Committed)>> {
        let mut state = self.0.lock();
        if state.false_empty > 0 {
            state.false_empty -= 1;
            return Ok(Vec::new());
        }
        Ok(state.committed.iter().map(|(partition, committed)| (partition.clone(), committed.clone())).collect())
    }

    fn member_ids(&self) -> Result<Vec<String>> {
        self.0.lock().asked_for_members += 1;
        self.0.trip("member_ids")?;
        Ok(self.0.lock().member_ids.clone())
    }

    fn group_members(&self) -> Result<Option<Vec<GroupMember>>> {
        Ok(self.0.lock().members.clone())
    }

    fn reach_group(&self, _topic: &str) -> Result<()> {
        if self.0.lock().is_down { Err(Error::Retry("connection refused".to_owned())) } else { Ok(()) }
    }

    fn append(&self, partition: &TopicPartition, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.0.trip("append")?;
        let (key, value) = (Some(key.to_vec()), value.map(<[u8]>::to_vec));
        let record = Stored { key, value, headers: Vec::new(), timestamp_ms: 1 };
        self.0.lock().logs.entry(partition.clone()).or_default().push(Entry::Record { record, transaction: None });
        Ok(())
    }

    fn end_transaction(&self, transactional_id: &str) -> Result<()> {
        self.0.trip("end_transaction")?;
        self.0.lock().ended_for_others.push(transactional_id.to_owned());
        let mut producers = Producers { broker: self.0.clone(), id: transactional_id.to_owned() };
        producers.create(BatchLimit::OneRecord)?.init(Duration::from_secs(1))
    }

    fn log_range(&self, partition: &TopicPartition) -> Result<LogRange> {
        let mut state = self.0.lock();
        if state.false_ends > 0 {
            state.false_ends -= 1;
            return Ok(LogRange { start: Offset::FIRST, end: Offset::FIRST });
        }
        if state.false_starts > 0 {
            state.false_starts -= 1;
            return Ok(LogRange { start: offset(state.end(partition)), end: offset(state.end(partition)) });
        }
        let start = state.deleted_below.get(partition).copied().unwrap_or_default();
        Ok(LogRange { start, end: offset(state.end(partition)) })
    }
}

impl RestoreClient for Client {
    fn open(&self, partition: &TopicPartition, start: StartOffset) -> Result<Box<dyn RestoreReader>> {
        Ok(Box::new(Reader { broker: self.0.clone(), at: partition.clone(), position: place_of(start) }))
    }
}

struct Reader {
    broker: Broker,
    at: TopicPartition,
    position: i64,
}

/// Restores get records by the few, so that they go over many batches.
const RESTORE_RECORDS: usize = 3;

impl RestoreReader for Reader {
    fn poll(&mut self, _max_bytes: usize, _timeout: Duration, batch: &mut RecordBatch) -> Result<()> {
        self.broker.trip("restore")?;
        let mut state = self.broker.lock();
        let end = state.stable_end(&self.at);
        if self.position >= end {
            state.fruitless_restore_polls += 1;
        }
        while self.position < end && batch.len() < RESTORE_RECORDS {
            show(&state, &self.at, self.position, batch);
            self.position += 1;
        }
        if self.position >= end {
            batch.push_end(&self.at.topic, self.at.partition, offset(end));
        }
        Ok(())
    }
}

/// Stores in memory, of which one position is another's when that is asked for.
pub struct MeddledStores {
    pub inner: MemoryStores,
    pub meddle: Arc<AtomicBool>,
}

struct MeddledStore {
    inner: Box<dyn TaskStore>,
    meddle: Arc<AtomicBool>,
}

impl StoreEngine for MeddledStores {
    fn open(&self, task: TaskId, stores: &[&str]) -> Result<Box<dyn TaskStore>> {
        Ok(Box::new(MeddledStore { inner: self.inner.open(task, stores)?, meddle: self.meddle.clone() }))
    }

    fn destroy(&self, task: TaskId) -> Result<()> {
        self.inner.destroy(task)
    }

    fn idle_time(&self, task: TaskId) -> Result<Option<Duration>> {
        self.inner.idle_time(task)
    }

    fn positions(&self, task: TaskId, stores: &[&str]) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        if self.inner.idle_time(task)?.is_none() {
            return Ok(None);
        }
        let db = self.inner.open(task, stores)?;
        (0..stores.len()).map(|store| db.position(store)).collect::<Result<Vec<_>>>().map(Some)
    }
}

impl TaskStore for MeddledStore {
    fn get(&self, store: usize, key: &[u8]) -> Result<Option<Value<'_>>> {
        self.inner.get(store, key)
    }

    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> Result<Vec<Option<Value<'_>>>> {
        self.inner.multi_get(store, keys)
    }

    fn scan_from(&self, store: usize, prefix: &[u8], start: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.inner.scan_from(store, prefix, start, visit)
    }

    fn apply(&mut self, batch: &StoreBatch<'_>) -> Result<()> {
        self.inner.apply(batch)
    }

    fn position(&self, store: usize) -> Result<Option<Vec<u8>>> {
        match self.meddle.swap(false, Ordering::Relaxed) {
            true => Ok(Some(b"1 0 0 0 0".to_vec())),
            false => self.inner.position(store),
        }
    }

    fn begin_bulk_load(&mut self) -> Result<()> {
        self.inner.begin_bulk_load()
    }

    fn end_bulk_load(&mut self) -> Result<()> {
        self.inner.end_bulk_load()
    }

    fn clear(&mut self, store: usize) -> Result<()> {
        self.inner.clear(store)
    }

    fn snapshots(&self) -> Arc<dyn SnapshotSource> {
        self.inner.snapshots()
    }
}
