//! Pages: rows of keyed registers (metadata, entities, relationships) of a memory that has outgrown
//! its head row, so that an event reads and writes a few KiB whatever the memory's size. A path's
//! page follows from its hash; pages grow one at a time by linear hashing (Litwin, VLDB 1980), so
//! no event pays for a rewrite of all.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::binary::{BinaryError, Reader};
use super::block::{self, Read, Register, Tables};
use super::head::{VERSION, refer, store_large, version};
use super::path::Path;
use super::rows::{Row, RowPut, StateError, delete_row};
use super::value::Value;
use super::{Home, Memory};

/// Weight of a write besides its value: its share of headers and names, roughly, in bytes.
const WRITE_WEIGHT: u64 = 64;

/// More pages than any memory has: at 4 KiB each they hold 64 GiB.
const MAX_PAGES: u32 = 1 << 24;

/// More than a page of any layout weighs in the mean, in bytes.
const MAX_MEAN_WEIGHT: u64 = 1 << 20;

/// One page, read.
#[derive(Debug, Default)]
struct Page<'a> {
    registers: Vec<Register<'a>>,
    /// Parts in which the row lay; `None` when there was no row.
    parts: Option<u32>,
    /// Weight when it was read.
    weight: u64,
    dirty: bool,
}

/// The pages of a memory.
#[derive(Debug)]
pub struct Pages<'a> {
    /// How many there are, at least 1.
    pub count: u32,
    /// Their weight together, in bytes, roughly.
    pub weight: u64,
    loaded: BTreeMap<u32, Page<'a>>,
}

impl<'a> Pages<'a> {
    /// Pages of which none is read yet.
    pub fn new(count: u32, weight: u64) -> Pages<'a> {
        Pages { count, weight, loaded: BTreeMap::new() }
    }

    /// Reads the weight of `count` pages.
    ///
    /// # Errors
    /// More pages, or a greater weight, than a memory can have: to bring them into shape would not
    /// end.
    pub fn decode(count: u64, r: &mut Reader<'_>) -> Result<Pages<'a>, BinaryError> {
        let weight = r.varint("weight of pages")?;
        match u32::try_from(count) {
            Ok(count) if count <= MAX_PAGES && weight <= u64::from(count) * MAX_MEAN_WEIGHT => {
                Ok(Pages::new(count, weight))
            }
            _ => Err(BinaryError::Invalid("number or weight of pages")),
        }
    }

    /// The page on which a path lies.
    pub fn page_of(&self, path: Path<'_>) -> u32 {
        // The seed is the field, so that one key in two fields lies on two pages.
        let hash = xxh3_64_with_seed(path.key.as_bytes(), path.field as u64) as u32;
        let round = self.count.next_power_of_two();
        let page = hash & (round - 1);
        if page < self.count { page } else { page & (round / 2 - 1) }
    }

    /// The registers of a page that is read.
    pub fn get(&self, page: u32) -> &[Register<'a>] {
        self.loaded.get(&page).map_or(&[], |p| &p.registers)
    }

    /// All registers of the pages that are read, page by page.
    pub fn registers(&self) -> impl Iterator<Item = &Register<'a>> {
        self.loaded.values().flat_map(|p| &p.registers)
    }

    /// Divides the next page, which is read.
    fn split(&mut self) {
        let from = self.next_split();
        self.count += 1;
        let mut moved = Vec::new();
        if let Some(mut page) = self.loaded.remove(&from) {
            (page.registers, moved) = page.registers.into_iter().partition(|r| self.page_of(r.path) == from);
            page.dirty = true;
            self.loaded.insert(from, page);
        }
        self.loaded.insert(self.count - 1, Page { registers: moved, dirty: true, ..Page::default() });
    }

    /// The page that the next split divides.
    fn next_split(&self) -> u32 {
        let round = self.count.next_power_of_two();
        if self.count == round { 0 } else { self.count - round / 2 }
    }
}

fn weight(registers: &[Register<'_>]) -> u64 {
    let of_write = |value: &Value<'_>| match value {
        Value::Inline(bytes) => bytes.len() as u64 + WRITE_WEIGHT,
        Value::Stored(_) => WRITE_WEIGHT,
    };
    registers.iter().map(|r| r.path.key.len() as u64 + r.writes.iter().map(|w| of_write(&w.value)).sum::<u64>()).sum()
}

impl<'a> Memory<'a> {
    pub(super) fn load_pages(&mut self) -> Result<(), StateError> {
        let count = self.pages.as_ref().map_or(0, |p| p.count);
        (0..count).try_for_each(|n| self.load_page(n))
    }

    pub(super) fn load_page(&mut self, n: u32) -> Result<(), StateError> {
        if self.pages.as_ref().is_none_or(|p| p.loaded.contains_key(&n)) {
            return Ok(());
        }
        let page = match self.loader.load(Row::Page(n))? {
            None => Page::default(),
            Some(row) => {
                let registers = self.decode_page(n, row.bytes).map_err(|e| self.loader.damaged(Row::Page(n), e))?;
                Page { weight: weight(&registers), registers, parts: Some(row.parts), dirty: false }
            }
        };
        if let Some(pages) = &mut self.pages {
            pages.loaded.insert(n, page);
        }
        Ok(())
    }

    fn decode_page(&mut self, n: u32, bytes: &'a [u8]) -> Result<Vec<Register<'a>>, BinaryError> {
        let r = &mut Reader::new(bytes);
        version(r, "a page of a memory")?;
        let block = Read::decode(r)?;
        let at = block.headers.into_iter().map(|h| self.intern(h)).collect::<Result<Vec<u32>, _>>()?;
        let registers = block::registers(r, &at)?;
        if !r.is_empty() {
            return Err(BinaryError::Invalid("rest of a page"));
        }
        if registers.iter().any(|register| self.home(register.path) != Home::Page(n)) {
            return Err(BinaryError::Invalid("register of another page"));
        }
        Ok(registers)
    }

    /// The registers of a home, to be changed.
    pub(super) fn registers_mut(&mut self, home: Home) -> &mut Vec<Register<'a>> {
        match (home, &mut self.pages) {
            (Home::Page(n), Some(pages)) => {
                let page = pages.loaded.entry(n).or_default();
                page.dirty = true;
                &mut page.registers
            }
            _ => &mut self.core,
        }
    }

    /// The homes of all registers that are read.
    pub(super) fn homes(&self) -> Vec<Home> {
        let pages = self.pages.iter().flat_map(|p| p.loaded.keys().map(|n| Home::Page(*n)));
        std::iter::once(Home::Core).chain(pages).collect()
    }

    /// Brings pages and head into their final shape and writes the pages that changed.
    pub(super) fn close_pages(&mut self, puts: &mut Vec<RowPut>) -> Result<(), StateError> {
        if self.pages.is_none() && !self.begin_pages() {
            return Ok(());
        }
        self.settle_weight();
        if self.return_to_head(puts) {
            return Ok(());
        }
        let layout = self.loader.layout;
        while let Some(next) = self.pages.as_ref().filter(|p| p.weight > u64::from(p.count) * layout.max_page_weight) {
            let next = next.next_split();
            self.load_page(next)?;
            if let Some(pages) = &mut self.pages {
                pages.split();
            }
        }
        self.write_pages(puts);
        Ok(())
    }

    fn write_pages(&mut self, puts: &mut Vec<RowPut>) {
        let Some(pages) = &mut self.pages else { return };
        let mut tables = Tables::new(self.headers.len(), Vec::new());
        for (n, page) in pages.loaded.iter_mut().filter(|(_, p)| p.dirty) {
            let digest_of = |by: u32| self.headers[by as usize].digest;
            store_large(puts, &self.loader, &mut page.registers, digest_of);
            if page.registers.is_empty() {
                if let Some(parts) = page.parts {
                    delete_row(puts, self.loader.memory, Row::Page(*n), parts);
                }
                continue;
            }
            refer(&mut tables, &page.registers);
            tables.close(&self.headers);
            let mut out = vec![VERSION];
            tables.encode(&mut out, &self.headers);
            tables.put_registers(&mut out, &page.registers);
            self.loader.layout.put_row(puts, self.loader.memory, Row::Page(*n), &out, page.parts.unwrap_or(0));
            tables.reset();
        }
    }

    /// Moves keyed registers from the head to pages when they weigh too much. Returns whether it
    /// did.
    fn begin_pages(&mut self) -> bool {
        let keyed = self.core.iter().filter(|r| r.path.field.is_keyed());
        let keyed: u64 = keyed.map(|r| weight(std::slice::from_ref(r))).sum();
        if keyed <= self.loader.layout.max_head_weight {
            return false;
        }
        let registers = std::mem::take(&mut self.core).into_iter();
        let (moved, core): (Vec<_>, Vec<_>) = registers.partition(|r| r.path.field.is_keyed());
        self.core = core;
        let count = u32::try_from(keyed / self.loader.layout.page_weight).unwrap_or(u32::MAX).max(1);
        let mut pages = Pages::new(count, 0);
        for n in 0..count {
            pages.loaded.insert(n, Page { dirty: true, ..Page::default() });
        }
        for register in moved {
            let n = pages.page_of(register.path);
            if let Some(page) = pages.loaded.get_mut(&n) {
                page.registers.push(register);
            }
        }
        self.pages = Some(pages);
        true
    }

    /// Drops emptied registers and brings the pages' weight up to date.
    fn settle_weight(&mut self) {
        let Some(pages) = &mut self.pages else { return };
        for page in pages.loaded.values_mut().filter(|p| p.dirty) {
            page.registers.retain(|r| !r.writes.is_empty());
            let now = weight(&page.registers);
            pages.weight = (pages.weight + now).saturating_sub(page.weight);
            page.weight = now;
        }
    }

    /// Moves the registers of few remaining pages back to the head, if all are at hand. Returns
    /// whether it did.
    fn return_to_head(&mut self, puts: &mut Vec<RowPut>) -> bool {
        let layout = self.loader.layout;
        let small = |p: &Pages<'_>| p.weight < layout.min_paged_weight && p.loaded.len() == p.count as usize;
        if !self.pages.as_ref().is_some_and(small) {
            return false;
        }
        let Some(pages) = self.pages.take() else { return false };
        for (n, page) in pages.loaded {
            if let Some(parts) = page.parts {
                delete_row(puts, self.loader.memory, Row::Page(n), parts);
            }
            self.core.extend(page.registers);
        }
        self.core.sort_by(|a, b| a.path.cmp(&b.path));
        store_large(puts, &self.loader, &mut self.core, |by| self.headers[by as usize].digest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Field;

    #[test]
    fn a_split_moves_only_registers_of_the_page_that_it_divides() {
        let keys: Vec<String> = (0..500).map(|i| format!("k{i}")).collect();
        let path = |key: &'static str| Path { field: Field::Metadata, key };
        let keys: Vec<&'static str> = keys.into_iter().map(|k| &*k.leak()).collect();
        let mut pages = Pages::new(1, 0);
        while pages.count < 70 {
            let before: Vec<u32> = keys.iter().map(|k| pages.page_of(path(k))).collect();
            let divided = pages.next_split();
            pages.count += 1;
            for (key, was) in keys.iter().zip(before) {
                let now = pages.page_of(path(key));
                assert!(now == was || (was == divided && now == pages.count - 1), "{key}: {was} to {now}");
            }
        }
    }
}
