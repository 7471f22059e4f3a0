//! What stream time decides, and what is answered in slices: user snapshots, tombstones, sync requests. `memory.toml` in the driver against the
//! naive reference in `tests/model`, on streams in which time passes.

#[path = "../model/mod.rs"]
mod model;
#[path = "../support/mod.rs"]
mod support;

mod drive;
mod retention;
mod sync;
mod users;
