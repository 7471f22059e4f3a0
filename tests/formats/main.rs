//! The formats of sinks: what HelixAgent's Go nodes can read, held by their rules.

#[path = "../model/mod.rs"]
mod model;
#[path = "../support/mod.rs"]
mod support;

mod drive;
mod extremes;
mod go;
mod helixagent;
mod kafka;
mod schemas;
