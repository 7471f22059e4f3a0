//! A stream thread polls, processes, commits and rebalances.
//!
//! [`StreamThread`] owns the parts, each of which owns what only it has: the
//! [consumer](consumer::ThreadConsumer), the [tasks](task_registry::TaskRegistry), the
//! [producer](producer::ThreadProducer) and the [timers](timers::Timers). A
//! [commit](commit::commit) and a [batch of records](processing::process_batch) are functions over
//! them. Where one is [interrupted](interruption::Interruption), [`decide`](recovery::decide) says
//! what is done about it, and the thread does that in one place.

mod assigned_task;
mod commit;
mod consumer;
mod fetch_state;
mod hanging_transaction;
mod interruption;
mod parts;
mod pausing;
mod processing;
mod producer;
mod purge;
mod record_collector;
mod recovery;
mod refused_outputs;
mod retries;
mod source_check;
mod stopped_task;
mod stream_thread;
mod task_registry;
mod thread_ports;
mod timers;
mod transaction;
mod unowned_partitions;
mod waiting_records;

pub use stream_thread::StreamThread;
pub use thread_ports::{RunStatus, ThreadPorts};
