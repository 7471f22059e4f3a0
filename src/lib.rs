//! helixstream: a Kafka Streams-style stream processor, and the HelixAgent memory topology that
//! runs on it.
//!
//! The root package is the binary: [`app`] assembles the parts, and [`edges`] holds the thin
//! adapters that need no crate of their own. The parts are members of the workspace. They are
//! exported here so that a program that depends on this crate alone can use them.
//!
//! | member | purpose | may import |
//! |---|---|---|
//! | [`json`] | a strict parser, a canonical writer, exact numbers, RFC 3339 times | std, small pure crates |
//! | [`memory`] | the domain: events and the memories that result from them, as pure functions over bytes | `json`, std, small pure crates |
//! | [`streams`] | the engine: topology, tasks, stores, commits, restoration; knows no memories | std, small pure crates |
//! | [`operators`] | the operators of topology files that know records and JSON, no memories | `json`, `memory`, `streams` |
//! | [`memory_operators`] | where domain and engine meet: the operators that know memories, the formats of sinks | the members above |
//! | [`topology_file`] | typed settings, checked once | `memory`, `operators`, `secret`, `streams` |
//! | [`mirror`] | copies a log into a sink, each record once: ports, main loop, writer | `streams` |
//! | [`streams_kafka`] | the engine's ports and the mirror's source on Kafka | `mirror`, `secret`, `streams` |
//! | [`streams_rocksdb`] | the engine's stores in RocksDB | `streams` |
//! | [`mirror_postgres`] | the mirror's sink in Postgres | `mirror`, `secret`, `streams` |
//! | [`avro`] | events and outputs in Avro, the schema registry | `escape`, `json`, `memory`, `secret`, `streams` |
//! | [`http`] | the HTTP port | `escape` |
//! | [`script`] | scripts and expressions | `json`, `memory`, `streams` |
//! | [`escape`] | escapes foreign text for a terminal | std |
//! | [`services`] | the services around helixstream: settings, health, start and stop | `secret` |
//! | [`secret`] | passwords and private keys: read from a file, never shown | std |
//!
//! `ARCHITECTURE.md` describes how a record flows through them and what commits when.

pub mod app;
pub mod edges;

use std::process::ExitCode;

pub use app::Program;

pub use ::{
    avro, escape, http, json, memory, memory_operators, mirror, mirror_postgres, operators, script, secret, services,
    streams, streams_kafka, streams_rocksdb, topology_file,
};

/// Runs a program: reads the command line and does what it asks for. Problems go to the standard
/// error; the exit code is the caller's.
///
/// The program `helixstream` is `helixstream::main(Program::default())`. One with operators or
/// custom resolvers of its own adds them, and has all commands of `helixstream` with them
/// (`examples/custom_operator.rs`, `examples/custom_resolver.rs`).
pub fn main(program: Program) -> ExitCode {
    app::main(&edges::cli::Cli::from_environment(app::long_version()), &program)
}
