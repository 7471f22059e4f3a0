//! The notes of which tasks' state lies on this instance's disk ([`StateOnDisk`]): looked up at the
//! start, and kept up as tasks are closed and standbys follow their changelogs. By them a young
//! instance waits with the restoration of state that others may have.
//!
//! [`StateOnDisk`]: crate::task_assignment::StateOnDisk

use std::time::Duration;

use super::instance::Instance;
use crate::error::Result;
use crate::offset::Offset;
use crate::record::{TaskId, TopicPartition};
use crate::store::checkpoint::{Checkpoint, Position};
use crate::task::{Plan, PlanStore};
use crate::topology::StoreKind;

/// How long the look at the start reads positions. What it has not come to counts as a copy that
/// is less caught up than any whose position was read.
const LOOK: Duration = Duration::from_secs(5);

fn is_on_disk(store: &PlanStore) -> bool {
    store.options.kind != StoreKind::Memory
}

/// How much of a changelog a store has, as a number of offsets.
fn reached(changelog_offset: Option<Offset>) -> u64 {
    changelog_offset.map_or(0, |offset| offset.next().since(Offset::FIRST))
}

impl Instance {
    /// Looks what the disk has, before any task is opened. What cannot be read counts as absent: it
    /// is found out and reported when its task is taken.
    ///
    /// Until when tasks wait whose state may be on the disks of others. An instance that has
    /// nothing on its disk is none of those that were stopped together: it joins a group that has
    /// the state already, or has lost it, so it waits for nobody.
    pub(super) fn note_disk(&self) -> Duration {
        let Some(state_on_disk) = &self.config.state_on_disk else { return Duration::ZERO };
        let started = self.now();
        let ends = started + LOOK;
        for source in self.sources.partitions() {
            let Some(plan) = self.plans.iter().find(|plan| plan.source == source.topic) else { continue };
            let stores: Vec<&str> =
                plan.stores.iter().filter(|store| is_on_disk(store)).map(|store| &*store.name).collect();
            if stores.is_empty() {
                continue;
            }
            let id = TaskId { subtopology: plan.subtopology, partition: source.partition };
            let is_late = self.now() > ends;
            match self.find_on_disk(id, plan, &stores, is_late) {
                Ok(Some(offsets)) => state_on_disk.set(source, offsets),
                Ok(None) => {}
                Err(error) => tracing::debug!(task = %id, "the state on disk cannot be read yet: {error}"),
            }
        }
        let found = state_on_disk.snapshot();
        tracing::info!("the state of {} tasks lies on this instance's disk", found.len());
        if found.is_empty() { Duration::ZERO } else { started + self.config.restore_grace }
    }

    /// Until when the restoration of a task waits, where an instance that has its state on disk may
    /// be about to join: its commit has state, of which less than nine tenths lie here.
    pub(super) fn awaits_state(&self, id: TaskId, plan: &Plan, committed: &Checkpoint) -> Option<Duration> {
        let state_on_disk = self.config.state_on_disk.as_ref()?;
        if self.now() >= self.grace_ends {
            return None;
        }
        let of_disk = plan.stores.iter().zip(&committed.stores).filter(|(store, _)| is_on_disk(store));
        let needed: u64 = of_disk.map(|(_, store)| reached(store.changelog_offset)).sum();
        let found = state_on_disk.get(&TopicPartition::new(plan.source.clone(), id.partition)).unwrap_or_default();
        (found < needed - needed / 10).then_some(self.grace_ends)
    }

    /// The offsets that the state of a task on disk has reached in all, where there is such that
    /// would be gone on with.
    fn find_on_disk(&self, id: TaskId, plan: &Plan, stores: &[&str], is_late: bool) -> Result<Option<u64>> {
        let Some(idle) = self.ports.stores.idle_time(id)? else { return Ok(None) };
        if self.changelog_memory_of(plan).is_some_and(|memory| idle > memory) {
            return Ok(None);
        }
        if is_late {
            return Ok(Some(1));
        }
        let Some(positions) = self.ports.stores.positions(id, stores)? else { return Ok(None) };
        let decoded = positions.iter().flatten().map(|position| Position::decode(id, position));
        let positions = decoded.collect::<Result<Vec<_>>>()?;
        let offsets = positions.iter().map(|position| reached(position.changelog_offset)).sum();
        Ok((offsets > 0).then_some(offsets))
    }

    /// The state of a task lies here, at a checkpoint.
    pub(super) fn note_checkpoint(&self, id: TaskId, plan: &Plan, checkpoint: &Checkpoint) {
        let offsets = checkpoint.stores.iter().enumerate().map(|(store, at)| (store, at.changelog_offset));
        self.note_offsets(id, plan, offsets);
    }

    /// The state of a task is about to be deleted.
    pub(super) fn forget_state(&self, id: TaskId, plan: &Plan) {
        if let Some(state_on_disk) = &self.config.state_on_disk {
            state_on_disk.remove(&TopicPartition::new(plan.source.clone(), id.partition));
        }
    }

    /// The state of a task lies here, each of these stores up to that offset of its changelog.
    pub(super) fn note_offsets(&self, id: TaskId, plan: &Plan, offsets: impl Iterator<Item = (usize, Option<Offset>)>) {
        let Some(state_on_disk) = &self.config.state_on_disk else { return };
        let of_disk = offsets.filter(|(store, _)| plan.stores.get(*store).is_some_and(is_on_disk));
        let offsets = of_disk.map(|(_, changelog_offset)| reached(changelog_offset)).sum();
        state_on_disk.set(TopicPartition::new(plan.source.clone(), id.partition), offsets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_what_a_changelog_has_been_read_of() {
        assert_eq!([None, Offset::new(0), Offset::new(17)].map(reached), [0, 1, 18]);
    }
}
