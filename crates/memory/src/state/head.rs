//! The head row: the part of a memory that is read and written with each of its events.
//!
//! Version 1: `1`, next arrival number, version, created_at, updated_at (8 bytes each), digest of
//! the last resolved memory, a block's names and headers, joined clock, frontier and deletes as
//! references, registers, pages (count, and if there are any their weight), open conflicts. A
//! reader of a later version ships one release before its writer.

use rustc_hash::FxHashMap;

use super::super::binary::{BinaryError, Reader, put_varint};
use super::block::{self, Read, Tables};
use super::large_values::store_large;
use super::memory::Memory;
use super::open_conflict::OpenConflict;
use super::pages::Pages;
use super::rows::{Loaded, Loader, Row, RowPut, StateError, VERSION, check_version, delete_row};

impl<'a> Memory<'a> {
    /// Reads the head row of a memory, or begins a new memory where there is none.
    pub fn open(loader: Loader<'a>) -> Result<Memory<'a>, StateError> {
        let mut memory = Memory {
            loader,
            headers: Vec::new(),
            relations: Vec::new(),
            current: None,
            by_seq: FxHashMap::default(),
            clock: Vec::new(),
            version: 0,
            created_at: u64::MAX,
            updated_at: 0,
            frontier: Vec::new(),
            deletes: Vec::new(),
            core: Vec::new(),
            pages: None,
            open: Vec::new(),
            resolved_digest: 0,
            next_seq: 1,
            head_parts: None,
            dropped: Vec::new(),
        };
        if let Some(row) = loader.load(Row::Head)? {
            memory.decode(row).map_err(|error| loader.damaged(Row::Head, error))?;
        }
        Ok(memory)
    }

    fn decode(&mut self, row: Loaded<'a>) -> Result<(), BinaryError> {
        self.head_parts = Some(row.parts);
        let r = &mut Reader::new(row.bytes);
        check_version(r, "the head of a memory")?;
        self.next_seq = r.varint("arrival number")?;
        if !(2..=i64::MAX as u64).contains(&self.next_seq) {
            // A row is written with the first event, whose number is 1.
            return Err(BinaryError::Invalid("arrival number"));
        }
        self.version = r.varint("version")?;
        (self.created_at, self.updated_at) = (r.u64("created_at")?, r.u64("updated_at")?);
        self.resolved_digest = r.u128("digest")?;
        let block = Read::decode(r)?;
        check_arrival_numbers(&block, self.next_seq)?;
        let at: Vec<u32> = (0..block.headers.len() as u32).collect();
        self.clock = block.clock(r)?;
        self.frontier = block.references(r, &at)?;
        self.deletes = block.references(r, &at)?;
        self.core = block::registers(r, &at)?;
        let pages = r.varint("pages")?;
        if pages > 0 {
            self.pages = Some(Pages::decode(pages, r)?);
            if self.core.iter().any(|register| register.path.field.is_keyed()) {
                return Err(BinaryError::Invalid("keyed register beside pages"));
            }
        }
        for _ in 0..r.count("open conflicts")? {
            self.open.push(OpenConflict::decode(r)?);
        }
        self.headers = block.headers;
        if r.is_empty() { Ok(()) } else { Err(BinaryError::Invalid("rest of a head")) }
    }

    fn encode(&self, names: Vec<&'a str>) -> Vec<u8> {
        let mut tables = Tables::new(self.headers.len(), names);
        tables.refer_registers(&self.core);
        self.frontier.iter().chain(&self.deletes).for_each(|by| tables.refer(*by));
        tables.close(&self.headers);
        let mut out = Vec::with_capacity(512);
        out.push(VERSION);
        put_varint(&mut out, self.next_seq);
        put_varint(&mut out, self.version);
        out.extend_from_slice(&self.created_at.to_le_bytes());
        out.extend_from_slice(&self.updated_at.to_le_bytes());
        out.extend_from_slice(&self.resolved_digest.to_le_bytes());
        tables.encode(&mut out, &self.headers);
        tables.put_clock(&mut out, &self.clock);
        tables.put_references(&mut out, &self.frontier);
        tables.put_references(&mut out, &self.deletes);
        tables.put_registers(&mut out, &self.core);
        put_varint(&mut out, self.pages.as_ref().map_or(0, |p| u64::from(p.count)));
        if let Some(pages) = &self.pages {
            put_varint(&mut out, pages.weight);
        }
        put_varint(&mut out, self.open.len() as u64);
        for conflict in &self.open {
            conflict.encode(&mut out);
        }
        out
    }

    /// The rows that differ from those read. To be called once the event's outcome has been read.
    pub fn close(mut self) -> Result<Vec<RowPut>, StateError> {
        let mut puts = Vec::with_capacity(1);
        self.core.retain(|r| !r.writes.is_empty());
        let layout = self.loader.layout;
        for stored in std::mem::take(&mut self.dropped) {
            let parts = layout.parts_of(stored.len as usize);
            delete_row(&mut puts, self.loader.memory, Row::Value(stored.id), parts);
        }
        store_large(&mut puts, &self.loader, &mut self.core, |by| self.headers[by as usize].digest);
        self.close_pages(&mut puts)?;
        let names = self.clock.iter().map(|(name, _)| *name).collect();
        let head = self.encode(names);
        layout.put_row(&mut puts, self.loader.memory, Row::Head, &head, self.head_parts.unwrap_or(0));
        Ok(puts)
    }
}

/// Arrival numbers tell the headers of a memory apart, and the next event's is above them all.
fn check_arrival_numbers(block: &Read<'_>, next: u64) -> Result<(), BinaryError> {
    let mut numbers: Vec<u64> = block.headers.iter().map(|header| header.seq).collect();
    numbers.sort_unstable();
    let is_sound = numbers.is_sorted_by(|a, b| a < b) && numbers.last().is_none_or(|last| *last < next);
    if is_sound { Ok(()) } else { Err(BinaryError::Invalid("arrival number")) }
}
