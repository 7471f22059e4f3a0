//! The state of one memory: a join-semilattice kept as what is causally maximal (docs/semantics.md,
//! section 3), read from and written to rows of a store so that the cost of an event follows what
//! it touches. Every event touches the frontier, which lies in the head row: many concurrent
//! writers that nobody has seen together make each event dearer, a long history does not.
//!
//! [`Memory::open`] reads the head row, [`Memory::apply`] lets an event in and says what happened,
//! [`Memory::close`] gives the rows that changed. Reading the state (contenders, the resolved
//! memory, conflict records) is [`crate::view`]'s.

mod apply;
mod block;
mod head;
mod open_conflict;
mod pages;
mod path;
mod rows;
mod value;

pub use apply::{Applied, Touched};
pub use block::{Register, RegisterWrite};
pub use open_conflict::{ConflictType, OpenConflict, OpenField};
pub use path::{Field, Path};
pub use rows::{Layout, Loader, ReadFailure, Row, RowPut, Rows, StateError, memory_of_head, prefix};
pub use typed_arena::Arena;
pub use value::{Stored, Value, digest};

use std::collections::HashMap;

use super::binary::BinaryError;
use super::causality::{EventHeader, Relation};
use apply::Current;
use pages::Pages;

/// The state of one memory, as far as it has been read, and what changed in it.
pub struct Memory<'a> {
    pub(super) loader: Loader<'a>,
    /// Every header that something read so far refers to.
    pub(super) headers: Vec<EventHeader<'a>>,
    /// Index of each header by arrival number, once pages are read.
    by_seq: HashMap<u64, u32>,
    /// The event that is being applied.
    current: Option<Current<'a>>,
    /// How each header stands to that event.
    relations: Vec<Relation>,
    /// Entry-wise maximum of all clocks, sorted by name.
    pub(super) clock: Vec<(&'a str, u64)>,
    /// Greatest version.
    pub(super) version: u64,
    /// Least timestamp.
    pub(super) created_at: u64,
    /// Greatest timestamp.
    pub(super) updated_at: u64,
    /// Maximal events of all kinds.
    pub(super) frontier: Vec<u32>,
    /// Maximal deletes.
    pub(super) deletes: Vec<u32>,
    /// Registers in the head row, sorted by path: all of them, or those without keys when the keyed
    /// ones lie in pages.
    pub(super) core: Vec<Register<'a>>,
    pages: Option<Pages<'a>>,
    /// Conflicts that still stand, oldest first.
    pub(super) open: Vec<OpenConflict<'a>>,
    /// Digest of the resolved memory that was last emitted; 0 before the first.
    pub(super) resolved_digest: u128,
    next_seq: u64,
    /// Parts in which the head row lay; `None` when there was no row.
    head_parts: Option<u32>,
    /// Large values whose writes are gone.
    dropped: Vec<Stored>,
}

/// Where a register lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Core,
    Page(u32),
}

impl<'a> Memory<'a> {
    /// Whether no event has reached this memory yet.
    pub fn is_new(&self) -> bool {
        self.next_seq == 1
    }

    /// The memory's id.
    pub fn id(&self) -> &'a str {
        self.loader.memory
    }

    /// The maximal events of all kinds, as indexes of headers.
    pub fn frontier(&self) -> &[u32] {
        &self.frontier
    }

    /// The maximal deletes, as indexes of headers.
    pub fn deletes(&self) -> &[u32] {
        &self.deletes
    }

    /// Conflicts that still stand, oldest first.
    pub fn open_conflicts(&self) -> &[OpenConflict<'a>] {
        &self.open
    }

    /// Entry-wise maximum of all clocks, sorted by name.
    pub fn clock(&self) -> &[(&'a str, u64)] {
        &self.clock
    }

    /// The header at an index.
    pub fn header(&self, by: u32) -> &EventHeader<'a> {
        &self.headers[by as usize]
    }

    /// Reads a value's bytes, from its own row if it lies there.
    pub fn bytes(&self, value: &Value<'a>) -> Result<&'a [u8], StateError> {
        value.bytes(&self.loader)
    }

    /// Remembers what was emitted last. Returns whether it differs from the time before.
    pub(super) fn replace_resolved_digest(&mut self, digest: u128) -> bool {
        std::mem::replace(&mut self.resolved_digest, digest) != digest
    }

    /// Keeps bytes as long as the memory's own.
    pub(super) fn allocate(&self, bytes: &[u8]) -> &'a [u8] {
        self.loader.allocate(bytes.to_vec())
    }

    /// The register of a path that has been read; keyed ones in pages must be loaded before.
    pub fn register(&self, path: Path<'_>) -> Option<&Register<'a>> {
        let registers = self.registers(self.home(path));
        registers.binary_search_by(|r| r.path.cmp(&path)).ok().map(|i| &registers[i])
    }

    /// Reads all that is not read yet, so that [`Memory::all_registers`] gives every register.
    pub fn load_all(&mut self) -> Result<(), StateError> {
        self.load_pages()
    }

    /// The registers that are read, sorted by path.
    pub fn all_registers(&self) -> Vec<&Register<'a>> {
        let paged = self.pages.iter().flat_map(Pages::registers);
        let mut all: Vec<&Register<'a>> = self.core.iter().chain(paged).collect();
        if self.pages.is_some() {
            all.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        }
        all
    }

    fn home(&self, path: Path<'_>) -> Home {
        match &self.pages {
            Some(pages) if path.field.is_keyed() => Home::Page(pages.page_of(path)),
            _ => Home::Core,
        }
    }

    fn registers(&self, home: Home) -> &[Register<'a>] {
        match home {
            Home::Core => &self.core,
            Home::Page(n) => self.pages.as_ref().map_or(&[], |pages| pages.get(n)),
        }
    }

    /// Makes sure that the register of a path can be read.
    pub fn load(&mut self, path: Path<'_>) -> Result<(), StateError> {
        match self.home(path) {
            Home::Core => Ok(()),
            Home::Page(n) => self.load_page(n),
        }
    }

    /// Takes in a header that was read: the one already held of the same event, or a new one.
    ///
    /// # Errors
    /// Another row has another header under its arrival number, or the head says that no event has
    /// it yet.
    fn intern(&mut self, header: EventHeader<'a>) -> Result<u32, BinaryError> {
        if header.seq >= self.next_seq {
            return Err(BinaryError::Invalid("arrival number"));
        }
        if self.by_seq.is_empty() {
            self.by_seq = self.headers.iter().zip(0..).map(|(h, i)| (h.seq, i)).collect();
        }
        let next = self.headers.len() as u32;
        let at = *self.by_seq.entry(header.seq).or_insert(next);
        if at == next {
            if let Some(current) = &self.current {
                self.relations.push(header.relation(&current.header, &current.settings));
            }
            self.headers.push(header);
        } else if self.headers[at as usize] != header {
            return Err(BinaryError::Invalid("header, which another row has otherwise"));
        }
        Ok(at)
    }
}
