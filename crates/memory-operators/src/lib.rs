//! Where the domain meets the engine: the operators that topology files name, as processors.
//!
//! | operator | processor | reads | emits |
//! |---|---|---|---|
//! | `decode` | [`Decode`] | records of the events topic | compact events keyed by memory |
//! | `resolve` | [`Resolve`] | compact events | resolved memories, conflict records, changes of users' memories |
//! | `user_snapshots` | [`UserSnapshots`] | changes of users' memories | user snapshots |
//!
//! Each output goes to all its target nodes, in the format that is set for each ([`Encoder`]): our
//! JSON, HelixAgent's, Avro. [`settlement`] builds the event by which a person or a program ends a
//! conflict. [`mirror`] builds the rows of `memory_events` out of the same records.
//! [`MemoryAuditRules`] tell an audit what of all this background work makes.

mod audit;
mod avro;
mod decode;
mod encode;
mod helixagent;
pub mod inspect;
pub mod mirror;
mod resolve;
pub mod settlement;
mod shipped;
mod source_headers;
mod users;

pub use audit::MemoryAuditRules;
pub use avro::{AvroOutputs, no_registry};
pub use decode::{Decode, STATELESS_EVENTS, UNKNOWN_TYPES};
pub use encode::{Encoder, Output, Written};
pub use helixagent::HelixAgent;
pub use resolve::{CONFLICTS, FORGOTTEN, RESOLVED, Resolve, ResolveOptions, SUPERSEDED, SYNCS, UNCHANGED};
pub use shipped::{MemoryEnvironment, specs};
pub use users::{USER_SNAPSHOTS, UserOptions, UserSnapshots};
