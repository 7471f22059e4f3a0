//! The named steps of a commit: their order is the protocol. A test can look on, or kill the
//! process, before any of them.

/// A step of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Processors write back what they keep.
    Flush,
    /// The last value of each changed key goes to the changelogs, in key order.
    Changelog,
    /// All records are delivered.
    Drain,
    /// The membership is taken, after the last poll that the records came from.
    Membership,
    /// The offsets join the transaction, with the checkpoint of each task.
    Offsets,
    /// The transaction is committed.
    Commit,
    /// Overlay and position go to the stores, one batch a task.
    Store,
    /// All is done.
    Done,
}

/// The order of a commit.
pub const COMMIT_STEPS: [Step; 8] =
    [Step::Flush, Step::Changelog, Step::Drain, Step::Membership, Step::Offsets, Step::Commit, Step::Store, Step::Done];

impl Step {
    /// The step's name.
    pub fn name(self) -> &'static str {
        match self {
            Step::Flush => "flush",
            Step::Changelog => "changelog",
            Step::Drain => "drain",
            Step::Membership => "membership",
            Step::Offsets => "offsets",
            Step::Commit => "commit",
            Step::Store => "store",
            Step::Done => "done",
        }
    }
}

/// Observer that is called before each step of a commit.
pub trait StepObserver: Send + Sync {
    /// `thread` is about to make `step`.
    fn before(&self, thread: usize, step: Step);
}

/// Looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl StepObserver for NoObserver {
    fn before(&self, _thread: usize, _step: Step) {}
}
