//! The loop of sessions on the publisher's thread, and the answer to each way in which one ends.

use streams::error::Error;
use streams::ports::BatchLimit;

use super::context::{CALL, FIRST_PAUSE, LONGEST_PAUSE, PublisherContext};
use super::fencer::{OwnRecords, wait_for_fencer};
use super::interruption::Interruption;
use super::published_events::mark_published_elsewhere;
use super::reconciliation::{ReconciliationOutcome, reconcile};
use super::record_times::RecordTimes;
use super::session::{Opening, Session, open_session};
use crate::back_off::BackOff;
use crate::ports::{Identity, JournalError};

/// The reason that is kept with a new incarnation after another process has taken the id.
const FENCED: &str =
    "another process with a copy of this folder has started, or a transaction has passed its time limit";

const DEFAULT_BATCHES: BatchLimit = BatchLimit::Bytes(BatchLimit::DEFAULT_BYTES);

/// Runs until the end is requested, or the database cannot be used any more.
pub(super) fn run(context: &PublisherContext) {
    let back_off = BackOff::new(FIRST_PAUSE, LONGEST_PAUSE);
    PublisherLoop {
        context,
        batches: DEFAULT_BATCHES,
        times: RecordTimes::default(),
        back_off,
        own_records: OwnRecords::default(),
        is_fenced: false,
        transactions: 0,
    }
    .run();
}

/// The loop, with the state that is kept from one session to the next.
struct PublisherLoop<'c> {
    context: &'c PublisherContext,
    batches: BatchLimit,
    /// The times of records, as the sessions have found them.
    times: RecordTimes,
    back_off: BackOff,
    /// The records of the last session's actor that are not those of another process.
    own_records: OwnRecords,
    /// Whether the producer of the present incarnation was fenced, which is to be given up then.
    is_fenced: bool,
    /// Transactions committed when the last session ended.
    transactions: u64,
}

impl PublisherLoop<'_> {
    fn run(mut self) {
        loop {
            let ended = if self.is_fenced { self.give_up_fenced() } else { self.run_session() };
            self.context.status.lock().is_connected = false;
            match ended {
                Ok(true) | Err(Interruption::Stopped | Interruption::Journal(JournalError::Stopped)) => return,
                Ok(false) => {}
                Err(Interruption::Journal(JournalError::Fatal(text))) => return self.end_for_good(&text),
                Err(Interruption::Journal(JournalError::Unavailable(text))) => self.pause(&text),
                Err(Interruption::Kafka(error)) => self.recover(error),
            }
            if self.context.stop.is_overdue() {
                return;
            }
        }
    }

    /// One session; true: it has ended in good order.
    fn run_session(&mut self) -> Result<bool, Interruption> {
        let identity = self.context.journal.identity()?;
        self.context.status.lock().actor = Some(identity.actor.clone());
        match open_session(self.context, identity.clone(), self.batches, self.times)? {
            Opening::Ready(mut session) => {
                let ended = session.publish(self.context);
                self.times = session.times;
                self.own_records = session.into_own_records();
                ended.map(|()| true)
            }
            Opening::Replace(session, reason) => {
                let published = session.published_counter();
                self.begin_incarnation(&identity, published, reason, Some(session))?;
                Ok(false)
            }
        }
    }

    /// Gives an incarnation up whose producer was fenced, without initialising it again, as soon as
    /// the process that has fenced it has published what both may have. By then each of its own
    /// transactions is decided, so the record says what was published.
    fn give_up_fenced(&mut self) -> Result<bool, Interruption> {
        let context = self.context;
        let identity = context.journal.identity()?;
        wait_for_fencer(context, &identity.actor, &self.own_records)?;
        let registered = context.nodes.read(context.limit(), &|| context.goes_on())?;
        let record = registered.of(&identity.actor)?.map(|node| &node.record);
        let published = match reconcile(&*context.journal, &identity, record)? {
            ReconciliationOutcome::Continue(publication) => publication.counter,
            ReconciliationOutcome::Replace(_) => record.map_or(0, |record| record.published.counter),
        };
        self.begin_incarnation(&identity, published, FENCED, None)?;
        self.is_fenced = false;
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
        let context = self.context;
        mark_published_elsewhere(&context.kafka, &*context.journal, published, CALL, &|| context.goes_on())?;
        let new = context.retried(|| context.journal.begin_incarnation(reason))?;
        context.status.lock().incarnations += 1;
        tracing::warn!(
            code = "HS8021",
            old = %old.actor,
            new = %new.actor,
            "this node goes on as a new incarnation: {reason}. Events that were not published are written again under the new one"
        );
        if let Some(mut session) = session
            && let Err(failure) = session.write_replaced(context, new.actor)
        {
            // For readers of the nodes topic only: without it the old actor is shown as failed.
            tracing::debug!("the record that {} was replaced was not written: {failure:?}", old.actor);
        }
        Ok(())
    }

    fn recover(&mut self, error: Error) {
        match error {
            Error::Fenced(text) => {
                self.is_fenced = true;
                self.batches = DEFAULT_BATCHES;
                self.context.note_failure(&text);
            }
            Error::RecordTime(text) => self.seek_time(&text),
            Error::BatchTooLarge(_) => self.batches = self.batches.halved(),
            error => {
                self.batches = DEFAULT_BATCHES;
                self.pause(&error.to_string());
            }
        }
    }

    /// The next session has other times in its records. A producer whose record was refused has a
    /// gap in its sequence, so a new one is needed anyway.
    fn seek_time(&mut self, text: &str) {
        if self.times.are_own() {
            tracing::warn!(
                code = "HS8028",
                "the brokers refuse the time of a record of this node: {text}. An event keeps its own time, and its record is sent with \
                 another one; set the clock of this machine, or widen message.timestamp.after.max.ms and message.timestamp.before.max.ms of \
                 the topic"
            );
        }
        if !self.times.refuse(self.context.now_ms()) {
            self.pause(&format!(
                "the brokers refuse each time of its record: {text}; set the clock of this machine, or widen message.timestamp.after.max.ms and \
                 message.timestamp.before.max.ms of the events topic [HS8028]"
            ));
        }
    }

    /// Waits after a failure, longer each time until something was published.
    fn pause(&mut self, text: &str) {
        let transactions = self.context.status.lock().transactions;
        if transactions > std::mem::replace(&mut self.transactions, transactions) {
            self.back_off.reset();
        }
        let pause = self.back_off.next_pause();
        // There is little time left for further tries.
        let pause = if self.context.stop.is_requested() { pause.min(FIRST_PAUSE) } else { pause };
        tracing::warn!(
            code = "HS8020",
            "events are not published for now, the next try is in {} ms: {text}. Writes are accepted meanwhile",
            pause.as_millis()
        );
        self.context.note_failure(text);
        self.context.stop.wait(pause);
    }

    fn end_for_good(&self, text: &str) {
        tracing::error!(code = "HS8026", "the publisher has ended, and no event is published any more: {text}");
        let mut status = self.context.status.lock();
        status.failures += 1;
        status.last_error = Some(text.to_owned());
    }
}
