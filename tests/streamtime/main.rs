//! What stream time decides, and what is answered in slices: user snapshots, tombstones, sync
//! requests. `memory.toml` in the driver against the naive reference in `crates/reference-model`,
//! on streams in which time passes.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod drive;
mod retention;
mod sync;
mod users;
