//! The parts that the tests of all crates share.
//!
//! | item | purpose |
//! |---|---|
//! | [`Random`] | the one generator of random numbers: a stream of numbers is a function of its seed |
//! | [`seeds`] | new seeds for each run of a randomised test; the variable `SEED` replays a run |
//! | [`seed`] | one such seed |
//! | [`given_seed`] | that of the variable, if it is set |
//! | [`wait_for`], [`wait_until`] | polls until a condition holds; the limit is generous and never the property under test |

mod random;
mod seeds;
pub mod wait;

pub use random::Random;
pub use seeds::{Seeds, given_seed, seed, seeds};
pub use wait::{LIMIT, wait_for, wait_until};
