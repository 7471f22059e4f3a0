//! Interruptions of a stream thread's work: why it cannot go on with its transaction as it is.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, TaskStop};
use crate::offset::Offset;
use crate::record::TaskId;

/// A place in the work of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The record at this offset of its source partition.
    Record(Offset),
    /// Its background work, which no record brings about.
    BackgroundWork,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Record(offset) => write!(f, "offset {offset}"),
            Place::BackgroundWork => f.write_str("its background work"),
        }
    }
}

/// The record at which a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordWait {
    /// The offset of the record.
    pub offset: Offset,
    /// The words of the processor.
    pub what: String,
    /// The partition is not fetched before this time; `None` while what was done before the record
    /// is to be committed.
    pub until: Option<Duration>,
}

/// Why the work of a stream thread was interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Interruption {
    /// By an error, whose class says what is to be done.
    Failed(Error),
    /// A task cannot get past this place yet, since something that it needs of others is not
    /// available.
    Waits {
        /// The task.
        task: TaskId,
        /// The place.
        place: Place,
        /// The words of the processor.
        what: String,
    },
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Interruption {
        Interruption::Failed(error)
    }
}

/// A transient error where nothing can be tried again in place: the transaction is aborted and its
/// records come again.
pub(super) fn as_abort(error: Error) -> Error {
    match error {
        Error::Retry(what) => Error::Aborted(what),
        other => other,
    }
}

/// An error that came up in the work of one task: a state that cannot be stops that task alone, and
/// takes nothing of its state.
pub(super) fn of_task(task: TaskId, error: Error) -> Error {
    match error {
        Error::Bug(what) => Error::StopTask(Box::new(TaskStop::of_bug(task, &what))),
        other => other,
    }
}
