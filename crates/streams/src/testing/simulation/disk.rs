//! The simulated disk of a machine: what was written and not synced is lost with the power, a bulk
//! load is lost in part with its process, a disk fills up, a stored bit flips.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::disk_snapshot::OpenContent;
use super::faults::Fault;
use super::files::{FileChange, STRANGE_KEY, TaskFiles, apply};
use super::world::{Simulated, World};
use crate::error::{Error, Result};
use crate::ports::{SnapshotSource, StoreBatch, StoreEngine, TaskStore, Value, Visit};
use crate::record::TaskId;
use crate::store::checkpoint::Position;
use crate::store::entry_hash;

/// The store engine of a process.
pub(super) struct SimulatedDisk {
    pub sim: Simulated,
    pub slot: usize,
}

struct OpenStore {
    sim: Simulated,
    slot: usize,
    task: TaskId,
    stores: Vec<String>,
    /// A copy that reads are answered from; the files are written through.
    content: OpenContent,
}

impl StoreEngine for SimulatedDisk {
    fn open(&self, task: TaskId, stores: &[&str]) -> Result<Box<dyn TaskStore>> {
        self.sim.call("open_store")?;
        let mut world = self.sim.lock();
        let now = world.now;
        let files = world.machines[self.slot]
            .tasks
            .entry(task)
            .or_insert_with(|| TaskFiles { written_at: now, ..TaskFiles::default() });
        if files.opened_by.is_some() {
            return Err(Error::Retry(format!("open the local store of task {task}: it is open already [HS3009]")));
        }
        if files.damaged.take().is_some() {
            return Err(Error::Corrupted { task, what: "a checksum of a block does not match".to_owned() });
        }
        files.opened_by = Some(self.sim.process);
        files.written_at = now;
        let content =
            stores.iter().map(|store| files.content.entry((*store).to_owned()).or_default().clone()).collect();
        Ok(Box::new(OpenStore {
            sim: self.sim.clone(),
            slot: self.slot,
            task,
            stores: stores.iter().map(|store| (*store).to_owned()).collect(),
            content: OpenContent::new(content),
        }))
    }

    fn destroy(&self, task: TaskId) -> Result<()> {
        self.sim.call("destroy_store")?;
        let mut world = self.sim.lock();
        let files = world.machines[self.slot].tasks.get(&task);
        if files.is_some_and(|files| files.opened_by.is_some()) {
            return Err(Error::Retry(format!("remove the local store of task {task}: it is open [HS3009]")));
        }
        world.expect_a_reason_to_wipe(self.slot, task);
        world.machines[self.slot].tasks.remove(&task);
        Ok(())
    }

    fn idle_time(&self, task: TaskId) -> Result<Option<Duration>> {
        let world = self.sim.lock();
        let files = world.machines[self.slot].tasks.get(&task);
        Ok(files.map(|files| world.now.saturating_sub(files.written_at)))
    }

    fn positions(&self, task: TaskId, stores: &[&str]) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        self.sim.call("positions")?;
        let world = self.sim.lock();
        let Some(files) = world.machines[self.slot].tasks.get(&task) else { return Ok(None) };
        if files.damaged.is_some() {
            return Err(Error::Corrupted { task, what: "a checksum of a block does not match".to_owned() });
        }
        let position = |store: &&str| files.content.get(*store)?.get(&[][..]).cloned();
        Ok(Some(stores.iter().map(position).collect()))
    }
}

impl OpenStore {
    fn check(&self) -> Result<()> {
        let world = self.sim.lock();
        let damaged = world.machines[self.slot].tasks.get(&self.task).and_then(|files| files.damaged.as_ref());
        match damaged {
            Some(store) if self.stores.contains(store) => {
                Err(Error::Corrupted { task: self.task, what: "a checksum of a block does not match".to_owned() })
            }
            _ => Ok(()),
        }
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        self.content.close();
        let mut world = self.sim.lock();
        let process = self.sim.process;
        if let Some(files) = world.machines[self.slot].tasks.get_mut(&self.task)
            && files.opened_by == Some(process)
        {
            files.opened_by = None;
            // A database that is closed in order flushes its memory.
            files.sync();
        }
    }
}

impl TaskStore for OpenStore {
    fn get(&self, store: usize, key: &[u8]) -> Result<Option<Value<'_>>> {
        self.check()?;
        Ok(self.content.read().stores[store].get(key).cloned().map(Value::Owned))
    }

    fn multi_get(&self, store: usize, keys: &[&[u8]]) -> Result<Vec<Option<Value<'_>>>> {
        keys.iter().map(|key| self.get(store, key)).collect()
    }

    fn scan_from(&self, store: usize, prefix: &[u8], start: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.check()?;
        let content = self.content.read();
        let from = content.stores[store].range(start.to_vec()..);
        for (key, value) in from.take_while(|(key, _)| key.starts_with(prefix)).filter(|(key, _)| !key.is_empty()) {
            if visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, batch: &StoreBatch<'_>) -> Result<()> {
        self.sim.call("apply")?;
        self.check()?;
        let mut world = self.sim.lock();
        if world.now < world.machines[self.slot].full_until {
            return Err(Error::Fatal(
                "no space left on device; free some space on the disk of the state directory [HS3007]".to_owned(),
            ));
        }
        let mut changes: Vec<FileChange> = Vec::new();
        for put in &batch.puts {
            if put.key.is_empty() {
                world.fail("the empty key was written as data");
            }
            changes.push((self.stores[put.store].clone(), put.key.to_vec(), put.value.map(<[u8]>::to_vec)));
        }
        for (store, position) in &batch.positions {
            changes.push((self.stores[*store].clone(), Vec::new(), Some(position.to_vec())));
        }
        let mut content = self.content.write();
        for (store, key, value) in &changes {
            let at = self.stores.iter().position(|known| known == store).unwrap_or_default();
            match value {
                Some(value) => content.stores[at].insert(key.clone(), value.clone()),
                None => content.stores[at].remove(key),
            };
        }
        drop(content);
        let now = world.now;
        let Some(files) = world.machines[self.slot].tasks.get_mut(&self.task) else { return Ok(()) };
        apply(&mut files.content, &changes);
        files.written_at = now;
        if files.is_bulk_load {
            let mut by_store: BTreeMap<String, Vec<FileChange>> = BTreeMap::new();
            for change in changes {
                by_store.entry(change.0.clone()).or_default().push(change);
            }
            for (store, changes) in by_store {
                files.unlogged.entry(store).or_default().push(changes);
            }
        } else {
            files.logged.push(changes);
        }
        Ok(())
    }

    fn position(&self, store: usize) -> Result<Option<Vec<u8>>> {
        self.check()?;
        Ok(self.content.read().stores[store].get(&[][..]).cloned())
    }

    fn begin_bulk_load(&mut self) -> Result<()> {
        let mut world = self.sim.lock();
        if let Some(files) = world.machines[self.slot].tasks.get_mut(&self.task) {
            // What the log holds is flushed with the rest at the latest.
            files.sync();
            files.is_bulk_load = true;
        }
        Ok(())
    }

    fn end_bulk_load(&mut self) -> Result<()> {
        self.sim.call("flush")?;
        let mut world = self.sim.lock();
        if let Some(files) = world.machines[self.slot].tasks.get_mut(&self.task) {
            files.is_bulk_load = false;
            files.sync();
        }
        Ok(())
    }

    fn clear(&mut self, store: usize) -> Result<()> {
        self.sim.call("clear")?;
        let name = self.stores[store].clone();
        self.content.clear(store);
        let mut world = self.sim.lock();
        world.expect_a_reason_to_wipe(self.slot, self.task);
        if let Some(files) = world.machines[self.slot].tasks.get_mut(&self.task) {
            files.content.entry(name).or_default().clear();
            files.sync();
        }
        Ok(())
    }

    fn snapshots(&self) -> Arc<dyn SnapshotSource> {
        Arc::new(self.content.clone())
    }
}

impl World {
    /// A process has ended: what it had open is closed.
    pub fn close_files(&mut self, slot: usize, has_power: bool) {
        let Some(machine) = self.machines.get_mut(slot) else { return };
        let random = &mut self.random;
        for files in machine.tasks.values_mut() {
            if files.opened_by.is_some() || !has_power {
                files.survive(has_power, |count| random.usize(0..=count));
            }
        }
    }

    /// State is wiped only where it cannot be used: where a fault has changed it, or a broker has
    /// told a false end of its changelog.
    fn expect_a_reason_to_wipe(&mut self, slot: usize, task: TaskId) {
        let files = self.machines[slot].tasks.get(&task);
        let is_wiped =
            files.is_some_and(|files| !files.is_suspect && files.content.values().any(|rows| rows.len() > 1));
        if is_wiped && self.last_stale_end.is_none() {
            self.fail(format!(
                "the stores of task {task} on machine {slot} were wiped, and nothing was wrong with them"
            ));
        }
    }

    /// Flips a bit of one stored entry of some task of some machine.
    pub fn flip_bit(&mut self) {
        let fault = Fault::BitFlip;
        let slot = self.faults.below(fault, self.machines.len());
        let tasks: Vec<TaskId> = self.machines[slot].tasks.keys().copied().collect();
        if tasks.is_empty() {
            return;
        }
        let task = tasks[self.faults.below(fault, tasks.len())];
        let Some(files) = self.machines[slot].tasks.get_mut(&task) else { return };
        files.damaged = files.content.keys().next().cloned();
        files.is_suspect = true;
        self.trace(|_| format!("machine {slot}: a bit of the store of task {task} has flipped"));
    }

    /// Changes the content of one store of a task that no process has open.
    pub fn exchange_store(&mut self) {
        let fault = Fault::StoreExchanged;
        let slot = self.faults.below(fault, self.machines.len());
        let closed = |(task, files): (&TaskId, &TaskFiles)| files.opened_by.is_none().then_some(*task);
        let tasks: Vec<TaskId> = self.machines[slot].tasks.iter().filter_map(closed).collect();
        if tasks.is_empty() {
            return;
        }
        let task = tasks[self.faults.below(fault, tasks.len())];
        let is_readable = self.faults.below(fault, 2) == 0;
        let Some(files) = self.machines[slot].tasks.get_mut(&task) else { return };
        files.is_suspect = true;
        let Some(content) = files.content.values_mut().next() else { return };
        let Some(bytes) = content.get(&[][..]).cloned() else { return };
        let Ok(position) = Position::decode(task, &bytes) else { return };
        let (key, value) = (STRANGE_KEY.to_vec(), b"x".to_vec());
        let checksum = position.checksum.map(|sum| sum.wrapping_add(entry_hash(&key, &value)));
        let position = match is_readable {
            true => Position { checksum, ..position }.encode(),
            false => b"no position".to_vec(),
        };
        content.insert(key, value);
        content.insert(Vec::new(), position);
        files.sync();
        self.trace(|_| format!("machine {slot}: a store of task {task} is another one"));
    }
}
