//! Lets one event into a memory (docs/semantics.md, section 3): joins, frontier, deletes,
//! registers. What it costs, reads and writes follows what the event touches; only a delete touches
//! everything.

use super::super::binary::BinaryError;
use super::super::causality::{EventHeader, Relation};
use super::super::event::wire::EventRef;
use super::super::settings::ResolverSettings;
use super::block::{Register, RegisterWrite};
use super::memory::{Current, Memory};
use super::path::{Field, Path};
use super::rows::StateError;
use super::value::{self, Stored, Value};

/// Effect of an event on a memory, as data.
#[derive(Clone, Debug)]
pub struct Applied<'a> {
    /// The event's header, at this index of the memory's headers.
    pub event: u32,
    /// Whether the state changed at all. A redelivery never changes it.
    pub changed: bool,
    /// The paths whose registers now hold a write of this event, in path order.
    pub touched: Vec<Touched<'a>>,
}

/// A register that an event wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched<'a> {
    /// Its path.
    pub path: Path<'a>,
    /// Whether other writes are live beside the event's.
    pub contested: bool,
}

impl<'a> Memory<'a> {
    /// Lets an event in.
    ///
    /// # Errors
    /// [`StateError`]: a row could not be read. The memory is then to be dropped; nothing was
    /// written.
    pub fn apply(&mut self, event: &EventRef<'a>, settings: &ResolverSettings) -> Result<Applied<'a>, StateError> {
        let header = self.header_of(event);
        self.relations = self.headers.iter().map(|h| h.relation(&header, settings)).collect();
        if self.pages.is_some() {
            self.current = Some(Current { header: header.clone(), settings: settings.clone() });
        }
        let mut changed = self.join(&header);
        let by = self.headers.len() as u32;
        let content = event.writes.iter().find(|(path, _)| *path == "content").map(|(_, value)| value::digest(value));
        self.by_seq.clear();
        self.headers.push(header);
        self.relations.push(Relation::Same);
        changed |= insert(&mut self.frontier, by, &self.relations);
        let mut dead = false;
        if event.is_delete {
            if insert(&mut self.deletes, by, &self.relations) {
                changed = true;
                self.drop_seen()?;
            }
        } else {
            dead = self.deletes.iter().any(|d| self.relations[*d as usize] == Relation::After);
        }
        let mut touched = Vec::with_capacity(event.writes.len());
        for (path, value) in &event.writes {
            let path = Path::parse(path).ok_or_else(|| self.damaged_event())?;
            if path.field != Field::UserId && (dead || event.is_delete) {
                continue;
            }
            let content = if path.field == Field::Embedding { content } else { None };
            if let Some(contested) = self.write(path, RegisterWrite { by, value: Value::Inline(value), content })? {
                changed = true;
                touched.push(Touched { path, contested });
            }
        }
        touched.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        if changed {
            self.next_seq += 1;
        }
        self.current = None;
        Ok(Applied { event: by, changed, touched })
    }

    fn header_of(&self, event: &EventRef<'a>) -> EventHeader<'a> {
        EventHeader {
            seq: self.next_seq,
            digest: event.digest,
            event_id: event.event_id,
            node_id: event.node_id,
            version: event.version,
            timestamp: event.timestamp,
            importance: event.importance,
            clock: event.clock.clone(),
            is_delete: event.is_delete,
            absorb_into: event.absorb_into,
            source: event.source,
        }
    }

    fn damaged_event(&self) -> StateError {
        let error = BinaryError::Invalid("field path");
        StateError::Damaged { memory: self.id().to_owned(), row: "internal event", error }
    }

    /// Joins clock, version and times. Returns whether one of them moved.
    fn join(&mut self, header: &EventHeader<'a>) -> bool {
        let before = (self.version, self.created_at, self.updated_at);
        self.version = self.version.max(header.version);
        self.created_at = self.created_at.min(header.timestamp);
        self.updated_at = self.updated_at.max(header.timestamp);
        let mut moved = before != (self.version, self.created_at, self.updated_at);
        let mut i = 0;
        for &(name, counter) in &header.clock {
            while i < self.clock.len() && self.clock[i].0 < name {
                i += 1;
            }
            match self.clock.get_mut(i) {
                Some(entry) if entry.0 == name => {
                    moved |= counter > entry.1;
                    entry.1 = entry.1.max(counter);
                }
                _ => {
                    self.clock.insert(i, (name, counter));
                    moved = true;
                }
            }
        }
        moved
    }

    /// Drops every live write that happened before the delete being applied; `user_id` is identity
    /// and stays.
    fn drop_seen(&mut self) -> Result<(), StateError> {
        self.load_pages()?;
        for home in self.homes() {
            let seen = |relations: &[Relation], r: &Register<'_>| {
                r.path.field != Field::UserId && r.writes.iter().any(|w| relations[w.by as usize] == Relation::Before)
            };
            if !self.registers(home).iter().any(|r| seen(&self.relations, r)) {
                continue;
            }
            let relations = std::mem::take(&mut self.relations);
            let mut dropped = std::mem::take(&mut self.dropped);
            for register in self.registers_mut(home).iter_mut().filter(|r| r.path.field != Field::UserId) {
                drop_before(&mut register.writes, &relations, &mut dropped);
            }
            (self.relations, self.dropped) = (relations, dropped);
        }
        Ok(())
    }

    /// Lets a write into its register. Returns whether it then stands beside others, `None` when it
    /// is not let in.
    fn write(&mut self, path: Path<'a>, write: RegisterWrite<'a>) -> Result<Option<bool>, StateError> {
        self.load(path)?;
        let home = self.home(path);
        let found = self.registers(home).binary_search_by(|r| r.path.cmp(&path));
        if let Ok(i) = found {
            let held = &self.registers(home)[i].writes;
            if held.iter().any(|w| matches!(self.relations[w.by as usize], Relation::Same | Relation::After)) {
                return Ok(None);
            }
        }
        let relations = std::mem::take(&mut self.relations);
        let mut dropped = std::mem::take(&mut self.dropped);
        let registers = self.registers_mut(home);
        let contested = match found {
            Ok(i) => {
                let writes = &mut registers[i].writes;
                drop_before(writes, &relations, &mut dropped);
                writes.push(write);
                writes.len() > 1
            }
            Err(i) => {
                registers.insert(i, Register { path, writes: vec![write] });
                false
            }
        };
        (self.relations, self.dropped) = (relations, dropped);
        Ok(Some(contested))
    }
}

fn drop_before<'a>(writes: &mut Vec<RegisterWrite<'a>>, relations: &[Relation], dropped: &mut Vec<Stored>) {
    writes.retain(|w| {
        let keep = relations[w.by as usize] != Relation::Before;
        if let (false, Value::Stored(stored)) = (keep, w.value) {
            dropped.push(stored);
        }
        keep
    });
}

/// Lets an event into a set of maximal events. Returns whether the set changed.
fn insert(set: &mut Vec<u32>, by: u32, relations: &[Relation]) -> bool {
    if set.iter().any(|h| matches!(relations[*h as usize], Relation::Same | Relation::After)) {
        return false;
    }
    set.retain(|h| relations[*h as usize] != Relation::Before);
    set.push(by);
    true
}
