//! Batches of a simulated producer on their way: made of what is queued, appended at the leader of
//! their partition, refused, lost, sent again, acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::broker::{Entry, Refusal, StoredRecord};
use super::faults::Fault;
use super::producer_state::Batch;
use super::world::{Timer, World};
use crate::error::Error;
use crate::ports::{BatchLimit, DeliveryFailure};
use crate::record::TopicPartition;

/// Why the broker refuses a record.
pub(super) const REFUSAL: &str = "its timestamp is out of range";
/// For how long a batch is sent again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

impl World {
    /// Makes batches of what is queued, one of each partition that has none on its way.
    pub fn flush_producer(&mut self, index: usize) {
        let producer = &mut self.producers[index];
        producer.flush_set = false;
        if producer.is_dropped || producer.fatal.is_some() || !self.processes[producer.process].is_alive {
            return;
        }
        if self.now < self.processes[producer.process].frozen_until {
            producer.flush_set = true;
            self.set_timer(Duration::from_millis(50), Timer::Flush(index));
            return;
        }
        let mut batches: Vec<Batch> = Vec::new();
        let mut left = VecDeque::new();
        while let Some((partition, record, token)) = producer.queue.pop_front() {
            let open = batches.iter_mut().find(|batch| batch.partition == partition);
            let fits = |batch: &Batch| match producer.batches {
                BatchLimit::OneRecord => false,
                BatchLimit::Bytes(limit) => {
                    batch.records.iter().map(|r| r.byte_len()).sum::<usize>() + record.byte_len() <= limit
                }
            };
            match open {
                Some(batch) if fits(batch) && !left.iter().any(|(other, _, _)| *other == partition) => {
                    batch.records.push(record);
                    batch.tokens.push(token);
                }
                None if !producer.busy.contains(&partition)
                    && !left.iter().any(|(other, _, _): &(TopicPartition, _, _)| *other == partition) =>
                {
                    batches.push(Batch {
                        producer: index,
                        epoch: producer.epoch,
                        transaction: producer.begun,
                        partition,
                        records: vec![record],
                        tokens: vec![token],
                        sent_at: self.now,
                        appended: None,
                    });
                }
                _ => left.push_back((partition, record, token)),
            }
        }
        producer.queue = left;
        producer.busy.extend(batches.iter().map(|batch| batch.partition.clone()));
        for batch in batches {
            let slow = self.strikes(Fault::SlowBatch, "produce");
            let most = if slow { Duration::from_secs(12) } else { Duration::from_millis(3) };
            let after = self.random_time(most);
            self.set_timer(after, Timer::Arrive(batch));
        }
    }

    pub fn schedule_flush(&mut self, index: usize) {
        if !self.producers[index].flush_set {
            self.producers[index].flush_set = true;
            let after = self.random_time(Duration::from_millis(2));
            self.set_timer(after, Timer::Flush(index));
        }
    }

    /// A batch arrives at the leader of its partition.
    pub fn arrive(&mut self, mut batch: Batch) {
        let process = self.producers[batch.producer].process;
        let is_alive = self.processes[process].is_alive;
        // What a dead process has sent arrives at most once.
        let away = self.broker.partition(&batch.partition).map_or(Duration::ZERO, |log| log.away_until);
        let is_cut = is_alive && !self.is_connected(process);
        let is_lost = is_alive && self.strikes(Fault::RequestLost, "produce");
        if self.now < away || is_cut || is_lost {
            if is_alive {
                self.send_again(batch);
            }
            return;
        }
        if is_alive && batch.records.len() > 1 && self.strikes(Fault::BatchTooLarge, "produce") {
            let error = Error::BatchTooLarge("message too large".to_owned());
            self.producers[batch.producer].fail(&batch, &error);
            self.changed();
            return;
        }
        if is_alive && self.refuses(&batch) {
            return;
        }
        let offset = match batch.appended {
            Some(offset) => offset,
            None => {
                let id = self.producers[batch.producer].id.clone();
                match self.broker.append(&id, batch.epoch, &batch.partition, &batch.records, self.now) {
                    Ok((number, offset)) => {
                        let producer = &mut self.producers[batch.producer];
                        if batch.transaction == producer.begun {
                            producer.number = Some(number);
                        }
                        let partition = &batch.partition;
                        self.trace(|_| {
                            let records: Vec<String> = batch.records.iter().map(|record| record.to_string()).collect();
                            format!(
                                "broker: {id}, transaction {number}, at {partition} offset {offset}: {}",
                                records.join(", ")
                            )
                        });
                        self.changed();
                        offset
                    }
                    Err(Refusal::Busy) => return self.send_again(batch),
                    Err(Refusal::Fenced | Refusal::WrongState) => {
                        let error = Error::Fenced("the producer's epoch is not the last one".to_owned());
                        let producer = &mut self.producers[batch.producer];
                        producer.fail(&batch, &error);
                        producer.fatal.get_or_insert(error);
                        self.changed();
                        return;
                    }
                }
            }
        };
        batch.appended = Some(offset);
        if is_alive && self.strikes(Fault::ReplyLost, "produce") {
            return self.send_again(batch);
        }
        let after = self.random_time(Duration::from_millis(3));
        self.set_timer(after, Timer::Acknowledge(batch, Some(offset)));
    }

    /// Whether the broker refuses a record of the batch, by what stands in it, so that it is
    /// refused again whenever it comes again. The batch fails, and the records at fault are named
    /// (KIP-467).
    fn refuses(&mut self, batch: &Batch) -> bool {
        let topic = &*batch.partition.topic;
        let may_refuse = self.sinks.iter().any(|sink| sink == topic) && self.dead_letters.as_deref() != Some(topic);
        if !may_refuse || batch.appended.is_some() {
            return false;
        }
        // Refusal lies in the record: one that was accepted before, from another process, is
        // accepted.
        let log = self.broker.partition(&batch.partition);
        let was_accepted = log.is_some_and(|log| {
            log.entries.iter().any(|entry| matches!(entry, Entry::Record(record, _) if *record == batch.records[0]))
        });
        if !was_accepted && self.strikes(Fault::RecordRefused, "produce") {
            self.refused.insert((batch.partition.clone(), batch.records[0].clone()));
        }
        let is_refused = |record: &Arc<StoredRecord>| self.refused.contains(&(batch.partition.clone(), record.clone()));
        let refused: Vec<bool> = batch.records.iter().map(is_refused).collect();
        if !refused.contains(&true) {
            return false;
        }
        let producer = &mut self.producers[batch.producer];
        if batch.transaction == producer.begun {
            for (token, is_refused) in batch.tokens.iter().zip(refused) {
                let error = match is_refused {
                    true => Error::Record(REFUSAL.to_owned()),
                    false => Error::Aborted("it was part of a batch with an invalid record".to_owned()),
                };
                producer.failures.push_back(DeliveryFailure { token: *token, error });
            }
        }
        producer.settle(batch);
        self.changed();
        true
    }

    fn send_again(&mut self, batch: Batch) {
        if self.now > batch.sent_at + DELIVERY_TIMEOUT {
            let error = Error::Aborted("message timed out".to_owned());
            self.producers[batch.producer].fail(&batch, &error);
            self.changed();
            return;
        }
        let after = Duration::from_millis(20) + self.random_time(Duration::from_millis(200));
        self.set_timer(after, Timer::Arrive(batch));
    }

    /// The producer hears that a batch has arrived.
    pub fn acknowledge(&mut self, batch: &Batch, offset: Option<i64>) {
        let producer = &mut self.producers[batch.producer];
        if let Some(offset) = offset
            && batch.transaction == producer.begun
            && producer.tracked.contains(&batch.partition.topic)
        {
            let last = offset + batch.records.len() as i64 - 1;
            producer.last.insert(batch.partition.clone(), last);
        }
        producer.settle(batch);
        if !producer.queue.is_empty() {
            self.schedule_flush(batch.producer);
        }
        self.changed();
    }
}
