//! The transactional producer of a stream thread, or of another program with a transactional id of
//! its own.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SendError, channel};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;

use super::allowed::narrowed;
use super::consumer::GroupHandle;
use super::delivery::Delivery;
use super::error::{Call, Failure};
use super::list::List;
use super::native::{ClientKind, Native};
use super::send::{Outcome, Sender};
use super::settings::KafkaSettings;
use streams::error::{Error, Result};
use streams::offset::Offset;
use streams::ports::rights::{Operation, Right};
use streams::ports::{BatchLimit, DeliveryFailure, GroupMetadata, OffsetCommit, OutRecord, Producer, ProducerFactory};
use streams::record::TopicPartition;

/// Makes the producer of one transactional id, as often as it is lost.
pub struct TransactionalProducers {
    settings: KafkaSettings,
    transactional_id: String,
    is_outdated: IsOutdated,
}

/// Says whether a producer is to be replaced, since what it was made with has changed: the brokers
/// may not let it in any more.
pub type IsOutdated = Arc<dyn Fn() -> bool + Send + Sync>;

impl TransactionalProducers {
    /// For the stream thread number `thread`.
    pub fn new(settings: &KafkaSettings, thread: usize) -> TransactionalProducers {
        TransactionalProducers::with_id(settings, settings.transactional_id(thread))
    }

    /// For a transactional id that is no stream thread's. It begins with the application's id and a
    /// `-`, which is the prefix that the ACL on transactional ids covers.
    pub fn with_id(settings: &KafkaSettings, transactional_id: String) -> TransactionalProducers {
        TransactionalProducers { settings: settings.clone(), transactional_id, is_outdated: Arc::new(|| false) }
    }

    /// The same, whose producers are given up in the midst of a call where this says that they are
    /// to be replaced.
    pub fn replaced_when(self, is_outdated: IsOutdated) -> TransactionalProducers {
        TransactionalProducers { is_outdated, ..self }
    }
}

impl ProducerFactory for TransactionalProducers {
    fn create(&mut self, batches: BatchLimit) -> Result<Box<dyn Producer>> {
        let mut producer = TransactionalProducer::new(&self.settings, &self.transactional_id, batches)?;
        producer.is_outdated = self.is_outdated.clone();
        Ok(Box::new(producer))
    }
}

/// A transactional producer over librdkafka.
struct TransactionalProducer {
    sender: Sender,
    /// Base of group and transactional ids.
    application_id: String,
    transaction_timeout: Duration,
    deliveries: Vec<Delivery>,
    failures: VecDeque<DeliveryFailure>,
    tracked: Vec<Arc<str>>,
    /// The offset of the last delivered record of each tracked partition of this transaction, by
    /// topic handle and partition; `None` where no broker has told it.
    last: Vec<(usize, i32, Option<Offset>)>,
    /// Whether a transaction was begun and neither its commit nor its abort was tried.
    is_in_transaction: bool,
    is_outdated: IsOutdated,
}

/// How often a call that is under way is asked after.
const LOOK: Duration = Duration::from_millis(50);

/// An error of librdkafka on its way between threads.
struct CallError(*mut sys::rd_kafka_error_t);

// SAFETY: owned by whoever holds it, and used by one thread at a time.
unsafe impl Send for CallError {}

fn millis(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX)
}

impl TransactionalProducer {
    fn new(settings: &KafkaSettings, id: &str, batches: BatchLimit) -> Result<TransactionalProducer> {
        let client = Arc::new(Native::new(ClientKind::Producer, &settings.transactional(id, batches))?);
        Ok(TransactionalProducer {
            sender: Sender::new(client),
            application_id: settings.application_id.clone(),
            transaction_timeout: settings.transaction_timeout,
            deliveries: Vec::new(),
            failures: VecDeque::new(),
            tracked: Vec::new(),
            last: Vec::new(),
            is_in_transaction: false,
            is_outdated: Arc::new(|| false),
        })
    }

    fn client(&self) -> &Native {
        self.sender.client()
    }

    /// librdkafka waits for ever in some transactional calls once it has failed for good
    /// (librdkafka#4420), so each asks first.
    fn alive(&self, doing: &str) -> Result<()> {
        match self.client().fatal_error() {
            Some(failure) => {
                Err(failure.taking([Right::transactions_of(&self.application_id)]).remedy_of_dead_producer(doing))
            }
            None => Ok(()),
        }
    }

    fn transactional(&self, doing: &str, error: *mut sys::rd_kafka_error_t) -> Result<()> {
        self.transactional_with(&[], doing, error)
    }

    /// As [`Self::transactional`], of a call that commits the offsets of these topics. A refusal
    /// may concern any part of the transaction, and librdkafka does not tell which, so the brokers
    /// are asked.
    fn transactional_with(&self, read: &[&str], doing: &str, error: *mut sys::rd_kafka_error_t) -> Result<()> {
        let Some(failure) = Failure::from_error(error) else { return Ok(()) };
        Err(self.explained(failure, read).remedy(Call::Transaction, doing))
    }

    /// Makes a transactional call that may last for `timeout`. librdkafka keeps to that limit in
    /// its own waits, but a request to a broker which it cannot reach may last for
    /// socket.timeout.ms and longer. In rd_kafka_send_offsets_to_transaction it may never end: once
    /// the group's coordinator has refused a request (it has just moved, say), librdkafka asks for
    /// the new one when a connection to some broker next changes, and sets itself no limit
    /// (rd_kafka_coord_req_fsm of 2.12.1). So a producer is not waited for past `timeout` where it
    /// is to be replaced, and never past the transaction's own timeout besides, after which the
    /// broker has ended the transaction: it is left to the thread that makes the call, and its
    /// successor's first act ends what it left.
    fn limited(
        &self,
        doing: &str,
        timeout: Duration,
        call: impl FnOnce(*mut sys::rd_kafka_t) -> CallError + Send + 'static,
    ) -> Result<*mut sys::rd_kafka_error_t> {
        let (client, (done, answer)) = (self.sender.shared(), channel());
        let body = move || {
            let error = call(client.as_ptr());
            // Before who waits goes on, so that the client is dropped there, unless nobody waits
            // any more.
            drop(client);
            if let Err(SendError(CallError(error))) = done.send(error) {
                drop(Failure::from_error(error));
            }
        };
        let started = Instant::now();
        let limit = || if (self.is_outdated)() { timeout } else { timeout + self.transaction_timeout };
        let thread = std::thread::Builder::new().name("kafka-commit".to_owned()).spawn(body);
        thread.map_err(|error| {
            Error::Retry(format!("{doing}: the operating system started no thread: {error} [HS0008]"))
        })?;
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(CallError(error)) => return Ok(error),
                Err(RecvTimeoutError::Timeout) if started.elapsed() > limit() => {
                    let waited = started.elapsed().as_secs();
                    return Err(Error::ProducerLost(format!("{doing}: no answer for {waited} s")));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::ProducerLost(format!("{doing}: the call ended without an answer")));
                }
            }
        }
    }

    fn explained(&self, failure: Failure, read: &[&str]) -> Failure {
        if !failure.is_refusal() {
            return failure;
        }
        let own = [Right::transactions_of(&self.application_id), Right::group(&self.application_id)];
        let written = self.sender.topic_names().map(|topic| Right::topic(Operation::Write, topic));
        let read = read.iter().map(|topic| Right::topic(Operation::Read, topic));
        narrowed(self.client(), failure.taking(own.into_iter().chain(written).chain(read)))
    }

    /// Asks librdkafka whether the brokers refused to add a partition to the transaction, and
    /// returns the error with the missing right.
    ///
    /// librdkafka reports the reason only in answer to a transactional call. The call that begins a
    /// transaction changes nothing while one is under way, so it is asked by that call. Until the
    /// refusal arrives, librdkafka keeps the records of the partition; after it, librdkafka purges
    /// them, and each delivery fails with "purged in queue", which does not name the reason. So the
    /// question is asked while records are in flight, and also when a delivery has failed: the
    /// client is in the failed state before it purges.
    ///
    /// Unlike the other transactional calls this one does not ask for a fatal error first. In
    /// librdkafka 2.12.1 a client that has failed for good answers it at once
    /// (`rd_kafka_txn_op_begin_transaction` answers in every state; a test holds this), and
    /// librdkafka#4420 was about an error that comes up during the call, which no question before
    /// it prevents. The question would also hide the refusal: one that fails the transaction can be
    /// followed by a fatal error that only says that the client could not get a new epoch, and
    /// begin still answers with the first of the two.
    fn refusal(&self) -> Option<Error> {
        // Outside of a transaction the call would begin one.
        if !self.is_in_transaction {
            return None;
        }
        // SAFETY: a live client.
        let failure = Failure::from_error(unsafe { sys::rd_kafka_begin_transaction(self.client().as_ptr()) })?;
        let is_refusal = failure.requires_abort && failure.is_refusal();
        is_refusal.then(|| self.explained(failure, &[]).remedy(Call::Transaction, "add partitions to the transaction"))
    }

    /// Puts a refusal before the failed deliveries, which are its consequences.
    fn put_refusal_first(&mut self) {
        if let Some(error) = self.refusal() {
            // Of no record alone.
            self.failures.push_front(DeliveryFailure { token: u64::MAX, error });
        }
    }

    /// Sorts the deliveries that the last poll brought.
    fn sort_deliveries(&mut self) {
        let mut deliveries = std::mem::take(&mut self.deliveries);
        self.client().take_deliveries(&mut deliveries);
        for delivery in deliveries.drain(..) {
            self.sender.remove_in_flight(&delivery);
            match Failure::of_number(delivery.error, None) {
                Some(failure) => self.failures.push_back(DeliveryFailure {
                    token: delivery.token as u64,
                    error: failure.delivery(self.sender.topic_name(delivery.topic as usize)),
                }),
                None => self.record_delivery(&delivery),
            }
        }
        self.deliveries = deliveries;
    }

    fn record_delivery(&mut self, delivery: &Delivery) {
        let place = (delivery.topic as usize, delivery.partition);
        // A broker that finds a batch sent again to be a duplicate need not know any more where the
        // first one lies (DUPLICATE_SEQUENCE_NUMBER): it is delivered, and the offset is negative.
        let offset = Offset::new(delivery.offset);
        if let Some(last) = self.last.iter_mut().find(|(topic, partition, _)| (*topic, *partition) == place) {
            last.2 = offset;
        } else if self.tracked.iter().any(|topic| **topic == *self.sender.topic_name(place.0)) {
            self.last.push((place.0, place.1, offset));
        }
    }

    fn forget_transaction(&mut self) {
        self.sort_deliveries();
        self.failures.clear();
        self.last.clear();
    }
}

impl Producer for TransactionalProducer {
    fn init(&mut self, timeout: Duration) -> Result<()> {
        self.alive("start the producer")?;
        // SAFETY: a live client.
        let error = unsafe { sys::rd_kafka_init_transactions(self.client().as_ptr(), millis(timeout)) };
        self.transactional("start the producer", error)
    }

    fn begin(&mut self) -> Result<()> {
        self.forget_transaction();
        self.alive("begin a transaction")?;
        // SAFETY: a live client.
        let error = unsafe { sys::rd_kafka_begin_transaction(self.client().as_ptr()) };
        self.transactional("begin a transaction", error)?;
        self.is_in_transaction = true;
        Ok(())
    }

    fn send(&mut self, record: &OutRecord<'_>) -> Result<bool> {
        match self.sender.send(record.topic, record.partition, &record.record, record.token as usize) {
            Ok(Outcome::Queued) => Ok(true),
            Ok(Outcome::Full) => Ok(false),
            Err(error @ Error::Record(_)) => Err(error),
            // Nothing can be sent in a transaction that has failed; why it has, is said elsewhere.
            Err(error) => Err(self.refusal().unwrap_or(error)),
        }
    }

    fn poll(&mut self, timeout: Duration) {
        // SAFETY: a live client; the callbacks that run inside only fill the mailbox.
        unsafe { sys::rd_kafka_poll(self.client().as_ptr(), millis(timeout)) };
        self.sort_deliveries();
        if !self.failures.is_empty() {
            self.put_refusal_first();
        }
    }

    fn drain(&mut self, timeout: Duration) {
        // SAFETY: as for poll, which this calls; meanwhile the sending threads do not linger.
        // Whether all is delivered is asked by `in_flight`.
        unsafe { sys::rd_kafka_flush(self.client().as_ptr(), millis(timeout)) };
        self.sort_deliveries();
        if self.sender.in_flight() > 0 || !self.failures.is_empty() {
            self.put_refusal_first();
        }
    }

    fn in_flight(&self) -> usize {
        self.sender.in_flight()
    }

    fn in_flight_bytes(&self) -> usize {
        self.sender.in_flight_bytes()
    }

    fn take_failure(&mut self) -> Option<DeliveryFailure> {
        self.failures.pop_front()
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<Offset> {
        let handle = self.sender.topic_handle(&partition.topic)?;
        let place = (handle, partition.partition);
        self.last.iter().find(|(topic, partition, _)| (*topic, *partition) == place).and_then(|(_, _, offset)| *offset)
    }

    fn track(&mut self, topics: &[Arc<str>]) {
        for topic in topics {
            if !self.tracked.contains(topic) {
                self.tracked.push(topic.clone());
            }
        }
    }

    fn send_offsets(&mut self, offsets: &[OffsetCommit], group: &GroupMetadata, timeout: Duration) -> Result<()> {
        let doing = "commit offsets in the transaction";
        self.alive(doing)?;
        let Ok(handle) = group.handle.clone().downcast::<GroupHandle>() else {
            return Err(Error::Migrated(format!("{doing}: the membership is not one of this client")));
        };
        if group.generation < 0 || group.member_id.is_empty() {
            return Err(Error::Migrated(format!("{doing}: no member of the group (the broker would not fence this)")));
        }
        let mut list = List::new(offsets.len());
        for commit in offsets {
            list.add(&commit.partition.topic, commit.partition.partition, commit.offset.number(), &commit.metadata);
        }
        let error = self.limited(doing, timeout, move |client| {
            let list = list.as_ptr();
            let group = handle.as_ptr();
            let limit = millis(timeout);
            // SAFETY: a live client, list and metadata object.
            CallError(unsafe { sys::rd_kafka_send_offsets_to_transaction(client, list, group, limit) })
        })?;
        let topics: Vec<&str> = offsets.iter().map(|commit| &*commit.partition.topic).collect();
        self.transactional_with(&topics, doing, error)
    }

    fn commit(&mut self, timeout: Duration) -> Result<()> {
        self.alive("commit")?;
        self.is_in_transaction = false;
        let error = self.limited("commit", timeout, move |client| {
            // SAFETY: a live client.
            CallError(unsafe { sys::rd_kafka_commit_transaction(client, millis(timeout)) })
        })?;
        self.sort_deliveries();
        self.transactional("commit", error)
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        self.alive("abort")?;
        self.is_in_transaction = false;
        let error = self.limited("abort", timeout, move |client| {
            // SAFETY: a live client.
            CallError(unsafe { sys::rd_kafka_abort_transaction(client, millis(timeout)) })
        })?;
        self.sort_deliveries();
        self.transactional("abort", error)
    }

    fn fatal_error(&self) -> Option<Error> {
        let failure = self.client().fatal_error()?.taking([Right::transactions_of(&self.application_id)]);
        Some(failure.remedy_of_dead_producer("the client failed for good"))
    }
}

#[cfg(test)]
mod tests;
