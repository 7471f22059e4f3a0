//! Standbys: an instance keeps the stores of tasks that others own warm, so that after an owner's death only a tail is to be restored.
//!
//! A standby writes the very folder that its task would be taken from, by the same steps as a restore: records that were committed, and with each batch
//! the position and checksum that they bring the store to. So nothing has to be known of standbys when a task is taken; what one left is held against
//! the commit like any store. It owns its task in this process ([`super::task_locks`]) and lets go
//! as soon as a stream thread asks for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use super::changelog_reader::{self, RestoreProgress};
use super::config::transactional_id;
use super::instance::Instance;
use super::metrics::StandbyStatus;
use super::placement;
use super::restoration::{check_position, is_stale};
use super::task_locks::TaskLock;
use crate::error::{Error, Result};
use crate::ports::{GroupMember, PartitionStart, RestoreReader, StoreBatch, TaskStore};
use crate::record::{RecordBatch, TaskId, TopicPartition};
use crate::store::cut::Position;
use crate::task::Plan;

/// Bytes of a changelog that are written as one batch, about: little, since a thread may be waiting for the task.
const BATCH_BYTES: usize = 256 << 10;
/// How long it waits where nothing comes.
const IDLE: Duration = Duration::from_millis(50);
/// How long a task rests whose store or changelog could not be read.
const REST: Duration = Duration::from_secs(5);

/// The standbys of an instance, all in one thread.
pub struct Standby {
    instance: Arc<Instance>,
    /// This instance, as its members' client ids name it.
    own: String,
    /// What the group is asked for, under way in another thread.
    looking: Option<Receiver<Result<Option<Vec<GroupMember>>>>>,
    next_look: Duration,
    /// What went wrong the last time.
    complaint: Option<String>,
    /// Tasks to stand by for, and the rank of this instance among those that do.
    wanted: BTreeMap<TaskId, u32>,
    tasks: BTreeMap<TaskId, Warm>,
    /// [`Instance::renewals`] when the tasks were begun at the earliest.
    renewal: u64,
    /// Tasks that are not begun again before.
    rests: BTreeMap<TaskId, Duration>,
    batch: RecordBatch,
}

/// A task that is stood by for. Fields are dropped in their order: the store before the ownership.
struct Warm {
    followed: Vec<Followed>,
    db: Box<dyn TaskStore>,
    plan: Arc<Plan>,
    rank: u32,
    /// When the store was last written.
    written_at: Duration,
    _lock: TaskLock,
}

/// A store that follows its changelog.
struct Followed {
    progress: RestoreProgress,
    reader: Box<dyn RestoreReader>,
    /// The end of the changelog that was last heard of.
    end: i64,
    is_at_end: bool,
}

impl Standby {
    /// Those of an instance; nothing is done before [`Standby::run`].
    pub fn new(instance: &Arc<Instance>) -> Standby {
        let client = transactional_id(&instance.config.application_id, &instance.config.instance_id, 0);
        Standby {
            instance: instance.clone(),
            own: placement::instance_of(&client).unwrap_or_default().to_owned(),
            looking: None,
            next_look: Duration::ZERO,
            complaint: None,
            wanted: BTreeMap::new(),
            tasks: BTreeMap::new(),
            renewal: instance.renewals(),
            rests: BTreeMap::new(),
            batch: RecordBatch::new(),
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

    /// One turn, which waits for nothing: looks who has what, lets go, begins, reads a little of each changelog. Whether anything came. What
    /// fails is logged and tried again: the threads go on without standbys, unless the brokers' answer is one that no later try changes.
    pub fn run_once(&mut self) -> bool {
        self.look();
        self.let_go();
        self.renew();
        self.begin_one();
        self.read()
    }

    /// Asks for the group when it is time, and takes the answer when it is there.
    fn look(&mut self) {
        let now = self.instance.now();
        let Some(looking) = &self.looking else {
            if now >= self.next_look {
                let (send, answer) = channel();
                let admin = self.instance.ports.admin.clone();
                // Who asked may be gone by then.
                self.instance.ports.executor.run_at_once(Box::new(move || _ = send.send(admin.group_members())));
                self.looking = Some(answer);
                self.next_look = now + self.instance.config.standby_interval;
            }
            return;
        };
        let answer = match looking.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(Error::Retry("the question ended without an answer".to_owned())),
            Ok(answer) => told(&self.instance, answer),
        };
        self.looking = None;
        let complaint = match answer {
            Ok(Some(members)) => {
                let plans = self.instance.plans.iter().map(|plan| &**plan);
                self.wanted = placement::standbys(&self.own, &members, plans);
                let is_ours = |member: &GroupMember| placement::instance_of(&member.client_id) == Some(&*self.own);
                // Before it has joined the group cannot know it.
                let has_joined = self.instance.metrics().threads().iter().any(|thread| thread.snapshot().joined);
                let is_known = !has_joined || members.iter().any(is_ours);
                (!is_known).then(|| {
                    format!("no member of the group has a client id like {}-0 (is one set with -X?)", self.own)
                })
            }
            Ok(None) => self.complaint.clone(),
            Err(error) => Some(error.to_string()),
        };
        if let Some(what) = complaint.as_ref().filter(|what| self.complaint.as_ref() != Some(what)) {
            tracing::warn!("standbys cannot tell which tasks are whose: {what}");
        }
        self.complaint = complaint;
    }

    /// Ends what this instance itself is given, and what it is to stand by for no more.
    fn let_go(&mut self) {
        let (instance, wanted) = (&self.instance, &self.wanted);
        if self.tasks.is_empty() {
            return;
        }
        let own = instance.metrics().tasks();
        let is_own = |id: &TaskId| instance.task_locks.is_requested(*id) || own.contains_key(id);
        let gone: Vec<(TaskId, bool)> = (self.tasks.iter())
            .filter(|(id, warm)| is_own(id) || wanted.get(id) != Some(&warm.rank))
            .map(|(id, _)| (*id, is_own(id)))
            .collect();
        for (id, is_own) in gone {
            self.end(id, !is_own && !self.wanted.contains_key(&id));
        }
    }

    /// Ends all tasks when the clients were renewed, since they read with the former ones. They are begun again where they stand.
    fn renew(&mut self) {
        let renewals = self.instance.renewals();
        if std::mem::replace(&mut self.renewal, renewals) != renewals {
            let all: Vec<TaskId> = self.tasks.keys().copied().collect();
            all.into_iter().for_each(|id| self.end(id, false));
        }
    }

    /// Closes the store of a task. What of it lies in memory goes as well if it is left for good.
    fn end(&mut self, id: TaskId, for_good: bool) {
        let Some(warm) = self.tasks.remove(&id) else { return };
        tracing::info!(task = %id, "no longer stood by for");
        self.instance.metrics().set_standby(id, None);
        let Warm { followed, db, _lock, .. } = warm;
        drop((followed, db));
        if for_good {
            self.instance.ports.stores.forget(id);
        }
    }

    /// Begins with one task at most, so that letting go does not wait for long.
    fn begin_one(&mut self) {
        let now = self.instance.now();
        let own = self.instance.metrics().tasks();
        let is_due = |id: &TaskId| self.rests.get(id).is_none_or(|until| now >= *until);
        let mut due = self.wanted.iter().filter(|(id, _)| !self.tasks.contains_key(id) && !own.contains_key(id));
        let Some((&id, &rank)) = due.find(|(id, _)| is_due(id)) else { return };
        // A thread of ours still has it.
        let Some(lock) = self.instance.task_locks.try_lock_standby(id) else { return };
        match self.begin(id, rank, lock) {
            Ok(warm) => {
                tracing::info!(task = %id, "stood by for");
                self.rests.remove(&id);
                self.instance.metrics().set_standby(id, Some(warm.status()));
                self.tasks.insert(id, warm);
            }
            Err(error) => self.rest(id, &error),
        }
    }

    fn rest(&mut self, id: TaskId, error: &Error) {
        tracing::warn!(task = %id, "not stood by for, tried again in {} s: {error}", REST.as_secs());
        self.rests.insert(id, self.instance.now() + REST);
    }

    fn begin(&self, id: TaskId, rank: u32, lock: TaskLock) -> Result<Warm> {
        let plan = self.instance.plans.iter().find(|plan| plan.subtopology == id.subtopology).cloned();
        let plan = plan.ok_or_else(|| Error::Fatal(format!("there is no task {id}")))?;
        let stores = &self.instance.ports.stores;
        if is_stale(&self.instance, id, &plan)? {
            stores.destroy(id)?;
        }
        let mut db = match stores.open(id, &plan.store_names()) {
            Err(Error::Corrupted { what, .. }) => {
                tracing::warn!(task = %id, "its standby store cannot be opened and is begun anew: {what}");
                stores.destroy(id)?;
                stores.open(id, &plan.store_names())?
            }
            other => other?,
        };
        let kept = plan.stores.iter().enumerate().filter(|(_, store)| store.options.standby > rank);
        let followed = kept.map(|(store, _)| self.follow(&mut *db, id, &plan, store)).collect::<Result<Vec<_>>>()?;
        Ok(Warm { followed, db, plan, rank, written_at: self.instance.now(), _lock: lock })
    }

    /// Begins to follow the changelog of a store from where its content stands; from the beginning where it cannot go on from there.
    fn follow(&self, db: &mut dyn TaskStore, id: TaskId, plan: &Plan, store: usize) -> Result<Followed> {
        let ports = &self.instance.ports;
        let changelog = TopicPartition::new(plan.stores[store].changelog.clone(), id.partition);
        let position = match db.position(store)?.map(|bytes| Position::decode(id, &bytes)).transpose() {
            Err(Error::Corrupted { what, .. }) => Err(what),
            other => {
                let position = other?.unwrap_or(Position::restoring(-1, Some(0)));
                told(&self.instance, check_position(&self.instance, &changelog, position.changelog_offset))?
                    .map_or(Ok(position), Err)
            }
        };
        let position = match position {
            Ok(position) => position,
            Err(what) => {
                tracing::warn!(task = %id, "its standby store is begun anew: {what}");
                db.clear(store)?;
                Position::restoring(-1, Some(0))
            }
        };
        let checksum = match position.checksum {
            Some(sum) => sum,
            // Left in the midst of a restore.
            None => changelog_reader::checksum_of(db, store)?,
        };
        let at = position.changelog_offset;
        let start = if at < 0 { PartitionStart::BEGINNING } else { at + 1 };
        let reader = told(&self.instance, ports.standby.open(&changelog, start))?;
        let end = told(&self.instance, ports.admin.log_range(&changelog))?.end;
        let progress = RestoreProgress::new(id, store, at, i64::MAX, Some(checksum));
        Ok(Followed { progress, reader, end, is_at_end: false })
    }

    /// Reads a little of each changelog.
    fn read(&mut self) -> bool {
        let (ids, mut came): (Vec<TaskId>, _) = (self.tasks.keys().copied().collect(), false);
        for id in ids {
            if self.instance.task_locks.is_standby_requested() || self.instance.is_stopping() {
                return true;
            }
            let Some(warm) = self.tasks.get_mut(&id) else { continue };
            match warm.read(&self.instance, &mut self.batch) {
                Ok(records) => {
                    came |= records > 0;
                    self.instance.metrics().stood_by(records);
                    self.instance.metrics().set_standby(id, Some(warm.status()));
                }
                Err(error) => self.failed(id, &error),
            }
        }
        came
    }

    fn failed(&mut self, id: TaskId, error: &Error) {
        let Some(Warm { followed, db, _lock, .. }) = self.tasks.remove(&id) else { return };
        self.instance.metrics().set_standby(id, None);
        drop((followed, db));
        if matches!(error, Error::Corrupted { .. })
            && let Err(error) = self.instance.ports.stores.destroy(id)
        {
            tracing::warn!(task = %id, "its standby store cannot be removed: {error}");
        }
        self.rest(id, error);
    }
}

/// An answer of the brokers. One that nothing but a person can mend (a missing ACL, a topic that is gone) ends the instance, as it would end the
/// task's owner: else it would only be found out when the task is taken, and by then every instance may lack it. What goes wrong with a
/// standby's store ends nothing.
fn told<T>(instance: &Instance, answer: Result<T>) -> Result<T> {
    if let Err(error @ Error::Fatal(_)) = &answer {
        instance.fail(error.clone());
    }
    answer
}

impl Warm {
    /// Reads what there is, a batch of each store at most; how many records.
    fn read(&mut self, instance: &Instance, batch: &mut RecordBatch) -> Result<u64> {
        let mut records = 0;
        for followed in &mut self.followed {
            batch.clear();
            told(instance, followed.reader.poll(BATCH_BYTES, Duration::ZERO, batch))?;
            let end = batch.ends().iter().map(|end| end.offset).max();
            if !batch.is_empty() {
                changelog_reader::apply_batch(&mut *self.db, &mut followed.progress, batch, end.unwrap_or(-1))?;
                records += batch.len() as u64;
                followed.is_at_end = false;
            }
            if let Some(end) = end {
                (followed.end, followed.is_at_end) = (end, true);
            }
        }
        let now = instance.now();
        if records > 0 {
            self.written_at = now;
        } else if self.is_at_end() && self.is_due(instance, now) {
            self.touch()?;
            self.written_at = now;
        }
        Ok(records)
    }

    fn is_at_end(&self) -> bool {
        self.followed.iter().all(|followed| followed.is_at_end)
    }

    /// Whether it was not written for so long that it would soon be taken for one that was away.
    fn is_due(&self, instance: &Instance, now: Duration) -> bool {
        instance.changelog_memory_of(&self.plan).is_some_and(|memory| now > self.written_at + memory / 4)
    }

    /// Writes the positions again. All that was deleted meanwhile would have been read.
    fn touch(&mut self) -> Result<()> {
        let position = |followed: &Followed| {
            let RestoreProgress { store, at, checksum, .. } = followed.progress;
            (store, Position::restoring(at, checksum).encode())
        };
        let positions: Vec<(usize, Vec<u8>)> = self.followed.iter().map(position).collect();
        let positions = positions.iter().map(|(store, bytes)| (*store, &bytes[..])).collect();
        self.db.apply(&StoreBatch { puts: Vec::new(), positions })
    }

    fn status(&self) -> StandbyStatus {
        let behind = |followed: &Followed| match followed.is_at_end {
            true => 0,
            false => (followed.end - followed.progress.at - 1).max(1) as u64,
        };
        StandbyStatus { lag: self.followed.iter().map(behind).sum() }
    }
}
