//! Live queries of the instances, while they run under faults. The rows and the position that each
//! of them shows are noted, and held against all commits of the group once these are known.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::definition::{StoreEntries, fold_changelog};
use super::world::{Simulated, World};
use crate::offset::Offset;
use crate::record::{TaskId, TopicPartition};
use crate::runtime::{CommitPosition, Instance, QueryError, StoreQuery, StoreRole, StoreSnapshot};
use crate::store::checkpoint::decode_metadata;
use crate::store::{Checksum, entry_hash};
use crate::task::Plan;

/// Steps of the simulation between two rounds of queries.
pub(super) const INTERVAL: u64 = 61;

/// A store, the position that a snapshot of it names, and the checksum of the rows that it shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    task: TaskId,
    store: usize,
    source_offset: Option<Offset>,
    stream_time_ms: Option<i64>,
    changelog_offset: Option<Offset>,
    checksum: Checksum,
}

/// Asks all instances for all stores, and notes what they show.
pub(super) struct QueryCheck {
    plans: Vec<Arc<Plan>>,
    are_standbys_asked: bool,
    /// When each was shown first, and by whom.
    shown: BTreeMap<Shown, (Duration, StoreRole)>,
    pub active_snapshots: u64,
    pub standby_snapshots: u64,
}

pub(super) fn checksum(entries: &StoreEntries) -> Checksum {
    entries.iter().fold(0, |sum: Checksum, (key, value)| sum.wrapping_add(entry_hash(key, value)))
}

impl QueryCheck {
    /// Where standbys are asked, the group's coordinator is asked for their commits, and the run
    /// takes another course.
    pub fn new(plans: Vec<Arc<Plan>>, are_standbys_asked: bool) -> QueryCheck {
        QueryCheck { plans, are_standbys_asked, shown: BTreeMap::new(), active_snapshots: 0, standby_snapshots: 0 }
    }

    /// One round.
    pub fn run(&mut self, sim: &Simulated) {
        let instances: Vec<Arc<Instance>> = {
            let world = sim.lock();
            let alive = world.processes.iter().filter(|process| process.is_alive);
            alive.filter_map(|process| process.instance.clone()).collect()
        };
        let plans = self.plans.clone();
        for (instance, plan) in instances.iter().flat_map(|instance| plans.iter().map(move |plan| (instance, plan))) {
            let partitions = sim.lock().broker.counts.get(&*plan.source).copied().unwrap_or(0);
            for (store, partition) in (0..plan.stores.len()).flat_map(|at| (0..partitions).map(move |to| (at, to))) {
                if let Err(error) = self.ask(sim, instance, plan, store, partition) {
                    sim.lock().fail(format!("a live query of store {} failed: {error}", plan.stores[store].name));
                }
            }
        }
    }

    fn ask(
        &mut self,
        sim: &Simulated,
        instance: &Instance,
        plan: &Plan,
        store: usize,
        partition: i32,
    ) -> Result<(), QueryError> {
        let mut query = StoreQuery::new(&plan.stores[store].name, partition);
        if !self.are_standbys_asked {
            query = query.require_active();
        }
        let snapshot = match instance.store_snapshot(&query) {
            Err(error @ (QueryError::Failed { .. } | QueryError::UnknownStore { .. })) => return Err(error),
            Err(_) => return Ok(()),
            Ok(snapshot) => snapshot,
        };
        let mut rows = StoreEntries::new();
        snapshot.scan(b"", &mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })?;
        self.note(&mut sim.lock(), &snapshot, store, &rows);
        Ok(())
    }

    fn note(&mut self, world: &mut World, snapshot: &StoreSnapshot, store: usize, rows: &StoreEntries) {
        match snapshot.role() {
            StoreRole::Active => self.active_snapshots += 1,
            StoreRole::Standby => self.standby_snapshots += 1,
        }
        let CommitPosition { source_offset, stream_time_ms, changelog_offset } = snapshot.position();
        let (task, checksum) = (snapshot.task(), checksum(rows));
        let shown = Shown { task, store, source_offset, stream_time_ms, changelog_offset, checksum };
        self.shown.entry(shown).or_insert_with(|| {
            world.trace(|_| {
                let position = snapshot.position();
                format!(
                    "live query ({:?}): {} rows of store {store} of task {task} at {position:?}",
                    snapshot.role(),
                    rows.len()
                )
            });
            (world.now, snapshot.role())
        });
    }

    /// Holds all that was shown against the commits of the group, which have all ended by now.
    ///
    /// # Errors
    /// The first thing shown that no commit has left.
    pub fn check(&self, world: &World) -> Result<(), String> {
        self.shown.iter().try_for_each(|(shown, (at, role))| {
            let plan = self.plans.iter().find(|plan| plan.subtopology == shown.task.subtopology);
            let Some(what) = plan.and_then(|plan| shown.difference(world, plan)) else { return Ok(()) };
            let Shown { task, store, source_offset, changelog_offset, .. } = shown;
            Err(format!(
                "a live query ({role:?}) has shown rows that were not committed: of store number {store} of task {task}, after {at:?}, at source \
                 offset {source_offset:?} and changelog offset {changelog_offset:?}: {what}"
            ))
        })
    }
}

impl Shown {
    /// A difference from the commit that it names.
    fn difference(&self, world: &World, plan: &Plan) -> Option<String> {
        let Some(offset) = self.source_offset else {
            return (self.checksum != 0).then(|| "there are rows before the first commit".to_owned());
        };
        let source = TopicPartition::new(plan.source.clone(), self.task.partition);
        let names = plan.store_names();
        let commits = world.broker.commits.get(&(source, offset)).into_iter().flatten();
        let commits = commits.filter_map(|metadata| decode_metadata(offset, metadata, &names).ok().flatten());
        let is_committed = commits.map(|commit| (commit.stream_time, commit.stores[self.store])).any(|(time, at)| {
            (time.ms(), at.changelog_offset, at.checksum) == (self.stream_time_ms, self.changelog_offset, self.checksum)
        });
        if !is_committed {
            return Some("no commit has this position and these rows".to_owned());
        }
        let changelog = TopicPartition::new(plan.stores[self.store].changelog.clone(), self.task.partition);
        let is_whole = world.broker.partition(&changelog).is_none_or(|log| log.compacted_below == 0);
        let folded = fold_changelog(
            &world.broker.committed_records(&changelog),
            self.changelog_offset.map_or(-1, Offset::number),
        );
        (is_whole && checksum(&folded) != self.checksum)
            .then(|| format!("its changelog comes to {} other rows there", folded.len()))
    }
}
