//! The laws of docs/semantics.md, each by its name, against the naive reference in `tests/model`,
//! on streams over a tiny domain in which everything collides.

#[path = "../model/mod.rs"]
mod model;

mod custom;
mod equal;
mod ours;
mod schemas;
mod semilattice;
mod settled;
mod stored;
