//! The generic operators of topology files, in the driver; and the shipped topologies that are made of them, in the driver and on
//! real Kafka.

#[path = "../support/mod.rs"]
mod support;

mod drive;
mod encodings;
mod kafka;
mod keyed;
mod plain;
mod resolved;
mod shipped;
