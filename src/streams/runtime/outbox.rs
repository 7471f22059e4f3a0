//! A thread's outputs on their way into its transaction, and the memory of which source record each came from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::streams::error::{Error, Result};
use crate::streams::ports::{Clock, OutRecord, Producer};
use crate::streams::record::{Record, TaskId};
use crate::streams::task::{Collector, Sent};

/// An output: the how-manieth of which record of which task. Processing the record again makes the same output again. One of a slice of work, which
/// may be cut otherwise the next time, goes by its digest instead of an offset.
type Output = (TaskId, i64, u32);

/// The token of changelog records, which stand in no journal.
const CHANGELOG: u64 = u64::MAX;

/// How long a full queue is drained before the next try.
const DRAIN: Duration = Duration::from_millis(5);

/// Sends a thread's outputs.
pub(super) struct Outbox {
    pub producer: Option<Box<dyn Producer>>,
    clock: Arc<dyn Clock>,
    /// For how long a full queue is drained.
    patience: Duration,
    /// The outputs of this transaction, by token.
    journal: Vec<Output>,
    current: Output,
    /// Whether the outputs come of no record.
    is_work: bool,
    /// Dead letters of the record at hand, which are counted apart: a refused output brings one more of them when it comes again.
    dead_letters: u32,
    /// Outputs that the broker refused, with its reason; when they come again they are not sent.
    refused: BTreeMap<Output, String>,
}

impl Outbox {
    pub fn new(clock: Arc<dyn Clock>, patience: Duration) -> Outbox {
        let current = (TaskId { subtopology: 0, partition: 0 }, 0, 0);
        Outbox {
            producer: None,
            clock,
            patience,
            journal: Vec::new(),
            current,
            is_work: false,
            dead_letters: 0,
            refused: BTreeMap::new(),
        }
    }

    /// The producer, which has not failed for good.
    pub fn producer(&mut self) -> Result<&mut dyn Producer> {
        match &mut self.producer {
            None => Err(Error::ProducerLost("there is no producer".to_owned())),
            Some(producer) => match producer.fatal_error() {
                Some(what) => Err(Error::ProducerLost(what)),
                None => Ok(producer.as_mut()),
            },
        }
    }

    /// Begins a transaction.
    pub fn begin_transaction(&mut self) -> Result<()> {
        self.journal.clear();
        self.producer()?.begin()
    }

    /// Forgets refusals below a task's committed offset, and of its work: those outputs do not come again.
    pub fn settle(&mut self, task: TaskId, committed: i64) {
        if !self.refused.is_empty() {
            let comes_again = |offset: i64, number: u32| number & WORK == 0 && offset >= committed;
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

    fn check_deliveries(&mut self) -> Result<()> {
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let Some(failure) = producer.take_failure() else { return Ok(()) };
        match failure.error {
            Error::Record(why) => Err(self.refuse(failure.token, why)),
            error => Err(error),
        }
    }

    /// Forgets the failures of a transaction that is aborted: each told later would have the tasks read again once more, and a consumer that is sent back at
    /// each turn never gets to reading.
    pub fn forget_failures(&mut self) {
        while self.producer.as_mut().and_then(|producer| producer.take_failure()).is_some() {}
    }

    /// Notes which outputs were refused (all that are known by now), so that they go to the dead letters when they come again.
    fn refuse(&mut self, token: u64, why: String) -> Error {
        let mut next = Some((token, why.clone()));
        while let Some((token, why)) = next {
            match self.journal.get(token as usize) {
                Some(output) => {
                    self.refused.insert(*output, why);
                }
                None => {
                    return Error::Fatal(format!(
                        "the broker refuses a changelog record: {why}; correct the settings of the changelog topic"
                    ));
                }
            }
            let failure = self.producer.as_mut().and_then(|producer| producer.take_failure());
            next = failure.and_then(|failure| match failure.error {
                Error::Record(why) => Some((failure.token, why)),
                _ => None,
            });
        }
        Error::Aborted(format!("a record was refused: {why}"))
    }

    /// Waits until every record was delivered.
    ///
    /// # Errors
    /// As for [`Outbox::serve`], or it takes too long.
    pub fn drain(&mut self) -> Result<()> {
        let deadline = self.clock.monotonic() + self.patience;
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
        match self.queue(&OutRecord { topic, partition, record: *record, token: CHANGELOG })? {
            Sent::Queued => Ok(()),
            Sent::Refused(why) => Err(Error::Fatal(format!(
                "changelog `{topic}` cannot take a record: {why}; raise its max.message.bytes"
            ))),
        }
    }

    /// A full queue is answered by draining, never by dropping.
    fn queue(&mut self, record: &OutRecord<'_>) -> Result<Sent> {
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
                Ok(false) => {}
            }
            self.producer()?.drain(DRAIN);
            self.check_deliveries()?;
            let now = self.clock.monotonic();
            if now > *deadline.get_or_insert(now + self.patience) {
                return Err(Error::Aborted("the producer's queue stays full".to_owned()));
            }
        }
    }
}

/// Set in the number of a dead letter.
const DEAD_LETTER: u32 = 1 << 31;
/// Set in the number of an output of a slice of work.
const WORK: u32 = 1 << 30;

/// What an output of a slice of work is known by when it comes again.
fn digest(topic: &str, record: &Record<'_>) -> i64 {
    let parts = [Some(topic.as_bytes()), record.key, record.value];
    parts.into_iter().flatten().fold(0, |seed, part| xxh3_64_with_seed(part, seed)) as i64
}

impl Collector for Outbox {
    fn begin(&mut self, task: TaskId, offset: i64) {
        self.current = (task, offset, 0);
        self.is_work = false;
        self.dead_letters = 0;
    }

    fn begin_work(&mut self, task: TaskId) {
        self.current = (task, 0, 0);
        self.is_work = true;
    }

    fn send(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        if self.is_work {
            let output = (self.current.0, digest(topic, record), WORK);
            return self.send_as(output, topic, partition, record);
        }
        self.current.2 += 1;
        self.send_as(self.current, topic, partition, record)
    }

    fn dead_letter(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        if self.is_work {
            let output = (self.current.0, digest(topic, record), DEAD_LETTER | WORK);
            return self.send_as(output, topic, partition, record);
        }
        self.dead_letters += 1;
        let (task, offset, _) = self.current;
        self.send_as((task, offset, DEAD_LETTER | self.dead_letters), topic, partition, record)
    }
}

impl Outbox {
    fn send_as(&mut self, output: Output, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        if !self.refused.is_empty()
            && let Some(why) = self.refused.get(&output)
        {
            return Ok(Sent::Refused(why.clone()));
        }
        let token = self.journal.len() as u64;
        self.journal.push(output);
        self.queue(&OutRecord { topic, partition, record: *record, token })
    }
}
