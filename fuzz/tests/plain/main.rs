//! The plain form of each fuzz target, and the tables of cases that the standards decide.

mod differences;
mod rfc8259;
mod rfc8785;

use helixstream_fuzz::{json as json_target, plain};

#[test]
fn json() {
    plain::run(&json_target::TARGET);
}
