//! The fetch state of each assigned task: whether the consumer fetches the task's partition, or the
//! change of it that is due (Kafka's `SubscriptionState` has a fetch state for each partition,
//! too).

/// Whether the consumer fetches the partition of a task, or the change of it that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchState {
    /// It is not fetched.
    Unassigned,
    /// To be assigned at the task's next offset.
    ToAssign,
    /// It is fetched, and its records arrive in the task's order.
    Fetching,
    /// To be sought to the task's next offset; records that arrive before that are dropped.
    ToSeek,
    /// To be taken from the consumer, which fetches it no longer then.
    ToUnassign,
}

impl FetchState {
    /// The state of a task whose partition is to be fetched no longer.
    #[must_use]
    pub fn stopped(self) -> FetchState {
        match self {
            FetchState::Unassigned | FetchState::ToAssign => FetchState::Unassigned,
            FetchState::Fetching | FetchState::ToSeek | FetchState::ToUnassign => FetchState::ToUnassign,
        }
    }

    /// The state of a running task whose partition was stopped, and is to be fetched again.
    #[must_use]
    pub fn resumed(self) -> FetchState {
        match self {
            FetchState::Unassigned | FetchState::ToAssign => FetchState::ToAssign,
            // The consumer has it still, perhaps ahead of the task.
            FetchState::ToUnassign | FetchState::ToSeek => FetchState::ToSeek,
            FetchState::Fetching => FetchState::Fetching,
        }
    }
}
