//! The loop of sessions on the publisher's thread, and the answer to each way in which one ends.

use streams::error::Error;
use streams::ports::BatchLimit;

use super::context::{FIRST_PAUSE, LONGEST_PAUSE, PublisherContext};
use super::departure::{Departure, OwnRecords};
use super::interruption::Interruption;
use super::record_times::RecordTimes;
use super::session::{Opening, open_session};
use crate::back_off::BackOff;
use crate::ports::JournalError;

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
        departure: None,
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
    /// The way from the present incarnation to the next one, where it is to be given up.
    departure: Option<Departure>,
    /// Transactions committed when the last session ended.
    transactions: u64,
}

impl PublisherLoop<'_> {
    fn run(mut self) {
        loop {
            let ended = match self.departure.take() {
                Some(departure) => self.depart(departure),
                None => self.run_session(),
            };
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
            Opening::Replace(reason) => {
                self.departure = Some(Departure::new(reason, None));
                Ok(false)
            }
        }
    }

    /// Goes on as a new incarnation.
    fn depart(&mut self, mut departure: Departure) -> Result<bool, Interruption> {
        let context = self.context;
        let old = context.journal.identity()?.actor;
        match departure.run(context, self.times) {
            Ok(new) => {
                context.status.lock().incarnations += 1;
                tracing::warn!(
                    code = "HS8021",
                    old = %old,
                    new = %new.actor,
                    "this node goes on as a new incarnation: {}. Events that were not published are written again under the new one",
                    departure.reason
                );
                Ok(false)
            }
            Err(failure) => {
                self.departure = Some(departure);
                Err(failure)
            }
        }
    }

    fn recover(&mut self, error: Error) {
        match error {
            Error::Fenced(text) if self.departure.is_none() => {
                tracing::warn!(
                    code = "HS8021",
                    "another process has taken the transactional id of this node, or a transaction took too long: {text}. Events wait until \
                     that process has published what both may hold, or gives no sign; then this node goes on as a new incarnation"
                );
                self.departure = Some(Departure::new(FENCED, Some(std::mem::take(&mut self.own_records))));
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
