//! The engine: Kafka Streams' core (topology, tasks, stores, changelogs, commits). It knows no
//! memories.
//!
//! | module | what it is |
//! |---|---|
//! | [`record`] | records and their headers, and the batch of a poll |
//! | [`topology`] | topologies: sources, processors, repartition topics, stores, sinks |
//! | [`topology_digest`] | the digest of a topology: one number for everything that decides outputs, as commits and client ids carry it |
//! | [`processor`] | processors: the trait [`processor::Processor`] and its [`processor::ProcessorContext`] |
//! | [`task`] | tasks: one sub-topology on one partition, which processes records and rolls back to its last commit |
//! | [`task_assignment`] | who gets which task: a pure function, which prefers members that have the state on disk |
//! | [`store`] | stores: uncommitted state on top of a database, and the checkpoint of a commit |
//! | [`offset`] | offsets, and where the reading of a log begins |
//! | [`stream_time`] | the clock of a task, which only its records move |
//! | [`runtime`] | stream threads, which poll, process, commit, rebalance and restore over the ports alone |
//! | [`audit`] | re-runs tasks from their logs and compares what they make with what is on the topics |
//! | [`driver`] | the real tasks with no broker, for tests and `replay` |
//! | [`ports`] | the interfaces to Kafka, stores and clocks, as small traits |
//! | [`error`] | errors by remedy |
//! | [`testing`] | checks for implementations of the ports |

pub mod audit;
pub mod driver;
pub mod error;
pub mod offset;
pub mod planted;
pub mod ports;
pub mod processor;
pub mod record;
pub mod runtime;
pub mod store;
pub mod stream_time;
pub mod task;
pub mod task_assignment;
pub mod testing;
pub mod topology;
pub mod topology_digest;
