//! Settings of a simulation.

use std::time::Duration;

use super::faults::Fault;

/// Settings of a simulation: the application, the cluster, and the faults that may strike.
#[derive(Clone, Debug)]
pub struct SimulationSettings {
    /// Processes at the start, each on a machine of its own.
    pub instances: usize,
    /// Stream threads of each at most; a seed draws how many.
    pub threads: usize,
    /// Partitions of each source topic.
    pub source_partitions: i32,
    /// Partitions of each sink topic.
    pub sink_partitions: i32,
    /// Input records, in all.
    pub records: usize,
    /// For how long faults strike.
    pub fault_time: Duration,
    /// Once the faults have ended, all must be committed within this time.
    pub recovery_time: Duration,
    /// The group's session timeout.
    pub session_timeout: Duration,
    /// The group's rebalance timeout, which is the consumers' `max.poll.interval.ms`.
    pub rebalance_timeout: Duration,
    /// The transaction timeout.
    pub transaction_timeout: Duration,
    /// Whether the stores of all instances are read while they run, and what is shown compared with
    /// the commits. Half of the seeds read standbys as well, and take another course with it.
    pub live_queries: bool,
    /// Whether half of the seeds assign tasks by where their state lies, and take another course
    /// with it; the others use the sticky assignor.
    pub state_aware: bool,
    /// Kinds of faults that a seed may switch on.
    pub faults: Vec<Fault>,
}

impl Default for SimulationSettings {
    fn default() -> SimulationSettings {
        SimulationSettings {
            instances: 2,
            threads: 2,
            source_partitions: 2,
            sink_partitions: 2,
            records: 120,
            fault_time: Duration::from_secs(60),
            recovery_time: Duration::from_secs(900),
            session_timeout: Duration::from_secs(6),
            rebalance_timeout: Duration::from_secs(30),
            transaction_timeout: Duration::from_secs(10),
            live_queries: true,
            state_aware: true,
            faults: Fault::ALL.to_vec(),
        }
    }
}
