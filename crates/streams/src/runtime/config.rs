//! Settings of the runtime. Each has the default that exactly once was designed with.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::ports::BatchLimit;
use crate::task_assignment::StateOnDisk;
use crate::topology_digest::TopologyDigest;

/// Settings of an instance.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The consumer group, and the first part of the names of internal topics.
    pub application_id: String,
    /// The slot's random id, which distinguishes this instance's producers from those of others.
    pub instance_id: String,
    /// A transaction is committed this long after the last one.
    pub commit_interval: Duration,
    /// A transient error of a task is tried again for so long, then it stops the instance.
    pub task_timeout: Duration,
    /// How long one transactional call waits before it is made again.
    pub call_timeout: Duration,
    /// How long a poll waits for records.
    pub poll_timeout: Duration,
    /// Records that a poll takes at most.
    pub max_poll_records: usize,
    /// Bytes that a poll takes at most, about.
    pub max_poll_bytes: usize,
    /// Uncommitted state and unsent records of a thread above which it commits at once.
    pub uncommitted_bytes: usize,
    /// How often repartition topics are purged below the committed offset; `None`: never.
    pub purge_interval: Option<Duration>,
    /// Copies of internal topics; `None`: the broker's default.
    pub replication: Option<i32>,
    /// The record limit of topics that we make, and the most that is sent to any topic.
    pub max_record_bytes: usize,
    /// Largest batch of a producer, unless a topic accepts only smaller ones.
    pub batch_bytes: usize,
    /// How often the group is asked who has what, so that each instance knows which tasks it stands
    /// by for.
    pub standby_interval: Duration,
    /// Kafka counts as unreachable when it was not heard of for so long, and a thread as stuck that
    /// could not commit for so long. After the session timeout the group gives a silent member's
    /// partitions to others, and after the transaction timeout a broker ends an open transaction.
    pub contact_timeout: Duration,
    /// How long a stop waits for the group to let go.
    pub stop_timeout: Duration,
    /// Digest of the topology, so that instances with another one are refused; `None`: nothing is
    /// compared.
    pub digest: Option<TopologyDigest>,
    /// The change of the topology that is meant, as the refusal of it has named it.
    pub accepted_change: Option<String>,
    /// Topics of which what was deleted before it was processed is skipped, with the state kept.
    pub earliest_available: BTreeSet<String>,
    /// How often an instance looks what is paused in the control log, which all instances share;
    /// `None`: pauses are kept in this instance alone, and end with it.
    pub control_interval: Option<Duration>,
    /// How often an instance looks whether the group's topology or its sources have changed.
    pub check_interval: Duration,
    /// Whether the consumers are static members of the group (KIP-345).
    pub has_static_members: bool,
    /// Where the runtime notes which tasks' state lies on this instance's disk, for the members of
    /// the group that tell the leader of it; `None` where none does.
    pub state_on_disk: Option<StateOnDisk>,
    /// For how long after its start an instance that has state on disk waits with the restoration
    /// of a task whose state is not there, though it was committed: an instance that has it may be
    /// about to join. It waits for none where `state_on_disk` is `None`.
    pub restore_grace: Duration,
}

impl Default for RuntimeConfig {
    fn default() -> RuntimeConfig {
        RuntimeConfig {
            application_id: "helixstream".to_owned(),
            instance_id: "0".to_owned(),
            commit_interval: Duration::from_millis(100),
            task_timeout: Duration::from_secs(300),
            call_timeout: Duration::from_secs(5),
            poll_timeout: Duration::from_millis(100),
            max_poll_records: 2000,
            max_poll_bytes: 8 << 20,
            uncommitted_bytes: 32 << 20,
            purge_interval: Some(Duration::from_secs(30)),
            replication: None,
            max_record_bytes: 16 << 20,
            batch_bytes: BatchLimit::DEFAULT_BYTES,
            standby_interval: Duration::from_secs(2),
            contact_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(6),
            digest: None,
            accepted_change: None,
            earliest_available: BTreeSet::new(),
            control_interval: None,
            check_interval: Duration::from_secs(10),
            has_static_members: false,
            state_on_disk: None,
            restore_grace: Duration::ZERO,
        }
    }
}

/// `transactional.id` of a thread's producer: stable over restarts, so that init ends the
/// predecessor's transaction at once.
pub fn transactional_id(application_id: &str, instance_id: &str, thread: usize) -> String {
    format!("{application_id}-{instance_id}-{thread}")
}
