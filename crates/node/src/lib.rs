//! A node of the distributed memory. It runs beside an agent, accepts the agent's writes into one
//! SQLite file, publishes them to Kafka as events, and shows the resolved memories that helixstream
//! publishes.
//!
//! ```text
//!            write                                    read
//!              │                                        ▲
//!   ┌──────────▼────────────────────────────────────────┴──────────┐
//!   │ one transaction: counter, event, view     view = resolved    │
//!   │ node.db (SQLite, WAL, synchronous=FULL)   memory + own       │
//!   │                                           pending events     │
//!   └──────────┬────────────────────────────────────────▲──────────┘
//!              │ publisher: Kafka transactions          │ follower: read committed
//!   helixagent.memory.events ──► helixstream run ──► helixagent.memory.snapshots
//! ```
//!
//! Three rules make a node safe, whatever is killed or copied (docs/semantics.md, section 2):
//!
//! - The writer of an event is an [`actor::Actor`]: the name that the operator has chosen, and an
//!   incarnation, which is random and lies beside the counter on disk. A folder that is lost,
//!   copied or restored from a backup leads to a new incarnation, so no actor uses a counter twice.
//! - The clock of an event is what its caller has seen of that memory, and the event's own counter.
//!   A write that has not seen an earlier one of the same actor is refused, or written by a branch.
//! - An event is sent with the same bytes on every try, so a repetition changes nothing.

pub mod actor;
mod back_off;
pub mod changes;
pub mod clock_token;
mod database;
pub mod expiry;
pub mod expiry_timer;
pub mod follower;
pub mod history;
pub mod hybrid_clock;
pub mod kafka;
pub mod loops;
#[cfg(test)]
mod memory_journal;
#[cfg(test)]
mod memory_kafka;
pub mod node;
mod overlay;
pub mod ports;
pub mod publisher;
pub mod registry;
mod resolved_state;
pub mod restore;
pub mod search;
pub mod settings;
pub mod shown;
pub mod steps;
mod stop_signal;
pub mod sync;
pub mod taken_snapshot;
pub mod write;

pub use node::Node;
pub use settings::{NodeError, NodeSettings, Subscription};
