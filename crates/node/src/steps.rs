//! The named steps of a node at which tests kill its process.

/// The steps. A transaction of the database begins, has the changes of all its requests, is
/// committed, and its requests are answered. It has these steps for each of those who ask for its
/// changes: callers and the expiry of memories (`accept`), the publisher (`mark`), and the
/// followers of Kafka's topics (`apply`). A transaction of Kafka that has events is begun, has all
/// its records delivered, and is committed (`publish`); the events are marked after that.
pub const STEPS: [&str; 15] = [
    "accept.begun",
    "accept.written",
    "accept.committed",
    "accept.answered",
    "publish.begun",
    "publish.sent",
    "publish.committed",
    "mark.begun",
    "mark.written",
    "mark.committed",
    "mark.answered",
    "apply.begun",
    "apply.written",
    "apply.committed",
    "apply.answered",
];

/// The further steps of a process that leaves its incarnation (a copied or a rolled-back folder):
/// it has closed the old incarnation, has registered the next one, and has looked which of the
/// events that wait are published already. After that it writes the others again.
pub const DEPARTURE_STEPS: [&str; 3] = ["leave.closed", "leave.registered", "leave.found"];

/// The part of a process that asks for a change of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Requester {
    Caller,
    Publisher,
    Follower,
}

/// A step of a transaction of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DatabaseStep {
    Begun,
    Written,
    Committed,
    Answered,
}

impl DatabaseStep {
    /// Its name in a transaction with a change that somebody has asked for.
    pub fn name(self, requester: Requester) -> &'static str {
        match (requester, self) {
            (Requester::Caller, DatabaseStep::Begun) => "accept.begun",
            (Requester::Caller, DatabaseStep::Written) => "accept.written",
            (Requester::Caller, DatabaseStep::Committed) => "accept.committed",
            (Requester::Caller, DatabaseStep::Answered) => "accept.answered",
            (Requester::Publisher, DatabaseStep::Begun) => "mark.begun",
            (Requester::Publisher, DatabaseStep::Written) => "mark.written",
            (Requester::Publisher, DatabaseStep::Committed) => "mark.committed",
            (Requester::Publisher, DatabaseStep::Answered) => "mark.answered",
            (Requester::Follower, DatabaseStep::Begun) => "apply.begun",
            (Requester::Follower, DatabaseStep::Written) => "apply.written",
            (Requester::Follower, DatabaseStep::Committed) => "apply.committed",
            (Requester::Follower, DatabaseStep::Answered) => "apply.answered",
        }
    }
}
