//! The runtime: what polls, processes, commits, rebalances and restores, over the ports alone.
//!
//! An [`Instance`] is what the threads of a process share; a [`StreamThread`] has one consumer, one
//! producer and its tasks, and lives by [`StreamThread::run_once`]. How a commit, a restore and a
//! rebalance go, and why, is described in ARCHITECTURE.md.

mod agreement;
mod assigned_task;
mod backoff;
mod changelog_reader;
mod commit;
mod config;
mod consumption;
mod executor;
mod findings;
mod hanging_transaction;
mod instance;

mod metrics;
mod offset_out_of_range;
mod purge;
mod rebalance;
mod record_collector;
mod recovery;
mod restoration;
mod setup;

mod health_check;
mod source_topics;
mod standby;
mod standby_assignment;
mod task_locks;
mod task_registry;
#[cfg(test)]
mod tests;
mod thread;

pub use commit::{COMMIT_STEPS, NoObserver, Step, StepObserver};
pub use config::{RuntimeConfig, transactional_id};
pub use executor::{Executor, Inline, Job, Workers};
pub use health_check::HealthCheck;
pub use instance::{Instance, InstancePorts};
pub use metrics::{COMMIT_BUCKETS_MS, Incidents, Metrics, StandbyStatus, TaskStatus, ThreadMetrics, ThreadSnapshot};
pub use setup::{InternalKind, InternalTopic, batch_limit, check_metadata, internal_topics};
pub use standby::StandbyThread;
pub use thread::{RunStatus, StreamThread, ThreadPorts};
