//! Recovery from errors: the handling of each class of error (the table "Errors by remedy" of
//! ARCHITECTURE.md).
//!
//! Nothing here speaks to the consumer: what it has to do is noted in the assigned tasks and done
//! once no event waits for its answer.

use std::time::Duration;

use super::assigned_task::{BACKGROUND_STEP, BlockedTask};
use super::backoff::Backoff;
use super::commit::retried;
use super::fetch_state::FetchState;
use super::thread::StreamThread;
use crate::error::{Error, Result};
use crate::planted::PlantedBug;
use crate::record::TaskId;

/// Losses of a producer are counted over this time.
const LOSS_WINDOW: Duration = Duration::from_secs(60);
/// From so many losses on they are an error, and the wait grows.
const MANY_LOSSES: usize = 3;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONG_WAIT: Duration = Duration::from_secs(2);
/// A task whose membership was lost is not taken again before; until then its revocation is likely
/// to come.
const MIGRATED_WAIT: Duration = Duration::from_secs(1);

impl StreamThread {
    /// Whether it has ended, or is about to, because its consumer has failed for good
    /// ([`Error::ConsumerLost`]): another thread with new clients is to take its place.
    pub fn has_lost_consumer(&self) -> bool {
        self.has_lost_consumer
    }

    /// Recovers from an error by what its class asks for.
    ///
    /// # Errors
    /// [`Error::Fatal`] alone.
    pub(super) fn recover(&mut self, result: Result<()>) -> Result<()> {
        let Err(error) = result else { return Ok(()) };
        if let Error::ConsumerLost(what) = &error
            && !std::mem::replace(&mut self.has_lost_consumer, true)
        {
            // Noted first: an error of the producer may come with it, and is recovered from in its
            // place.
            tracing::warn!(
                code = "HS1002",
                thread = self.index,
                "the Kafka consumer of this stream thread has failed for good: {what}; this stream thread ends, and another one with a new \
                 consumer takes its place. Nothing is lost"
            );
        }
        match self.collector.cause_of(error) {
            error @ (Error::Fatal(_) | Error::Bug(_)) => Err(error),
            Error::Disagreement(what) => Err(Error::Fatal(what)),
            Error::Retry(what) => self.tolerate_failed_poll(what),
            Error::Aborted(what) | Error::Record(what) | Error::RecordTime(what) => {
                // In a rebalance this is in order. If it happens again and again, the instance's
                // watch says so.
                tracing::info!(
                    thread = self.index,
                    "the transaction was aborted and its records are processed again: {what}"
                );
                self.metrics().set_back(&what);
                self.abort_transaction()
            }
            Error::ProducerLost(what) => self.recover_producer(&what, false),
            Error::Fenced(what) => self.recover_producer(&what, true),
            Error::BatchTooLarge(what) => self.resend_in_smaller_batches(&what),
            Error::Migrated(what) => {
                tracing::info!(thread = self.index, "{what}");
                self.metrics().set_back(&what);
                self.abort_transaction()?;
                self.restore_all_again(MIGRATED_WAIT)
            }
            Error::ConsumerLost(what) => {
                self.metrics().set_back(&what);
                self.abort_transaction()
            }
            Error::Corrupted { task, what } => {
                tracing::error!(
                    code = "HS3001",
                    %task,
                    "a local store of the task cannot be used and is rebuilt from its changelog: {what}"
                );
                self.abort_transaction()?;
                self.rebuild_task(task)
            }
        }
    }

    /// A transient error of the consumer: polls go on, for as long as the task timeout allows.
    fn tolerate_failed_poll(&mut self, what: String) -> Result<()> {
        let now = self.instance.now();
        let since = *self.failing_since.get_or_insert(now);
        if now.saturating_sub(since) > self.instance.config.task_timeout {
            return Err(Error::Fatal(format!(
                "the Kafka consumer of stream thread {} has failed for longer than task_timeout, so this instance ends: {what} [HS1023]",
                self.index
            )));
        }
        tracing::debug!(thread = self.index, "a poll failed and is retried: {what}");
        Ok(())
    }

    /// Decides the back-off of a task that cannot process a record yet, since something that it
    /// needs of others is not available: the task is closed and restored from its last commit after
    /// a wait, and the other tasks go on. The returned error is the one to recover from first.
    pub(super) fn back_off(&mut self, at: usize, offset: i64, what: &str) -> Error {
        let now = self.instance.now();
        let assigned = &mut self.tasks[at];
        let blocked = assigned.blocked.get_or_insert(BlockedTask { offset, since: now, backoff: Backoff::default() });
        if now.saturating_sub(blocked.since) > self.instance.config.task_timeout {
            let place =
                if offset == BACKGROUND_STEP { "its background work".to_owned() } else { format!("offset {offset}") };
            return Error::Fatal(format!(
                "task {} could not process {place} within task_timeout, so this instance ends: {what} [HS1023]",
                assigned.id
            ));
        }
        let wait = blocked.backoff.next();
        assigned.is_backing_off = true;
        assigned.retry_at = now + wait;
        Error::Aborted(format!("task {} rests for {wait:?}: {what}", assigned.id))
    }

    /// Aborts the transaction and takes every task of the thread back to its last commit, to be
    /// read again from there.
    fn abort_transaction(&mut self) -> Result<()> {
        if self.in_transaction {
            let instance = self.instance.clone();
            let collector = &mut self.collector;
            let timeout = instance.config.call_timeout;
            let aborted = match PlantedBug::NoAbort.is_planted() {
                true => Ok(()),
                false => retried(&instance, self.renewal, || collector.producer()?.abort(timeout)),
            };
            match aborted {
                Ok(()) => {
                    self.in_transaction = false;
                    self.collector.forget_failures();
                }
                Err(error) if error.is_fatal() => return Err(error),
                // An abort with the first produce in flight may turn fatal (librdkafka#4849): the
                // same remedy as any lost producer.
                Err(error) => {
                    let is_fenced = matches!(error, Error::Fenced(_));
                    return self.recover_producer(&error.to_string(), is_fenced);
                }
            }
            self.metrics().aborted();
        }
        for assigned in self.tasks.iter_mut() {
            if let Some(task) = &mut assigned.task {
                task.rollback();
                if assigned.fetch_state == FetchState::Fetching && !PlantedBug::NoSeekAfterAbort.is_planted() {
                    assigned.fetch_state = FetchState::ToSeek;
                }
                assigned.last_seen = task.last_checkpoint().next_offset - 1;
                assigned.end = None;
            }
            if assigned.is_backing_off {
                assigned.close_dirty(false)?;
                assigned.report(&self.instance.metrics(), self.index, None);
            }
        }
        Ok(())
    }

    /// The producer is fenced or failed, or nobody knows how its last commit ended: every task is
    /// taken anew, at what the broker has.
    fn recover_producer(&mut self, what: &str, is_fenced: bool) -> Result<()> {
        let now = self.instance.now();
        self.losses.retain(|at| now.saturating_sub(*at) < LOSS_WINDOW);
        self.losses.push(now);
        self.metrics().producer_lost();
        let count = self.losses.len();
        let config = &self.instance.config;
        let id = super::config::transactional_id(&config.application_id, &config.instance_id, self.index);
        self.metrics().set_back(what);
        // While Kafka is away or a topic is gone, producers are lost for that, and the instance's
        // watch has said so.
        let is_explained = !self.instance.metrics().troubles().is_empty();
        let wait = if count < MANY_LOSSES { FIRST_WAIT } else { LONG_WAIT * (count - MANY_LOSSES + 1) as u32 };
        if count < MANY_LOSSES || is_explained {
            tracing::info!("the producer `{id}` is replaced by a new one: {what}");
            return self.replace_producer(wait);
        }
        let advice = match is_fenced {
            true => {
                ". Either another process uses this transactional id (was the state directory copied?), or transactions take longer than transaction_timeout"
            }
            false => "",
        };
        tracing::error!(
            code = "HS1003",
            "the transactional producer `{id}` was lost {count} times within a minute, the last time because of this: {what}{advice}"
        );
        self.replace_producer(wait)
    }

    /// A topic takes smaller batches than were sent: a new producer sends the records again, in
    /// batches of half the size. A record that is refused in a batch of its own is a dead letter,
    /// so this comes to an end.
    fn resend_in_smaller_batches(&mut self, what: &str) -> Result<()> {
        let refused = self.collector.batches;
        let batches = self.instance.lower_batches(refused);
        self.instance.metrics().add_refused_batch();
        tracing::warn!(
            code = "HS1004",
            thread = self.index,
            "a batch of records was refused for its size ({what}); its records are sent again, and from now on batches have {batches} (before: {refused}). \
             Nothing is lost, but small batches are slow: raise max.message.bytes and segment.bytes of that topic and start again"
        );
        self.replace_producer(Duration::ZERO)
    }

    /// A new producer, whose first act ends the transaction of this one; then every task is taken
    /// anew, at what the broker has.
    fn replace_producer(&mut self, wait: Duration) -> Result<()> {
        self.producer_at = self.instance.now() + wait;
        self.collector.producer = None;
        self.is_ready = false;
        self.in_transaction = false;
        if PlantedBug::TasksKeptOverNewProducer.is_planted() {
            return Ok(());
        }
        self.restore_all_again(Duration::ZERO)
    }

    fn restore_all_again(&mut self, wait: Duration) -> Result<()> {
        let retry_at = self.instance.now() + wait;
        for assigned in self.tasks.iter_mut() {
            assigned.close_dirty(false)?;
            assigned.retry_at = retry_at;
            assigned.report(&self.instance.metrics(), self.index, None);
        }
        Ok(())
    }

    fn rebuild_task(&mut self, task: TaskId) -> Result<()> {
        if let Some(assigned) = self.tasks.find_mut(task) {
            assigned.close_dirty(true)?;
            assigned.report(&self.instance.metrics(), self.index, None);
        }
        Ok(())
    }
}
