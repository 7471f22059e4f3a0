//! Settings of a publisher.

use std::time::Duration;

use crate::registry::{HEARTBEAT_INTERVAL, NodeRole};
use crate::settings::system_clock;

/// Settings of a publisher.
#[derive(Clone, Debug)]
pub struct PublisherSettings {
    /// The node's role, for its record.
    pub role: NodeRole,
    /// The program and its version, for the node's record.
    pub software_version: String,
    /// The node's abilities, for its record: those of the program around it, which serves it to
    /// others.
    pub capabilities: Vec<String>,
    /// The most events of a transaction; a merge that has begun is sent whole, so up to 101 more.
    pub max_records: usize,
    /// About so many bytes of events go into a transaction; one event may be larger.
    pub max_bytes: usize,
    /// The time between two records of the node where no event is published.
    pub heartbeat_interval: Duration,
    /// How long a node that leaves its incarnation waits for a sign of another process that may
    /// hold the same events, before it closes that one's incarnation.
    pub departure_patience: Duration,
    /// Copies of the nodes topic where this program makes it; `None`: the broker's default.
    pub replication: Option<i32>,
    /// The wall clock of this machine, in nanoseconds since 1970.
    pub wall_clock: fn() -> u64,
    /// Called at each of [`STEPS`](crate::steps::STEPS) of a transaction of Kafka and at each of
    /// [`DEPARTURE_STEPS`](crate::steps::DEPARTURE_STEPS), by tests that kill the process there.
    pub observe_step: fn(&'static str),
}

impl Default for PublisherSettings {
    fn default() -> PublisherSettings {
        PublisherSettings {
            role: NodeRole::default(),
            software_version: concat!("helixstream ", env!("CARGO_PKG_VERSION")).to_owned(),
            capabilities: Vec::new(),
            max_records: 500,
            max_bytes: 1 << 20,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            departure_patience: 3 * HEARTBEAT_INTERVAL,
            replication: None,
            wall_clock: system_clock,
            observe_step: |_| {},
        }
    }
}
