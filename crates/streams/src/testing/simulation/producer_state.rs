//! The state of a simulated producer, as its client library keeps it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::broker::StoredRecord;
use super::process_state::ProcessId;
use crate::error::Error;
use crate::ports::{BatchLimit, DeliveryFailure};
use crate::record::TopicPartition;

/// A batch on its way to a partition.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub producer: usize,
    pub epoch: u64,
    /// Which of the producer's transactions it belongs to, counted by the producer.
    pub transaction: u64,
    pub partition: TopicPartition,
    pub records: Vec<Arc<StoredRecord>>,
    pub tokens: Vec<u64>,
    pub sent_at: Duration,
    /// The broker has it, and only the reply was lost.
    pub appended: Option<i64>,
}

/// A producer, as its client library keeps it.
#[derive(Debug)]
pub(super) struct ProducerClient {
    pub process: ProcessId,
    pub id: String,
    pub epoch: u64,
    pub is_begun: bool,
    /// Transactions begun so far.
    pub begun: u64,
    /// The broker's number of the transaction, once it has a record or an offset of it.
    pub number: Option<u64>,
    pub batches: BatchLimit,
    pub queue: VecDeque<(TopicPartition, Arc<StoredRecord>, u64)>,
    pub in_flight: usize,
    /// Partitions that have a batch on its way: there is one at a time.
    pub busy: Vec<TopicPartition>,
    pub failures: VecDeque<DeliveryFailure>,
    pub last: BTreeMap<TopicPartition, i64>,
    pub tracked: Vec<Arc<str>>,
    pub fatal: Option<Error>,
    pub flush_set: bool,
    pub is_dropped: bool,
}

impl ProducerClient {
    pub fn fail(&mut self, batch: &Batch, error: &Error) {
        if batch.transaction == self.begun {
            for token in &batch.tokens {
                self.failures.push_back(DeliveryFailure { token: *token, error: error.clone() });
            }
        }
        self.settle(batch);
    }

    pub fn settle(&mut self, batch: &Batch) {
        self.busy.retain(|partition| *partition != batch.partition);
        if batch.transaction == self.begun {
            self.in_flight = self.in_flight.saturating_sub(batch.records.len());
        }
    }
}
