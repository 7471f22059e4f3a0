//! The checks of a run: the outputs, read committed, are the definition's, record by record; the
//! changelogs, the stores on all disks and the committed checkpoints are the fold of the logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::broker::StoredRecord;
use super::definition::{Fold, StoreEntries, fold, fold_changelog};
use super::files::STRANGE_KEY;
use super::observed::Observations;
use super::settlement::tasks_of;
use super::world::World;
use crate::offset::Offset;
use crate::record::{TaskId, TopicPartition};
use crate::store::checkpoint::{Position, decode_metadata};
use crate::store::{Checksum, entry_hash};
use crate::task::{Plan, PlanKind, PlanNode, PlanStore};

/// The records that each task is to send to each partition: those that its records bring about, and
/// those of its background work, which may come at any time between them.
type Expected = BTreeMap<TopicPartition, Vec<Vec<Arc<StoredRecord>>>>;

/// Whether a log is an interleaving of these sequences; the first offset in the log at which it is
/// none.
fn interleaves(log: &[Arc<StoredRecord>], parts: &[&[Arc<StoredRecord>]]) -> std::result::Result<(), usize> {
    let mut states: BTreeSet<Vec<usize>> = [vec![0; parts.len()]].into();
    for (at, record) in log.iter().enumerate() {
        let mut next = BTreeSet::new();
        for state in &states {
            for (part, taken) in state.iter().enumerate() {
                if parts[part].get(*taken) == Some(record) {
                    let mut after = state.clone();
                    after[part] += 1;
                    next.insert(after);
                }
            }
        }
        if next.is_empty() {
            return Err(at);
        }
        states = next;
    }
    Ok(())
}

fn shown(record: Option<&Arc<StoredRecord>>) -> String {
    record.map_or("nothing".to_owned(), |record| record.to_string())
}

/// StoreEntries that differ, at most three of them.
fn difference(found: &StoreEntries, expected: &StoreEntries) -> Option<String> {
    let keys: BTreeSet<&Vec<u8>> = found.keys().chain(expected.keys()).collect();
    let text = |value: Option<&Vec<u8>>| value.map_or("nothing".to_owned(), |value| value.escape_ascii().to_string());
    let differs = keys.into_iter().filter(|key| found.get(*key) != expected.get(*key));
    let differing: Vec<String> = differs
        .take(3)
        .map(|key| format!("{}: {} instead of {}", key.escape_ascii(), text(found.get(key)), text(expected.get(key))))
        .collect();
    if differing.is_empty() { None } else { Some(differing.join("; ")) }
}

fn checksum(entries: &StoreEntries) -> Checksum {
    entries.iter().fold(0, |sum: Checksum, (key, value)| sum.wrapping_add(entry_hash(key, value)))
}

/// The checks of a world whose logs have settled.
pub(super) struct Checks<'w> {
    pub world: &'w World,
    pub plans: &'w [Arc<Plan>],
}

impl Checks<'_> {
    /// Checks what was committed so far, while everything still runs: it is a part of what is to be
    /// committed in the end, in order.
    ///
    /// # Errors
    /// The first partition that is not as it is to be.
    pub fn run_so_far(&self) -> std::result::Result<(), String> {
        self.check_outputs(&self.expected(false)?, false)
    }

    /// Runs all checks.
    ///
    /// # Errors
    /// The first one that fails.
    pub fn run(&self) -> std::result::Result<(), String> {
        self.check_outputs(&self.expected(true)?, true)
    }

    /// The outputs that the tasks are to send. At the end the stores are checked with it.
    fn expected(&self, is_end: bool) -> std::result::Result<Expected, String> {
        let mut outputs = Expected::new();
        for (plan, id, source) in tasks_of(self.world, self.plans) {
            let failed = |error| format!("the definition of task {id} fails: {error}");
            let found = fold(self.world, &plan, id, &source).map_err(failed)?;
            let again = fold(self.world, &plan, id, &source).map_err(failed)?;
            let is_same = found.outputs == again.outputs && found.background_outputs == again.background_outputs;
            if !is_same || found.stores != again.stores {
                return Err(self.describe_impurity(&plan, id, &source, &found, &again));
            }
            if is_end {
                self.check_stores(&plan, id, &source, &found)?;
            }
            for (at, records) in found.outputs.into_iter().chain(found.background_outputs) {
                outputs.entry(at).or_default().push(records);
            }
        }
        Ok(outputs)
    }

    /// The operator that made something else of the same log, as far as two more runs show it.
    fn describe_impurity(
        &self,
        plan: &Arc<Plan>,
        id: TaskId,
        source: &TopicPartition,
        one: &Fold,
        two: &Fold,
    ) -> String {
        let observations = [Observations::default(), Observations::default()];
        for each in &observations {
            // What goes wrong in these runs is known from the ones before.
            let _ = fold(self.world, &each.observe(plan), id, source);
        }
        let [first, second] = &observations;
        let name = |at: usize| format!("operator `{}`", plan.nodes[at].name);
        let differing = |(at, _): &(usize, &PlanStore)| one.stores.get(*at) != two.stores.get(*at);
        let found = first.first_difference(second).map(name).or_else(|| {
            let (at, store) = plan.stores.iter().enumerate().find(differing)?;
            let uses =
                |node: &&PlanNode| matches!(&node.kind, PlanKind::Process { stores, .. } if stores.contains(&at));
            let users: Vec<&str> = plan.nodes.iter().filter(uses).map(|node| node.name.as_str()).collect();
            Some(format!("an operator that writes store `{}` (`{}`)", store.name, users.join("`, `")))
        });
        let who = found.unwrap_or_else(|| "an operator".to_owned());
        format!(
            "{who} of task {id} is impure: it made something else of the same log of {source} when it ran again; its outputs and its stores may \
             depend on nothing but its records"
        )
    }

    fn check_outputs(&self, expected: &Expected, is_end: bool) -> std::result::Result<(), String> {
        let changelogs: BTreeSet<&str> =
            self.plans.iter().flat_map(|plan| &plan.stores).map(|store| &*store.changelog).collect();
        let inputs: BTreeSet<&str> = self
            .plans
            .iter()
            .filter(|plan| matches!(plan.source_ref, crate::topology::TopicRef::External(_)))
            .map(|plan| &*plan.source)
            .collect();
        let control = self.world.control_log();
        for at in self.world.broker.partitions.keys().filter(|at| **at != control) {
            if changelogs.contains(&*at.topic) || inputs.contains(&*at.topic) {
                continue;
            }
            let log: Vec<Arc<StoredRecord>> =
                self.world.broker.committed_records(at).into_iter().map(|(_, record)| record).collect();
            let none = Vec::new();
            let parts = expected.get(at).unwrap_or(&none);
            let sequences: Vec<&[Arc<StoredRecord>]> = parts.iter().map(|records| &records[..]).collect();
            if let Err(place) = interleaves(&log, &sequences) {
                return Err(format!(
                    "{at} has {} as committed record number {place}, which no task is to send there then (a duplicate, or a wrong order or content)",
                    shown(log.get(place))
                ));
            }
            let wanted: usize = sequences.iter().map(|records| records.len()).sum();
            if is_end && log.len() != wanted {
                return Err(format!(
                    "{at} has {} committed records, and the tasks send {wanted}: some are lost",
                    log.len()
                ));
            }
        }
        Ok(())
    }

    fn check_stores(
        &self,
        plan: &Arc<Plan>,
        id: TaskId,
        source: &TopicPartition,
        expected: &Fold,
    ) -> std::result::Result<(), String> {
        let names = plan.store_names();
        let committed = self.world.broker.committed.get(source);
        let checkpoint = match committed {
            None => None,
            Some(committed) => decode_metadata(committed.offset, &committed.metadata, &names)
                .map_err(|error| format!("the metadata of {source} cannot be read: {error}"))?,
        };
        if let Some(checkpoint) = &checkpoint
            && checkpoint.stream_time != expected.stream_time
        {
            return Err(format!(
                "the stream time of task {id} is {} and is to be {}",
                checkpoint.stream_time, expected.stream_time
            ));
        }
        for (index, store) in plan.stores.iter().enumerate() {
            let changelog = TopicPartition::new(store.changelog.clone(), id.partition);
            let records = self.world.broker.committed_records(&changelog);
            let folded = fold_changelog(&records, i64::MAX);
            if let Some(what) = difference(&folded, &expected.stores[index]) {
                return Err(format!("the changelog {changelog} does not come to the state of the definition: {what}"));
            }
            let sum = checksum(&folded);
            if let Some(goal) = checkpoint.as_ref().map(|checkpoint| checkpoint.stores[index])
                && goal.checksum != sum
            {
                return Err(format!(
                    "the committed checksum of store {} of task {id} is not its content's",
                    store.name
                ));
            }
            self.check_disks(id, &store.name, &changelog, &records)?;
        }
        Ok(())
    }

    /// A store of a task on each machine, against its changelog's records up to its position.
    fn check_disks(
        &self,
        id: TaskId,
        store: &str,
        changelog: &TopicPartition,
        records: &[(i64, Arc<StoredRecord>)],
    ) -> std::result::Result<(), String> {
        for (slot, machine) in self.world.machines.iter().enumerate() {
            let Some(content) = machine.tasks.get(&id).and_then(|files| files.content.get(store)) else {
                continue;
            };
            let mut content = content.clone();
            let Some(position) = content.remove(&[][..]) else {
                if content.is_empty() {
                    continue;
                }
                return Err(format!("machine {slot} has entries and no position in store {} of task {id}", store));
            };
            let Ok(position) = Position::decode(id, &position) else { continue };
            let stands_at = position.changelog_offset.map_or(-1, Offset::number);
            let mut there = fold_changelog(records, stands_at);
            // Who stopped in the midst of a part that was compacted may have seen no record of a
            // key that has a later one there.
            let cleaned = self.world.broker.partition(changelog).map_or(0, |log| log.compacted_below);
            let is_later = |offset: i64| offset > stands_at && offset < cleaned;
            for (_, record) in records.iter().filter(|(offset, _)| is_later(*offset)) {
                let key = record.key.as_deref().unwrap_or_default();
                content.remove(key);
                there.remove(key);
            }
            // One that was exchanged: a standby cannot tell, and keeps the checksum that it
            // found. Who takes the task compares it.
            if content.contains_key(STRANGE_KEY) && position.checksum != Some(checksum(&there)) {
                continue;
            }
            if let Some(what) = difference(&content, &there) {
                return Err(format!(
                    "store {} of task {id} on machine {slot} is not what its changelog comes to at its position {}: {what}",
                    store, stands_at
                ));
            }
            if cleaned <= stands_at + 1 && position.checksum.is_some_and(|sum| sum != checksum(&content)) {
                return Err(format!(
                    "the checksum of store {} of task {id} on machine {slot} is not its content's",
                    store
                ));
            }
        }
        Ok(())
    }
}
