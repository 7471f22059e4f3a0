//! Stores of a task: the [`Overlay`] of what is not committed yet, the checkpoint of a commit
//! ([`checkpoint`]), and stores in memory.

pub mod checkpoint;
pub mod memory;
pub mod mixed;
mod overlay;
#[cfg(test)]
mod tests;
mod versions;

pub use overlay::{Change, Checksum, Overlay, entry_hash};
