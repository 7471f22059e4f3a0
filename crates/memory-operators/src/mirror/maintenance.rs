//! Maintenance of the log of events: nodes are counted, partitions are made ahead, and what
//! retention no longer keeps is dropped.

use std::time::Duration;

use mirror::ports::MaintenanceTask;

const COUNT_EVERY: Duration = Duration::from_secs(30);
const HOURLY: Duration = Duration::from_secs(3600);
/// Offsets of a partition that are counted in one go.
const COUNTED_AT_ONCE: i64 = 1_000_000;

/// The chores of the mirror of events: the nodes' checkpoints, partitions of so many months ahead,
/// and retention where it is set.
pub fn maintenance_tasks(months_ahead: u32, retention: Option<Duration>) -> Vec<MaintenanceTask> {
    let make =
        MaintenanceTask { function: "make_memory_event_partitions", argument: i64::from(months_ahead), every: HOURLY };
    let count = MaintenanceTask { function: "count_memory_nodes", argument: COUNTED_AT_ONCE, every: COUNT_EVERY };
    let drop = retention.map(|keep| MaintenanceTask {
        function: "drop_memory_events_after",
        argument: i64::try_from(keep.as_secs()).unwrap_or(i64::MAX),
        every: HOURLY,
    });
    [make, count].into_iter().chain(drop).collect()
}
