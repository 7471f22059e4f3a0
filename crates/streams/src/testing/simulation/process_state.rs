//! The state of a simulated process, and of the place where an instance runs.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::runtime::{Instance, RuntimeConfig};

/// The number of a process; a process that is started again has another number.
pub(super) type ProcessId = usize;

/// A process: an instance of the application.
pub(super) struct Process {
    /// The slot (machine and instance id) that it runs in.
    pub slot: usize,
    pub is_alive: bool,
    /// It is to be killed as soon as the scheduler is at work again.
    pub is_doomed: bool,
    /// None of its threads runs before.
    pub frozen_until: Duration,
    /// None of its requests gets through before.
    pub cut_until: Duration,
    /// Time by which its clock has jumped.
    pub clock_offset: Duration,
    /// Jobs that have a place.
    pub working: usize,
    /// Its instance, once it was made.
    pub instance: Option<Arc<Instance>>,
    pub running_threads: usize,
    /// The error that ended one of its threads.
    pub error: Option<Error>,
    /// It has ended by itself.
    pub has_ended: bool,
    /// The last port that it called, for the coverage.
    pub doing: &'static str,
}

impl Process {
    pub fn new(slot: usize) -> Process {
        Process {
            slot,
            is_alive: true,
            is_doomed: false,
            frozen_until: Duration::ZERO,
            cut_until: Duration::ZERO,
            clock_offset: Duration::ZERO,
            working: 0,
            instance: None,
            running_threads: 0,
            error: None,
            has_ended: false,
            doing: "starting",
        }
    }
}

/// An instance's place: its machine, its id, and how it is started.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    pub threads: usize,
    pub config: RuntimeConfig,
    /// Whether its supervisor is to keep a process running.
    pub is_to_run: bool,
    /// Its instance id is another one's.
    pub is_double: bool,
    /// Its instance runs another topology than the others.
    pub is_stranger: bool,
    pub process: Option<ProcessId>,
}
