//! What is done for the log of events now and again: partitions are made ahead, and what retention no longer keeps is dropped.

use std::time::Duration;

use crate::streams::ports::log::Chore;

/// The chores of the mirror of events: partitions of so many months ahead, and retention where it is set.
pub fn upkeep(months_ahead: u32, retention: Option<Duration>) -> Vec<Chore> {
    let make = Chore { function: "make_memory_event_partitions", argument: i64::from(months_ahead) };
    let drop = retention.map(|keep| Chore {
        function: "drop_memory_events_after",
        argument: i64::try_from(keep.as_secs()).unwrap_or(i64::MAX),
    });
    std::iter::once(make).chain(drop).collect()
}
