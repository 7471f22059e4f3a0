//! Whether everything is committed, so that a run may end: each source is read to its end, no
//! transaction is open, and background work is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::definition::{Fold, fold, fold_changelog};
use super::world::World;
use crate::record::{TaskId, TopicPartition};
use crate::task::Plan;

/// The tasks of plans, each with the partition that it reads.
pub(super) fn tasks_of(world: &World, plans: &[Arc<Plan>]) -> Vec<(Arc<Plan>, TaskId, TopicPartition)> {
    let of = |plan: &Arc<Plan>| {
        let (plan, count) = (plan.clone(), world.broker.counts.get(&*plan.source).copied().unwrap_or(0));
        (0..count).map(move |partition| {
            let id = TaskId { subtopology: plan.subtopology, partition };
            (plan.clone(), id, TopicPartition::new(plan.source.clone(), partition))
        })
    };
    plans.iter().flat_map(of).collect()
}

/// The end that the tasks are to come to.
struct Goal {
    /// Of which logs it is the goal: the sum of their ends, and the number of refused records.
    logs: (i64, usize),
    /// The outcome of each task; none where no task has background work.
    tasks: Vec<(Arc<Plan>, TaskId, Fold)>,
}

/// Answers again and again whether everything is committed.
pub(super) struct Settlement<'p> {
    plans: &'p [Arc<Plan>],
    /// The goal, where some tasks have background work.
    goal: Option<Goal>,
}

impl Settlement<'_> {
    pub fn of(plans: &[Arc<Plan>]) -> Settlement<'_> {
        Settlement { plans, goal: None }
    }

    /// Whether everything is committed.
    pub fn is_reached(&mut self, world: &World) -> bool {
        world.published >= world.settings.records && self.behind(world).is_empty() && self.unfinished(world).is_empty()
    }

    /// Names all that is not committed, for the report of a run that does not come to an end.
    pub fn describe(&mut self, world: &World) -> String {
        let behind = self.behind(world);
        if behind.is_empty() { self.unfinished(world).join("; ") } else { behind.join("; ") }
    }

    /// The partitions that are not committed to their end.
    fn behind(&self, world: &World) -> Vec<String> {
        let of = |(_, _, at): (Arc<Plan>, TaskId, TopicPartition)| {
            let log = world.broker.partition(&at)?;
            let committed = world.broker.committed.get(&at).map_or(0, |committed| committed.offset.number());
            let (end, open) = (log.end(), log.open.len());
            (open > 0 || committed != end)
                .then(|| format!("{at} is committed at {committed} of {end} ({open} open transactions)"))
        };
        tasks_of(world, self.plans).into_iter().filter_map(of).collect()
    }

    /// The partitions and stores that lack something of background work.
    fn unfinished(&mut self, world: &World) -> Vec<String> {
        let tasks = tasks_of(world, self.plans);
        let end = |at: &TopicPartition| world.broker.partition(at).map_or(0, |log| log.end());
        let logs = (tasks.iter().map(|(_, _, at)| end(at)).sum(), world.refused.len());
        if self.goal.as_ref().is_none_or(|known| known.logs != logs) {
            let outcome = |(plan, id, source): (Arc<Plan>, TaskId, TopicPartition)| {
                // What fails here fails in the checks that follow.
                let found = fold(world, &plan, id, &source).ok()?;
                Some((plan, id, found))
            };
            let mut tasks: Vec<_> = tasks.into_iter().filter_map(outcome).collect();
            if tasks.iter().all(|(_, _, found)| !found.has_background_work) {
                tasks.clear();
            }
            self.goal = Some(Goal { logs, tasks });
        }
        let tasks = self.goal.as_ref().map_or(&[][..], |goal| &goal.tasks);
        let mut wanted: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
        let mut unfinished = Vec::new();
        for (plan, id, found) in tasks {
            for (at, records) in found.outputs.iter().chain(&found.background_outputs) {
                *wanted.entry(at).or_default() += records.len();
            }
            for (store, expected) in plan.stores.iter().zip(&found.stores).filter(|_| found.has_background_work) {
                let changelog = TopicPartition::new(store.changelog.clone(), id.partition);
                if fold_changelog(&world.broker.committed_records(&changelog), i64::MAX) != *expected {
                    unfinished.push(format!("background work of task {id} is not done in store {}", store.name));
                }
            }
        }
        for (at, wanted) in wanted {
            let there = world.broker.committed_records(at).len();
            if there < wanted {
                unfinished.push(format!("{at} has {there} of {wanted} records"));
            }
        }
        unfinished
    }
}
