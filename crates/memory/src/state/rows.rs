//! The rows of a memory in its store, and the split of long ones into parts.
//!
//! A memory has a head row, pages of keyed registers once they outgrow the head, and a row for each
//! large value. Every row of it begins with its id, so that one memory's rows lie together.

use super::super::binary::{BinaryError, Reader, put_bytes, put_varint};
use typed_arena::Arena;

/// Where a memory's rows are cut, in bytes. It decides how rows are written; any row reads the same
/// whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// No row, and so no changelog record, is longer than this (without its key).
    pub max_part_bytes: usize,
    /// A value of more canonical bytes than this lies in a row of its own.
    pub max_inline_bytes: usize,
    /// Keyed registers of more weight than this leave the head row.
    pub max_head_weight: u64,
    /// Keyed registers of less weight than this return to the head row, where all pages are at
    /// hand.
    pub min_paged_weight: u64,
    /// Target weight of a new page.
    pub page_weight: u64,
    /// Pages that weigh more than this in the mean are split.
    pub max_page_weight: u64,
}

impl Default for Layout {
    /// Parts of 4 MiB, values up to 2 KiB inline, pages of 4 to 6 KiB once a head holds more than
    /// 16 KiB.
    fn default() -> Layout {
        Layout {
            max_part_bytes: 4 << 20,
            max_inline_bytes: 2 << 10,
            max_head_weight: 16 << 10,
            min_paged_weight: 4 << 10,
            page_weight: 4 << 10,
            max_page_weight: 6 << 10,
        }
    }
}

const WHOLE: u8 = 0;
const IN_PARTS: u8 = 1;

/// The version of head rows and pages that this program writes.
pub const VERSION: u8 = 1;

/// Checks the version byte of a row; `what` names the row in the error.
pub fn check_version(r: &mut Reader<'_>, what: &'static str) -> Result<(), BinaryError> {
    match r.u8("version")? {
        VERSION => Ok(()),
        found => Err(BinaryError::UnknownVersion { what, found, known: "1" }),
    }
}

/// Where the rows of a memory are read from.
pub trait Rows {
    /// The value of a row, if there is one.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure>;
}

/// A store's own error, passed through.
pub type ReadFailure = Box<dyn std::error::Error + Send + Sync>;

/// Reason why a memory cannot be read. Neither is the event's fault: the task that holds the store
/// must act.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store could not be read.
    #[error("read the state of memory {memory:?}: {error}")]
    Read {
        /// Memory id.
        memory: String,
        /// The store's error.
        error: ReadFailure,
    },
    /// A stored row that can't be: damage, or a newer program's form.
    #[error("the stored {row} of memory {memory:?} {error}")]
    Damaged {
        /// Memory id.
        memory: String,
        /// Which row.
        row: &'static str,
        /// The problem that was found.
        error: BinaryError,
    },
}

/// A change of one row: its key, and its new value or `None` where it is deleted.
pub type RowPut = (Vec<u8>, Option<Vec<u8>>);

/// Which row of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Joins, frontier, deletes, open conflicts and the registers that fit.
    Head,
    /// A page of keyed registers.
    Page(u32),
    /// A large value.
    Value(u128),
}

impl Row {
    fn name(self) -> &'static str {
        match self {
            Row::Head => "head",
            Row::Page(_) => "page",
            Row::Value(_) => "value",
        }
    }

    /// The key of this row of a memory.
    pub fn key(self, memory: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(memory.len() + 20);
        put_bytes(&mut key, memory.as_bytes());
        match self {
            Row::Head => key.push(b'h'),
            Row::Page(n) => {
                key.push(b'p');
                key.extend_from_slice(&n.to_be_bytes());
            }
            Row::Value(id) => {
                key.push(b'v');
                key.extend_from_slice(&id.to_be_bytes());
            }
        }
        key
    }
}

/// The memory id of a head row's key; `None` for the key of any other row.
pub fn memory_of_head(key: &[u8]) -> Option<&str> {
    let mut r = Reader::new(key);
    let id = r.str("memory id").ok()?;
    (r.remaining() == b"h").then_some(id)
}

/// The prefix that the keys of all rows of a memory share.
pub fn prefix(memory: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(memory.len() + 3);
    put_bytes(&mut key, memory.as_bytes());
    key
}

fn part_key(key: &[u8], part: u32) -> Vec<u8> {
    let mut k = key.to_vec();
    k.push(b'+');
    k.extend_from_slice(&part.to_be_bytes());
    k
}

/// Reads rows of one memory into an arena, so that what is decoded from them can borrow.
#[derive(Clone, Copy)]
pub struct Loader<'a> {
    rows: &'a dyn Rows,
    arena: &'a Arena<Vec<u8>>,
    /// The memory whose rows these are.
    pub memory: &'a str,
    /// How its rows are written.
    pub layout: Layout,
}

/// A row as read, and in how many parts it lay.
#[derive(Clone, Copy, Debug)]
pub struct Loaded<'a> {
    /// The row's value.
    pub bytes: &'a [u8],
    /// Parts beside the row itself, 0 when whole.
    pub parts: u32,
}

impl<'a> Loader<'a> {
    /// A loader of the rows of `memory`.
    pub fn new(rows: &'a dyn Rows, arena: &'a Arena<Vec<u8>>, memory: &'a str) -> Loader<'a> {
        Loader { rows, arena, memory, layout: Layout::default() }
    }

    /// The same, but rows are cut as `layout` says.
    pub fn with_layout(self, layout: Layout) -> Loader<'a> {
        Loader { layout, ..self }
    }

    fn raw(&self, key: &[u8]) -> Result<Option<&'a [u8]>, StateError> {
        let read = self.rows.get(key).map_err(|error| StateError::Read { memory: self.memory.to_owned(), error })?;
        Ok(read.map(|bytes| self.allocate(bytes)))
    }

    /// Puts bytes into the arena.
    pub fn allocate(&self, bytes: Vec<u8>) -> &'a [u8] {
        self.arena.alloc(bytes)
    }

    /// An error about a row of this memory.
    pub fn damaged(&self, row: Row, error: BinaryError) -> StateError {
        StateError::Damaged { memory: self.memory.to_owned(), row: row.name(), error }
    }

    /// Reads a row, put together from its parts.
    pub fn load(&self, row: Row) -> Result<Option<Loaded<'a>>, StateError> {
        let key = row.key(self.memory);
        let Some(raw) = self.raw(&key)? else { return Ok(None) };
        let damaged = |error| self.damaged(row, error);
        let mut r = Reader::new(raw);
        match r.u8("form").map_err(damaged)? {
            WHOLE => Ok(Some(Loaded { bytes: r.remaining(), parts: 0 })),
            IN_PARTS => {
                let parts = r.varint("number of parts").map_err(damaged)?;
                let parts = u32::try_from(parts).map_err(|_| damaged(BinaryError::Invalid("number of parts")))?;
                let mut bytes = Vec::new();
                for part in 0..parts {
                    let piece = self.raw(&part_key(&key, part))?;
                    bytes.extend_from_slice(piece.ok_or_else(|| damaged(BinaryError::Truncated("parts")))?);
                }
                Ok(Some(Loaded { bytes: self.allocate(bytes), parts }))
            }
            _ => Err(damaged(BinaryError::Invalid("form"))),
        }
    }
}

impl Layout {
    /// How many parts a row of `len` bytes is cut into beside the row itself.
    pub fn parts_of(&self, len: usize) -> u32 {
        if len < self.max_part_bytes { 0 } else { len.div_ceil(self.max_part_bytes) as u32 }
    }

    /// Writes a row that lay in `old_parts` parts.
    pub fn put_row(&self, puts: &mut Vec<RowPut>, memory: &str, row: Row, value: &[u8], old_parts: u32) {
        let key = row.key(memory);
        let parts = self.parts_of(value.len());
        if parts > 0 {
            for (i, piece) in value.chunks(self.max_part_bytes).enumerate() {
                puts.push((part_key(&key, i as u32), Some(piece.to_vec())));
            }
        }
        for stale in parts..old_parts {
            puts.push((part_key(&key, stale), None));
        }
        let mut bytes = Vec::with_capacity(if parts == 0 { value.len() + 1 } else { 6 });
        if parts == 0 {
            bytes.push(WHOLE);
            bytes.extend_from_slice(value);
        } else {
            bytes.push(IN_PARTS);
            put_varint(&mut bytes, u64::from(parts));
        }
        puts.push((key, Some(bytes)));
    }
}

/// Deletes a row that lies in `parts` parts.
pub fn delete_row(puts: &mut Vec<RowPut>, memory: &str, row: Row, parts: u32) {
    let key = row.key(memory);
    for part in 0..parts {
        puts.push((part_key(&key, part), None));
    }
    puts.push((key, None));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Map(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Rows for Map {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
            Ok(self.0.get(key).cloned())
        }
    }

    fn write(map: &mut Map, puts: Vec<RowPut>) {
        for (key, value) in puts {
            match value {
                Some(v) => map.0.insert(key, v),
                None => map.0.remove(&key),
            };
        }
    }

    #[test]
    fn long_rows_lie_in_parts_and_leave_none_behind() {
        let mut map = Map(BTreeMap::new());
        let mut parts = 0;
        let layout = Layout { max_part_bytes: 100, ..Layout::default() };
        for len in [10, 205, 100, 99, 0] {
            let value: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut puts = Vec::new();
            layout.put_row(&mut puts, "m", Row::Head, &value, parts);
            assert!(puts.iter().all(|(_, v)| v.as_ref().is_none_or(|v| v.len() <= 100)));
            write(&mut map, puts);
            let arena = Arena::new();
            let got = Loader::new(&map, &arena, "m").load(Row::Head).expect("reads").expect("is there");
            assert_eq!((got.bytes, got.parts), (&value[..], layout.parts_of(len)));
            parts = got.parts;
            assert_eq!(map.0.len(), 1 + parts as usize);
        }
        let mut puts = Vec::new();
        delete_row(&mut puts, "m", Row::Head, parts);
        write(&mut map, puts);
        assert!(map.0.is_empty());
    }

    #[test]
    fn only_a_head_key_names_its_memory() {
        assert_eq!(memory_of_head(&Row::Head.key("é")), Some("é"));
        assert_eq!(memory_of_head(&Row::Page(1).key("é")), None);
        assert_eq!(memory_of_head(&part_key(&Row::Head.key("é"), 0)), None);
    }
}
