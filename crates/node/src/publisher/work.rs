//! The loop of sessions on the publisher's thread, and the answer to each way in which one ends.

use std::sync::Arc;
use std::time::Duration;

use streams::error::Error;
use streams::ports::BatchLimit;

use super::PublisherSettings;
use super::published_events::mark_published_elsewhere;
use super::reconciliation::{Finding, reconcile};
use super::session::{Opening, Session};
use super::status::SharedStatus;
use crate::back_off::BackOff;
use crate::kafka::Kafka;
use crate::ports::{Identity, Journal, JournalError, OutboxEvent, Publication};
use crate::registry::NodesTopic;
use crate::stop_signal::StopSignal;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest wait for deliveries, a commit, or one more record where a topic is read to its end.
const CALL: Duration = Duration::from_secs(20);
/// The least time for a call where the end is near.
const LEAST_CALL: Duration = Duration::from_millis(100);

/// The reason that is kept with a new incarnation after another process has taken the id.
const FENCED: &str =
    "another process with a copy of this folder has started, or a transaction has passed its time limit";

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The time to end in has passed.
    Stopped,
    /// A call to Kafka failed.
    Kafka(Error),
    /// The database could not be asked.
    Journal(JournalError),
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Interruption {
        Interruption::Kafka(error)
    }
}

impl From<JournalError> for Interruption {
    fn from(error: JournalError) -> Interruption {
        Interruption::Journal(error)
    }
}

/// The publisher on its thread.
pub(super) struct PublisherLoop {
    pub kafka: Kafka,
    pub nodes: Arc<NodesTopic>,
    pub journal: Arc<dyn Journal>,
    pub settings: PublisherSettings,
    pub stop: Arc<StopSignal>,
    status: Arc<SharedStatus>,
}

/// What is kept from one session to the next.
struct Course {
    batches: BatchLimit,
    back_off: BackOff,
    /// The actor whose producer was fenced: it is to be given up before the next session.
    fenced: bool,
    /// Transactions committed when the last session ended.
    transactions: u64,
}

impl PublisherLoop {
    pub fn new(
        kafka: Kafka,
        nodes: Arc<NodesTopic>,
        journal: Arc<dyn Journal>,
        settings: PublisherSettings,
        stop: Arc<StopSignal>,
        status: Arc<SharedStatus>,
    ) -> PublisherLoop {
        PublisherLoop { kafka, nodes, journal, settings, stop, status }
    }

    /// Runs until the end is requested, or the database cannot be used any more.
    pub fn run(self) {
        let mut course = Course {
            batches: DEFAULT_BATCHES,
            back_off: BackOff::new(FIRST_PAUSE, LONGEST_PAUSE),
            fenced: false,
            transactions: 0,
        };
        loop {
            let ended = if course.fenced { self.give_up_fenced(&mut course) } else { self.run_session(&mut course) };
            self.status.lock().is_connected = false;
            match ended {
                Ok(true) | Err(Interruption::Stopped | Interruption::Journal(JournalError::Stopped)) => return,
                Ok(false) => {}
                Err(Interruption::Journal(JournalError::Fatal(text))) => return self.end_for_good(&text),
                Err(Interruption::Journal(JournalError::Unavailable(text))) => self.pause(&mut course, &text),
                Err(Interruption::Kafka(error)) => self.recover(&mut course, error),
            }
            if self.stop.is_overdue() {
                return;
            }
        }
    }

    /// One session; true: it has ended in good order.
    fn run_session(&self, course: &mut Course) -> Result<bool, Interruption> {
        let identity = self.journal.identity()?;
        self.status.lock().actor = Some(identity.actor.clone());
        match self.open_session(identity.clone(), course.batches)? {
            Opening::Ready(mut session) => {
                session.publish(self)?;
                Ok(true)
            }
            Opening::Replace(session, reason) => {
                let published = session.published_counter();
                self.begin_incarnation(&identity, published, reason, Some(session))?;
                Ok(false)
            }
        }
    }

    /// Gives an incarnation up whose producer was fenced, without initialising it again. By then
    /// each of its transactions is decided, so the record says what was published.
    fn give_up_fenced(&self, course: &mut Course) -> Result<bool, Interruption> {
        let identity = self.journal.identity()?;
        let registered = self.nodes.read(self.limit(), &|| self.goes_on())?;
        let record = registered.of(&identity.actor)?.map(|node| &node.record);
        let published = match reconcile(&*self.journal, &identity, record)? {
            Finding::Continue(publication) => publication.counter,
            Finding::Replace(_) => record.map_or(0, |record| record.published.counter),
        };
        self.begin_incarnation(&identity, published, FENCED, None)?;
        course.fenced = false;
        Ok(false)
    }

    /// Begins a new incarnation, after all events are marked that were published under the old one,
    /// of which the last has the counter `published`.
    fn begin_incarnation(
        &self,
        old: &Identity,
        published: u64,
        reason: &str,
        session: Option<Session>,
    ) -> Result<(), Interruption> {
        mark_published_elsewhere(&self.kafka, &*self.journal, published, CALL, &|| self.goes_on())?;
        let new = self.retried(|| self.journal.begin_incarnation(reason))?;
        self.status.lock().incarnations += 1;
        tracing::warn!(
            code = "HS8021",
            old = %old.actor,
            new = %new.actor,
            "this node goes on as a new incarnation: {reason}. Events that were not published are written again under the new one"
        );
        if let Some(mut session) = session
            && let Err(failure) = session.write_replaced(self, new.actor)
        {
            // For readers of the nodes topic only: without it the old actor is shown as failed.
            tracing::debug!("the record that {} was replaced was not written: {failure:?}", old.actor);
        }
        Ok(())
    }

    fn recover(&self, course: &mut Course, error: Error) {
        match error {
            Error::Fenced(text) => {
                course.fenced = true;
                course.batches = DEFAULT_BATCHES;
                self.note_failure(&text);
            }
            Error::BatchTooLarge(_) => course.batches = course.batches.halved(),
            error => {
                course.batches = DEFAULT_BATCHES;
                self.pause(course, &error.to_string());
            }
        }
    }

    /// Waits after a failure, longer each time until something was published.
    fn pause(&self, course: &mut Course, text: &str) {
        let transactions = self.status.lock().transactions;
        if transactions > std::mem::replace(&mut course.transactions, transactions) {
            course.back_off.reset();
        }
        let pause = course.back_off.next_pause();
        // There is little time left for further tries.
        let pause = if self.stop.is_requested() { pause.min(FIRST_PAUSE) } else { pause };
        tracing::warn!(
            code = "HS8020",
            "events are not published for now, the next try is in {} ms: {text}. Writes are accepted meanwhile",
            pause.as_millis()
        );
        self.note_failure(text);
        self.stop.wait(pause);
    }

    fn end_for_good(&self, text: &str) {
        tracing::error!(code = "HS8026", "the publisher has ended, and no event is published any more: {text}");
        let mut status = self.status.lock();
        status.failures += 1;
        status.last_error = Some(text.to_owned());
    }

    pub fn note_failure(&self, text: &str) {
        let mut status = self.status.lock();
        status.failures += 1;
        status.is_connected = false;
        status.last_error = Some(text.to_owned());
    }

    pub fn note_commit(&self, events: u64, published: Publication, heartbeat_ms: i64) {
        let mut status = self.status.lock();
        status.is_connected = true;
        status.events += events;
        status.transactions += 1;
        status.published = Some(published);
        status.heartbeat_ms = Some(heartbeat_ms);
        status.last_error = None;
    }

    /// Marks an event that the brokers refuse.
    pub fn mark_refused(&self, event: &OutboxEvent, reason: &str) -> Result<(), Interruption> {
        self.retried(|| self.journal.mark_failed(event.counter, reason))?;
        self.status.lock().refused += 1;
        tracing::warn!(
            code = "HS8024",
            memory = %event.memory_id,
            counter = event.counter,
            "the brokers refuse an event of this node, which is shown as failed; the events after it are published: {reason}"
        );
        Ok(())
    }

    /// Makes a call to the database again while it cannot answer: after a commit there is no other
    /// way to go on.
    pub fn retried<T>(&self, mut call: impl FnMut() -> Result<T, JournalError>) -> Result<T, Interruption> {
        let mut back_off = BackOff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            match call() {
                Err(JournalError::Unavailable(text)) if !self.stop.is_overdue() => {
                    self.note_failure(&text);
                    self.stop.wait(back_off.next_pause());
                }
                other => return Ok(other?),
            }
        }
    }

    /// The longest time for a call to Kafka.
    pub fn limit(&self) -> Duration {
        self.stop.remaining().map_or(CALL, |left| left.clamp(LEAST_CALL, CALL))
    }

    pub fn goes_on(&self) -> bool {
        !self.stop.is_overdue()
    }
}

const DEFAULT_BATCHES: BatchLimit = BatchLimit::Bytes(BatchLimit::DEFAULT_BYTES);
