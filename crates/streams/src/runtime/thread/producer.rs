//! The producer of a stream thread, in whichever state it is, and what outlives a lost one: the
//! refused outputs, the size of batches, and how often producers were lost lately.

use std::sync::Arc;
use std::time::Duration;

use super::super::backoff::Reminder;
use super::super::config::transactional_id;
use super::super::instance::Instance;
use super::refused_outputs::{OutputId, RefusedOutputs, rank};
use super::transaction::{IdleProducer, OpenTransaction, TransactionalClient};
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::planted::PlantedBug;
use crate::ports::{BatchLimit, GroupMetadata, OffsetCommit, OutRecord, ProducerFactory};
use crate::record::{Record, TaskId, TopicPartition};
use crate::task::Sent;

/// How long a full queue is drained before the next try.
const DRAIN: Duration = Duration::from_millis(5);
/// How long an initialisation of a producer waits at a time; polls come between.
const INIT_WAIT: Duration = Duration::from_secs(1);
/// How long it waits before a producer that could not be made is tried again.
const CREATE_WAIT: Duration = Duration::from_secs(1);
/// Losses of a producer are counted over this time.
const LOSS_WINDOW: Duration = Duration::from_secs(60);

/// The state of the producer.
enum ProducerState {
    /// There is none.
    Absent,
    /// It ends its predecessor's transaction.
    Initialising(TransactionalClient),
    /// No transaction is open.
    Idle(IdleProducer),
    /// A transaction is open.
    InTransaction(OpenTransaction),
}

impl ProducerState {
    fn client_mut(&mut self) -> Option<&mut TransactionalClient> {
        match self {
            ProducerState::Absent => None,
            ProducerState::Initialising(client) | ProducerState::Idle(IdleProducer(client)) => Some(client),
            ProducerState::InTransaction(transaction) => Some(&mut transaction.client),
        }
    }

    fn client(&self) -> Option<&TransactionalClient> {
        match self {
            ProducerState::Absent => None,
            ProducerState::Initialising(client) | ProducerState::Idle(IdleProducer(client)) => Some(client),
            ProducerState::InTransaction(transaction) => Some(&transaction.client),
        }
    }
}

/// The producer of a stream thread.
pub(super) struct ThreadProducer {
    instance: Arc<Instance>,
    thread: usize,
    factory: Box<dyn ProducerFactory>,
    /// [`Instance::renewals`] before the clients were made.
    renewal: u64,
    state: ProducerState,
    /// Batch size of the producer.
    batches: BatchLimit,
    refused: RefusedOutputs,
    /// No producer is made before.
    retry_at: Duration,
    /// When it was last logged that no producer can be made.
    creation_failure: Reminder,
    /// When producers were lost lately.
    losses: Vec<Duration>,
}

impl ThreadProducer {
    /// None yet; `factory` makes it.
    pub fn new(
        instance: &Arc<Instance>,
        thread: usize,
        renewal: u64,
        factory: Box<dyn ProducerFactory>,
    ) -> ThreadProducer {
        ThreadProducer {
            instance: instance.clone(),
            thread,
            factory,
            renewal,
            state: ProducerState::Absent,
            batches: BatchLimit::Bytes(BatchLimit::DEFAULT_BYTES),
            refused: RefusedOutputs::default(),
            retry_at: instance.now(),
            creation_failure: Reminder::default(),
            losses: Vec::new(),
        }
    }

    /// Whether it can make transactions.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, ProducerState::Idle(_) | ProducerState::InTransaction(_))
    }

    /// Whether a transaction is open.
    pub fn is_in_transaction(&self) -> bool {
        matches!(self.state, ProducerState::InTransaction(_))
    }

    /// Batch size of the producer.
    #[cfg(test)]
    pub fn batches(&self) -> BatchLimit {
        self.batches
    }

    /// Makes and initialises the producer, as far as one turn allows. No task is taken before: init
    /// ends the predecessor's transaction.
    ///
    /// # Errors
    /// By remedy. A producer that cannot be made or initialised just now is none: the next turn
    /// tries again.
    pub fn ensure(&mut self) -> Result<()> {
        if self.is_ready() || self.instance.now() < self.retry_at {
            return Ok(());
        }
        if matches!(self.state, ProducerState::Absent) {
            let batches = self.instance.batches();
            match self.factory.create(batches) {
                Ok(producer) => {
                    self.batches = batches;
                    self.state =
                        ProducerState::Initialising(TransactionalClient { producer, sent_outputs: Vec::new() });
                }
                Err(Error::Retry(what)) => {
                    self.log_creation_failure(&what);
                    return Ok(());
                }
                Err(error) => return Err(as_lost(error)),
            }
        }
        match self.initialise() {
            Err(Error::Retry(what)) => {
                tracing::debug!("the producer is not initialised yet: {what}");
                Ok(())
            }
            other => other.map_err(as_lost),
        }
    }

    fn initialise(&mut self) -> Result<()> {
        let ProducerState::Initialising(client) = &mut self.state else { return Ok(()) };
        if !PlantedBug::NoInit.is_planted() {
            client.producer.init(INIT_WAIT)?;
        }
        let stores = self.instance.plans.iter().flat_map(|plan| &plan.stores);
        let changelogs: Vec<Arc<str>> = stores.map(|store| store.changelog.clone()).collect();
        client.producer.track(&changelogs);
        if let ProducerState::Initialising(client) = std::mem::replace(&mut self.state, ProducerState::Absent) {
            self.state = ProducerState::Idle(IdleProducer(client));
        }
        Ok(())
    }

    /// A producer cannot be made: a file that it is made of cannot be used just now. Logged at
    /// first and once a minute.
    fn log_creation_failure(&mut self, what: &str) {
        let now = self.instance.now();
        self.retry_at = now + CREATE_WAIT;
        if self.creation_failure.is_due(now) {
            tracing::warn!(
                code = "HS2062",
                thread = self.thread,
                "the Kafka producer of this stream thread cannot be created; the thread waits and retries every second, and nothing is lost: {what}"
            );
        }
    }

    /// Begins a transaction, unless one is open.
    ///
    /// # Errors
    /// By remedy.
    pub fn begin_transaction(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, ProducerState::Absent) {
            ProducerState::Idle(idle) => match idle.begin(self.renewal) {
                Ok(transaction) => {
                    self.state = ProducerState::InTransaction(transaction);
                    self.instance.thread_metrics(self.thread).begun(self.instance.now());
                    Ok(())
                }
                Err((idle, error)) => {
                    self.state = ProducerState::Idle(idle);
                    Err(error)
                }
            },
            ProducerState::InTransaction(transaction) => {
                self.state = ProducerState::InTransaction(transaction);
                Ok(())
            }
            not_ready => {
                self.state = not_ready;
                Err(no_producer())
            }
        }
    }

    fn transaction(&mut self) -> Result<&mut OpenTransaction> {
        match &mut self.state {
            ProducerState::InTransaction(transaction) => Ok(transaction),
            ProducerState::Idle(_) => Err(Error::Bug("a record is sent with no transaction open".to_owned())),
            ProducerState::Absent | ProducerState::Initialising(_) => Err(no_producer()),
        }
    }

    /// Sends an output, unless it was refused before. A full queue is answered by draining, never
    /// by dropping.
    ///
    /// # Errors
    /// By remedy.
    pub fn send(&mut self, output: OutputId, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<Sent> {
        if let Some(why) = self.refused.reason(&output) {
            if PlantedBug::RefusedRecordDropped.is_planted() {
                return Ok(Sent::Queued);
            }
            return Ok(Sent::Refused(why.to_owned()));
        }
        let record = OutRecord { topic, partition, record: *record, token: 0 };
        self.enqueue(|transaction| transaction.send(output, &record))
    }

    /// Sends a changelog record.
    ///
    /// # Errors
    /// By remedy; [`Error::Fatal`] where the topic refuses it.
    pub fn send_change(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<()> {
        let record = OutRecord { topic, partition, record: *record, token: 0 };
        match self.enqueue(|transaction| transaction.send_change(&record))? {
            Sent::Queued => Ok(()),
            Sent::Refused(why) => Err(Error::Fatal(format!(
                "changelog topic `{topic}` refuses a record: {why}; raise its max.message.bytes and segment.bytes [HS1025]"
            ))),
        }
    }

    fn enqueue(&mut self, mut send: impl FnMut(&mut OpenTransaction) -> Result<bool>) -> Result<Sent> {
        let mut deadline = None;
        loop {
            match send(self.transaction()?) {
                Ok(true) => return Ok(Sent::Queued),
                Err(Error::Record(why)) => return Ok(Sent::Refused(why)),
                Err(Error::Retry(why)) => return Err(Error::Aborted(why)),
                Err(error) => return Err(error),
                Ok(false) if PlantedBug::FullQueueDrops.is_planted() => return Ok(Sent::Queued),
                Ok(false) => {}
            }
            self.transaction()?.client.alive()?.drain(DRAIN);
            self.check_deliveries()?;
            let now = self.instance.now();
            if now > *deadline.get_or_insert(now + self.instance.config.task_timeout) {
                return Err(Error::Aborted("the producer's queue stays full".to_owned()));
            }
        }
    }

    /// Serves deliveries, waiting for one so long at most.
    ///
    /// # Errors
    /// A delivery failed, so the transaction must be aborted.
    pub fn serve(&mut self, wait: Duration) -> Result<()> {
        let Some(client) = self.state.client_mut() else { return Ok(()) };
        client.producer.poll(wait);
        self.check_deliveries()
    }

    /// Looks at all deliveries that have failed so far, and says what is to be done first.
    fn check_deliveries(&mut self) -> Result<()> {
        let Some(client) = self.state.client_mut() else { return Ok(()) };
        let mut worst: Option<Error> = None;
        while let Some(failure) = client.producer.take_failure() {
            let error = self.refused.classify(failure, &client.sent_outputs, self.batches);
            if worst.as_ref().is_none_or(|known| rank(&error) > rank(known)) {
                worst = Some(error);
            }
        }
        if PlantedBug::FailedDeliveryIgnored.is_planted() {
            return Ok(());
        }
        worst.map_or(Ok(()), Err)
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

    /// Waits until every record was delivered.
    ///
    /// # Errors
    /// As for [`ThreadProducer::serve`], or it takes too long.
    pub fn drain(&mut self) -> Result<()> {
        let deadline = self.instance.now() + self.instance.config.task_timeout;
        loop {
            let producer = self.transaction()?.client.alive()?;
            if producer.in_flight() == 0 {
                return self.serve(Duration::ZERO);
            }
            producer.drain(DRAIN);
            self.check_deliveries()?;
            if self.instance.now() > deadline {
                return Err(Error::Aborted("records were not delivered in time".to_owned()));
            }
        }
    }

    /// Bytes on their way.
    pub fn in_flight_bytes(&self) -> usize {
        self.state.client().map_or(0, |client| client.producer.in_flight_bytes())
    }

    /// The offset of the last record delivered to a changelog partition in this transaction.
    pub fn last_offset(&self, changelog: &TopicPartition) -> Option<Offset> {
        self.state.client()?.producer.last_offset(changelog)
    }

    /// Adds the group's offsets to the transaction.
    ///
    /// # Errors
    /// By remedy.
    pub fn send_offsets(&mut self, offsets: &[OffsetCommit], group: &GroupMetadata) -> Result<()> {
        let instance = self.instance.clone();
        let timeout = instance.config.call_timeout;
        self.transaction()?.send_offsets(&instance, offsets, group, timeout)
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// By remedy; the transaction stays open for it.
    pub fn commit(&mut self) -> Result<()> {
        let timeout = self.instance.config.call_timeout;
        self.end(|transaction, instance| match transaction.commit(instance, timeout) {
            Err((transaction, Error::ProducerLost(what))) if PlantedBug::UnknownOutcomeIsAborted.is_planted() => {
                (ProducerState::Idle(IdleProducer(transaction.client)), Err(Error::Aborted(what)))
            }
            Err((transaction, error)) => (ProducerState::InTransaction(transaction), Err(error)),
            Ok(idle) => (ProducerState::Idle(idle), Ok(())),
        })
    }

    /// Aborts the transaction.
    ///
    /// # Errors
    /// By remedy; the transaction stays open for it.
    pub fn abort(&mut self) -> Result<()> {
        let timeout = self.instance.config.call_timeout;
        self.end(|transaction, instance| match transaction.abort(instance, timeout) {
            Err((transaction, error)) => (ProducerState::InTransaction(transaction), Err(error)),
            Ok(idle) => (ProducerState::Idle(idle), Ok(())),
        })
    }

    fn end(&mut self, end: impl FnOnce(OpenTransaction, &Instance) -> (ProducerState, Result<()>)) -> Result<()> {
        match std::mem::replace(&mut self.state, ProducerState::Absent) {
            ProducerState::InTransaction(transaction) => {
                let (state, result) = end(transaction, &self.instance);
                self.state = state;
                result
            }
            other => {
                self.state = other;
                Err(no_producer())
            }
        }
    }

    /// Ends what is open at the end of the thread, without a retry: the broker ends the rest at the
    /// transaction timeout.
    pub fn close(&mut self) {
        let timeout = self.instance.config.call_timeout;
        self.state = match std::mem::replace(&mut self.state, ProducerState::Absent) {
            ProducerState::InTransaction(OpenTransaction { mut client, .. }) => {
                if let Ok(producer) = client.alive()
                    && let Err(error) = producer.abort(timeout)
                {
                    tracing::debug!(
                        "could not abort the last transaction, which the broker ends at its timeout: {error}"
                    );
                }
                ProducerState::Idle(IdleProducer(client))
            }
            other => other,
        };
    }

    /// The task has committed up to an offset: refusals below do not come again.
    pub fn forget_refusals(&mut self, task: TaskId, committed: Offset) {
        self.refused.forget_committed(task, committed);
    }

    /// How many producers were lost lately.
    pub fn losses(&self) -> usize {
        let now = self.instance.now();
        self.losses.iter().filter(|at| now.saturating_sub(**at) < LOSS_WINDOW).count()
    }

    /// Drops a producer that is lost. A new one, whose first act ends the transaction of this one,
    /// is made after a wait.
    pub fn replace(&mut self, what: &str, wait: Duration, is_reported: bool, is_fenced: bool) {
        let now = self.instance.now();
        self.losses.retain(|at| now.saturating_sub(*at) < LOSS_WINDOW);
        self.losses.push(now);
        let metrics = self.instance.thread_metrics(self.thread);
        metrics.producer_lost();
        metrics.set_back(what);
        let config = &self.instance.config;
        let id = transactional_id(&config.application_id, &config.instance_id, self.thread);
        if is_reported {
            let advice = match is_fenced {
                true => {
                    ". Either another process uses this transactional id (was the state directory copied?), or transactions take longer than transaction_timeout"
                }
                false => "",
            };
            tracing::error!(
                code = "HS1003",
                "the transactional producer `{id}` was lost {} times within a minute, the last time because of this: {what}{advice}",
                self.losses.len()
            );
        } else {
            tracing::info!("the producer `{id}` is replaced by a new one: {what}");
        }
        self.drop_until(now + wait);
    }

    /// Drops the producer, since a topic takes smaller batches than it sent: a new one sends the
    /// records again, in batches of half the size. A record that is refused in a batch of its own
    /// is a dead letter, so this comes to an end.
    pub fn replace_with_smaller_batches(&mut self, what: &str) {
        let refused = self.batches;
        let batches = self.instance.lower_batches(refused);
        self.instance.metrics().add_refused_batch();
        tracing::warn!(
            code = "HS1004",
            thread = self.thread,
            "a batch of records was refused for its size ({what}); its records are sent again, and from now on batches have {batches} (before: {refused}). \
             Nothing is lost, but small batches are slow: raise max.message.bytes and segment.bytes of that topic and start again"
        );
        self.drop_until(self.instance.now());
    }

    fn drop_until(&mut self, retry_at: Duration) {
        self.retry_at = retry_at;
        self.state = ProducerState::Absent;
    }
}

fn no_producer() -> Error {
    Error::ProducerLost("there is no producer".to_owned())
}

/// An error of a producer that is being made is the loss of it.
fn as_lost(error: Error) -> Error {
    match error {
        fatal if fatal.is_fatal() => fatal,
        Error::Fenced(what) => Error::Fenced(what),
        error => Error::ProducerLost(error.to_string()),
    }
}
