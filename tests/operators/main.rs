//! The generic operators of topology files, in the driver; the shipped topologies that are made of
//! them, in the driver and on real Kafka; and a program with an operator of its own.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[path = "../support/mod.rs"]
mod support;

mod custom;
mod drive;
mod encodings;
mod kafka;
mod keyed;
mod plain;
mod resolved;
mod shipped;
