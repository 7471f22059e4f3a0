//! The last record of a node.

use super::liveness::Liveness;
use super::record::NodeRecord;

/// The last record of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredNode {
    /// The record.
    pub record: NodeRecord,
    /// The record's timestamp, in milliseconds since 1970.
    pub record_ms: i64,
}

impl RegisteredNode {
    /// Whether the node is alive, at a time in milliseconds since 1970.
    #[must_use]
    pub fn liveness(&self, now_ms: i64) -> Liveness {
        Liveness::of(&self.record.state, self.record_ms, now_ms)
    }
}
