//! The parts of a stream thread, each of which owns what only it has. The thread's steps (a commit,
//! a batch of records) are functions over them.

use std::sync::Arc;

use super::super::instance::Instance;
use super::super::metrics::ThreadMetrics;
use super::consumer::ThreadConsumer;
use super::producer::ThreadProducer;
use super::task_registry::TaskRegistry;
use super::timers::Timers;

/// The parts of a stream thread.
pub(super) struct Parts {
    /// State that the threads of the process share.
    pub instance: Arc<Instance>,
    /// The number of the thread.
    pub thread: usize,
    /// Membership and fetching.
    pub consumer: ThreadConsumer,
    /// The assigned tasks. They are dropped before the producer.
    pub tasks: TaskRegistry,
    /// Transactions.
    pub producer: ThreadProducer,
    /// The times of everything that is due at intervals.
    pub timers: Timers,
}

impl Parts {
    /// The figures of the thread.
    pub fn metrics(&self) -> Arc<ThreadMetrics> {
        self.instance.thread_metrics(self.thread)
    }
}
