//! The reference model, held against cases that were worked out by hand: a model that is wrong
//! proves nothing.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod memories;
mod stream_time;
mod users;
