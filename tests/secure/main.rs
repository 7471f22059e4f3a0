//! Kafka that asks for encryption and for a name: each way in connects, and refuses whom it should
//! with a message that helps.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[path = "../support/mod.rs"]
mod support;

mod acl;
mod acl_missing;
mod acl_taken;
mod connect;
mod named;
mod node;
mod refusals;
