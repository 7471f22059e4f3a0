//! Memories of users: how a memory's change reaches its user, across the partitions of two topics,
//! and what a user's snapshot says (docs/semantics.md, section 5, "User snapshot").

pub mod change;
mod snapshot;

pub use change::Change;
pub use snapshot::{AllParts, Heading, Snapshot, SnapshotError, snapshot_id};
