//! The nodes' own records on the compacted topic `helixagent.memory.nodes`: who writes memories,
//! how far each has published, and whether it is alive.
//!
//! The key of a record is the actor, and its value is one JSON object. A node writes its record in
//! each of its transactions, together with the events that it publishes: so a start reads there,
//! read committed, what was published, and needs not search the events. Every node follows the
//! topic, too, and shows the others.

mod directory;
mod liveness;
mod nodes_topic;
mod record;
mod registered_node;

pub(crate) use directory::NodeUpdate;
pub use directory::{MAX_UNREADABLE, NodeDirectory};
pub use liveness::{FAILED_AFTER, HEARTBEAT_INTERVAL, Liveness, MISSED_HEARTBEATS, now_ms};
pub use nodes_topic::NodesTopic;
pub(crate) use nodes_topic::Registered;
pub use record::{NodeRecord, NodeRole, NodeState, UnreadableRecord};
pub use registered_node::RegisteredNode;
