//! The memory topology as a whole: the built binary on a real Kafka and a real PostgreSQL. Whatever
//! is killed, stopped, full or wrong, what comes out is what `replay` makes of the events and,
//! record by record, what the driver makes of the repartition topic.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[path = "../support/mod.rs"]
mod support;

mod apart;
mod audit;
mod bad;
mod before;
mod bounds;
mod broker;
mod changed;
mod chaos;
mod disk;
mod events;
mod expect;
mod extremes;
mod faults;
mod growth;
mod hidden;
mod instance;
mod kills;
mod limits;
mod lost;
mod mirrored;
mod outage;
mod passing;
mod pooled;
mod postgres;
mod refused;
mod restore;
mod rotation;
mod samples;
mod scale;
mod secure;
mod settled;
mod stores;
mod takeover;
mod trial;
mod turns;
