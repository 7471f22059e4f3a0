//! Standbys: an instance keeps copies of the stores of tasks that others own, so that after the
//! failure of an owner only the end of a changelog is restored.
//!
//! A standby writes the very folder that its task would be taken from, by the same steps as a
//! restore: records that were committed, and with each batch the position and checksum that they
//! bring the store to. So nothing has to be known of standbys when a task is taken; what one left
//! is held against the commit like any store. It owns its task in this process
//! ([`super::task_locks`]) and lets go as soon as a stream thread asks for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use super::config::transactional_id;
use super::instance::Instance;
use super::metrics::StandbyStatus;
use super::queries::CommitLookup;
use super::restoration::{
    ChangelogFollower, Holder, RestoreProgress, check_position, checksum_of, find_store_position, offset_behind,
    open_stores,
};
use super::standby_assignment;
use super::task_locks::TaskLock;
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::ports::{GroupMember, StoreBatch, TaskStore};
use crate::record::{RecordBatch, TaskId, TopicPartition};
use crate::store::Checksum;
use crate::store::checkpoint::Position;
use crate::stream_time::StreamTime;
use crate::task::Plan;

/// Bytes of a changelog that are written as one batch, about: little, since a thread may be waiting
/// for the task.
const BATCH_BYTES: usize = 256 << 10;
/// How long it waits where nothing comes.
const IDLE: Duration = Duration::from_millis(50);
/// How long it waits before it opens a standby task again whose store or changelog could not be
/// read.
const RETRY_WAIT: Duration = Duration::from_secs(5);

/// The thread that keeps all standby tasks of an instance up to date.
pub struct StandbyThread {
    instance: Arc<Instance>,
    /// This instance, as its members' client ids name it.
    own: String,
    /// Request to the group, under way in another thread.
    pending_members: Option<Receiver<Result<Option<Vec<GroupMember>>>>>,
    next_refresh: Duration,
    /// The last error.
    problem: Option<String>,
    /// The standby assignment: the tasks to keep standbys of, with the rank of this instance.
    assignment: BTreeMap<TaskId, u32>,
    tasks: BTreeMap<TaskId, StandbyTask>,
    /// [`Instance::renewals`] when the tasks were begun at the earliest.
    renewal: u64,
    /// Tasks that are not begun again before.
    retry_at: BTreeMap<TaskId, Duration>,
    batch: RecordBatch,
    /// Finds out which of their contents were committed, for live queries.
    lookup: CommitLookup,
}

/// A standby task: the stores of a task that another instance owns, kept up to date. Fields are
/// dropped in their order: the store before the ownership.
struct StandbyTask {
    stores: Vec<StandbyStore>,
    db: Box<dyn TaskStore>,
    plan: Arc<Plan>,
    rank: u32,
    /// When the store was last written.
    written_at: Duration,
    _lock: TaskLock,
}

/// A store of a standby task, which follows its changelog.
struct StandbyStore {
    follower: ChangelogFollower,
    /// The end of the changelog that was last heard of.
    end: Offset,
    is_at_end: bool,
}

impl StandbyThread {
    /// Those of an instance; nothing is done before [`StandbyThread::run`].
    pub fn new(instance: &Arc<Instance>) -> StandbyThread {
        let client = transactional_id(&instance.config.application_id, &instance.config.instance_id, 0);
        StandbyThread {
            instance: instance.clone(),
            own: standby_assignment::instance_of(&client).unwrap_or_default().to_owned(),
            pending_members: None,
            next_refresh: Duration::ZERO,
            problem: None,
            assignment: BTreeMap::new(),
            tasks: BTreeMap::new(),
            renewal: instance.renewals(),
            retry_at: BTreeMap::new(),
            batch: RecordBatch::new(),
            lookup: CommitLookup::default(),
        }
    }

    /// Runs until the instance is stopped.
    pub fn run(mut self) {
        while !self.instance.is_stopping() {
            if !self.run_once() {
                self.instance.task_locks.wait_for_request(IDLE);
            }
        }
    }

    /// One turn, which waits for nothing: looks who has what, lets go, begins, reads a little of
    /// each changelog. Whether anything came. What fails is logged and tried again: the threads go
    /// on without standbys, unless the brokers' answer is one that no later try changes.
    pub fn run_once(&mut self) -> bool {
        self.refresh_assignment();
        self.close_unassigned();
        self.reopen_if_renewed();
        self.open_one();
        self.lookup.advance(&self.instance);
        self.read()
    }

    /// Asks for the group when it is time, and takes the answer when it is there.
    fn refresh_assignment(&mut self) {
        let now = self.instance.now();
        let Some(pending_members) = &self.pending_members else {
            if now >= self.next_refresh {
                let (send, answer) = channel();
                let admin = self.instance.ports.admin.clone();
                // Who asked may be gone by then.
                self.instance.ports.executor.run_at_once(Box::new(move || _ = send.send(admin.group_members())));
                self.pending_members = Some(answer);
                self.next_refresh = now + self.instance.config.standby_interval;
            }
            return;
        };
        let answer = match pending_members.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(Error::Retry("the question ended without an answer".to_owned())),
            Ok(answer) => fail_if_fatal(&self.instance, answer),
        };
        self.pending_members = None;
        let problem = match answer {
            Ok(Some(members)) => {
                let plans = self.instance.plans.iter().map(|plan| &**plan);
                self.assignment = standby_assignment::assign_standbys(&self.own, &members, plans);
                let is_ours =
                    |member: &GroupMember| standby_assignment::instance_of(&member.client_id) == Some(&*self.own);
                // Before it has joined the group cannot know it.
                let has_joined = self.instance.metrics().threads().values().any(|thread| thread.snapshot().joined);
                let is_known = !has_joined || members.iter().any(is_ours);
                (!is_known).then(|| {
                    format!("no member of the group has a client id like {}-0 (is one set with -X?)", self.own)
                })
            }
            Ok(None) => self.problem.clone(),
            Err(error) => Some(error.to_string()),
        };
        if let Some(what) = problem.as_ref().filter(|what| self.problem.as_ref() != Some(what)) {
            tracing::warn!(
                code = "HS1011",
                "standby tasks are not assigned anew, since the owners of tasks cannot be seen in the consumer group: {what}"
            );
        }
        self.problem = problem;
    }

    /// Closes the standbys of tasks that this instance owns now, and of those that are assigned to
    /// it no more.
    fn close_unassigned(&mut self) {
        let instance = &self.instance;
        let assignment = &self.assignment;
        if self.tasks.is_empty() {
            return;
        }
        let own = instance.metrics().tasks();
        let is_own = |id: &TaskId| instance.task_locks.is_requested(*id) || own.contains_key(id);
        let gone: Vec<(TaskId, bool)> = (self.tasks.iter())
            .filter(|(id, standby)| is_own(id) || assignment.get(id) != Some(&standby.rank))
            .map(|(id, _)| (*id, is_own(id)))
            .collect();
        for (id, is_own) in gone {
            self.close(id, !is_own && !self.assignment.contains_key(&id));
        }
    }

    /// Ends all tasks when the clients were renewed, since they read with the former ones. They are
    /// begun again where they stand.
    fn reopen_if_renewed(&mut self) {
        let renewals = self.instance.renewals();
        if std::mem::replace(&mut self.renewal, renewals) != renewals {
            let all: Vec<TaskId> = self.tasks.keys().copied().collect();
            all.into_iter().for_each(|id| self.close(id, false));
        }
    }

    /// Closes the store of a task. What of it lies in memory goes as well if it is left for good.
    fn close(&mut self, id: TaskId, for_good: bool) {
        let Some(standby) = self.tasks.remove(&id) else { return };
        tracing::info!(task = %id, "standby task closed");
        self.instance.metrics().set_standby(id, None);
        let StandbyTask { stores, db, _lock, .. } = standby;
        drop((stores, db));
        if for_good {
            self.instance.ports.stores.drop_in_memory(id);
        }
    }

    /// Begins with one task at most, so that letting go does not wait for long.
    fn open_one(&mut self) {
        let now = self.instance.now();
        let own = self.instance.metrics().tasks();
        let is_due = |id: &TaskId| self.retry_at.get(id).is_none_or(|until| now >= *until);
        let mut due = self.assignment.iter().filter(|(id, _)| !self.tasks.contains_key(id) && !own.contains_key(id));
        let Some((&id, &rank)) = due.find(|(id, _)| is_due(id)) else { return };
        // A thread of ours still has it.
        let Some(lock) = self.instance.task_locks.try_lock_standby(id) else { return };
        match self.open(id, rank, lock) {
            Ok(standby) => {
                tracing::info!(task = %id, "standby task opened");
                self.retry_at.remove(&id);
                self.instance.metrics().set_standby(id, Some(standby.status()));
                self.tasks.insert(id, standby);
            }
            Err(error) => self.back_off(id, &error),
        }
    }

    fn back_off(&mut self, id: TaskId, error: &Error) {
        tracing::warn!(
            code = "HS1012",
            task = %id,
            "the standby task cannot be opened or read, and is retried in {} s: {error}",
            RETRY_WAIT.as_secs()
        );
        self.retry_at.insert(id, self.instance.now() + RETRY_WAIT);
    }

    fn open(&self, id: TaskId, rank: u32, lock: TaskLock) -> Result<StandbyTask> {
        let plan = self.instance.plans.iter().find(|plan| plan.subtopology == id.subtopology).cloned();
        let plan = plan.ok_or_else(|| Error::Bug(format!("the topology has no task {id}")))?;
        let mut db = open_stores(&self.instance, id, &plan, Holder::StandbyTask, false)?;
        let kept = plan.stores.iter().enumerate().filter(|(_, store)| store.options.standby > rank);
        let stores = kept.map(|(store, _)| self.open_store(&mut *db, id, &plan, store)).collect::<Result<Vec<_>>>()?;
        Ok(StandbyTask { stores, db, plan, rank, written_at: self.instance.now(), _lock: lock })
    }

    /// Begins to follow the changelog of a store from where its content stands; from the beginning
    /// where it cannot go on from there.
    fn open_store(&self, db: &mut dyn TaskStore, id: TaskId, plan: &Plan, store: usize) -> Result<StandbyStore> {
        let ports = &self.instance.ports;
        let changelog = TopicPartition::new(plan.stores[store].changelog.clone(), id.partition);
        let position = match find_store_position(db, id, store)? {
            Err(damage) => Err(damage),
            Ok(position) => {
                let found = check_position(&self.instance, &changelog, position.changelog_offset);
                fail_if_fatal(&self.instance, found)?.map_or(Ok(position), Err)
            }
        };
        let position = match position {
            Ok(position) => position,
            Err(what) => {
                tracing::warn!(
                    code = "HS3001",
                    task = %id,
                    "a local store of the standby task is rebuilt from its changelog: {what}"
                );
                self.instance.metrics().add_rebuilt_stores(1);
                db.clear(store)?;
                Position::restoring(None, Some(0))
            }
        };
        let checksum = match position.checksum {
            Some(sum) => sum,
            // Left in the midst of a restore.
            None => checksum_of(db, store)?,
        };
        let at = position.changelog_offset;
        let (checksum, stream_time) = (Some(checksum), StreamTime::NONE);
        let progress = RestoreProgress { task: id, store, at, goal: None, checksum, stream_time };
        let follower = ChangelogFollower::open(&*ports.standby, &changelog, progress);
        let follower = fail_if_fatal(&self.instance, follower)?;
        let end = fail_if_fatal(&self.instance, ports.admin.log_range(&changelog))?.end;
        Ok(StandbyStore { follower, end, is_at_end: false })
    }

    /// Reads a little of each changelog.
    fn read(&mut self) -> bool {
        let (ids, mut came): (Vec<TaskId>, _) = (self.tasks.keys().copied().collect(), false);
        for id in ids {
            if self.instance.task_locks.is_standby_requested() || self.instance.is_stopping() {
                return true;
            }
            let Some(standby) = self.tasks.get_mut(&id) else { continue };
            match standby.read(&self.instance, &mut self.batch) {
                Ok(records) => {
                    came |= records > 0;
                    self.instance.metrics().add_standby_records(records);
                    self.instance.metrics().set_standby(id, Some(standby.status()));
                    if standby.is_at_end() && self.instance.queries.are_standbys_read(self.instance.now()) {
                        self.instance.queries.add_candidate(id, &*standby.db, standby.checksums());
                    }
                    if records > 0 {
                        self.instance.note_offsets(id, &standby.plan, standby.offsets());
                    }
                }
                Err(error) => self.close_failed(id, &error),
            }
        }
        came
    }

    fn close_failed(&mut self, id: TaskId, error: &Error) {
        let Some(StandbyTask { stores, db, plan, _lock, .. }) = self.tasks.remove(&id) else { return };
        self.instance.metrics().set_standby(id, None);
        drop((stores, db));
        if matches!(error, Error::Corrupted { .. }) {
            self.instance.forget_state(id, &plan);
            if let Err(error) = self.instance.ports.stores.destroy(id) {
                tracing::warn!(code = "HS3004", task = %id, "the task directory of the standby task cannot be removed: {error}");
            }
        }
        self.back_off(id, error);
    }
}

/// An answer of the brokers. One that nothing but a person can mend (a missing ACL, a topic that is
/// gone) ends the instance, as it would end the task's owner: else it would only be found out when
/// the task is taken, and by then every instance may lack it. What goes wrong with a standby's
/// store ends nothing.
fn fail_if_fatal<T>(instance: &Instance, answer: Result<T>) -> Result<T> {
    if let Err(error) = answer.as_ref()
        && error.is_fatal()
    {
        instance.fail(error.clone());
    }
    answer
}

impl StandbyTask {
    /// Reads what there is, a batch of each store at most; how many records.
    fn read(&mut self, instance: &Instance, batch: &mut RecordBatch) -> Result<u64> {
        let mut records = 0;
        for store in &mut self.stores {
            batch.clear();
            fail_if_fatal(instance, store.follower.poll(BATCH_BYTES, Duration::ZERO, batch))?;
            let mut end = batch.ends().iter().map(|end| end.offset).max();
            if !batch.is_empty() {
                end = store.follower.write(&mut *self.db, batch)?;
                records += batch.len() as u64;
                store.is_at_end = false;
            }
            if let Some(end) = end {
                (store.end, store.is_at_end) = (end, true);
            }
        }
        let now = instance.now();
        if records > 0 {
            self.written_at = now;
        } else if self.is_at_end() && self.is_due(instance, now) {
            self.rewrite_positions()?;
            self.written_at = now;
        }
        Ok(records)
    }

    fn is_at_end(&self) -> bool {
        self.stores.iter().all(|store| store.is_at_end)
    }

    /// Whether it was not written for so long that it would soon be taken for one that was away.
    fn is_due(&self, instance: &Instance, now: Duration) -> bool {
        instance.changelog_memory_of(&self.plan).is_some_and(|memory| now > self.written_at + memory / 4)
    }

    /// Writes the positions again. All that was deleted meanwhile would have been read.
    fn rewrite_positions(&mut self) -> Result<()> {
        let position = |store: &StandbyStore| {
            let RestoreProgress { store, at, checksum, .. } = store.follower.progress();
            (*store, Position::restoring(*at, *checksum).encode())
        };
        let positions: Vec<(usize, Vec<u8>)> = self.stores.iter().map(position).collect();
        let positions = positions.iter().map(|(store, bytes)| (*store, &bytes[..])).collect();
        self.db.apply(&StoreBatch { puts: Vec::new(), positions })
    }

    /// Of the content of the stores that are kept, by index.
    fn checksums(&self) -> Vec<(usize, Checksum)> {
        let checksum = |store: &StandbyStore| {
            let RestoreProgress { store, checksum, .. } = store.follower.progress();
            Some((*store, (*checksum)?))
        };
        self.stores.iter().filter_map(checksum).collect()
    }

    /// The offset of its changelog that each store has reached.
    fn offsets(&self) -> impl Iterator<Item = (usize, Option<Offset>)> {
        self.stores.iter().map(|store| (store.follower.progress().store, store.follower.progress().at))
    }

    fn status(&self) -> StandbyStatus {
        let behind = |store: &StandbyStore| match store.is_at_end {
            true => 0,
            false => store.end.since(offset_behind(store.follower.progress().at)).max(1),
        };
        StandbyStatus { lag: self.stores.iter().map(behind).sum() }
    }
}
