//! Real servers and plain helpers for the integration tests: `mod support;` at the top of a test file.
//!
//! | item | what it gives |
//! |---|---|
//! | [`Broker`] | Apache Kafka on free ports: one shared by a test binary, or one of the test's own to stop and kill |
//! | [`SecureBroker`] | the same with listeners that ask for TLS, client certificates, passwords and OAuth tokens |
//! | [`Postgres`] | PostgreSQL on a free port, the same way |
//! | [`PgBouncer`] | a pooler in front of one |
//! | [`Registry`] | a schema registry on a free port, the same way |
//! | [`SmallDisk`] | a disk that can be full |
//! | [`skip`] | how a test says that it cannot check anything on this machine |
//! | [`tools`] | Kafka's own Java tools, as a second opinion on what we did |
//! | [`records`] | record files, raw records in and out of topics |
//! | [`Helix`] | the built binary: run it, signal it, read what it said |
//! | [`wait_for`] | polls until something is there; the limit is generous and never the thing tested |
//!
//! Nothing outlives the test process: see [`process`].

// Each test binary uses its own part of this module.
#![allow(dead_code, unused_imports)]

pub mod authorizer;
pub mod broker;
pub mod certificates;
pub mod disk;
pub mod helix;
pub mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod records;
pub mod registry;
mod scram;
pub mod secure;
pub mod skip;
pub mod token_server;
pub mod tools;

pub use authorizer::{Acl, AclBroker};
pub use broker::Broker;
pub use disk::SmallDisk;
pub use helix::{Finished, Helix};
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use records::Record;
pub use registry::Registry;
pub use secure::{Connection, SecureBroker};
pub use testkit::wait;
pub use testkit::{LIMIT, wait_for, wait_until};

use std::sync::atomic::{AtomicU32, Ordering};

/// A name no other test of this process uses: `stem-1`, `stem-2`, … for topics, groups, application ids on a shared server.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A path in the repository.
pub fn repo_path(relative: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}
