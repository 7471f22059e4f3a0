//! A stream thread: one consumer, one producer, and the tasks that the group assigned to it.
//! [`StreamThread::run_once`] is one turn of its loop, and the only place where a recovery is
//! applied.

mod assignment;

use std::sync::Arc;
use std::time::Duration;

use super::super::instance::Instance;
use super::commit::commit;
use super::consumer::{PollLimits, Polled, ThreadConsumer};
use super::hanging_transaction::find_hanging_transactions;
use super::interruption::{Interruption, Place};
use super::parts::Parts;
use super::pausing::{PauseChanges, look_at_pauses};
use super::processing::process_batch;
use super::producer::ThreadProducer;
use super::purge::purge;
use super::recovery::{Recovery, Situation, decide};
use super::refused_outputs::rank;
use super::source_check::SourceTopicsCheck;
use super::task_registry::TaskRegistry;
use super::thread_ports::{RunStatus, ThreadPorts};
use super::timers::Timers;
use super::unowned_partitions::UnownedPartitionsCheck;
use super::waiting_records::WaitingRecords;
use crate::error::{Error, Result};
use crate::planted::PlantedBug;
use crate::record::TaskId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    /// It gives everything back and leaves the group, as a static member too.
    Departing {
        deadline: Duration,
    },
    /// Its client is being closed.
    Leaving {
        deadline: Duration,
    },
    Stopped,
}

/// A stream thread.
pub struct StreamThread {
    parts: Parts,
    /// [`Instance::renewals`] before its clients were made.
    renewal: u64,
    phase: Phase,
    source_check: SourceTopicsCheck,
    unowned_check: UnownedPartitionsCheck,
}

/// How long a poll waits while something else is about to happen.
const SHORT_POLL: Duration = Duration::from_millis(10);
/// A task whose membership was lost is not taken again before; until then its revocation is likely
/// to come.
const MIGRATED_WAIT: Duration = Duration::from_secs(1);

impl StreamThread {
    /// Thread number `index` of an instance.
    pub fn new(instance: &Arc<Instance>, index: usize, ports: ThreadPorts) -> StreamThread {
        let ThreadPorts { membership, fetching, producers, renewal } = ports;
        instance.thread_started(index);
        let parts = Parts {
            instance: instance.clone(),
            thread: index,
            consumer: ThreadConsumer::new(membership, fetching),
            tasks: TaskRegistry::new(instance, index),
            producer: ThreadProducer::new(instance, index, renewal, producers),
            timers: Timers::new(instance.now()),
        };
        StreamThread {
            parts,
            renewal,
            phase: Phase::New,
            source_check: SourceTopicsCheck::default(),
            unowned_check: UnownedPartitionsCheck::default(),
        }
    }

    /// Runs until the instance is stopped, its clients are renewed, this thread is removed
    /// ([`Instance::remove_thread`]), or its consumer has failed for good
    /// ([`StreamThread::has_lost_consumer`]).
    ///
    /// # Errors
    /// As for [`StreamThread::run_once`]; the thread is closed then.
    pub fn run(&mut self) -> Result<()> {
        loop {
            match self.run_once() {
                Ok(RunStatus::Running) => {}
                Ok(RunStatus::Stopped) => return Ok(()),
                Err(error) => {
                    self.close();
                    return Err(error);
                }
            }
        }
    }

    /// Whether it has ended, or is about to, because its consumer has failed for good
    /// ([`Error::ConsumerLost`]): another thread with new clients is to take its place.
    pub fn has_lost_consumer(&self) -> bool {
        self.parts.consumer.is_lost()
    }

    /// One turn: polls, processes what came, answers the group, commits when it is time.
    ///
    /// # Errors
    /// [`Error::Fatal`] alone: all other errors are recovered from. The thread is then to be
    /// closed.
    pub fn run_once(&mut self) -> Result<RunStatus> {
        if self.phase == Phase::Running {
            self.leave_recreated_topics()?;
        }
        match self.phase {
            Phase::Stopped => return Ok(RunStatus::Stopped),
            Phase::New => {
                let instance = self.parts.instance.clone();
                let topics: Vec<&str> = instance.plans.iter().map(|plan| &*plan.source).collect();
                match self.parts.consumer.subscribe(&topics) {
                    Ok(()) => self.phase = Phase::Running,
                    failed => self.recover(failed)?,
                }
            }
            Phase::Running if self.must_leave() => self.begin_leaving()?,
            Phase::Running => self.advance()?,
            Phase::Departing { deadline } => self.close_once_departed(deadline)?,
            Phase::Leaving { deadline } => {
                if self.parts.consumer.has_left() || self.parts.instance.now() > deadline {
                    self.finish_leaving();
                    return Ok(RunStatus::Stopped);
                }
            }
        }
        self.poll_and_process()?;
        Ok(RunStatus::Running)
    }

    fn must_leave(&self) -> bool {
        let instance = &self.parts.instance;
        let is_renewed = instance.renewals() != self.renewal;
        instance.is_stopping()
            || is_renewed
            || self.has_lost_consumer()
            || instance.is_thread_leaving(self.parts.thread)
    }

    /// Does what needs no record: looks at the sources, makes a producer, takes tasks.
    fn advance(&mut self) -> Result<()> {
        if let Some(error) = self.parts.instance.failure() {
            return Err(error);
        }
        self.source_check.look(&mut self.parts)?;
        if self.unowned_check.look(&self.parts) {
            return self.rejoin();
        }
        let ensured = self.parts.producer.ensure();
        self.recover(ensured)?;
        let can_begin = self.parts.producer.is_ready();
        self.parts.tasks.advance_restorations(can_begin)?;
        look_at_pauses(&self.parts);
        let pauses = PauseChanges::due(&self.parts);
        if pauses.need_a_commit() {
            self.commit()?;
        }
        pauses.apply(&mut self.parts);
        let waits = WaitingRecords::due(&self.parts);
        if waits.need_a_commit() {
            self.commit()?;
        }
        waits.apply(&mut self.parts)?;
        let Parts { consumer, tasks, .. } = &mut self.parts;
        let fetched = consumer.fetch_for(tasks);
        self.recover(fetched)
    }

    fn poll_and_process(&mut self) -> Result<()> {
        let config = &self.parts.instance.config;
        let (records, bytes) = (config.max_poll_records, config.max_poll_bytes);
        let wait = self.poll_wait();
        let Polled { records, result, change } = self.parts.consumer.poll(PollLimits { records, bytes, wait });
        let worked = match result {
            Ok(()) => process_batch(&mut self.parts, &records),
            Err(error) => Err(error.into()),
        };
        self.parts.consumer.recycle(records);
        if worked.is_ok() {
            self.parts.consumer.succeeded();
        }
        self.recover(worked)?;
        match change {
            Some(change) => self.apply_change(change),
            None => self.commit_if_due(),
        }
    }

    /// Until when a poll may wait: nothing else is to be done before.
    fn poll_wait(&mut self) -> Duration {
        let Parts { instance, tasks, producer, timers, .. } = &mut self.parts;
        if !producer.is_ready() || self.phase != Phase::Running || !tasks.are_all_running() {
            return SHORT_POLL;
        }
        // What went wrong in looking is told by the commit.
        let has_background_work = tasks.have_background_work().unwrap_or(true);
        let config = &instance.config;
        if !producer.is_in_transaction() && !has_background_work {
            return config.poll_timeout;
        }
        timers.next_commit(config.commit_interval).saturating_sub(instance.now()).min(config.poll_timeout)
    }

    fn commit_if_due(&mut self) -> Result<()> {
        let interval = self.parts.instance.config.commit_interval;
        let now = self.parts.instance.now();
        if self.phase != Phase::Running || now < self.parts.timers.next_commit(interval) {
            return Ok(());
        }
        self.commit()?;
        self.check_at_intervals();
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let committed = commit(&mut self.parts);
        self.recover(committed)
    }

    /// Does what is due at intervals, once a commit at most.
    fn check_at_intervals(&mut self) {
        let now = self.parts.instance.now();
        let purge_interval = self.parts.instance.config.purge_interval;
        if purge_interval.is_some_and(|interval| self.parts.timers.take_purge(now, interval)) {
            purge(&self.parts);
        }
        if self.parts.timers.take_membership_check(now) {
            let is_member = self.parts.consumer.is_member();
            self.parts.metrics().set_out(!is_member);
        }
        if self.parts.timers.take_transaction_check(now) {
            find_hanging_transactions(&mut self.parts);
        }
    }
}

/// Recoveries.
impl StreamThread {
    /// Recovers from an interruption by what [`decide`] says.
    ///
    /// Nothing here speaks to the consumer: what it has to do is noted in the assigned tasks and
    /// done once no change of the assignment waits for its reply.
    ///
    /// # Errors
    /// [`Error::Fatal`] alone.
    fn recover<E: Into<Interruption>>(&mut self, result: std::result::Result<(), E>) -> Result<()> {
        let Err(interruption) = result else { return Ok(()) };
        let interruption = self.find_cause(interruption.into());
        let now = self.parts.instance.now();
        let is_failed_poll = matches!(interruption, Interruption::Failed(Error::Retry(_)));
        let is_lost = matches!(interruption, Interruption::Failed(Error::ProducerLost(_) | Error::Fenced(_)));
        let situation = Situation {
            thread: self.parts.thread,
            failing_for: match is_failed_poll {
                true => now.saturating_sub(self.parts.consumer.failing_since(now)),
                false => Duration::ZERO,
            },
            task_timeout: self.parts.instance.config.task_timeout,
            losses: if is_lost { self.parts.producer.losses() } else { 0 },
            is_explained: self.parts.instance.metrics().explains_failures(),
        };
        self.apply(decide(interruption, &situation))
    }

    /// The cause of an interruption: a delivery that has failed may say more than the error.
    fn find_cause(&mut self, interruption: Interruption) -> Interruption {
        let error = match interruption {
            Interruption::Waits { task, place, what } => {
                return match self.parts.producer.serve(Duration::ZERO) {
                    Err(found) if rank(&found) > 0 => Interruption::Failed(found),
                    _ => Interruption::Waits { task, place, what },
                };
            }
            Interruption::Failed(error) => error,
        };
        if let Error::ConsumerLost(what) = &error
            && self.parts.consumer.note_loss()
        {
            // Noted first: an error of the producer may come with it, and is recovered from in its
            // place.
            tracing::warn!(
                code = "HS1002",
                thread = self.parts.thread,
                "the Kafka consumer of this stream thread has failed for good: {what}; this stream thread ends, and another one with a new \
                 consumer takes its place. Nothing is lost"
            );
        }
        Interruption::Failed(self.parts.producer.cause_of(error))
    }

    fn apply(&mut self, recovery: Recovery) -> Result<()> {
        let thread = self.parts.thread;
        match recovery {
            Recovery::Stop(error) => Err(error),
            Recovery::PollAgain { what } => {
                tracing::debug!(thread, "a poll failed and is retried: {what}");
                Ok(())
            }
            Recovery::Abort { what } => self.abort_because(&what),
            Recovery::AbortAndWait { task, place, what } => self.abort_and_wait(task, place, &what),
            Recovery::ReplaceProducer { what, wait, is_reported, is_fenced } => {
                self.parts.producer.replace(&what, wait, is_reported, is_fenced);
                self.take_all_anew()
            }
            Recovery::SendSmallerBatches { what } => {
                self.parts.producer.replace_with_smaller_batches(&what);
                self.take_all_anew()
            }
            Recovery::Rejoin { what } => {
                tracing::info!(thread, "{what}");
                self.parts.metrics().set_back(&what);
                self.abort_transaction()?;
                self.parts.tasks.restore_all_again(MIGRATED_WAIT)
            }
            Recovery::ReplaceThread { what } => {
                self.parts.metrics().set_back(&what);
                self.abort_transaction()
            }
            Recovery::Rebuild { task, what } => {
                tracing::error!(
                    code = "HS3001",
                    %task,
                    "a local store of the task cannot be used and is rebuilt from its changelog: {what}"
                );
                self.abort_transaction()?;
                self.parts.tasks.restore_again(task, true)
            }
            Recovery::RestoreAgain { partition, what } => {
                let reader = self.parts.tasks.find_by_source_mut(&partition);
                let reader = reader.and_then(|assigned| Some((assigned.id(), assigned.task()?.next_offset())));
                // It may have been told before.
                let Some((task, next)) = reader else { return Ok(()) };
                self.abort_and_wait(
                    task,
                    Place::Record(next.offset().unwrap_or_default()),
                    &format!("read {partition}: {what}"),
                )
            }
            Recovery::StopTask(reason) => {
                self.abort_because(&reason.what)?;
                self.parts.tasks.stop(*reason)
            }
        }
    }

    /// Takes back the tasks whose topic was deleted and made anew since they were restored, and
    /// commits nothing of them: they are restored again, by what is committed of the new topic.
    fn leave_recreated_topics(&mut self) -> Result<()> {
        let tasks = self.parts.tasks.of_recreated_topics();
        if tasks.is_empty() {
            return Ok(());
        }
        self.abort_because("a topic was deleted and made anew, whose tasks are restored again")?;
        tasks.into_iter().try_for_each(|task| self.parts.tasks.restore_again(task, false))
    }

    fn abort_because(&mut self, what: &str) -> Result<()> {
        // In a rebalance this is in order. If it happens again and again, the instance's watch
        // says so.
        let thread = self.parts.thread;
        tracing::info!(thread, "the transaction was aborted and its records are processed again: {what}");
        self.parts.metrics().set_back(what);
        self.abort_transaction()
    }

    /// A task cannot get past a record yet, since something that it needs of others is not
    /// available: it is closed and restored from its last commit after a wait, or stopped where
    /// that lasts for too long, and the other tasks go on.
    fn abort_and_wait(&mut self, task: TaskId, place: Place, what: &str) -> Result<()> {
        let instance = self.parts.instance.clone();
        let wait = match self.parts.tasks.find_mut(task) {
            Some(assigned) => assigned.wait_at(place, what, instance.now(), instance.config.task_timeout),
            None => return Err(Error::Bug(format!("task {task} waits and is not assigned"))),
        };
        match wait {
            Ok(wait) => {
                self.abort_because(&format!("task {task} rests for {wait:?}: {what}"))?;
                self.parts.tasks.restore_again(task, false)
            }
            Err(reason) => self.apply(Recovery::StopTask(Box::new(reason))),
        }
    }

    /// Aborts the transaction and takes every task of the thread back to its last commit, to be
    /// read again from there.
    fn abort_transaction(&mut self) -> Result<()> {
        if self.parts.producer.is_in_transaction() {
            match self.parts.producer.abort() {
                Ok(()) => {}
                Err(error) if error.is_fatal() => return Err(error),
                // An abort with the first produce in flight may turn fatal (librdkafka#4849): the
                // same remedy as any lost producer.
                Err(error) => {
                    let situation = Situation {
                        losses: self.parts.producer.losses(),
                        is_explained: self.parts.instance.metrics().explains_failures(),
                        ..Situation::default()
                    };
                    let lost = match error {
                        Error::Fenced(what) => Error::Fenced(what),
                        error => Error::ProducerLost(error.to_string()),
                    };
                    return self.apply(decide(lost.into(), &situation));
                }
            }
            self.parts.metrics().aborted();
        }
        self.parts.tasks.roll_back();
        Ok(())
    }

    /// The producer was dropped, and its transaction with it: every task is taken anew, at what the
    /// broker has.
    fn take_all_anew(&mut self) -> Result<()> {
        if PlantedBug::TasksKeptOverNewProducer.is_planted() {
            return Ok(());
        }
        self.parts.tasks.restore_all_again(Duration::ZERO)
    }
}

/// For the tests of the runtime.
#[cfg(test)]
impl StreamThread {
    /// Serves deliveries of the producer.
    pub fn serve_deliveries(&mut self) -> Result<()> {
        self.parts.producer.serve(Duration::ZERO)
    }

    /// Batch size of the producer.
    pub fn batches(&self) -> crate::ports::BatchLimit {
        self.parts.producer.batches()
    }

    /// Whether a task has work that no record brings about.
    pub fn has_background_work(&mut self) -> Result<bool> {
        self.parts.tasks.have_background_work()
    }

    /// The partition of each hanging transaction, its first offset, and whether it was reported.
    pub fn hanging_transactions(&self) -> Vec<(crate::record::TopicPartition, i64, bool)> {
        let tasks = self.parts.tasks.iter();
        let hanging = tasks.filter_map(|assigned| Some((assigned.source().clone(), assigned.hanging()?)));
        hanging.map(|(source, hanging)| (source, hanging.from.number(), hanging.is_reported)).collect()
    }

    /// Whether a warning was logged that looks at the sources fail.
    pub fn has_warned_of_looks(&self) -> bool {
        self.source_check.has_warned()
    }
}
