//! The simulated transactional producer: the calls of a transaction.
//!
//! A batch that was sent lives on when its process dies, and may still reach the broker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::broker::{Outcome, Refusal, StoredRecord, offset};
use super::faults::Fault;
use super::group::Heartbeat;
use super::producer_state::ProducerClient;
use super::world::{Simulated, World, dead};
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::ports::{
    BatchLimit, Committed, DeliveryFailure, GroupMetadata, OffsetCommit, OutRecord, Producer, ProducerFactory,
};
use crate::record::TopicPartition;

/// Records that the queue takes between two flushes.
const QUEUE: usize = 60;

/// Makes the producers of a thread.
pub(super) struct SimulatedProducers {
    pub sim: Simulated,
    pub id: String,
}

impl ProducerFactory for SimulatedProducers {
    fn create(&mut self, batches: BatchLimit) -> Result<Box<dyn Producer>> {
        self.sim.call("create_producer")?;
        let mut world = self.sim.lock();
        if world.strikes(Fault::TransientError, "create_producer") {
            return Err(Error::Retry("the certificate cannot be read".to_owned()));
        }
        world.producers.push(ProducerClient {
            process: self.sim.process,
            id: self.id.clone(),
            epoch: 0,
            is_begun: false,
            begun: 0,
            number: None,
            batches,
            queue: VecDeque::new(),
            in_flight: 0,
            busy: Vec::new(),
            failures: VecDeque::new(),
            last: BTreeMap::new(),
            tracked: Vec::new(),
            fatal: None,
            flush_set: false,
            is_dropped: false,
        });
        Ok(Box::new(SimulatedProducer { sim: self.sim.clone(), index: world.producers.len() - 1 }))
    }
}

struct SimulatedProducer {
    sim: Simulated,
    index: usize,
}

impl Drop for SimulatedProducer {
    fn drop(&mut self) {
        let mut world = self.sim.lock();
        let producer = &mut world.producers[self.index];
        producer.is_dropped = true;
        producer.queue.clear();
    }
}

/// Answer of one exchange with the transaction coordinator.
enum Exchange<T> {
    Answered(T),
    /// No answer within the time: the call may be made again.
    TimedOut,
}

impl SimulatedProducer {
    /// Exchanges a request with a coordinator, again and again while it is away or busy.
    fn exchange<T>(
        &self,
        name: &'static str,
        timeout: Duration,
        mut act: impl FnMut(&mut World) -> Option<T>,
    ) -> Result<Exchange<T>> {
        let deadline = self.sim.now() + timeout;
        loop {
            self.sim.call(name)?;
            let mut world = self.sim.lock();
            if let Some(fatal) = world.producers[self.index].fatal.clone() {
                return Err(fatal);
            }
            let away = world.broker.transaction_coordinator_away_until;
            let gets_through = world.is_connected(self.sim.process) && world.now >= away;
            if gets_through && !world.strikes(Fault::RequestLost, name) {
                if name != "init" && name != "abort" && world.strikes(Fault::AbortRequired, name) {
                    return Err(Error::Aborted(format!("{name}: the transaction must be aborted")));
                }
                if world.strikes(Fault::ProducerFailed, name) {
                    let error = Error::ProducerLost(format!("{name}: fatal error"));
                    world.producers[self.index].fatal = Some(error.clone());
                    return Err(error);
                }
                let is_unanswered = name == "commit" && world.strikes(Fault::CommitUnanswered, name);
                let is_decided = !is_unanswered || world.faults.below(Fault::CommitUnanswered, 2) == 0;
                let answer = if is_decided { act(&mut world) } else { None };
                if is_unanswered {
                    let until = world.now + world.faults.duration(Fault::CommitUnanswered);
                    world.broker.transaction_coordinator_away_until = until;
                    continue;
                }
                if let Some(answer) = answer
                    && !world.strikes(Fault::ReplyLost, name)
                {
                    return Ok(Exchange::Answered(answer));
                }
            }
            let now = world.now;
            if !world.processes[self.sim.process].is_alive {
                return Err(dead());
            }
            drop(world);
            if now >= deadline {
                return Ok(Exchange::TimedOut);
            }
            self.sim.wait((now + Duration::from_millis(100)).min(deadline));
        }
    }

    fn fenced(&self, refusal: Refusal) -> Error {
        let error = match refusal {
            Refusal::Fenced => Error::Fenced("there is a newer producer with the same transactional id".to_owned()),
            Refusal::Busy => return Error::Retry("the transaction before is not over".to_owned()),
            Refusal::WrongState => Error::ProducerLost("the transaction is in another state".to_owned()),
        };
        self.sim.lock().producers[self.index].fatal = Some(error.clone());
        error
    }

    fn end(&self, name: &'static str, outcome: Outcome, timeout: Duration) -> Result<()> {
        let index = self.index;
        let exchange = self.exchange(name, timeout, |world| {
            let producer = &world.producers[index];
            let (id, epoch) = (producer.id.clone(), producer.epoch);
            let open = world.broker.ids.get(&id).and_then(|entry| entry.transaction);
            let open = open.filter(|number| world.broker.transactions[number].outcome == Outcome::Open);
            let number = world.producers[index].number.or(open);
            Some(world.end_producer_transaction(&id, epoch, number, outcome))
        })?;
        match exchange {
            Exchange::Answered(Ok(())) => {
                let mut world = self.sim.lock();
                let producer = &mut world.producers[index];
                (producer.is_begun, producer.number) = (false, None);
                Ok(())
            }
            Exchange::Answered(Err(refusal)) => Err(self.fenced(refusal)),
            Exchange::TimedOut => Err(Error::Retry(format!("{name}: timed out"))),
        }
    }
}

impl Producer for SimulatedProducer {
    fn init(&mut self, timeout: Duration) -> Result<()> {
        let index = self.index;
        let exchange = self.exchange("init", timeout, |world| {
            let id = world.producers[index].id.clone();
            match world.init_producer(&id) {
                Err(Refusal::Busy) => None,
                answer => Some(answer),
            }
        })?;
        match exchange {
            Exchange::Answered(Ok(epoch)) => {
                self.sim.lock().producers[index].epoch = epoch;
                Ok(())
            }
            Exchange::Answered(Err(refusal)) => Err(self.fenced(refusal)),
            Exchange::TimedOut => Err(Error::Retry("init: timed out".to_owned())),
        }
    }

    fn begin(&mut self) -> Result<()> {
        let mut world = self.sim.lock();
        let producer = &mut world.producers[self.index];
        if let Some(fatal) = producer.fatal.clone() {
            return Err(fatal);
        }
        if producer.is_begun {
            world.fail("a transaction was begun before the last one was ended");
            return Ok(());
        }
        producer.is_begun = true;
        producer.begun += 1;
        producer.number = None;
        producer.in_flight = 0;
        producer.failures.clear();
        producer.last.clear();
        Ok(())
    }

    fn send(&mut self, out: &OutRecord<'_>) -> Result<bool> {
        let mut world = self.sim.lock();
        if out.record.timestamp_ms < 1 {
            world.fail("a record was sent with time 0, which librdkafka takes for now");
        }
        let known = world.broker.counts.get(&**out.topic).copied().unwrap_or(0);
        if out.partition >= known {
            world.fail(format!("a record was sent to {}-{}, of {known} partitions", out.topic, out.partition));
        }
        let producer = &mut world.producers[self.index];
        if let Some(fatal) = producer.fatal.clone() {
            return Err(fatal);
        }
        if !producer.is_begun {
            world.fail("a record was sent outside of a transaction");
            return Ok(true);
        }
        if producer.queue.len() >= QUEUE {
            return Ok(false);
        }
        let at = TopicPartition::new(out.topic.clone(), out.partition);
        producer.queue.push_back((at, Arc::new(StoredRecord::of(&out.record)), out.token));
        producer.in_flight += 1;
        world.schedule_flush(self.index);
        Ok(true)
    }

    fn poll(&mut self, timeout: Duration) {
        if timeout > Duration::ZERO {
            let until = self.sim.now() + timeout;
            self.sim.wait(until);
        }
    }

    fn in_flight(&self) -> usize {
        self.sim.lock().producers[self.index].in_flight
    }

    fn in_flight_bytes(&self) -> usize {
        let world = self.sim.lock();
        world.producers[self.index].queue.iter().map(|(_, record, _)| record.byte_len()).sum()
    }

    fn take_failure(&mut self) -> Option<DeliveryFailure> {
        self.sim.lock().producers[self.index].failures.pop_front()
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<Offset> {
        self.sim.lock().producers[self.index].last.get(partition).map(|last| offset(*last))
    }

    fn track(&mut self, topics: &[Arc<str>]) {
        self.sim.lock().producers[self.index].tracked = topics.to_vec();
    }

    fn send_offsets(&mut self, offsets: &[OffsetCommit], group: &GroupMetadata, timeout: Duration) -> Result<()> {
        let index = self.index;
        let exchange = self.exchange("send_offsets", timeout, |world| {
            if world.now < world.broker.group_coordinator_away_until {
                return None;
            }
            let producer = &world.producers[index];
            let (id, epoch) = (producer.id.clone(), producer.epoch);
            // A commit with no member at all is not checked by the broker.
            if group.generation >= 0 || !group.member_id.is_empty() {
                match world.group.admits(&group.member_id, group.generation) {
                    Ok(()) => {}
                    Err(Heartbeat::Unknown) => return Some(Err(Error::Migrated("unknown member".to_owned()))),
                    Err(Heartbeat::Fenced) => return Some(Err(Error::Migrated("fenced static member".to_owned()))),
                    Err(_) => return Some(Err(Error::Aborted("the generation is not the last one".to_owned()))),
                }
            }
            let commits = offsets.iter().map(|commit| {
                let committed = Committed { offset: commit.offset, metadata: commit.metadata.clone() };
                (commit.partition.clone(), committed)
            });
            match world.broker.add_offsets(&id, epoch, commits, world.now) {
                Ok(()) => {
                    world.producers[index].number = world.broker.ids[&id].transaction;
                    Some(Ok(()))
                }
                Err(Refusal::Busy) => None,
                Err(_) => {
                    let error = Error::Fenced("the producer's epoch is not the last one".to_owned());
                    world.producers[index].fatal = Some(error.clone());
                    Some(Err(error))
                }
            }
        })?;
        match exchange {
            Exchange::Answered(answer) => answer,
            Exchange::TimedOut => Err(Error::Retry("send_offsets: timed out".to_owned())),
        }
    }

    fn commit(&mut self, timeout: Duration) -> Result<()> {
        {
            let mut world = self.sim.lock();
            let producer = &world.producers[self.index];
            if producer.in_flight > 0 || !producer.failures.is_empty() {
                world.fail("a transaction was committed before all its records were delivered");
            }
        }
        self.end("commit", Outcome::Committed, timeout)
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        {
            let mut world = self.sim.lock();
            let producer = &mut world.producers[self.index];
            producer.in_flight = producer.in_flight.saturating_sub(producer.queue.len());
            producer.queue.clear();
        }
        // What is on its way is waited for.
        let (index, until) = (self.index, self.sim.now() + timeout);
        let arrived = self.sim.wait_for(until, |world| world.producers[index].busy.is_empty().then_some(()));
        if arrived.is_none() {
            return Err(Error::Retry("abort: timed out".to_owned()));
        }
        self.end("abort", Outcome::Aborted, timeout)
    }

    fn fatal_error(&self) -> Option<Error> {
        self.sim.lock().producers[self.index].fatal.clone()
    }
}
