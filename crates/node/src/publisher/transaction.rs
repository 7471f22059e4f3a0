//! One transaction: events, sync requests and the node's record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use streams::error::{Error, Result};
use streams::ports::{BatchLimit, DeliveryFailure, OutRecord, Producer};
use streams::record::{Headers, Record};
use streams::task::partition_for;

use super::record_times::RecordTimes;
use super::sending_order::sending_order;
use crate::ports::{OutboxEvent, SyncRequest};

/// The token of the node's record; that of an event or a sync request is its index, requests after
/// events.
const NODE_RECORD: u64 = u64::MAX - 1;

/// The wait for one more delivery.
const DRAIN: Duration = Duration::from_millis(100);

/// A topic and how many partitions it has.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub topic: Arc<str>,
    pub partitions: i32,
}

/// How a transaction ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was committed.
    Committed,
    /// All has arrived, and it is to be aborted, since the times of its records were only tried.
    Tried,
    /// It was aborted, since the brokers refuse these events or sync requests and would refuse them
    /// again: the index and the reason of each, requests after events.
    Refused(Vec<(usize, String)>),
}

/// The records of a transaction, and where they go.
pub(super) struct Transaction<'t> {
    pub events: &'t [OutboxEvent],
    /// Sync requests, which go to the topic of events behind these.
    pub requests: &'t [SyncRequest],
    pub events_target: &'t Target,
    /// The times of its records.
    pub times: RecordTimes,
    /// The machine's time, in milliseconds since 1970.
    pub now_ms: i64,
    /// The node's record: key, value and time in milliseconds.
    pub record: (&'t [u8], &'t [u8], i64),
    pub record_target: &'t Target,
    pub batches: BatchLimit,
    /// The longest wait for deliveries, for the commit and for an abort.
    pub limit: Duration,
    /// Called at each step where there are events.
    pub observe_step: fn(&'static str),
}

impl Transaction<'_> {
    /// Sends all, and commits where all has arrived.
    ///
    /// # Errors
    /// By remedy. After an error of `commit` the outcome may be unknown.
    pub fn run(&self, producer: &mut dyn Producer) -> Result<Outcome> {
        if let Some(error) = producer.fatal_error() {
            return Err(error);
        }
        // Where another process has taken the transactional id, it may be told to the deliveries
        // alone, which fail as those of any producer that has failed for good.
        self.try_run(producer).map_err(|error| match producer.fatal_error() {
            Some(fenced @ Error::Fenced(_)) => fenced,
            _ => error,
        })
    }

    fn try_run(&self, producer: &mut dyn Producer) -> Result<Outcome> {
        producer.begin()?;
        self.reach("publish.begun");
        let refused = self.send_all(producer)?;
        if refused.is_empty() {
            self.reach("publish.sent");
            if !self.is_heartbeat() && !self.times.are_final() {
                return Ok(Outcome::Tried);
            }
            self.commit(producer)?;
            self.reach("publish.committed");
            return Ok(Outcome::Committed);
        }
        Ok(Outcome::Refused(refused))
    }

    /// A transaction that is a heartbeat has no steps.
    fn reach(&self, step: &'static str) {
        if !self.events.is_empty() {
            (self.observe_step)(step);
        }
    }

    /// Whether there is the node's record alone.
    pub fn is_heartbeat(&self) -> bool {
        self.events.is_empty() && self.requests.is_empty()
    }

    /// Aborts a transaction whose events were refused, after they were marked, or whose times were
    /// tried.
    ///
    /// # Errors
    /// By remedy: a new producer ends the transaction as well.
    pub fn abort(&self, producer: &mut dyn Producer) -> Result<()> {
        producer.abort(self.limit)
    }

    fn send_all(&self, producer: &mut dyn Producer) -> Result<Vec<(usize, String)>> {
        let deadline = Instant::now() + self.limit;
        let mut refused = Vec::new();
        let events = sending_order(self.events).into_iter().map(|sent| {
            let event = &self.events[sent.index];
            (sent.index, sent.key, &event.value, event.timestamp_ms)
        });
        let requests = self.requests.iter().enumerate().map(|(at, request)| {
            (self.events.len() + at, request.event_id.as_str(), &request.value, request.timestamp_ms)
        });
        for (index, key, value, timestamp_ms) in events.chain(requests) {
            let record = Record {
                key: Some(key.as_bytes()),
                value: Some(value),
                headers: Headers::NONE,
                timestamp_ms: self.times.of(timestamp_ms, self.now_ms),
            };
            match self.send(producer, self.events_target, record, index as u64, deadline) {
                Err(Error::Record(why)) => refused.push((index, why)),
                other => other?,
            }
        }
        let (key, value, timestamp_ms) = self.record;
        let timestamp_ms = self.times.of(timestamp_ms, self.now_ms);
        let record = Record { key: Some(key), value: Some(value), headers: Headers::NONE, timestamp_ms };
        self.send(producer, self.record_target, record, NODE_RECORD, deadline).map_err(record_refused)?;
        while producer.in_flight() > 0 {
            producer.drain(DRAIN);
            self.take_failures(producer, &mut refused)?;
            if Instant::now() > deadline {
                return Err(Error::Aborted(
                    "the records of a transaction were not delivered in time [HS8020]".to_owned(),
                ));
            }
        }
        self.take_failures(producer, &mut refused)?;
        Ok(refused)
    }

    /// Bytes of an event or a sync request, by its index; 0 behind the last.
    fn bytes(&self, index: usize) -> usize {
        match (self.events.get(index), index.checked_sub(self.events.len())) {
            (Some(event), _) => event.value.len() + event.memory_id.len(),
            (None, at) => at
                .and_then(|at| self.requests.get(at))
                .map_or(0, |request| request.value.len() + request.event_id.len()),
        }
    }

    /// A full queue is answered by waiting for deliveries.
    fn send(
        &self,
        producer: &mut dyn Producer,
        target: &Target,
        record: Record<'_>,
        token: u64,
        deadline: Instant,
    ) -> Result<()> {
        let partition = partition_for(record.key, 0, target.partitions);
        let record = OutRecord { topic: &target.topic, partition, record, token };
        while !producer.send(&record)? {
            producer.drain(DRAIN);
            if Instant::now() > deadline {
                return Err(Error::Aborted(
                    "the records of a transaction were not delivered in time [HS8020]".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// Sorts the failed deliveries: records that are refused for themselves, and the error that
    /// says the most of the rest. Where records were refused, the rest failed with them.
    fn take_failures(&self, producer: &mut dyn Producer, refused: &mut Vec<(usize, String)>) -> Result<()> {
        let mut worst: Option<Error> = None;
        while let Some(DeliveryFailure { token, error }) = producer.take_failure() {
            let sent = self.events.len() + self.requests.len();
            let index = usize::try_from(token).ok().filter(|index| *index < sent);
            let bytes = index.map_or(0, |index| self.bytes(index));
            let error = match (error, index) {
                (Error::Record(why), Some(index)) => {
                    refused.push((index, why));
                    continue;
                }
                (Error::BatchTooLarge(why), Some(index)) if self.batches.is_alone(bytes) => {
                    refused.push((index, why));
                    continue;
                }
                (error, Some(_)) => error,
                (Error::BatchTooLarge(why), None)
                    if token == NODE_RECORD && self.batches.is_alone(self.record.1.len()) =>
                {
                    record_refused(Error::Record(why))
                }
                (error, None) => record_refused(error),
            };
            if worst.as_ref().is_none_or(|known| rank(&error) > rank(known)) {
                worst = Some(error);
            }
        }
        match worst {
            Some(Error::Aborted(_)) if !refused.is_empty() => Ok(()),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Commits; the same call is made again where its answer says so.
    fn commit(&self, producer: &mut dyn Producer) -> Result<()> {
        let deadline = Instant::now() + self.limit;
        loop {
            match producer.commit(self.limit) {
                Err(Error::Retry(_)) if Instant::now() < deadline => {}
                other => return other,
            }
        }
    }
}

/// A refusal of the node's own record is no event's fault.
fn record_refused(error: Error) -> Error {
    match error {
        Error::Record(why) => Error::Fatal(format!(
            "the brokers refuse the record of this node on the nodes topic: {why}; raise the topic's max.message.bytes, or correct its other \
             settings [HS8025]"
        )),
        other => other,
    }
}

/// The error that comes first of several of one transaction.
fn rank(error: &Error) -> u8 {
    match error {
        Error::Aborted(_) => 0,
        Error::RecordTime(_) => 1,
        Error::BatchTooLarge(_) => 2,
        Error::ProducerLost(_) => 3,
        Error::Fenced(_) => 4,
        _ => 5,
    }
}
