//! The rows of a memory's pages: which of them an event reads, how they are decoded, and which are
//! written when the memory is closed. A memory moves its keyed registers to pages when they outgrow
//! the head row, and back when few are left.

use super::super::binary::{BinaryError, Reader};
use super::block::{self, Read, Register, Tables};
use super::large_values::store_large;
use super::memory::{Home, Memory};
use super::pages::{Page, Pages, weight};
use super::path::Path;
use super::rows::{Row, RowPut, StateError, VERSION, check_version, delete_row};

impl<'a> Memory<'a> {
    /// Makes sure that the register of a path can be read.
    pub fn load(&mut self, path: Path<'_>) -> Result<(), StateError> {
        match self.home(path) {
            Home::Core => Ok(()),
            Home::Page(n) => self.load_page(n),
        }
    }

    /// Reads all that is not read yet, so that [`Memory::all_registers`] returns every register.
    pub fn load_all(&mut self) -> Result<(), StateError> {
        self.load_pages()
    }

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
        check_version(r, "a page of a memory")?;
        let block = Read::decode(r)?;
        let mut at = Vec::with_capacity(block.headers.len());
        for header in block.headers {
            at.push(self.intern(header)?);
        }
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
            tables.refer_registers(&page.registers);
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
