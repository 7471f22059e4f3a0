//! Metrics of the threads, readable from any other thread: for `/metrics`, `/ready` and the live
//! line.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::TaskStop;
use crate::offset::Offset;
use crate::record::{TaskId, TopicPartition};
use crate::task::Counts;
use crate::task::state::TaskState;

/// Upper bounds of the commit-time histogram's buckets, in milliseconds; one more bucket has no
/// bound.
pub const COMMIT_BUCKETS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 250, 1000, 5000];

/// One thread's counters. Records and bytes count what was processed, also when a transaction was
/// aborted and they came again.
#[derive(Debug, Default)]
pub struct ThreadMetrics {
    records: AtomicU64,
    bytes: AtomicU64,
    commits: AtomicU64,
    aborts: AtomicU64,
    producers_lost: AtomicU64,
    commit_micros: AtomicU64,
    buckets: [AtomicU64; COMMIT_BUCKETS_MS.len() + 1],
    joined: AtomicBool,
    /// Whether it is no member of the group just now, though it has been one.
    is_out: AtomicBool,
    /// It was removed.
    has_ended: AtomicBool,
    progress: Mutex<Progress>,
}

/// How a thread gets on.
#[derive(Debug, Default)]
struct Progress {
    /// When it last committed.
    committed: Option<Duration>,
    /// Since when something waits for a commit; not ended by an abort, after which it is to be done
    /// again.
    uncommitted: Option<Duration>,
    /// Why that was taken back the last time.
    why: Option<String>,
}

/// One thread's counters at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadSnapshot {
    /// Records processed.
    pub records: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions aborted.
    pub aborts: u64,
    /// Producers that failed and were replaced by new ones.
    pub producers_lost: u64,
    /// Time spent in commits, microseconds.
    pub commit_micros: u64,
    /// Commits by time: one count for each of [`COMMIT_BUCKETS_MS`], and one for longer ones; not
    /// cumulative.
    pub buckets: [u64; COMMIT_BUCKETS_MS.len() + 1],
    /// Whether the group has given the thread an assignment (perhaps an empty one).
    pub joined: bool,
    /// Whether it has been a member of the group and is none just now.
    pub is_out: bool,
    /// Whether it was removed: its counters stay, so that none goes back.
    pub has_ended: bool,
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl ThreadMetrics {
    pub(super) fn processed(&self, records: u64, bytes: u64) {
        add(&self.records, records);
        add(&self.bytes, bytes);
    }

    pub(super) fn committed(&self, now: Duration, took: Duration) {
        *lock(&self.progress) = Progress { committed: Some(now), ..Progress::default() };
        let millis = took.as_micros().div_ceil(1000) as u64;
        let bucket = COMMIT_BUCKETS_MS.iter().position(|bound| millis <= *bound).unwrap_or(COMMIT_BUCKETS_MS.len());
        add(&self.commits, 1);
        add(&self.commit_micros, took.as_micros() as u64);
        add(&self.buckets[bucket], 1);
    }

    pub(super) fn aborted(&self) {
        add(&self.aborts, 1);
    }

    pub(super) fn producer_lost(&self) {
        add(&self.producers_lost, 1);
    }

    pub(super) fn set_joined(&self) {
        self.joined.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_out(&self, is_out: bool) {
        self.is_out.store(is_out, Ordering::Relaxed);
    }

    /// A thread of this number begins; one that was removed before has it no longer.
    pub(super) fn started(&self) {
        if self.has_ended.swap(false, Ordering::Relaxed) {
            self.joined.store(false, Ordering::Relaxed);
            self.set_out(false);
        }
    }

    /// The thread was removed, and waits for nothing.
    pub(super) fn ended(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.is_idle();
    }

    /// Something waits for a commit from now on.
    pub(super) fn begun(&self, now: Duration) {
        lock(&self.progress).uncommitted.get_or_insert(now);
    }

    /// The uncommitted work was rolled back and is to be done again.
    pub(super) fn set_back(&self, why: &str) {
        lock(&self.progress).why = Some(why.to_owned());
    }

    /// Nothing waits for a commit any more.
    pub(super) fn is_idle(&self) {
        let mut progress = lock(&self.progress);
        (progress.uncommitted, progress.why) = (None, None);
    }

    /// When the thread last committed, by the instance's clock.
    pub fn last_commit(&self) -> Option<Duration> {
        lock(&self.progress).committed
    }

    /// Since when something waits for a commit, by the instance's clock, and why it was taken back
    /// the last time.
    pub fn uncommitted(&self) -> Option<(Duration, Option<String>)> {
        let progress = lock(&self.progress);
        progress.uncommitted.map(|since| (since, progress.why.clone()))
    }

    /// The counters now.
    pub fn snapshot(&self) -> ThreadSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ThreadSnapshot {
            records: read(&self.records),
            bytes: read(&self.bytes),
            commits: read(&self.commits),
            aborts: read(&self.aborts),
            producers_lost: read(&self.producers_lost),
            commit_micros: read(&self.commit_micros),
            buckets: std::array::from_fn(|at| read(&self.buckets[at])),
            joined: self.joined.load(Ordering::Relaxed),
            is_out: self.is_out.load(Ordering::Relaxed),
            has_ended: self.has_ended.load(Ordering::Relaxed),
        }
    }
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// The thread that has it.
    pub thread: usize,
    /// Its state.
    pub state: TaskState,
    /// Whether it is paused.
    pub is_paused: bool,
    /// The record at which it waits and why, in a sentence, where it needs something of others that
    /// is not there yet.
    pub waits: Option<String>,
    /// Why it was stopped, until it goes on; also while it is tried again.
    pub stopped: Option<Arc<StoppedTaskStatus>>,
    /// The partition that it reads.
    pub source: TopicPartition,
    /// The committed next offset; `None` when nothing was committed yet.
    pub committed: Option<Offset>,
    /// Records behind: 0 at a committed end of the partition, else up to the last record known.
    pub lag: u64,
    /// Changelog records restored so far, and changelog offsets to restore in all.
    pub restored: (u64, u64),
}

/// A task that is stopped while the others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedTaskStatus {
    /// Since when, by the instance's clock.
    pub since: Duration,
    /// The reason, and the ways out.
    pub reason: TaskStop,
}

/// The state of a standby task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandbyStatus {
    /// Changelog offsets behind, of all its stores: 0 at their committed ends, else up to the end
    /// last heard of.
    pub lag: u64,
}

/// How often an instance has met with what it recovers from, or waits out, by itself, since it
/// started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incidents {
    /// Local stores, of standby tasks as well, that could not be used and were rebuilt from their
    /// changelogs (HS3001, HS3003).
    pub rebuilt_stores: u64,
    /// Partitions that the consumer group took from a thread without a revocation: its session had
    /// expired, or it had been fenced.
    pub lost_partitions: u64,
    /// Batches of records that a broker refused for their size, after which they are sent again in
    /// smaller batches (HS1004).
    pub refused_batches: u64,
    /// Hanging transactions that were reported (HS1007): one for each task and offset.
    pub hanging_transactions: u64,
}

/// Metrics of an instance.
#[derive(Debug)]
pub struct Metrics {
    threads: Mutex<BTreeMap<usize, Arc<ThreadMetrics>>>,
    tasks: Mutex<BTreeMap<TaskId, TaskStatus>>,
    restored: AtomicU64,
    memory_stores: Arc<AtomicUsize>,
    standbys: Mutex<BTreeMap<TaskId, StandbyStatus>>,
    standby_records: AtomicU64,
    counters: Mutex<BTreeMap<(&'static str, String), u64>>,
    troubles: Mutex<Vec<String>>,
    hanging_transactions: Mutex<BTreeMap<TaskId, String>>,
    pauses: Mutex<Vec<String>>,
    incidents: Mutex<Incidents>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// Of an instance with this many threads.
    pub fn new(threads: usize) -> Metrics {
        Metrics {
            threads: Mutex::new((0..threads.max(1)).map(|number| (number, Arc::default())).collect()),
            tasks: Mutex::default(),
            restored: AtomicU64::new(0),
            memory_stores: Arc::default(),
            standbys: Mutex::default(),
            standby_records: AtomicU64::new(0),
            counters: Mutex::default(),
            troubles: Mutex::default(),
            hanging_transactions: Mutex::default(),
            pauses: Mutex::default(),
            incidents: Mutex::default(),
        }
    }

    /// The threads' counters, by the number of the thread; also of those that were removed.
    pub fn threads(&self) -> BTreeMap<usize, Arc<ThreadMetrics>> {
        lock(&self.threads).clone()
    }

    /// A thread's counters.
    pub(super) fn thread(&self, number: usize) -> Arc<ThreadMetrics> {
        lock(&self.threads).entry(number).or_default().clone()
    }

    /// All assigned tasks.
    pub fn tasks(&self) -> BTreeMap<TaskId, TaskStatus> {
        lock(&self.tasks).clone()
    }

    /// Processors' counters of committed transactions, by name and label: `dead_letters` by class
    /// among them.
    pub fn counters(&self) -> BTreeMap<(&'static str, String), u64> {
        lock(&self.counters).clone()
    }

    /// Whether every thread has joined the group and every assigned task runs.
    pub fn ready(&self) -> bool {
        let is_awaited = |thread: &ThreadMetrics| {
            !thread.joined.load(Ordering::Relaxed) && !thread.has_ended.load(Ordering::Relaxed)
        };
        let joined = !lock(&self.threads).values().any(|thread| is_awaited(thread));
        joined
            && lock(&self.tasks)
                .values()
                .all(|task| task.state == TaskState::Running && task.stopped.is_none() && task.waits.is_none())
    }

    /// The tasks that are stopped while the others go on.
    pub fn stopped_tasks(&self) -> BTreeMap<TaskId, Arc<StoppedTaskStatus>> {
        lock(&self.tasks).iter().filter_map(|(id, task)| Some((*id, task.stopped.clone()?))).collect()
    }

    /// Whether a lasting trouble of the whole instance says why its calls fail: Kafka cannot be
    /// reached, a topic is gone, a thread cannot commit.
    pub(super) fn explains_failures(&self) -> bool {
        !lock(&self.troubles).is_empty()
    }

    /// Lasting troubles, one sentence each: Kafka cannot be reached, a topic is gone, a thread
    /// cannot commit, records cannot be read, a task is stopped. Empty while all is well.
    pub fn troubles(&self) -> Vec<String> {
        let mut all = lock(&self.troubles).clone();
        all.extend(lock(&self.hanging_transactions).values().cloned());
        all.extend(lock(&self.tasks).values().filter_map(|task| task.waits.clone()));
        all.extend(self.stopped_tasks().into_values().map(|stopped| stopped.reason.to_string()));
        all
    }

    pub(super) fn set_troubles(&self, troubles: Vec<String>) {
        *lock(&self.troubles) = troubles;
    }

    /// Notes why a task cannot read on; `None`: it can.
    pub(super) fn set_hanging_transaction(&self, task: TaskId, what: Option<String>) {
        match what {
            Some(what) => lock(&self.hanging_transactions).insert(task, what),
            None => lock(&self.hanging_transactions).remove(&task),
        };
    }

    /// The parts of the topology that are paused, one sentence each.
    pub fn pauses(&self) -> Vec<String> {
        lock(&self.pauses).clone()
    }

    pub(super) fn set_pauses(&self, pauses: Vec<String>) {
        *lock(&self.pauses) = pauses;
    }

    /// The incidents since the start.
    pub fn incidents(&self) -> Incidents {
        *lock(&self.incidents)
    }

    pub(super) fn add_rebuilt_stores(&self, stores: usize) {
        lock(&self.incidents).rebuilt_stores += stores as u64;
    }

    pub(super) fn add_lost_partitions(&self, partitions: usize) {
        lock(&self.incidents).lost_partitions += partitions as u64;
    }

    pub(super) fn add_refused_batch(&self) {
        lock(&self.incidents).refused_batches += 1;
    }

    pub(super) fn add_hanging_transaction(&self) {
        lock(&self.incidents).hanging_transactions += 1;
    }

    /// Records behind, of all assigned tasks.
    pub fn lag(&self) -> u64 {
        lock(&self.tasks).values().map(|task| task.lag).sum()
    }

    pub(super) fn add(&self, counts: &Counts) {
        let mut counters = lock(&self.counters);
        for (name, label, by) in counts.iter() {
            match counters.get_mut(&(name, label.to_owned())) {
                Some(counter) => *counter += by,
                None => {
                    counters.insert((name, label.to_owned()), by);
                }
            }
        }
    }

    /// Bytes that stores in memory use, about.
    pub fn memory_store_bytes(&self) -> usize {
        self.memory_stores.load(Ordering::Relaxed)
    }

    /// The tasks that this instance stands by for.
    pub fn standbys(&self) -> BTreeMap<TaskId, StandbyStatus> {
        lock(&self.standbys).clone()
    }

    /// Changelog records that went into standbys since the start.
    pub fn standby_records(&self) -> u64 {
        self.standby_records.load(Ordering::Relaxed)
    }

    /// Sets the state of a standby task; `None`: it was closed.
    pub(super) fn set_standby(&self, task: TaskId, status: Option<StandbyStatus>) {
        match status {
            Some(status) => lock(&self.standbys).insert(task, status),
            None => lock(&self.standbys).remove(&task),
        };
    }

    pub(super) fn add_standby_records(&self, records: u64) {
        add(&self.standby_records, records);
    }

    /// Where those bytes are counted.
    pub(super) fn memory_stores(&self) -> Arc<AtomicUsize> {
        self.memory_stores.clone()
    }

    /// Changelog records restored since the start, of all tasks that ever were here.
    pub fn restored_records(&self) -> u64 {
        self.restored.load(Ordering::Relaxed)
    }

    pub(super) fn restored(&self, records: u64) {
        add(&self.restored, records);
    }

    pub(super) fn set_task(&self, task: TaskId, status: TaskStatus) {
        lock(&self.tasks).insert(task, status);
    }

    pub(super) fn change_task(&self, task: TaskId, thread: usize, change: impl FnOnce(&mut TaskStatus)) {
        if let Some(status) = lock(&self.tasks).get_mut(&task).filter(|status| status.thread == thread) {
            change(status);
        }
    }

    /// Forgets a task, unless another thread has it by now.
    pub(super) fn remove_task(&self, task: TaskId, thread: usize) {
        let mut tasks = lock(&self.tasks);
        if tasks.get(&task).is_some_and(|status| status.thread == thread) {
            tasks.remove(&task);
            lock(&self.hanging_transactions).remove(&task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_falls_into_the_bucket_of_its_time() {
        let thread = ThreadMetrics::default();
        for micros in [900, 1000, 1001, 7_000_000] {
            thread.committed(Duration::ZERO, Duration::from_micros(micros));
        }
        let snapshot = thread.snapshot();
        assert_eq!((snapshot.buckets[0], snapshot.buckets[1], snapshot.buckets[10]), (2, 1, 1));
        assert_eq!((snapshot.commits, snapshot.commit_micros), (4, 7_002_901));
    }
}
