//! The reasons for which a session ends.

use std::fmt;

use streams::error::Error;

use crate::ports::JournalError;

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The time to end in has passed.
    Stopped,
    /// A call to Kafka failed.
    Kafka(Error),
    /// The database could not be asked.
    Journal(JournalError),
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interruption::Stopped => f.write_str("the time to end in has passed"),
            Interruption::Kafka(error) => error.fmt(f),
            Interruption::Journal(error) => error.fmt(f),
        }
    }
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Interruption {
        Interruption::Kafka(error)
    }
}

impl From<JournalError> for Interruption {
    fn from(error: JournalError) -> Interruption {
        Interruption::Journal(error)
    }
}
