//! Stores of a task: the [`Overlay`] of what is not committed yet, what a commit knows about a store ([`cut`]), and stores in memory.

pub mod cut;
pub mod memory;
pub mod mixed;
mod overlay;
#[cfg(test)]
mod tests;

pub use overlay::{Change, Checksum, Overlay, entry_hash};
