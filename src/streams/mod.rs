//! The engine: Kafka Streams' core (topology, tasks, stores, changelogs, commits). It knows no memories.
//!
//! | module | what it is |
//! |---|---|
//! | [`record`] | records as they come and go, and the batch that a poll fills |
//! | [`ports`] | what the engine needs of the world, as small traits |
//! | [`error`] | errors by remedy |

pub mod error;
pub mod ports;
pub mod record;
