//! The plain form of each fuzz target, and the tables of cases that the standards decide.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod differences;
mod rfc8259;
mod rfc8785;

use helixstream_fuzz::plain::run;

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

#[test]
fn avro() {
    run(&helixstream_fuzz::avro::TARGET);
}

#[test]
fn json() {
    run(&helixstream_fuzz::json::TARGET);
}

#[test]
fn wire() {
    run(&helixstream_fuzz::wire::TARGET);
}

#[test]
fn rows() {
    run(&helixstream_fuzz::rows::TARGET);
}

#[cfg(feature = "program")]
#[test]
fn topology() {
    run(&helixstream_fuzz::topology::TARGET);
}
