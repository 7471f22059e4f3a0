//! Uncommitted changes of a task to a store, on top of the database, and the store's checksum.
//!
//! The checksum is the sum of the hashes of all entries, so it does not depend on the order of
//! writes. A write takes the old entry's hash out and the new one's in; the old hash is known from
//! the read that came before, or the put reads it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::ControlFlow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::error::Result;
use crate::planted::PlantedBug;
use crate::ports::{TaskStore, Value, Visit};

/// Order-free checksum of a store's content: the sum, modulo 2^128, of its entries' hashes.
pub type Checksum = u128;

/// The hash of one entry: of its value, seeded with its key's.
pub fn entry_hash(key: &[u8], value: &[u8]) -> Checksum {
    xxh3_128_with_seed(value, xxh3_64(key))
}

/// Hashes keys with xxh3. The order of the map never gets out: a drain sorts.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(5) ^ xxh3_64(bytes);
    }

    fn write_usize(&mut self, len: usize) {
        self.0 ^= len as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Map<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<KeyHasher>>;

/// Approximate overhead of an entry besides its key and value.
const ENTRY_BYTES: usize = 96;

/// One change since the last commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The new value; `None` deletes.
    pub value: Option<&'a [u8]>,
    /// The timestamp of the record that wrote it, milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// Value written to a key, and the time of the record that wrote it.
struct Written {
    value: Option<Vec<u8>>,
    timestamp_ms: i64,
}

/// A store's changes since the last commit.
#[derive(Default)]
pub struct Overlay {
    written: Map<Written>,
    /// Keys of `written` in order; made by the first scan after a commit, since point access needs
    /// no order.
    order: Option<BTreeSet<Box<[u8]>>>,
    /// Hash of the committed entry of each key that was read or written since the last commit;
    /// `None` where there is none.
    committed: RefCell<Map<Option<Checksum>>>,
    /// Of the committed content.
    checksum: Checksum,
    /// Bytes of `written`.
    bytes: usize,
}

impl Overlay {
    /// Nothing written, above content of this checksum.
    pub fn new(checksum: Checksum) -> Overlay {
        Overlay { checksum, ..Overlay::default() }
    }

    /// Memory that the changes take, about.
    pub fn bytes(&self) -> usize {
        self.bytes + self.committed.borrow().len() * ENTRY_BYTES
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// The value of a key as the task sees it.
    pub fn get<'a>(&'a self, db: &'a dyn TaskStore, store: usize, key: &[u8]) -> Result<Option<Value<'a>>> {
        if let Some(written) = self.written.get(key)
            && !(PlantedBug::DeletedKeyRead.is_planted() && written.value.is_none())
        {
            return Ok(written.value.as_deref().map(Value::Borrowed));
        }
        let value = db.get(store, key)?;
        self.remember_committed(key, value.as_deref());
        Ok(value)
    }

    /// The values of several keys as the task sees them.
    pub fn multi_get<'a>(
        &'a self,
        db: &'a dyn TaskStore,
        store: usize,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Value<'a>>>> {
        let missing: Vec<&[u8]> = keys.iter().copied().filter(|key| !self.written.contains_key(*key)).collect();
        let mut stored = if missing.is_empty() { Vec::new() } else { db.multi_get(store, &missing)? }.into_iter();
        let look = |key: &&[u8]| match self.written.get(*key) {
            Some(written) => written.value.as_deref().map(Value::Borrowed),
            None => {
                let value = stored.next().flatten();
                self.remember_committed(key, value.as_deref());
                value
            }
        };
        Ok(keys.iter().map(look).collect())
    }

    fn remember_committed(&self, key: &[u8], value: Option<&[u8]>) {
        let mut committed = self.committed.borrow_mut();
        if !committed.contains_key(key) {
            committed.insert(key.into(), value.map(|value| entry_hash(key, value)));
        }
    }

    /// Writes a key; `timestamp_ms` is that of the record that does it, and of the changelog record
    /// that comes of it.
    pub fn put(
        &mut self,
        db: &dyn TaskStore,
        store: usize,
        key: &[u8],
        value: Option<Vec<u8>>,
        timestamp_ms: i64,
    ) -> Result<()> {
        let size = value.as_ref().map_or(0, Vec::len);
        if let Some(slot) = self.written.get_mut(key) {
            self.bytes = self.bytes + size - slot.value.as_ref().map_or(0, Vec::len);
            *slot = Written { value, timestamp_ms };
            return Ok(());
        }
        if !self.committed.get_mut().contains_key(key) {
            let old = db.get(store, key)?;
            self.remember_committed(key, old.as_deref());
        }
        self.bytes += size + key.len() + ENTRY_BYTES;
        if let Some(order) = &mut self.order {
            order.insert(key.into());
        }
        self.written.insert(key.into(), Written { value, timestamp_ms });
        Ok(())
    }

    /// Visits the entries whose keys start with `prefix`, from the key `start` on, as the task sees
    /// them, in key order.
    pub fn scan_from(
        &mut self,
        db: &dyn TaskStore,
        store: usize,
        (prefix, start): (&[u8], &[u8]),
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        if self.written.is_empty() {
            return db.scan_from(store, prefix, start, visit);
        }
        let written = &self.written;
        let order = self.order.get_or_insert_with(|| written.keys().cloned().collect());
        let from: Box<[u8]> = start.into();
        let mut ours = order.range(from..).take_while(|key| key.starts_with(prefix)).peekable();
        let mut broke = false;
        let show = |key: &[u8], visit: &mut Visit<'_>| match written.get(key).and_then(|written| written.value.as_ref())
        {
            Some(value) => visit(key, value),
            None => ControlFlow::Continue(()),
        };
        db.scan_from(store, prefix, start, &mut |key, value| {
            while let Some(own) = ours.next_if(|own| ***own < *key) {
                if show(own, visit).is_break() {
                    broke = true;
                    return ControlFlow::Break(());
                }
            }
            let is_ours = ours.next_if(|own| ***own == *key).is_some();
            let flow = if is_ours { show(key, visit) } else { visit(key, value) };
            broke |= flow.is_break();
            flow
        })?;
        while !broke && let Some(own) = ours.next() {
            broke = show(own, visit).is_break();
        }
        Ok(())
    }

    /// The changes in key order, without deletes of what was never there.
    pub fn changes(&self) -> Vec<Change<'_>> {
        let committed = self.committed.borrow();
        let was_there = |key: &[u8]| committed.get(key).is_none_or(Option::is_some);
        let mut changes: Vec<Change<'_>> = (self.written.iter())
            .filter(|(key, written)| written.value.is_some() || was_there(key))
            .map(|(key, Written { value, timestamp_ms })| Change {
                key,
                value: value.as_deref(),
                timestamp_ms: *timestamp_ms,
            })
            .collect();
        changes.sort_unstable_by(|a, b| a.key.cmp(b.key));
        changes
    }

    /// The checksum that the store has once the changes are in it.
    pub fn checksum(&self) -> Checksum {
        let committed = self.committed.borrow();
        let mut sum = self.checksum;
        for (key, Written { value, .. }) in &self.written {
            sum = sum.wrapping_sub(committed.get(key).copied().flatten().unwrap_or(0));
            sum = sum.wrapping_add(value.as_ref().map_or(0, |value| entry_hash(key, value)));
        }
        sum
    }

    /// The changes are in the database: begins anew above it.
    pub fn committed(&mut self, checksum: Checksum) {
        self.checksum = checksum;
        self.discard();
    }

    /// Drops the changes.
    pub fn discard(&mut self) {
        self.written.clear();
        self.order = None;
        self.committed.get_mut().clear();
        self.bytes = 0;
    }
}
