//! The engine: Kafka Streams' core (topology, tasks, stores, changelogs, commits). It knows no memories.
//!
//! | module | what it is |
//! |---|---|
//! | [`record`] | records as they come and go, and the batch that a poll fills |
//! | [`topology`] | what a program is made of: sources, processors, repartition topics, stores, sinks |
//! | [`processor`] | what a program writes: a [`processor::Processor`] over its [`processor::Context`] |
//! | [`task`] | one sub-topology on one partition: runs records, knows its state, goes back to its last commit |
//! | [`store`] | uncommitted state above a database, and what a commit says about it |
//! | [`runtime`] | what polls, processes, commits, rebalances and restores, over the ports alone |
//! | [`driver`] | the real tasks with no broker, for tests and `replay` |
//! | [`ports`] | what the engine needs of the world, as small traits |
//! | [`error`] | errors by remedy |
//! | [`testing`] | checks for implementations of the ports |

pub mod driver;
pub mod error;
pub mod ports;
pub mod processor;
pub mod record;
pub mod runtime;
pub mod store;
pub mod task;
pub mod testing;
pub mod topology;
