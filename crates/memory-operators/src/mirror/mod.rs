//! Content of the mirror's tables (migrations/): the rows that records become, and what `run` says
//! of itself.
//!
//! | item | table | what |
//! |---|---|---|
//! | [`EventRows`] | `memory_events` | every record of the events topic |
//! | [`SnapshotRows`] | `memory_snapshots` | the last record of each key of the snapshots topic |
//! | [`ConflictRows`] | `memory_conflicts` | every record of the conflicts topic |
//! | [`NodeRows`] | `memory_registered_nodes` | the last record of each node on the nodes topic |
//! | [`ResolverSettingsRow`] | `memory_resolver_settings` | what the application resolves with |
//! | [`maintenance_tasks`] | `memory_events` | its partitions, made ahead, and its retention |

mod conflicts;
mod events;
mod maintenance;
mod nodes;
mod outputs;
mod settings;
mod snapshots;
#[cfg(test)]
mod test_cells;

pub use conflicts::ConflictRows;
pub use events::EventRows;
pub use maintenance::maintenance_tasks;
pub use nodes::NodeRows;
pub use settings::ResolverSettingsRow;
pub use snapshots::SnapshotRows;
