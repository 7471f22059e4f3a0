//! The record collector of a stream thread: sends outputs and changelog records in its transaction,
//! and remembers the source record of each output (Kafka Streams' `RecordCollectorImpl`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};
use crate::planted::PlantedBug;
use crate::ports::{BatchLimit, Clock, DeliveryFailure, OutRecord, Producer};
use crate::record::{Record, TaskId};
use crate::task::{RecordCollector, Sent};

/// Identifies an output by task, source offset and ordinal. Processing the record again makes the
/// same output again. One of a slice of work, which may be cut otherwise the next time, goes by its
/// digest instead of an offset.
type OutputId = (TaskId, i64, u32);

/// An output that was sent.
struct SentOutput {
    output: OutputId,
    /// Bytes of its key and value.
    bytes: usize,
}

/// The token of changelog records, which stand in no journal.
const CHANGELOG: u64 = u64::MAX;

/// How long a full queue is drained before the next try.
const DRAIN: Duration = Duration::from_millis(5);

/// Sends the outputs of a thread in its transaction.
pub(super) struct TransactionalRecordCollector {
    pub producer: Option<Box<dyn Producer>>,
    /// Batch size of the producer.
    pub batches: BatchLimit,
    clock: Arc<dyn Clock>,
    /// For how long a full queue is drained.
    delivery_timeout: Duration,
    /// The outputs of this transaction, by token.
    sent_outputs: Vec<SentOutput>,
    current: OutputId,
    /// Whether the outputs come of no record.
    is_background: bool,
    /// Dead letters of the record at hand, which are counted apart: a refused output brings one
    /// more of them when it comes again.
    dead_letters: u32,
    /// Outputs that the broker refused, with its reason; when they come again they are not sent.
    refused: BTreeMap<OutputId, String>,
}

impl TransactionalRecordCollector {
    pub fn new(clock: Arc<dyn Clock>, delivery_timeout: Duration) -> TransactionalRecordCollector {
        let current = (TaskId { subtopology: 0, partition: 0 }, 0, 0);
        TransactionalRecordCollector {
            producer: None,
            batches: BatchLimit::Bytes(BatchLimit::DEFAULT_BYTES),
            clock,
            delivery_timeout,
            sent_outputs: Vec::new(),
            current,
            is_background: false,
            dead_letters: 0,
            refused: BTreeMap::new(),
        }
    }

    /// The producer, which has not failed for good.
    pub fn producer(&mut self) -> Result<&mut dyn Producer> {
        match &mut self.producer {
            None => Err(Error::ProducerLost("there is no producer".to_owned())),
            Some(producer) => match producer.fatal_error() {
                Some(error) => Err(error),
                None => Ok(producer.as_mut()),
            },
        }
    }

    /// Cause of an error of the transaction or the producer: the failure of a delivery where it
    /// says more than the error.
    pub fn cause_of(&mut self, error: Error) -> Error {
        if !matches!(error, Error::Aborted(_) | Error::ProducerLost(_) | Error::Fenced(_)) {
            return error;
        }
        match self.serve(Duration::ZERO) {
            Err(found) if rank(&found) > rank(&error) => found,
            _ => error,
        }
    }

    /// Begins a transaction.
    pub fn begin_transaction(&mut self) -> Result<()> {
        self.sent_outputs.clear();
        self.producer()?.begin()
    }

    /// Forgets refusals below a task's committed offset, and of its work: those outputs do not come
    /// again.
    pub fn forget_refusals(&mut self, task: TaskId, committed: i64) {
        if !self.refused.is_empty() {
            let comes_again = |offset: i64, number: u32| number & BACKGROUND == 0 && offset >= committed;
            self.refused.retain(|(of, offset, number), _| *of != task || comes_again(*offset, *number));
        }
    }

    /// Serves deliveries without waiting.
    ///
    /// # Errors
    /// A delivery failed, so the transaction must be aborted.
    pub fn serve(&mut self, wait: Duration) -> Result<()> {
        let Some(producer) = &mut self.producer else { return Ok(()) };
        producer.poll(wait);
        self.check_deliveries()
    }

    /// Looks at all deliveries that have failed so far, and says what is to be done first.
    fn check_deliveries(&mut self) -> Result<()> {
        let mut worst: Option<Error> = None;
        while let Some(failure) = self.producer.as_mut().and_then(|producer| producer.take_failure()) {
            let error = self.classify(failure);
            if worst.as_ref().is_none_or(|known| rank(&error) > rank(known)) {
                worst = Some(error);
            }
        }
        if PlantedBug::FailedDeliveryIgnored.is_planted() {
            return Ok(());
        }
        worst.map_or(Ok(()), Err)
    }

    /// Forgets the failures of a transaction that is aborted: each told later would have the tasks
    /// read again once more, and a consumer that is sent back at each turn never gets to reading.
    pub fn forget_failures(&mut self) {
        while self.producer.as_mut().and_then(|producer| producer.take_failure()).is_some() {}
    }

    /// Handles a failed delivery. A record that would be refused again is noted, so that it goes to
    /// the dead letters when it comes again. A batch that is too large says so of each record in
    /// it; that is true of a record only if it was alone in its batch.
    fn classify(&mut self, failure: DeliveryFailure) -> Error {
        let sent = self.sent_outputs.get(failure.token as usize);
        let (why, is_too_large) = match failure.error {
            Error::Record(why) | Error::RecordTime(why) => (why, false),
            Error::BatchTooLarge(why) if self.batches.is_alone(sent.map_or(0, |entry| entry.bytes)) => (why, true),
            other => return other,
        };
        let Some(entry) = sent else {
            let settings =
                if is_too_large { "raise its max.message.bytes and segment.bytes" } else { "correct its settings" };
            return Error::Fatal(format!("a changelog topic refuses a record: {why}; {settings} [HS1025]"));
        };
        let error = Error::Aborted(format!("a record was refused: {why}"));
        if !PlantedBug::RefusedRecordSentAgain.is_planted() {
            self.refused.insert(entry.output, why);
        }
        error
    }

    /// Waits until every record was delivered.
    ///
    /// # Errors
    /// As for [`TransactionalRecordCollector::serve`], or it takes too long.
    pub fn drain(&mut self) -> Result<()> {
        let deadline = self.clock.monotonic() + self.delivery_timeout;
        while self.producer()?.in_flight() > 0 {
            self.producer()?.drain(DRAIN);
            self.check_deliveries()?;
            if self.clock.monotonic() > deadline {
                return Err(Error::Aborted("records were not delivered in time".to_owned()));
            }
        }
        self.serve(Duration::ZERO)
    }

    /// Bytes on their way.
    pub fn in_flight_bytes(&self) -> usize {
        self.producer.as_ref().map_or(0, |producer| producer.in_flight_bytes())
    }

    /// Sends a changelog record.
    pub fn send_change(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<()> {
        match self.enqueue(&OutRecord { topic, partition, record: *record, token: CHANGELOG })? {
            Sent::Queued => Ok(()),
            Sent::Refused(why) => Err(Error::Fatal(format!(
                "changelog topic `{topic}` refuses a record: {why}; raise its max.message.bytes and segment.bytes [HS1025]"
            ))),
        }
    }

    /// A full queue is answered by draining, never by dropping.
    fn enqueue(&mut self, record: &OutRecord<'_>) -> Result<Sent> {
        let mut deadline = None;
        loop {
            let Some(producer) = &mut self.producer else {
                return Err(Error::ProducerLost("there is no producer".to_owned()));
            };
            match producer.send(record) {
                Ok(true) => return Ok(Sent::Queued),
                Err(Error::Record(why)) => return Ok(Sent::Refused(why)),
                Err(Error::Retry(why)) => return Err(Error::Aborted(why)),
                Err(error) => return Err(error),
                Ok(false) if PlantedBug::FullQueueDrops.is_planted() => return Ok(Sent::Queued),
                Ok(false) => {}
            }
            self.producer()?.drain(DRAIN);
            self.check_deliveries()?;
            let now = self.clock.monotonic();
            if now > *deadline.get_or_insert(now + self.delivery_timeout) {
                return Err(Error::Aborted("the producer's queue stays full".to_owned()));
            }
        }
    }
}

/// Of several errors at once, the one of the highest rank is recovered from: its recovery covers
/// the others'.
fn rank(error: &Error) -> u8 {
    match error {
        Error::Fatal(_) | Error::Bug(_) => 4,
        // A refused batch breaks the sequence of those behind it, and the client may fail for good
        // over that.
        Error::BatchTooLarge(_) => 3,
        Error::ProducerLost(_) | Error::Fenced(_) => 2,
        Error::Migrated(_) | Error::ConsumerLost(_) => 1,
        _ => 0,
    }
}

/// Set in the number of a dead letter.
const DEAD_LETTER: u32 = 1 << 31;
/// Set in the number of an output of a slice of work.
const BACKGROUND: u32 = 1 << 30;

/// Identity of an output of a background step, by which it is recognised when it comes again.
fn digest(topic: &str, record: &Record<'_>) -> i64 {
    let parts = [Some(topic.as_bytes()), record.key, record.value];
    parts.into_iter().flatten().fold(0, |seed, part| xxh3_64_with_seed(part, seed)) as i64
}

impl RecordCollector for TransactionalRecordCollector {
    fn begin(&mut self, task: TaskId, offset: i64) {
        self.current = (task, offset, 0);
        self.is_background = false;
        self.dead_letters = 0;
    }

    fn begin_background_step(&mut self, task: TaskId) {
        self.current = (task, 0, 0);
        self.is_background = true;
    }

    fn send(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        if self.is_background {
            let output = (self.current.0, digest(topic, record), BACKGROUND);
            return self.send_as(output, topic, partition, record);
        }
        self.current.2 += 1;
        self.send_as(self.current, topic, partition, record)
    }

    fn dead_letter(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        if self.is_background {
            let output = (self.current.0, digest(topic, record), DEAD_LETTER | BACKGROUND);
            return self.send_as(output, topic, partition, record);
        }
        if PlantedBug::DeadLetterDropped.is_planted() {
            return Ok(Sent::Queued);
        }
        self.dead_letters += 1;
        let (task, offset, _) = self.current;
        self.send_as((task, offset, DEAD_LETTER | self.dead_letters), topic, partition, record)
    }
}

impl TransactionalRecordCollector {
    fn send_as(&mut self, output: OutputId, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        if !self.refused.is_empty()
            && let Some(why) = self.refused.get(&output)
        {
            if PlantedBug::RefusedRecordDropped.is_planted() {
                return Ok(Sent::Queued);
            }
            return Ok(Sent::Refused(why.clone()));
        }
        let token = self.sent_outputs.len() as u64;
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        self.sent_outputs.push(SentOutput { output, bytes });
        self.enqueue(&OutRecord { topic, partition, record: *record, token })
    }
}
