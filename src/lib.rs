//! helixstream: a Kafka Streams-style stream processor, and the HelixAgent memory topology that runs on it.
//!
//! | module | what it is | may import |
//! |---|---|---|
//! | [`domain`] | what an event means and what a memory is: pure functions over bytes | `json`, std, small pure crates |
//! | [`json`] | a strict parser, a canonical writer, exact numbers, RFC 3339 times | std, small pure crates |
//! | [`streams`] | the engine: topology, tasks, stores, commits, restore; knows no memories | std, small pure crates |
//! | [`operators`] | the operators of topology files that know records and JSON, no memories | `domain`, `streams` |
//! | [`memories`] | where domain and engine meet: the operators that know memories, the formats of sinks | `domain`, `streams`, `operators` |
//! | [`edges`] | Kafka, RocksDB, Postgres, HTTP, the command line: one technology each | `streams::ports`, domain values |
//! | [`config`] | typed settings, checked once | `domain`, `streams` |
//! | [`app`] | the one place that puts the parts together | everything |
//! | [`escape`] | foreign text made fit for a terminal | std |
//! | [`secret`] | passwords and private keys: read from a file, never shown; `config`, `edges` and `app` use it | std |
//!
//! `ARCHITECTURE.md` tells how a record flows through them and what commits when.

pub mod app;
pub mod edges;

pub use ::escape;
pub use ::json;
pub use ::memory as domain;
pub use ::memory_operators as memories;
pub use ::operators;
pub use ::secret;
pub use ::streams;
pub use ::topology_file as config;
