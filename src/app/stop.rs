//! Why a command ended, and with which exit code.

use std::fmt;

use crate::config::problem::Problems;
use crate::edges::cli::exit;

/// The end of a command that did not do what was asked for.
#[derive(Debug)]
pub enum Stop {
    /// The command line or a variable is wrong; nothing was started.
    Usage(String),
    /// The topology file or scripts of it are wrong, here and here; nothing was started.
    Topology(Problems),
    /// It was started and failed, or found something missing.
    Failure(anyhow::Error),
}

impl Stop {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Stop::Usage(_) | Stop::Topology(_) => exit::USAGE,
            Stop::Failure(_) => exit::FAILURE,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Usage(message) => f.write_str(message),
            Stop::Topology(problems) => f.write_str(&problems.summary()),
            // One line: what was being done, then why it failed.
            Stop::Failure(e) => write!(f, "{e:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(e: E) -> Stop {
        Stop::Failure(e.into())
    }
}
