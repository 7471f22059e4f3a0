//! Errors by remedy, not by origin: an edge says what has to be done about an error, and the
//! runtime does just that.
//!
//! The table is the one of ARCHITECTURE.md ("Errors by remedy").

mod task_stop;

pub use task_stop::{TaskStop, WayOut};

use super::record::{TaskId, TopicPartition};

/// An error, named after its remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Transient, in the client's own words: the same call again, with back-off, until
    /// `task.timeout`. Of a processor: its task goes back to the last commit and rests between
    /// tries.
    #[error("{0}")]
    Retry(String),
    /// The transaction failed and the thread is still a member: abort, drop what is not committed,
    /// re-read from the last commit.
    #[error("the transaction failed: {0}")]
    Aborted(String),
    /// The producer is fenced, failed for good, or the outcome of a commit is unknown: a new
    /// producer, offsets from the broker.
    #[error("the producer is lost: {0}")]
    ProducerLost(String),
    /// Another producer with the same transactional id has started, or the transaction took longer
    /// than its timeout: a new producer, as for one that is lost.
    #[error("the producer is fenced: {0}")]
    Fenced(String),
    /// The broker refuses a batch for its size, and which of its records is too large by itself, if
    /// any, is not known: a new producer, which sends them again in smaller batches.
    #[error("a batch of records was refused: {0}")]
    BatchTooLarge(String),
    /// The membership is lost: close without a write and rejoin.
    #[error("the membership is lost: {0}")]
    Migrated(String),
    /// The consumer has failed for good, as a static member does that another one has fenced: it
    /// never joins the group again. Close without a write; another thread with a new consumer takes
    /// the place of this one.
    #[error("the consumer is lost: {0}")]
    ConsumerLost(String),
    /// A store is unreadable, or its position or checksum is wrong: rebuild this task alone.
    #[error("the local store of task {task} cannot be used: {what} [HS3001]")]
    Corrupted {
        /// The task whose store it is.
        task: TaskId,
        /// Description of the damage.
        what: String,
    },
    /// The next record of a task is not in its log, by the answer to a fetch: restore this task
    /// again, which finds out whether it was lost.
    #[error("the offset to go on at is not in the log of {partition}: {what} [HS1020]")]
    OffsetOutOfRange {
        /// The partition that the task reads.
        partition: TopicPartition,
        /// The client's own words.
        what: String,
    },
    /// A task cannot go on without a decision of an operator, or before somebody has mended its
    /// log: stop this task alone and try it again now and then.
    #[error("{0}")]
    StopTask(Box<TaskStop>),
    /// The broker or the client refuses one record, for its size or as invalid: it goes to the dead
    /// letters with topic, key and size.
    #[error("a record was refused: {0}")]
    Record(String),
    /// The broker refuses the time of one record: as for [`Error::Record`], but with another time
    /// it may be accepted.
    #[error("the time of a record was refused: {0}")]
    RecordTime(String),
    /// The group's instances run another topology than this one, which has not joined it: do not
    /// start.
    #[error("{0}")]
    Disagreement(String),
    /// Authorisation, a topic gone, a setting refused: stop. The message says what is wrong and
    /// what to do, and ends with its code.
    #[error("{0}")]
    Fatal(String),
    /// A state that cannot be, so this program is wrong: stop, as for [`Error::Fatal`].
    #[error("{0}; this is a bug of helixstream, please report it [HS9000]")]
    Bug(String),
}

impl Error {
    /// Whether nothing but the end of the instance remedies it.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Error::Fatal(_) | Error::Bug(_))
    }
}

/// Ends a message with the code of its entry in docs/operations.md, unless it ends with one
/// already: a message that goes through several hands keeps the code of its cause.
pub fn with_code(message: String, code: &str) -> String {
    let has_code = message.rsplit_once(" [HS").is_some_and(|(_, end)| {
        end.len() == 5 && end.ends_with(']') && end.bytes().take(4).all(|byte| byte.is_ascii_digit())
    });
    if has_code { message } else { format!("{message} [{code}]") }
}

/// The engine's result.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_the_code_of_its_cause() {
        assert_eq!(with_code("no topic".to_owned(), "HS2004"), "no topic [HS2004]");
        assert_eq!(with_code("no topic [HS2004]".to_owned(), "HS2002"), "no topic [HS2004]");
        assert_eq!(with_code("a list [HS20]".to_owned(), "HS2002"), "a list [HS20] [HS2002]");
    }
}
