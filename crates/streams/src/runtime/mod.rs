//! The runtime polls, processes, commits, rebalances and restores, over the ports alone.
//!
//! An [`Instance`] holds the state that the threads of a process share. A [`StreamThread`] has one
//! consumer, one producer and its tasks, and works in steps of [`StreamThread::run_once`].
//! ARCHITECTURE.md describes the steps of a commit, a restoration and a rebalance, and their
//! reasons.

mod backoff;
mod commit_steps;
mod config;
mod disk_state;
mod executor;
mod health_check;
mod instance;
mod internal_topics;
mod live_queries;
mod log_loss;
mod metrics;
mod pauses;
mod queries;
mod restoration;
mod source_topics;
mod standby;
mod standby_assignment;
mod store_snapshot;
mod takeover;
mod task_locks;
#[cfg(test)]
mod tests;
mod thread;
mod thread_numbers;
mod topology_agreement;

pub use commit_steps::{COMMIT_STEPS, NoObserver, Step, StepObserver};
pub use config::{RuntimeConfig, transactional_id};
pub use executor::{Executor, Inline, Job, Workers};
pub use health_check::HealthCheck;
pub use instance::{Instance, InstancePorts};
pub use internal_topics::{InternalKind, InternalTopic, batch_limit, check_metadata, internal_topics};
pub use metrics::{
    COMMIT_BUCKETS_MS, Incidents, Metrics, StandbyStatus, StoppedTaskStatus, TaskStatus, ThreadMetrics, ThreadSnapshot,
};
pub use pauses::{Hold, PauseError, TaskScope};
pub use standby::StandbyThread;
pub use store_snapshot::{CommitPosition, QueryError, StoreQuery, StoreRole, StoreSnapshot};
pub use thread::{RunStatus, StreamThread, ThreadPorts};
