//! Fuzz targets: for each format that helixstream reads, a function that takes any bytes and panics
//! where a property of the format does not hold for them.
//!
//! | target | input | property |
//! |---|---|---|
//! | [`avro`] | a value in Avro | a value is whole, apache-avro reads the same, memory is bounded, and writing is inverse |
//! | [`json`] | a JSON text | differential against `serde_json`; the canonical form is canonical |
//! | [`topology`] | a topology file | complaints point at text; what is accepted is built, described, and accepted again |
//! | [`wire`] | an event in JSON, or in the form of the repartition topic | encoding and decoding are inverse |
//! | [`rows`] | events of a memory in JSON, or its stored rows | rows that are read are written so that they are read the same |
//!
//! Each target runs in two forms. The plain form (`tests/plain`) is an ordinary test: it runs the
//! whole corpus (`fuzz/corpus/TARGET`), and inputs that [`plain`] makes from new seeds. The
//! coverage-guided form (`fuzz_targets`) runs the same function under libFuzzer, by cargo-fuzz.
//! docs/CONTRIBUTING.md says how to run each form, how to add a file to a corpus, and how to replay
//! a crash.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

pub mod avro;
mod events;
pub mod json;
mod mutation;
pub mod plain;
pub mod rows;
#[cfg(feature = "program")]
pub mod topology;
pub mod wire;
