//! How the stores of a task are opened, by a stream thread or for a standby: as they lie on disk,
//! or new where what lies there cannot be used.

use std::fmt;

use super::super::instance::Instance;
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::planted::PlantedBug;
use crate::ports::{LogRange, TaskStore};
use crate::record::{TaskId, TopicPartition};
use crate::store::checkpoint::Position;
use crate::task::Plan;

/// For whom stores are opened, as log lines name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Holder {
    /// A task that is assigned to a stream thread.
    Task,
    /// A standby task.
    StandbyTask,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Holder::Task => "task",
            Holder::StandbyTask => "standby task",
        })
    }
}

/// Opens the stores of a task. They are new where `is_rebuild` asks for that, where they were not
/// used for so long that their changelogs may have forgotten deletes, and where they cannot be
/// opened.
///
/// # Errors
/// The disk cannot be read or written.
pub(in crate::runtime) fn open_stores(
    instance: &Instance,
    id: TaskId,
    plan: &Plan,
    holder: Holder,
    is_rebuild: bool,
) -> Result<Box<dyn TaskStore>> {
    let engine = &instance.ports.stores;
    if is_rebuild || is_stale(instance, id, plan)? || PlantedBug::WipeOnCrash.is_planted() {
        instance.metrics().add_rebuilt_stores(plan.stores.len());
        instance.forget_state(id, plan);
        engine.destroy(id)?;
    }
    match engine.open(id, &plan.store_names()) {
        Err(Error::Corrupted { what, .. }) => {
            tracing::warn!(
                code = "HS3001",
                task = %id,
                "a local store of the {holder} cannot be opened and is rebuilt from its changelog: {what}"
            );
            instance.metrics().add_rebuilt_stores(plan.stores.len());
            instance.forget_state(id, plan);
            engine.destroy(id)?;
            engine.open(id, &plan.store_names())
        }
        other => other,
    }
}

/// Whether a task's stores were away for so long that the changelogs may have forgotten deletes
/// since (KIP-1259).
fn is_stale(instance: &Instance, task: TaskId, plan: &Plan) -> Result<bool> {
    let Some(idle) = instance.ports.stores.idle_time(task)? else { return Ok(false) };
    let Some(memory) = instance.changelog_memory_of(plan) else { return Ok(false) };
    if idle > memory {
        tracing::warn!(
            code = "HS3003",
            %task,
            "the local stores of the task were not used for {} s and are rebuilt from their changelogs, which may have compacted deletes away \
             since (delete.retention.ms)",
            idle.as_secs()
        );
    }
    Ok(idle > memory)
}

/// The position of a store's content: that of an empty one where none was ever written, and none,
/// with the damage, where it cannot be read.
///
/// # Errors
/// The store cannot be read, or a later release has written the position.
pub(in crate::runtime) fn find_store_position(
    db: &dyn TaskStore,
    id: TaskId,
    store: usize,
) -> Result<std::result::Result<Position, String>> {
    match db.position(store)?.map(|bytes| Position::decode(id, &bytes)).transpose() {
        Err(Error::Corrupted { what, .. }) => Ok(Err(what)),
        other => Ok(Ok(other?.unwrap_or(Position::restoring(None, Some(0))))),
    }
}

/// Why a changelog does not go on at the offset behind a position, if it does not.
///
/// # Errors
/// The brokers do not answer.
pub(in crate::runtime) fn check_position(
    instance: &Instance,
    changelog: &TopicPartition,
    position: Option<Offset>,
) -> Result<Option<String>> {
    let Some(position) = position else { return Ok(None) };
    let LogRange { start, end } = instance.ports.admin.log_range(changelog)?;
    let is_outside = position.next() < start || position >= end;
    Ok(is_outside.then(|| format!("its position {position} lies outside the changelog ({start} to {end})")))
}
