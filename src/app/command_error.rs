//! The error that a command ends with, and its exit code.

use std::fmt;

use crate::edges::cli::exit;
use topology_file::problem::Problems;

/// The end of a command that did not do what was asked for.
#[derive(Debug)]
pub enum CommandError {
    /// The command line or a variable is wrong; nothing was started.
    Usage(String),
    /// The topology file or scripts of it are wrong, here and here; nothing was started.
    Topology(Problems),
    /// It was started and failed, or found something missing.
    Failure(anyhow::Error),
    /// It has compared what it was asked to, and found differences.
    Differs(anyhow::Error),
    /// It could not compare what it was asked to.
    NotComparable(anyhow::Error),
}

impl CommandError {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            CommandError::Usage(_) | CommandError::Topology(_) => exit::USAGE,
            CommandError::Failure(_) => exit::FAILURE,
            CommandError::Differs(_) => exit::DIFFERS,
            CommandError::NotComparable(_) => exit::NOT_COMPARABLE,
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Usage(message) => f.write_str(message),
            CommandError::Topology(problems) => f.write_str(&problems.summary()),
            // One line: what was being done, then why it failed.
            CommandError::Failure(e) | CommandError::Differs(e) | CommandError::NotComparable(e) => write!(f, "{e:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for CommandError {
    fn from(e: E) -> CommandError {
        CommandError::Failure(e.into())
    }
}
