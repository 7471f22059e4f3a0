//! The laws of docs/semantics.md, each by its name, against the naive reference in
//! `crates/reference-model`, on streams over a tiny domain in which everything collides.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod custom;
mod equal;
mod ours;
mod schemas;
mod semilattice;
mod settled;
mod stored;
