//! The state of one memory: a join-semilattice kept as what is causally maximal (docs/semantics.md,
//! section 3), read from and written to rows of a store so that the cost of an event follows what
//! it touches. Every event touches the frontier, which lies in the head row: many concurrent
//! writers that nobody has seen together make each event dearer, a long history does not.
//!
//! [`Memory::open`] reads the head row, [`Memory::apply`] lets an event in and says what happened,
//! [`Memory::close`] gives the rows that changed. Reading the state (contenders, the resolved
//! memory, conflict records) is [`crate::view`]'s.
//!
//! `memory` defines the type. Its methods lie in `head`, `page_rows` and `apply`: the head row, the
//! rows of the pages, and an event that is let in.

mod apply;
mod block;
mod head;
mod large_values;
mod memory;
mod open_conflict;
mod page_rows;
mod pages;
mod path;
mod rows;
mod value;

pub use apply::{Applied, Touched};
pub use block::{Register, RegisterWrite};
pub use memory::Memory;
pub use open_conflict::{ConflictType, OpenConflict, OpenField};
pub use path::{Field, Path};
pub use rows::{Layout, Loader, ReadFailure, Row, RowPut, Rows, StateError, memory_of_head, prefix};
pub use typed_arena::Arena;
pub use value::{Stored, Value, digest};
