//! Shared parts of the tests of all crates: random numbers and waiting, and with the feature
//! `servers` real servers that a test starts and that end with it.
//!
//! | item | purpose |
//! |---|---|
//! | [`Random`] | the one generator of random numbers: a stream of numbers is a function of its seed |
//! | [`seeds`] | new seeds for each run of a randomised test; the variable `SEED` replays a run |
//! | [`seed`] | one such seed |
//! | [`given_seed`] | that of the variable, if it is set |
//! | [`wait_for`], [`wait_until`] | polls until a condition holds; the limit is generous and never the property under test |
//! | [`peak_of`] | how much memory a call holds at most, by the [`CountingAllocator`] |
//! | [`unique`] | a name that no other test of this process uses |
//! | [`repo_path`] | a path in the repository |
//!
//! With the feature `servers`:
//!
//! | item | purpose |
//! |---|---|
//! | `Broker` | Apache Kafka on free ports: one shared by a test binary, or one of the test's own to stop and kill |
//! | `Cluster` | several brokers, all of them controllers too, and leaders that move among them |
//! | `SecureBroker`, `AclBroker` | the same with TLS, client certificates, passwords and OAuth tokens; with ACLs |
//! | `Postgres` | PostgreSQL on a free port, the same way |
//! | `PgBouncer` | a pooler in front of one |
//! | `Registry` | a schema registry on a free port, the same way |
//! | `ServiceServer` | ZooKeeper, Neo4j, ClickHouse, MinIO, Prometheus, Spark |
//! | `Toxiproxy` | a proxy in front of one of them, which refuses, keeps silent, slows, trickles, or cuts off in the middle of an answer |
//! | `SmallDisk` | a disk that can be full |
//! | `Proxy` | a proxy in front of a server, which is cut, or silent, and heals |
//! | `KafkaProxy` | a proxy in front of a broker that knows Kafka's protocol: errors, cuts and delays of single calls |
//! | `skip` | how a test says that it cannot check anything on this machine |
//! | `tools` | Kafka's own Java tools, as a second opinion |
//! | `records` | record files, raw records in and out of topics |
//! | `process` | child processes and folders; nothing outlives the test process |

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod allocator;
mod random;
mod seeds;
pub mod wait;

#[cfg(feature = "servers")]
pub mod authorizer;
#[cfg(feature = "servers")]
pub mod broker;
#[cfg(feature = "servers")]
pub mod certificates;
#[cfg(feature = "servers")]
pub mod cluster;
#[cfg(feature = "servers")]
pub mod disk;
#[cfg(feature = "servers")]
mod http;
#[cfg(feature = "servers")]
mod java;
#[cfg(feature = "servers")]
pub mod kafka_proxy;
#[cfg(feature = "servers")]
pub mod pgbouncer;
#[cfg(feature = "servers")]
pub mod ports;
#[cfg(feature = "servers")]
pub mod postgres;
#[cfg(feature = "servers")]
pub mod process;
#[cfg(feature = "servers")]
pub mod proxy;
#[cfg(feature = "servers")]
pub mod python;
#[cfg(feature = "servers")]
pub mod records;
#[cfg(feature = "servers")]
pub mod registry;
#[cfg(feature = "servers")]
mod scram;
#[cfg(feature = "servers")]
pub mod secure;
#[cfg(feature = "servers")]
pub mod service_servers;
#[cfg(feature = "servers")]
pub mod skip;
#[cfg(feature = "servers")]
pub mod token_server;
#[cfg(feature = "servers")]
pub mod tools;
#[cfg(feature = "servers")]
pub mod toxiproxy;

pub use allocator::{CountingAllocator, peak_of};
#[cfg(feature = "servers")]
pub use authorizer::{Acl, AclBroker};
#[cfg(feature = "servers")]
pub use broker::Broker;
#[cfg(feature = "servers")]
pub use cluster::Cluster;
#[cfg(feature = "servers")]
pub use disk::SmallDisk;
#[cfg(feature = "servers")]
pub use kafka_proxy::KafkaProxy;
#[cfg(feature = "servers")]
pub use pgbouncer::PgBouncer;
#[cfg(feature = "servers")]
pub use postgres::Postgres;
#[cfg(feature = "servers")]
pub use proxy::Proxy;
pub use random::Random;
#[cfg(feature = "servers")]
pub use records::Record;
#[cfg(feature = "servers")]
pub use registry::Registry;
#[cfg(feature = "servers")]
pub use secure::{Connection, SecureBroker};
pub use seeds::{Seeds, given_seed, seed, seeds};
#[cfg(feature = "servers")]
pub use service_servers::ServiceServer;
#[cfg(feature = "servers")]
pub use toxiproxy::{Fault, Toxiproxy};
pub use wait::{LIMIT, wait_for, wait_until};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A name no other test of this process uses: `stem-1`, `stem-2`, … for topics, groups, application
/// ids on a shared server.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A path in the repository.
pub fn repo_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/testkit lies in the repository")
        .join(relative)
}
