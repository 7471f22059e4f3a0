//! The plain form of each fuzz target, and the tables of cases that the standards decide.

mod differences;
mod rfc8259;
mod rfc8785;

use helixstream_fuzz::plain::run;

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
