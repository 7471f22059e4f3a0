//! The state of one memory as it is in use: what has been read of its rows, and the registers.

use rustc_hash::FxHashMap;

use super::super::binary::BinaryError;
use super::super::causality::{EventHeader, Relation};
use super::super::settings::ResolverSettings;
use super::block::Register;
use super::open_conflict::OpenConflict;
use super::pages::Pages;
use super::path::Path;
use super::rows::{Loader, StateError};
use super::value::{Stored, Value};

/// The state of one memory, as far as it has been read, and what changed in it.
pub struct Memory<'a> {
    pub(crate) loader: Loader<'a>,
    /// Every header that something read so far refers to.
    pub(crate) headers: Vec<EventHeader<'a>>,
    /// Index of each header by arrival number, once pages are read. The numbers are our own, so
    /// they are hashed without protection from chosen keys.
    pub(super) by_seq: FxHashMap<u64, u32>,
    /// The event that is being applied.
    pub(super) current: Option<Current<'a>>,
    /// How each header stands to that event.
    pub(super) relations: Vec<Relation>,
    /// Entry-wise maximum of all clocks, sorted by name.
    pub(crate) clock: Vec<(&'a str, u64)>,
    /// Greatest version.
    pub(crate) version: u64,
    /// Least timestamp.
    pub(crate) created_at: u64,
    /// Greatest timestamp.
    pub(crate) updated_at: u64,
    /// Maximal events of all kinds.
    pub(crate) frontier: Vec<u32>,
    /// Maximal deletes.
    pub(crate) deletes: Vec<u32>,
    /// Registers in the head row, sorted by path: all of them, or those without keys when the keyed
    /// ones lie in pages.
    pub(crate) core: Vec<Register<'a>>,
    pub(super) pages: Option<Pages<'a>>,
    /// Conflicts that still stand, oldest first.
    pub(crate) open: Vec<OpenConflict<'a>>,
    /// Digest of the resolved memory that was last emitted; 0 before the first.
    pub(crate) resolved_digest: u128,
    pub(super) next_seq: u64,
    /// Parts in which the head row lay; `None` when there was no row.
    pub(super) head_parts: Option<u32>,
    /// Large values whose writes are gone.
    pub(super) dropped: Vec<Stored>,
}

/// The event that is being applied, for headers that are read meanwhile.
pub(super) struct Current<'a> {
    pub(super) header: EventHeader<'a>,
    pub(super) settings: ResolverSettings,
}

/// Where a register lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
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
    pub(crate) fn replace_resolved_digest(&mut self, digest: u128) -> bool {
        std::mem::replace(&mut self.resolved_digest, digest) != digest
    }

    /// Keeps bytes as long as the memory's own.
    pub(crate) fn allocate(&self, bytes: &[u8]) -> &'a [u8] {
        self.loader.allocate(bytes.to_vec())
    }

    /// The register of a path that has been read; keyed ones in pages must be loaded before.
    pub fn register(&self, path: Path<'_>) -> Option<&Register<'a>> {
        let registers = self.registers(self.home(path));
        registers.binary_search_by(|r| r.path.cmp(&path)).ok().map(|i| &registers[i])
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

    pub(super) fn home(&self, path: Path<'_>) -> Home {
        match &self.pages {
            Some(pages) if path.field.is_keyed() => Home::Page(pages.page_of(path)),
            _ => Home::Core,
        }
    }

    pub(super) fn registers(&self, home: Home) -> &[Register<'a>] {
        match home {
            Home::Core => &self.core,
            Home::Page(n) => self.pages.as_ref().map_or(&[], |pages| pages.get(n)),
        }
    }

    /// Takes in a header that was read: the one already held of the same event, or a new one.
    ///
    /// # Errors
    /// Another row has another header under its arrival number, or the head says that no event has
    /// it yet.
    pub(super) fn intern(&mut self, header: EventHeader<'a>) -> Result<u32, BinaryError> {
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
