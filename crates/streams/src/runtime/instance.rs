//! State that the threads of a process share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::backoff::Reminder;
use super::commit_steps::StepObserver;
use super::config::RuntimeConfig;
use super::executor::Executor;
use super::internal_topics;
use super::live_queries::LiveQueries;
use super::log_loss::{TruncatedLogs, UnconfirmedLosses};
use super::metrics::{Metrics, ThreadMetrics};
use super::pauses::{Hold, PauseError, PausePorts, Pauses, TaskScope};
use super::source_topics::SourceTopics;
use super::task_locks::TaskLocks;
use super::thread_numbers::ThreadNumbers;
use super::topology_agreement::TopologyAgreement;
use crate::error::{Error, Result};
use crate::ports::{Admin, BatchLimit, Clock, RestoreClient, StoreEngine};
use crate::record::TaskId;
use crate::store::mixed::MixedStores;
use crate::task::{Plan, PlanStore};
use crate::topology::{StoreKind, Topology};

/// The world of an instance, as its threads share it.
#[derive(Clone)]
pub struct InstancePorts {
    /// Topics and committed offsets.
    pub admin: Arc<dyn Admin>,
    /// Reads changelogs for tasks that are taken.
    pub restore: Arc<dyn RestoreClient>,
    /// Reads changelogs for standbys: for long, and with little memory.
    pub standby: Arc<dyn RestoreClient>,
    /// Opens stores.
    pub stores: Arc<dyn StoreEngine>,
    /// Time for intervals and back-off.
    pub clock: Arc<dyn Clock>,
    /// Runs what blocks.
    pub executor: Arc<dyn Executor>,
    /// Observer of the steps of a commit.
    pub observer: Arc<dyn StepObserver>,
}

/// State that the threads of a process share. One a process.
pub struct Instance {
    pub(super) config: RuntimeConfig,
    pub(super) plans: Vec<Arc<Plan>>,
    pub(super) ports: InstancePorts,
    pub(super) task_locks: TaskLocks,
    /// The stores that other threads can read.
    pub(super) queries: LiveQueries,
    /// `delete.retention.ms` of each changelog topic: a store idle for longer is rebuilt
    /// (KIP-1259).
    pub(super) changelog_memory: BTreeMap<Arc<str>, Duration>,
    /// The topology that the group's instances agree on.
    pub(super) agreement: TopologyAgreement,
    /// Until when tasks wait for instances that have their state on disk.
    pub(super) grace_ends: Duration,
    /// The source topics, as they were last seen.
    pub(super) sources: SourceTopics,
    /// The parts of the topology that are paused.
    pub(super) pauses: Pauses,
    /// Answers of the brokers about tasks that could not be restored.
    pub(super) unconfirmed_losses: UnconfirmedLosses,
    /// Tasks whose log ended before their commit.
    pub(super) truncated_logs: TruncatedLogs,
    /// When it was last logged that nothing is purged.
    pub(super) no_purge: Mutex<Reminder>,
    /// The most that the brokers take as metadata of a committed offset, in bytes.
    pub(super) metadata_bytes: usize,
    metrics: Arc<Metrics>,
    topics: Vec<String>,
    /// Batch size of the producers. It only ever decreases.
    batches: Mutex<BatchLimit>,
    /// The numbers of its stream threads.
    threads: Mutex<ThreadNumbers>,
    /// How many it was started with.
    first_threads: usize,
    stopping: AtomicBool,
    /// How often the clients were renewed.
    renewals: AtomicU64,
    /// Topics of which what was deleted before it was processed is skipped.
    earliest_available: Mutex<BTreeSet<String>>,
    /// How often somebody has asked for another try of the tasks that are stopped.
    stopped_task_retries: AtomicU64,
    /// Why the threads are to end, where it came up in none of them.
    failure: Mutex<Option<Error>>,
}

impl Instance {
    /// Compares the topology with the group's, checks and makes the topics, and looks everything up
    /// that the threads need. Blocks.
    ///
    /// # Errors
    /// Other instances run another topology, a topic is missing or not as it must be, or the broker
    /// does not answer.
    pub fn new(
        topology: &Topology,
        config: RuntimeConfig,
        threads: usize,
        mut ports: InstancePorts,
    ) -> Result<Arc<Instance>> {
        let metrics = Arc::new(Metrics::new(threads));
        let reads = topology.source_topics().into_iter().map(str::to_owned).collect();
        let agreement = TopologyAgreement::new(&config, reads);
        // Before the topics are looked at: those of another program would only seem to be wrong.
        agreement.at_start(&*ports.admin)?;
        let prepared = internal_topics::prepare(&*ports.admin, topology, &config)?;
        let plans = Plan::all(topology, &config.application_id, &prepared.sizes);
        let in_memory = |store: &&PlanStore| store.options.kind == StoreKind::Memory;
        let in_memory: BTreeSet<String> =
            plans.iter().flat_map(|plan| &plan.stores).filter(in_memory).map(|store| store.name.clone()).collect();
        if !in_memory.is_empty() {
            ports.stores = Arc::new(MixedStores::new(ports.stores, in_memory, metrics.memory_stores()));
        }
        let mut changelog_memory = BTreeMap::new();
        for store in plans.iter().flat_map(|plan| &plan.stores) {
            let settings = ports.admin.topic_config(&store.changelog)?;
            let setting = settings.iter().find(|(name, _)| name == "delete.retention.ms");
            let millis = match setting {
                None => DELETE_RETENTION_MS,
                Some((_, text)) => text.parse().map_err(|_| {
                    Error::Fatal(format!(
                        "topic `{}` has delete.retention.ms=`{text}`, which is not a number of milliseconds: correct it [HS2006]",
                        store.changelog
                    ))
                })?,
            };
            changelog_memory.insert(store.changelog.clone(), Duration::from_millis(millis));
        }
        let sources = SourceTopics::of(&*ports.admin, &plans)?;
        let task_locks = TaskLocks::default();
        let pauses = Pauses::new(&config, metrics.clone(), &plans);
        let earliest_available = Mutex::new(config.earliest_available.clone());
        let mut instance = Instance {
            config,
            plans,
            ports,
            task_locks,
            queries: LiveQueries::default(),
            changelog_memory,
            agreement,
            grace_ends: Duration::ZERO,
            sources,
            pauses,
            unconfirmed_losses: UnconfirmedLosses::default(),
            truncated_logs: TruncatedLogs::default(),
            no_purge: Mutex::default(),
            metadata_bytes: prepared.metadata_bytes,
            metrics,
            topics: prepared.topics,
            batches: Mutex::new(BatchLimit::Bytes(prepared.batch_bytes)),
            threads: Mutex::new(ThreadNumbers::new(threads.max(1))),
            first_threads: threads.max(1),
            stopping: AtomicBool::new(false),
            renewals: AtomicU64::new(0),
            earliest_available,
            stopped_task_retries: AtomicU64::new(0),
            failure: Mutex::new(None),
        };
        instance.grace_ends = instance.note_disk();
        Ok(Arc::new(instance))
    }

    /// Metrics of the threads.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Whether any store is to be kept warm by others than its owner.
    pub fn has_standbys(&self) -> bool {
        self.plans.iter().flat_map(|plan| &plan.stores).any(|store| store.options.standby > 0)
    }

    /// How long the changelogs of all stores of a task still tell a deleted key; `None` where it
    /// has no store.
    pub(super) fn changelog_memory_of(&self, plan: &Plan) -> Option<Duration> {
        plan.stores.iter().filter_map(|store| self.changelog_memory.get(&store.changelog)).min().copied()
    }

    /// All topics that are read or written, each once.
    pub(super) fn topics(&self) -> Vec<String> {
        self.topics.clone()
    }

    /// Batch size of a new producer.
    pub(super) fn batches(&self) -> BatchLimit {
        *self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch of a producer with the limit `refused` was refused: halves the limit, unless another
    /// thread has lowered it already.
    pub(super) fn lower_batches(&self, refused: BatchLimit) -> BatchLimit {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        *batches = batches.min(refused.halved());
        *batches
    }

    pub(super) fn thread_metrics(&self, index: usize) -> Arc<ThreadMetrics> {
        self.metrics.thread(index)
    }

    fn threads(&self) -> MutexGuard<'_, ThreadNumbers> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one more stream thread, which whoever runs the instance starts
    /// ([`Instance::take_requested_thread`]); its number. The group gives it tasks once it has
    /// joined. The memory for uncommitted state is shared out anew among the threads.
    pub fn add_thread(&self) -> usize {
        let number = self.threads().add();
        tracing::info!("stream thread {number} is added to this instance");
        number
    }

    /// Has the stream thread with the highest number commit, leave the group and end; its number,
    /// or `None` where it is the only one, which stays. It leaves as a static member
    /// (`group.instance.id`) too, so others have its tasks at once.
    pub fn remove_thread(&self) -> Option<usize> {
        let number = self.threads().remove()?;
        tracing::info!("stream thread {number} is removed from this instance");
        Some(number)
    }

    /// How many stream threads there are, with those that are to be started or are leaving.
    pub fn thread_count(&self) -> usize {
        self.threads().count()
    }

    /// The number of a stream thread that is to be started now, once for each: those of the start,
    /// and those that were added since.
    pub fn take_requested_thread(&self) -> Option<usize> {
        self.threads().take_requested()
    }

    /// Whether a stream thread is to be started.
    pub fn are_threads_requested(&self) -> bool {
        self.threads().are_requested()
    }

    /// Whether the stream thread of this number is to leave: none takes its place when it has
    /// ended.
    pub fn is_thread_leaving(&self, number: usize) -> bool {
        self.threads().is_leaving(number)
    }

    /// Whether there is a stream thread with this number, or is to be one.
    pub(super) fn has_thread(&self, number: usize) -> bool {
        self.threads().contains(number)
    }

    /// A stream thread with this number was made.
    pub(super) fn thread_started(&self, number: usize) {
        self.threads().started(number);
        self.metrics.thread(number).started();
    }

    /// A stream thread that was to leave has ended, and so has all that bears its number, which
    /// another one may have now.
    pub fn thread_ended(&self, number: usize) {
        self.metrics.thread(number).ended();
        self.threads().ended(number);
    }

    /// Uncommitted state and unsent records of a thread above which it commits at once: a share of
    /// what all threads of the start may have.
    pub(super) fn uncommitted_bytes(&self) -> usize {
        match self.thread_count() {
            count if count == self.first_threads => self.config.uncommitted_bytes,
            count => self.config.uncommitted_bytes.saturating_mul(self.first_threads) / count.max(1),
        }
    }

    /// Asks all threads to commit and stop. Their `run_once` says when they have.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Pauses a part of the topology: no record of it is fetched or processed, and so nothing of it
    /// punctuates, until it is resumed. What is open is committed; the partitions stay assigned,
    /// and standbys go on. With [`RuntimeConfig::control_interval`] it holds in all instances of
    /// the application, each of which acts on it at its next look, and survives their ends. Blocks.
    ///
    /// # Errors
    /// The topology has no such part, or the control log cannot be written.
    pub fn pause(&self, scope: &TaskScope) -> std::result::Result<(), PauseError> {
        self.pauses.pause(scope, &self.pause_ports())
    }

    /// Ends the pause of a part of the topology, and of all parts within it. Blocks.
    ///
    /// # Errors
    /// The topology has no such part, it is paused together with a greater one, or the control log
    /// cannot be written.
    pub fn resume(&self, scope: &TaskScope) -> std::result::Result<(), PauseError> {
        self.pauses.resume(scope, &self.pause_ports())
    }

    /// Drains a part of the topology: all records that are in its sources now are processed and
    /// committed, through to the outputs, and each of its tasks is paused then. Records that come
    /// meanwhile may be processed as well. Blocks until the drain is written; the instances work it
    /// on, and `resume` ends it. Parts of it that are paused already stay where they are.
    ///
    /// # Errors
    /// The topology has no such part, or the control log cannot be written.
    pub fn drain(&self, scope: &TaskScope) -> std::result::Result<(), PauseError> {
        self.pauses.drain(scope, &self.pause_ports())
    }

    pub(super) fn pause_ports(&self) -> PausePorts<'_> {
        let InstancePorts { admin, restore, clock, .. } = &self.ports;
        PausePorts { admin: &**admin, reader: &**restore, clock: &**clock }
    }

    /// All parts of the topology that are held, and how, as of the last look.
    pub fn holds(&self) -> BTreeMap<TaskScope, Hold> {
        self.pauses.all()
    }

    /// The start has made sure that there is room for any metadata; a larger one would be refused
    /// by the broker anyway.
    ///
    /// # Errors
    /// [`Error::Fatal`]
    pub(super) fn check_metadata(&self, task: TaskId, metadata: &str) -> Result<()> {
        if metadata.len() <= self.metadata_bytes {
            return Ok(());
        }
        Err(Error::Fatal(format!(
            "the metadata of a committed offset of task {task} has {} bytes, and the brokers accept {}: raise offset.metadata.max.bytes [HS1026]",
            metadata.len(),
            self.metadata_bytes
        )))
    }

    /// Asks each thread to commit, to leave the group and to end, since its clients were made with
    /// settings that have changed. Another thread with new clients is to take its place; the
    /// instance stays.
    pub fn renew_clients(&self) {
        self.agreement.renewed();
        self.renewals.fetch_add(1, Ordering::Release);
    }

    /// How often [`Instance::renew_clients`] was called. To be read before the clients of a thread
    /// are made ([`super::ThreadPorts::renewal`]).
    pub fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::Acquire)
    }

    /// Accepts that what is gone of a topic is skipped, as
    /// [`RuntimeConfig::earliest_available`] does from the start: tasks that are stopped for it go
    /// on at the first record that is there, with their state kept, at once and without a restart.
    /// It holds for this instance until it ends, or until
    /// [`Instance::withdraw_earliest`] is called, since it would also accept the next loss.
    pub fn accept_earliest(&self, topic: &str) {
        self.earliest_topics().insert(topic.to_owned());
        tracing::info!("what is gone of topic `{topic}` is skipped from now on, as accepted");
        self.stopped_task_retries.fetch_add(1, Ordering::Release);
    }

    /// Takes back what [`Instance::accept_earliest`] or the settings accepted; what was skipped
    /// stays skipped.
    pub fn withdraw_earliest(&self, topic: &str) {
        self.earliest_topics().remove(topic);
    }

    fn earliest_topics(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.earliest_available.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_earliest_accepted(&self, topic: &str) -> bool {
        self.earliest_topics().contains(topic)
    }

    /// Has the tasks that are stopped tried again now, and not only when their wait is over: their
    /// causes are mended. A task whose log ended before its commit goes on by this call alone (or
    /// after a restart), and only if all records are back at their offsets: a log that has grown
    /// again looks the same.
    pub fn retry_stopped_tasks(&self) {
        self.truncated_logs.forget_all();
        self.stopped_task_retries.fetch_add(1, Ordering::Release);
    }

    /// How often [`Instance::retry_stopped_tasks`] was called.
    pub(super) fn stopped_task_retries(&self) -> u64 {
        self.stopped_task_retries.load(Ordering::Acquire)
    }

    /// Has a stream thread end with this error, which came up in work that none of them waits for;
    /// the instance ends with it.
    pub(super) fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
    }

    /// The error that a thread is to end with, once.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the threads were asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(super) fn now(&self) -> Duration {
        self.ports.clock.monotonic()
    }
}

/// Kafka's default for `delete.retention.ms`: a day.
const DELETE_RETENTION_MS: u64 = 86_400_000;
