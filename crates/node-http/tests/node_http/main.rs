//! The HTTP interface of a node over a real socket and a real database, without Kafka. Every answer
//! in these tests is held against the OpenAPI document.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod document;
mod errors;
mod event_reader;
mod events;
mod histories;
mod mem0;
mod memories;
mod nodes;
mod parts;
mod reading;
mod searches;
mod site;
mod sync;
mod tenants;
mod together;
mod user_snapshots;
