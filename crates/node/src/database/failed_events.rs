//! Events of this node that have failed: the reason that is kept, and the line of the log.

/// The longest reason of a failure that is kept, in bytes. Any producer can choose the text.
const MAX_REASON: usize = 1000;

/// The part of a reason that is kept.
pub(super) fn kept_reason(reason: &str) -> &str {
    reason.split_at(reason.floor_char_boundary(MAX_REASON)).0
}

/// An event of this node that was marked as failed, for the log.
pub(super) struct FailedEvent {
    pub memory_id: String,
    pub event_id: String,
    pub reason: String,
}

impl FailedEvent {
    /// Writes the line of the log, after the commit: a transaction that is rolled back is done
    /// again, and would log it twice.
    pub(super) fn log(&self) {
        let FailedEvent { memory_id, event_id, reason } = self;
        tracing::warn!(
            code = "HS8120",
            memory = memory_id,
            event = event_id,
            "an event of this node is now shown as failed: {reason}; mend the cause and write the memory again"
        );
    }
}
