//! The snapshot of a store as a live query sees it: rows, the position of their commit, and the
//! errors of asking for it.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::Error;
use crate::offset::{Offset, StartOffset};
use crate::ports::{CHUNK_ENTRIES, ReadError, TaskSnapshot, Visit, end_of_prefix};
use crate::record::TaskId;
use crate::store::checkpoint::{Checkpoint, Position, StoreCheckpoint};
use crate::task::state::TaskState;

/// A question for a snapshot of one store on one partition (Kafka Streams' `StateQueryRequest`).
#[derive(Clone, Copy, Debug)]
pub struct StoreQuery<'q> {
    pub(super) store: &'q str,
    pub(super) partition: i32,
    pub(super) is_active_required: bool,
    pub(super) at_least: Option<Offset>,
}

impl<'q> StoreQuery<'q> {
    /// Of the store with this name, on this partition of its task's source topic; of a standby as
    /// well.
    pub fn new(store: &'q str, partition: i32) -> StoreQuery<'q> {
        StoreQuery { store, partition, is_active_required: false, at_least: None }
    }

    /// Of a task that runs, and of no standby.
    #[must_use]
    pub fn require_active(self) -> StoreQuery<'q> {
        StoreQuery { is_active_required: true, ..self }
    }

    /// Of a commit that covers all records of the source partition below this offset (KIP-796's
    /// position bound).
    #[must_use]
    pub fn at_least(self, source_offset: Offset) -> StoreQuery<'q> {
        StoreQuery { at_least: Some(source_offset), ..self }
    }
}

/// The task or standby whose stores a snapshot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRole {
    /// Of the task itself, as far as this instance knows. One that has lost its membership without
    /// knowing it yet shows an older commit than the new owner: its position tells.
    Active,
    /// Of a standby, which follows the task.
    Standby,
}

/// The commit that a snapshot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPosition {
    /// All records of the source partition below this offset are in the rows, and none other;
    /// `None` before the first commit.
    pub source_offset: Option<Offset>,
    /// The greatest record timestamp up to there, in milliseconds since 1970.
    pub stream_time_ms: Option<i64>,
    /// The offset of the store's last record in its changelog; `None` where it has none.
    pub changelog_offset: Option<Offset>,
}

impl CommitPosition {
    pub(super) fn of(commit: &Checkpoint, store: &StoreCheckpoint) -> CommitPosition {
        CommitPosition::of_position(&Position::at(commit, store))
    }

    pub(super) fn of_position(position: &Position) -> CommitPosition {
        CommitPosition {
            source_offset: position.next_offset.and_then(StartOffset::offset),
            stream_time_ms: position.stream_time.ms(),
            changelog_offset: position.changelog_offset,
        }
    }
}

/// A reason for which a store cannot be read, by what the caller can do (Kafka Streams'
/// `FailureReason`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The topology has no such store: ask for another one.
    #[error("the topology has no store `{store}`")]
    UnknownStore {
        /// The name asked for.
        store: String,
    },
    /// This instance has neither the task nor a standby of the store: ask another instance.
    #[error("this instance has no stores of task {task}: another one has them")]
    NotPresent {
        /// The task of the store.
        task: TaskId,
    },
    /// The task is being restored: ask again, or ask an instance that has a standby.
    #[error("the stores of task {task} are not open (the task is {state}): ask again later")]
    NotRunning {
        /// The task of the store.
        task: TaskId,
        /// Its state.
        state: TaskState,
    },
    /// Only a standby is here, and the active task was asked for: ask another instance.
    #[error("this instance has a standby of task {task} only")]
    NotActive {
        /// The task of the store.
        task: TaskId,
    },
    /// The standby is not known to show a commit just now: ask again in a moment.
    #[error("the standby of task {task} is not known to show a commit yet: ask again in a moment")]
    NotAtCommit {
        /// The task of the store.
        task: TaskId,
    },
    /// The last commit that can be read is older than was asked for: ask again, or ask another
    /// instance.
    #[error("the stores of task {task} do not reach offset {wanted} of its source yet")]
    NotUpToBound {
        /// The task of the store.
        task: TaskId,
        /// The offset that they reach; `None` before the first commit.
        has: Option<Offset>,
        /// The offset asked for.
        wanted: Offset,
    },
    /// The store was closed or emptied while the snapshot was open (the task went to another
    /// instance, is restored again or is rebuilt): ask for a new snapshot.
    #[error("the stores of task {task} were closed: ask for a new snapshot")]
    Closed {
        /// The task of the store.
        task: TaskId,
    },
    /// Too much was written while the snapshot was kept: ask for a new one, and keep it for a
    /// shorter time.
    #[error("the snapshot of the stores of task {task} has expired: ask for a new one")]
    Expired {
        /// The task of the store.
        task: TaskId,
    },
    /// The store cannot be read. The task finds it out as well, and rebuilds it.
    #[error("the stores of task {task} cannot be read: {error}")]
    Failed {
        /// The task of the store.
        task: TaskId,
        /// The error of the store.
        error: Error,
    },
}

impl QueryError {
    pub(super) fn of_read(task: TaskId, error: ReadError) -> QueryError {
        match error {
            ReadError::Closed => QueryError::Closed { task },
            ReadError::Expired => QueryError::Expired { task },
            ReadError::Failed(error) => QueryError::Failed { task, error },
        }
    }
}

/// Result of reading a snapshot.
pub(super) type QueryResult<T> = std::result::Result<T, QueryError>;

/// The committed rows of one store, as one commit left them, for reading from any thread.
///
/// Keep it for as short a time as the reading takes. The stores keep what it shows for as long as
/// it lives; and when the task is closed, each further call answers [`QueryError::Closed`].
#[derive(Clone)]
pub struct StoreSnapshot {
    snapshot: Arc<dyn TaskSnapshot>,
    task: TaskId,
    store: usize,
    role: StoreRole,
    position: CommitPosition,
}

impl StoreSnapshot {
    pub(super) fn new(
        snapshot: Arc<dyn TaskSnapshot>,
        task: TaskId,
        store: usize,
        role: StoreRole,
        position: CommitPosition,
    ) -> StoreSnapshot {
        StoreSnapshot { snapshot, task, store, role, position }
    }

    /// The task whose store it is.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Whether it is the task's own store, or that of a standby.
    pub fn role(&self) -> StoreRole {
        self.role
    }

    /// The commit that it shows.
    pub fn position(&self) -> CommitPosition {
        self.position
    }

    fn failed(&self, error: ReadError) -> QueryError {
        QueryError::of_read(self.task, error)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`QueryError::Closed`], [`QueryError::Expired`], [`QueryError::Failed`].
    pub fn get(&self, key: &[u8]) -> QueryResult<Option<Vec<u8>>> {
        // The empty key is the position's; no row has it.
        if key.is_empty() {
            return Ok(None);
        }
        self.snapshot.get(self.store, key).map_err(|error| self.failed(error))
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    /// As for [`StoreSnapshot::get`].
    pub fn multi_get(&self, keys: &[&[u8]]) -> QueryResult<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(keys.len());
        for part in keys.chunks(CHUNK_ENTRIES) {
            values.extend(self.snapshot.multi_get(self.store, part).map_err(|error| self.failed(error))?);
        }
        for (_, value) in keys.iter().zip(&mut values).filter(|(key, _)| key.is_empty()) {
            *value = None;
        }
        Ok(values)
    }

    /// Calls `visit` with each key that starts with `prefix` (empty: all) and its value, in key
    /// order, until it breaks. However long `visit` takes, the task does not wait for it.
    ///
    /// # Errors
    /// As for [`StoreSnapshot::get`]; the entries before were visited.
    pub fn scan(&self, prefix: &[u8], visit: &mut Visit<'_>) -> QueryResult<()> {
        self.range(prefix, end_of_prefix(prefix).as_deref(), visit)
    }

    /// As [`StoreSnapshot::scan`], of the keys that are at least `start` and below `end` (`None`:
    /// no bound).
    ///
    /// # Errors
    /// As for [`StoreSnapshot::get`]; the entries before were visited.
    pub fn range(&self, start: &[u8], end: Option<&[u8]>, visit: &mut Visit<'_>) -> QueryResult<()> {
        let mut next = Some(start.to_vec());
        while let Some(start) = next {
            let chunk = self.snapshot.entries(self.store, &start, end).map_err(|error| self.failed(error))?;
            for (key, value) in &chunk.entries {
                if visit(key, value) == ControlFlow::Break(()) {
                    return Ok(());
                }
            }
            next = chunk.next;
        }
        Ok(())
    }
}
