//! Support for the tests of programs and of implementations of the ports.
//!
//! | item | purpose |
//! |---|---|
//! | [`store_contract`] | what each [`StoreEngine`](crate::ports::StoreEngine) has to keep, as checks that an implementation's tests run |
//! | [`snapshot_contract`] | the same of its snapshots, with what the tests of its threads need |
//!
//! The driver, which runs a topology without a broker, is [`crate::driver`], since `helixstream
//! replay` runs on it as well.

#![allow(clippy::panic, reason = "a check that fails panics, as a test does")]

pub mod simulation;
pub mod snapshot_contract;
pub mod store_contract;

pub use simulation::simulate;
