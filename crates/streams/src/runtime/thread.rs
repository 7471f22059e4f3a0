//! A stream thread: one consumer, one producer, and the tasks that the group assigned to it.
//! [`StreamThread::run_once`] is one turn of its loop.

use std::sync::Arc;
use std::time::Duration;

use super::assigned_task::AssignedTask;
use super::backoff::Backoff;
use super::commit::as_abort;
use super::fetch_state::FetchState;
use super::instance::Instance;
use super::metrics::ThreadMetrics;
use super::record_collector::TransactionalRecordCollector;
use super::restoration::{RestorationResult, RestoredTask, TaskRestoration, restoration_job};
use super::source_topics::SourceTopicsCheck;
use super::task_registry::TaskRegistry;
use crate::error::{Error, Result};
use crate::planted::PlantedBug;
use crate::ports::{Fetching, GroupEvent, Membership, ProducerFactory};
use crate::record::RecordBatch;
use crate::task::Task;
use crate::task::state::TaskState;

/// The world of one thread.
pub struct ThreadPorts {
    /// Its membership of the group.
    pub membership: Box<dyn Membership>,
    /// Its consumer.
    pub fetching: Box<dyn Fetching>,
    /// Makes its producer.
    pub producers: Box<dyn ProducerFactory>,
    /// [`Instance::renewals`] before these were made.
    pub renewal: u64,
}

/// Whether a thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// `run_once` is to be called again.
    Running,
    /// It has committed, left the group and closed its tasks: the instance stops, or the clients of
    /// the thread are to be renewed.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    New,
    Running,
    Leaving { deadline: Duration },
    Stopped,
}

/// A stream thread.
pub struct StreamThread {
    pub(super) instance: Arc<Instance>,
    pub(super) index: usize,
    pub(super) tasks: TaskRegistry,
    pub(super) membership: Box<dyn Membership>,
    pub(super) fetching: Box<dyn Fetching>,
    pub(super) producers: Box<dyn ProducerFactory>,
    /// [`Instance::renewals`] before its clients were made.
    pub(super) renewal: u64,
    pub(super) collector: TransactionalRecordCollector,
    /// Whether the producer is initialised.
    pub(super) is_ready: bool,
    pub(super) in_transaction: bool,
    pub(super) phase: Phase,
    pub(super) last_commit: Duration,
    pub(super) last_purge: Duration,
    pub(super) last_transaction_check: Duration,
    /// When it was last looked whether the thread is a member.
    pub(super) last_membership_check: Duration,
    /// No producer is made before.
    pub(super) producer_at: Duration,
    /// When it was last logged that no producer can be made.
    creation_failure_logged: Option<Duration>,
    /// Its consumer has failed for good.
    pub(super) has_lost_consumer: bool,
    /// When producers were lost lately.
    pub(super) losses: Vec<Duration>,
    /// Since when polling fails.
    pub(super) failing_since: Option<Duration>,
    pub(super) source_check: SourceTopicsCheck,
    /// The event of the group that the consumer waits to be answered.
    pub(super) unanswered: Option<GroupEvent>,
    batch: RecordBatch,
}

/// Deliveries and memory are looked at each time that so many records or bytes were processed.
const SERVE_RECORDS: u64 = 64;
const SERVE_BYTES: usize = 256 << 10;
/// How long a poll waits while something else is about to happen.
const SHORT_POLL: Duration = Duration::from_millis(10);
/// How long an initialisation of a producer waits at a time; polls come between.
const INIT_WAIT: Duration = Duration::from_secs(1);
/// How long it waits before a producer that could not be made is tried again.
const CREATE_WAIT: Duration = Duration::from_secs(1);
/// A line about a producer that cannot be made is logged again after this long.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

impl StreamThread {
    /// Thread number `index` of an instance.
    pub fn new(instance: &Arc<Instance>, index: usize, ports: ThreadPorts) -> StreamThread {
        let now = instance.now();
        let collector = TransactionalRecordCollector::new(instance.ports.clock.clone(), instance.config.task_timeout);
        StreamThread {
            instance: instance.clone(),
            index,
            tasks: TaskRegistry::default(),
            membership: ports.membership,
            fetching: ports.fetching,
            producers: ports.producers,
            renewal: ports.renewal,
            collector,
            is_ready: false,
            in_transaction: false,
            phase: Phase::New,
            last_commit: now,
            last_purge: now,
            last_transaction_check: now,
            last_membership_check: now,
            producer_at: now,
            creation_failure_logged: None,
            has_lost_consumer: false,
            losses: Vec::new(),
            failing_since: None,
            source_check: SourceTopicsCheck::default(),
            unanswered: None,
            batch: RecordBatch::new(),
        }
    }

    pub(super) fn metrics(&self) -> &ThreadMetrics {
        self.instance.thread_metrics(self.index)
    }

    /// Runs until the instance is stopped, its clients are renewed, or its consumer has failed for
    /// good ([`StreamThread::has_lost_consumer`]).
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

    /// One turn: polls, processes what came, answers the group, commits when it is time.
    ///
    /// # Errors
    /// [`Error::Fatal`] alone: all other errors are recovered from. The thread is then to be
    /// closed.
    pub fn run_once(&mut self) -> Result<RunStatus> {
        match self.phase {
            Phase::Stopped => return Ok(RunStatus::Stopped),
            Phase::New => {
                let instance = self.instance.clone();
                let topics: Vec<&str> = instance.plans.iter().map(|plan| &*plan.source).collect();
                match self.membership.subscribe(&topics) {
                    Ok(()) => self.phase = Phase::Running,
                    failed => self.recover(failed)?,
                }
            }
            Phase::Running if self.must_leave() => self.begin_leaving()?,
            Phase::Running => {
                if let Some(error) = self.instance.failure() {
                    return Err(error);
                }
                self.check_group_and_sources()?;
                self.ensure_producer()?;
                self.advance_tasks()?;
                let reconciled = self.reconcile_consumer();
                self.recover(reconciled)?;
            }
            Phase::Leaving { deadline } => {
                if self.membership.left() || self.instance.now() > deadline {
                    self.finish_leaving();
                    return Ok(RunStatus::Stopped);
                }
            }
        }
        self.poll_and_process()?;
        Ok(RunStatus::Running)
    }

    fn must_leave(&self) -> bool {
        self.instance.is_stopping() || self.instance.renewals() != self.renewal || self.has_lost_consumer
    }

    fn poll_and_process(&mut self) -> Result<()> {
        let timeout = self.poll_timeout();
        let config = &self.instance.config;
        let records = config.max_poll_records;
        let bytes = config.max_poll_bytes;
        self.batch.clear();
        let polled = self.fetching.poll(records, bytes, timeout, &mut self.batch);
        let event = self.membership.event();
        self.unanswered.clone_from(&event);
        // What came of lost partitions must not be processed; the others' records come again after
        // the abort.
        if matches!(event, Some(GroupEvent::Lost(_))) {
            self.batch.clear();
        }
        let worked = polled.and_then(|()| self.process_batch().map_err(as_abort));
        if worked.is_ok() {
            self.failing_since = None;
        }
        self.recover(worked)?;
        match event {
            Some(event) => self.answer(event),
            None => self.commit_if_due(),
        }
    }

    /// Until when a poll may wait: nothing else is to be done before.
    fn poll_timeout(&mut self) -> Duration {
        let is_busy =
            |assigned: &AssignedTask| assigned.restoration.is_some() || assigned.state() == TaskState::Created;
        if !self.is_ready || self.phase != Phase::Running || self.tasks.iter().any(is_busy) {
            return SHORT_POLL;
        }
        // What went wrong in looking is told by the commit.
        let has_background_work = self.has_background_work().unwrap_or(true);
        let config = &self.instance.config;
        if !self.in_transaction && !has_background_work {
            return config.poll_timeout;
        }
        let due = self.last_commit + config.commit_interval;
        due.saturating_sub(self.instance.now()).min(config.poll_timeout)
    }

    fn commit_if_due(&mut self) -> Result<()> {
        if self.phase != Phase::Running || self.instance.now() < self.last_commit + self.instance.config.commit_interval
        {
            return Ok(());
        }
        let committed = self.commit();
        self.recover(committed)?;
        self.purge_if_due();
        self.check_membership_and_transactions();
        Ok(())
    }

    fn process_batch(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let result = self.process_records(&batch);
        if result.is_ok() {
            self.advance_to_ends(&batch);
        }
        self.batch = batch;
        result
    }

    fn process_records(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut at = 0;
        let mut bytes = 0;
        let mut count = 0_u64;
        let mut unserved = 0;
        for record in batch.iter() {
            let origin = &record.origin;
            let is_of = |assigned: &AssignedTask| {
                assigned.source.partition == origin.partition && *assigned.source.topic == *origin.topic
            };
            if !self.tasks.get(at).is_some_and(is_of) {
                match self.tasks.iter().position(is_of) {
                    Some(found) => at = found,
                    None => continue,
                }
            }
            let assigned = &mut self.tasks[at];
            if assigned.fetch_state != FetchState::Fetching && !PlantedBug::StaleRecordsProcessed.is_planted() {
                continue;
            }
            let Some(task) = &mut assigned.task else { continue };
            if !self.in_transaction {
                self.collector.begin_transaction()?;
                self.in_transaction = true;
                self.instance.thread_metrics(self.index).begun(self.instance.now());
            }
            match task.process(&record, &mut self.collector) {
                Ok(()) if assigned.blocked.is_some_and(|blocked| blocked.offset <= origin.offset) => {
                    assigned.blocked = None
                }
                Ok(()) => {}
                Err(Error::Retry(what)) => return Err(self.back_off(at, origin.offset, &what)),
                Err(error) => return Err(error),
            }
            assigned.last_seen = origin.offset;
            let size = record.record.byte_len();
            (bytes, unserved, count) = (bytes + size, unserved + size, count + 1);
            if count.is_multiple_of(SERVE_RECORDS) || unserved > SERVE_BYTES {
                unserved = 0;
                self.collector.serve(Duration::ZERO)?;
                if self.uncommitted_bytes() > self.instance.config.uncommitted_bytes {
                    self.commit()?;
                }
            }
        }
        self.metrics().processed(count, bytes as u64);
        self.collector.serve(Duration::ZERO)
    }

    fn uncommitted_bytes(&self) -> usize {
        let tasks = self.tasks.iter().filter_map(|assigned| assigned.task.as_ref());
        self.collector.in_flight_bytes() + tasks.map(Task::uncommitted_bytes).sum::<usize>()
    }

    /// All records of the batch are processed, so that nothing is buffered below the ends that it
    /// reached.
    fn advance_to_ends(&mut self, batch: &RecordBatch) {
        for end in batch.ends() {
            let assigned = self.tasks.find_by_source_mut(&end.partition);
            if let Some(assigned) = assigned
                && let Some(task) = assigned.running()
            {
                task.skip_to(end.offset);
                assigned.end = Some(end.offset);
                assigned.report(&self.instance.metrics(), self.index, self.fetching.end_offset(&end.partition));
            }
        }
    }

    pub(super) fn begin_transaction(&mut self) -> Result<()> {
        if !self.in_transaction {
            self.collector.begin_transaction()?;
            self.in_transaction = true;
            self.metrics().begun(self.instance.now());
        }
        Ok(())
    }

    /// Makes and initialises the producer, as far as one turn allows. No task is taken before: init
    /// ends the predecessor's transaction.
    fn ensure_producer(&mut self) -> Result<()> {
        if self.is_ready || self.instance.now() < self.producer_at {
            return Ok(());
        }
        let made = self.create_producer();
        match made {
            Ok(()) => {
                self.is_ready = true;
                Ok(())
            }
            Err(Error::Retry(what)) if self.collector.producer.is_none() => {
                self.log_creation_failure(&what);
                Ok(())
            }
            Err(Error::Retry(what)) => {
                tracing::debug!("the producer is not initialised yet: {what}");
                Ok(())
            }
            Err(error) if error.is_fatal() => Err(error),
            Err(Error::Fenced(what)) => self.recover(Err(Error::Fenced(what))),
            Err(error) => self.recover(Err(Error::ProducerLost(error.to_string()))),
        }
    }

    /// A producer cannot be made: a file that it is made of cannot be used just now. Logged at
    /// first and once a minute.
    fn log_creation_failure(&mut self, what: &str) {
        let now = self.instance.now();
        self.producer_at = now + CREATE_WAIT;
        if self.creation_failure_logged.is_none_or(|told| now >= told + LOG_INTERVAL) {
            self.creation_failure_logged = Some(now);
            tracing::warn!(
                code = "HS2062",
                thread = self.index,
                "the Kafka producer of this stream thread cannot be created; the thread waits and retries every second, and nothing is lost: {what}"
            );
        }
    }

    fn create_producer(&mut self) -> Result<()> {
        let producer = match &mut self.collector.producer {
            Some(producer) => producer,
            none => {
                let batches = self.instance.batches();
                let producer = none.insert(self.producers.create(batches)?);
                self.collector.batches = batches;
                producer
            }
        };
        if !PlantedBug::NoInit.is_planted() {
            producer.init(INIT_WAIT)?;
        }
        let stores = self.instance.plans.iter().flat_map(|plan| &plan.stores);
        let changelogs: Vec<Arc<str>> = stores.map(|store| store.changelog.clone()).collect();
        producer.track(&changelogs);
        Ok(())
    }

    /// Takes tasks that wait, and lets those run that were taken.
    fn advance_tasks(&mut self) -> Result<()> {
        for at in 0..self.tasks.len() {
            if let Some(restoration) = &self.tasks[at].restoration {
                match restoration.result.try_recv() {
                    Ok(result) => self.finish_restoration(at, result)?,
                    Err(std::sync::mpsc::TryRecvError::Empty) => {}
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                        let what = format!("the restoration of task {} ended without a result", self.tasks[at].id);
                        return Err(Error::Bug(what));
                    }
                }
            } else if self.tasks[at].state() == TaskState::Created && self.is_ready {
                self.start_restoration(at)?;
            }
        }
        Ok(())
    }

    fn start_restoration(&mut self, at: usize) -> Result<()> {
        let assigned = &mut self.tasks[at];
        if self.instance.now() < assigned.retry_at {
            return Ok(());
        }
        // Another thread of this process still has it; the others go on.
        let Some(lock) = self.instance.task_locks.try_lock(assigned.id, self.index) else { return Ok(()) };
        let rebuild = std::mem::take(&mut assigned.rebuild);
        assigned.transition_to(if rebuild { TaskState::Rebuilding } else { TaskState::Restoring })?;
        assigned.report(&self.instance.metrics(), self.index, None);
        let restoration = TaskRestoration {
            instance: self.instance.clone(),
            thread: self.index,
            id: assigned.id,
            plan: assigned.plan.clone(),
            source: assigned.source.clone(),
            cancel: Arc::default(),
        };
        let only_asks = assigned.plan.stores.is_empty();
        let (job, pending) = restoration_job(restoration, lock, rebuild);
        assigned.restoration = Some(pending);
        let executor = &self.instance.ports.executor;
        if only_asks {
            executor.run_at_once(job)
        } else {
            executor.run(job)
        }
        Ok(())
    }

    fn finish_restoration(&mut self, at: usize, restored: RestorationResult) -> Result<()> {
        let assigned = &mut self.tasks[at];
        assigned.restoration = None;
        let ready = restored.result.and_then(|RestoredTask { db, checkpoint, is_uncommitted }| {
            let mut task = Task::new(assigned.plan.clone(), assigned.id, db, checkpoint)?;
            if is_uncommitted {
                task.commit_anyway();
            }
            Ok(task)
        });
        match ready {
            Ok(task) => {
                assigned.task = Some(task);
                assigned.lock = Some(restored.lock);
                assigned.transition_to(TaskState::Running)?;
                assigned.fetch_state = FetchState::ToAssign;
                (assigned.failing_since, assigned.backoff) = (None, Backoff::default());
                assigned.report(&self.instance.metrics(), self.index, None);
                Ok(())
            }
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => self.retry_restoration(at, &error),
        }
    }

    fn retry_restoration(&mut self, at: usize, error: &Error) -> Result<()> {
        let now = self.instance.now();
        let assigned = &mut self.tasks[at];
        let since = *assigned.failing_since.get_or_insert(now);
        if now.saturating_sub(since) > self.instance.config.task_timeout {
            return Err(Error::Fatal(format!(
                "task {} could not be restored within task_timeout, so this instance ends: {error} [HS1023]",
                assigned.id
            )));
        }
        // A rebalance that goes on meanwhile is in order; a task that is not taken for long keeps
        // the instance from being ready.
        tracing::info!(task = %assigned.id, "task restoration failed and is retried: {error}");
        assigned.retry_at = now + assigned.backoff.next();
        assigned.close_dirty(matches!(error, Error::Corrupted { .. }))
    }
}
