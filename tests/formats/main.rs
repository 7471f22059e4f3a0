//! The formats of sources and sinks: what HelixAgent's Go nodes can read, held by their rules; Avro
//! by a real schema registry.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[path = "../support/mod.rs"]
mod support;

mod any_avro;
mod avro;
mod drive;
mod extremes;
mod front;
mod go;
mod helixagent;
mod kafka;
mod matrix;
mod mirrored;
mod outage;
mod references;
mod rows;
mod schemas;
mod secured;
mod strangers;
mod tls;
mod to_avro;
mod versions;
