//! The stores of an instance that other threads can read, and the commits that they show.
//!
//! A task that runs has nothing in its stores but what was committed, so any snapshot of them shows
//! a commit. The stores of a standby are mostly somewhere between two commits. What they hold at
//! the end of their changelogs is kept as a snapshot, and shown only once the group's coordinator
//! has named a commit with just these checksums. So that nobody pays for it who does not read,
//! this is done for as long as standbys are asked for ([`WANTED_FOR`]).
//!
//! Nobody withdraws a store: its snapshots end when the database is closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::store_snapshot::{CommitPosition, QueryError, QueryResult, StoreRole, StoreSnapshot};
use crate::planted::PlantedBug;
use crate::ports::{SnapshotSource, TaskSnapshot, TaskStore};
use crate::record::TaskId;
use crate::store::Checksum;
use crate::store::checkpoint::{Checkpoint, Position, StoreCheckpoint};
use crate::task::Task;

/// For so long after a query of a standby its commits are looked for.
const WANTED_FOR: Duration = Duration::from_secs(60);

/// The stores of an instance that can be read.
#[derive(Default)]
pub(super) struct LiveQueries {
    tasks: Mutex<BTreeMap<TaskId, Readable>>,
    /// When a standby was last asked for.
    standby_read_at: Mutex<Option<Duration>>,
}

/// The stores of a task that can be read.
enum Readable {
    Active {
        source: Arc<dyn SnapshotSource>,
        /// The commit that the stores were brought to before the task ran.
        restored: Checkpoint,
    },
    Standby {
        /// The content that was found at the end of the changelogs last.
        candidate: Candidate,
        /// Content that is known to be that of a commit.
        committed: Option<CommittedSnapshot>,
    },
}

/// The content of a standby at the end of its changelogs.
#[derive(Clone)]
struct Candidate {
    snapshot: Arc<dyn TaskSnapshot>,
    /// Of the stores that the standby keeps, by index.
    checksums: Vec<(usize, Checksum)>,
}

/// A snapshot that shows a commit.
#[derive(Clone)]
struct CommittedSnapshot {
    snapshot: Arc<dyn TaskSnapshot>,
    checksums: Vec<(usize, Checksum)>,
    commit: Checkpoint,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LiveQueries {
    /// From now on this can be read of a task. Its predecessor is dropped without the lock.
    fn insert(&self, id: TaskId, readable: Readable) {
        let replaced = lock(&self.tasks).insert(id, readable);
        drop(replaced);
    }

    /// A task runs from now on: its stores can be read for as long as they are open.
    pub fn add_active(&self, task: &Task) {
        let Some(db) = task.db() else { return };
        let readable = Readable::Active { source: db.snapshots(), restored: task.last_checkpoint().clone() };
        self.insert(task.id(), readable);
    }

    /// A standby has read the changelogs of these stores, by index, to their ends, and they have
    /// these checksums.
    pub fn add_candidate(&self, id: TaskId, db: &dyn TaskStore, checksums: Vec<(usize, Checksum)>) {
        let known = match lock(&self.tasks).get(&id) {
            Some(Readable::Standby { candidate, committed }) if candidate.snapshot.is_open() => {
                if candidate.checksums == checksums {
                    return;
                }
                committed.clone()
            }
            _ => None,
        };
        let Ok(snapshot) = db.snapshots().take() else { return };
        // What counts is what the snapshot itself says: a store may be written later than this.
        if checksums.iter().all(|(store, sum)| checksum_in(id, &*snapshot, *store) == Some(*sum)) {
            self.insert(id, Readable::Standby { candidate: Candidate { snapshot, checksums }, committed: known });
        }
    }

    /// A snapshot of a store of a task that runs; `None` where it does not.
    ///
    /// # Errors
    /// Those of reading it; [`QueryError::NotAtCommit`] where it shows no commit.
    pub fn active(&self, task: TaskId, store: usize) -> QueryResult<Option<StoreSnapshot>> {
        let (source, restored) = match lock(&self.tasks).get(&task) {
            Some(Readable::Active { source, restored }) => (source.clone(), restored.clone()),
            _ => return Ok(None),
        };
        let Ok(snapshot) = source.take() else { return Ok(None) };
        let position = active_position(task, &*snapshot, store, &restored)?;
        Ok(Some(StoreSnapshot::new(snapshot, task, store, StoreRole::Active, position)))
    }

    /// The last snapshot of a standby's store that is known to show a commit. From now on later
    /// ones are looked for.
    ///
    /// # Errors
    /// [`QueryError::NotPresent`] where the standby does not keep the store,
    /// [`QueryError::NotAtCommit`] where no commit is known.
    pub fn standby(&self, task: TaskId, store: usize, now: Duration) -> QueryResult<StoreSnapshot> {
        *lock(&self.standby_read_at) = Some(now);
        match lock(&self.tasks).get(&task) {
            Some(Readable::Standby { candidate, .. }) if !candidate.checksums.iter().any(|(at, _)| *at == store) => {
                Err(QueryError::NotPresent { task })
            }
            Some(Readable::Standby { committed: Some(CommittedSnapshot { snapshot, commit, .. }), .. })
                if snapshot.is_open() =>
            {
                let position = CommitPosition::of(commit, &commit.stores[store]);
                Ok(StoreSnapshot::new(snapshot.clone(), task, store, StoreRole::Standby, position))
            }
            _ => Err(QueryError::NotAtCommit { task }),
        }
    }

    /// Whether somebody has asked for a standby lately.
    pub fn are_standbys_read(&self, now: Duration) -> bool {
        lock(&self.standby_read_at).is_some_and(|asked| now < asked + WANTED_FOR)
    }

    /// Nobody asks for standbys: the stores need not keep what a snapshot shows.
    pub fn forget_standbys(&self) {
        if lock(&self.standby_read_at).take().is_some() {
            let is_standby = |_: &TaskId, readable: &mut Readable| matches!(readable, Readable::Standby { .. });
            let forgotten: Vec<_> = lock(&self.tasks).extract_if(.., is_standby).collect();
            drop(forgotten);
        }
    }

    /// The standbys whose content may be that of a commit. One that is known to be so is among
    /// them: a later commit may have changed nothing but the offset.
    pub fn candidates(&self) -> Vec<TaskId> {
        let is_open = |readable: &Readable| match readable {
            Readable::Active { .. } => false,
            Readable::Standby { candidate, .. } => candidate.snapshot.is_open(),
        };
        lock(&self.tasks).iter().filter(|(_, readable)| is_open(readable)).map(|(id, _)| *id).collect()
    }

    /// The group's last commit of a standby's task: what has its checksums shows that commit.
    pub fn confirm(&self, id: TaskId, commit: Checkpoint) {
        let mut tasks = lock(&self.tasks);
        let Some(Readable::Standby { candidate, committed }) = tasks.get_mut(&id) else { return };
        let is_of = |checksums: &[(usize, Checksum)]| {
            checksums.iter().all(|(store, sum)| commit.stores.get(*store).is_some_and(|at| at.checksum == *sum))
        };
        if !is_of(&candidate.checksums) && !PlantedBug::UnconfirmedStandbyRead.is_planted() {
            return;
        }
        // An answer that was overtaken by a later one takes nothing back.
        let is_former = |committed: &CommittedSnapshot| {
            committed.snapshot.is_open()
                && is_of(&committed.checksums)
                && committed.commit.next_offset > commit.next_offset
        };
        if !committed.as_ref().is_some_and(is_former) {
            let (snapshot, checksums) = (candidate.snapshot.clone(), candidate.checksums.clone());
            let replaced = committed.replace(CommittedSnapshot { snapshot, checksums, commit });
            drop(tasks);
            drop(replaced);
        }
    }
}

/// The checksum of a store, as it lies beside its rows.
fn checksum_in(task: TaskId, snapshot: &dyn TaskSnapshot, store: usize) -> Option<Checksum> {
    match snapshot.get(store, &[]).ok()? {
        None => Some(0),
        Some(bytes) => Position::decode(task, &bytes).ok()?.checksum,
    }
}

/// The position of a store of a task that runs, as it lies in the snapshot beside the rows. Until
/// the first commit of the task the store may have the position that a standby has written, which
/// names no commit, or that of an earlier commit, since which only the offset has moved: it is then
/// at the commit that the task was restored to, if it has the checksum.
fn active_position(
    task: TaskId,
    snapshot: &dyn TaskSnapshot,
    store: usize,
    restored: &Checkpoint,
) -> QueryResult<CommitPosition> {
    let failed = |error| QueryError::Failed { task, error };
    let bytes = snapshot.get(store, &[]).map_err(|error| QueryError::of_read(task, error))?;
    let position = bytes.as_deref().map(|bytes| Position::decode(task, bytes)).transpose().map_err(failed)?;
    let at = restored.stores.get(store).copied().unwrap_or(StoreCheckpoint::EMPTY);
    if PlantedBug::QueryPositionOfRestore.is_planted() {
        return Ok(CommitPosition::of(restored, &at));
    }
    let is_later = |position: &Position| !position.is_restoring() && position.next_offset >= Some(restored.next_offset);
    match position {
        Some(position) if is_later(&position) => Ok(CommitPosition::of_position(&position)),
        Some(Position { checksum: Some(checksum), .. }) if checksum == at.checksum => {
            Ok(CommitPosition::of(restored, &at))
        }
        Some(position) if !position.is_restoring() => Ok(CommitPosition::of_position(&position)),
        None if at.checksum == 0 => Ok(CommitPosition::of(restored, &at)),
        _ => Err(QueryError::NotAtCommit { task }),
    }
}
