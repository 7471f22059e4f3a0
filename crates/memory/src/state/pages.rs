//! Pages: the keyed registers (metadata, entities, relationships) of a memory that has outgrown its
//! head row, so that an event reads and writes a few KiB whatever the memory's size. A path's page
//! follows from its hash; pages grow one at a time by linear hashing (Litwin, VLDB 1980), so no
//! event pays for a rewrite of all. `page_rows` reads and writes their rows.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::binary::{BinaryError, Reader};
use super::block::Register;
use super::path::Path;
use super::value::Value;

/// Weight of a write besides its value: its share of headers and names, roughly, in bytes.
const WRITE_WEIGHT: u64 = 64;

/// More pages than any memory has: at 4 KiB each they hold 64 GiB.
const MAX_PAGES: u32 = 1 << 24;

/// More than a page of any layout weighs in the mean, in bytes.
const MAX_MEAN_WEIGHT: u64 = 1 << 20;

/// One page, read.
#[derive(Debug, Default)]
pub struct Page<'a> {
    pub registers: Vec<Register<'a>>,
    /// Parts in which the row lay; `None` when there was no row.
    pub parts: Option<u32>,
    /// Weight when it was read.
    pub weight: u64,
    /// Whether its registers may have changed since it was read.
    pub dirty: bool,
}

/// The pages of a memory.
#[derive(Debug)]
pub struct Pages<'a> {
    /// How many there are, at least 1.
    pub count: u32,
    /// Their weight together, in bytes, roughly.
    pub weight: u64,
    /// The pages that are read, by number.
    pub loaded: BTreeMap<u32, Page<'a>>,
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
    pub fn split(&mut self) {
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
    pub fn next_split(&self) -> u32 {
        let round = self.count.next_power_of_two();
        if self.count == round { 0 } else { self.count - round / 2 }
    }
}

/// Weight of registers, in bytes, roughly.
pub fn weight(registers: &[Register<'_>]) -> u64 {
    let of_write = |value: &Value<'_>| match value {
        Value::Inline(bytes) => bytes.len() as u64 + WRITE_WEIGHT,
        Value::Stored(_) => WRITE_WEIGHT,
    };
    registers.iter().map(|r| r.path.key.len() as u64 + r.writes.iter().map(|w| of_write(&w.value)).sum::<u64>()).sum()
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
