//! A commit of everything that a stream thread did since its last one, step by step
//! ([`COMMIT_STEPS`]).

use super::super::commit_steps::{COMMIT_STEPS, Step};
use super::assigned_task::AssignedTask;
use super::interruption::{Interruption, Place, as_abort, of_task};
use super::parts::Parts;
use super::record_collector::TransactionalRecordCollector;
use super::task_registry::note_state;
use crate::error::{Error, Result, TaskStop};
use crate::offset::Offset;
use crate::planted::PlantedBug;
use crate::ports::{GroupMetadata, OffsetCommit};
use crate::record::{Headers, Record, TaskId, TopicPartition};
use crate::store::checkpoint::{Checkpoint, CommitContext, TaskOwner, encode_metadata};

/// State that one step passes to the next.
#[derive(Default)]
struct CommitInProgress {
    /// The tasks that take part, and the checkpoint of each.
    checkpoints: Vec<(TaskId, Checkpoint)>,
    /// The changelog partitions that got a record.
    changed: Vec<TopicPartition>,
    group: Option<GroupMetadata>,
}

/// Commits everything that the thread did since its last commit, if anything.
///
/// # Errors
/// By remedy. Once the transaction is committed none but [`Error::Fatal`] comes: a store that then
/// cannot be written is taken anew.
pub(super) fn commit(parts: &mut Parts) -> std::result::Result<(), Interruption> {
    let is_dirty = parts.tasks.fetched().any(|running| running.task.is_dirty());
    if !is_dirty && !parts.producer.is_in_transaction() && !parts.tasks.have_background_work()? {
        // Not while a task goes back to its last commit: what it has to do again comes only then.
        let rests =
            |assigned: &AssignedTask| assigned.is_paused() || assigned.is_stopped() || assigned.record_wait().is_some();
        if parts.tasks.iter().all(|assigned| assigned.has_reached_end() || rests(assigned)) {
            parts.metrics().is_idle();
        }
        return Ok(());
    }
    let started = parts.instance.now();
    let mut progress = CommitInProgress::default();
    for step in COMMIT_STEPS {
        parts.instance.ports.observer.before(parts.thread, step);
        run_step(parts, step, &mut progress)?;
    }
    let now = parts.instance.now();
    parts.timers.committed(now);
    parts.metrics().committed(now, now.saturating_sub(started));
    Ok(())
}

fn run_step(parts: &mut Parts, step: Step, progress: &mut CommitInProgress) -> std::result::Result<(), Interruption> {
    match step {
        Step::Flush => return flush_tasks(parts, progress),
        Step::Changelog => send_changes(parts, progress)?,
        Step::Drain if PlantedBug::NoDrain.is_planted() => {}
        Step::Drain => parts.producer.drain()?,
        Step::Membership => progress.group = Some(take_membership(parts)?),
        Step::Offsets => send_offsets(parts, progress)?,
        Step::Commit if PlantedBug::EarlyLocalWrite.is_planted() => {
            write_stores(parts, progress)?;
            parts.producer.commit()?;
        }
        Step::Commit => parts.producer.commit()?,
        Step::Store => write_stores(parts, progress)?,
        Step::Done => {}
    }
    Ok(())
}

fn flush_tasks(parts: &mut Parts, progress: &mut CommitInProgress) -> std::result::Result<(), Interruption> {
    parts.producer.begin_transaction()?;
    run_background_steps(parts)?;
    for assigned in parts.tasks.iter_mut() {
        let id = assigned.id();
        let Some(running) = assigned.fetched().filter(|running| running.task.is_dirty()) else { continue };
        if !PlantedBug::NoFlush.is_planted() {
            running.task.flush().map_err(|error| of_task(id, as_abort(error)))?;
        }
        progress.checkpoints.push((id, running.task.last_checkpoint().clone()));
    }
    Ok(())
}

/// Gives each task that has work of its own one slice of it.
fn run_background_steps(parts: &mut Parts) -> std::result::Result<(), Interruption> {
    for assigned in parts.tasks.iter_mut() {
        let Some(running) = assigned.fetched() else { continue };
        if !running.task.has_background_work().map_err(as_abort)? {
            continue;
        }
        match running.task.background_step(&mut TransactionalRecordCollector::new(&mut parts.producer)) {
            Ok(()) => assigned.passed(Place::BackgroundWork),
            Err(Error::Retry(what)) => {
                return Err(Interruption::Waits { task: assigned.id(), place: Place::BackgroundWork, what });
            }
            Err(error) => return Err(of_task(assigned.id(), error).into()),
        }
    }
    Ok(())
}

fn send_changes(parts: &mut Parts, progress: &mut CommitInProgress) -> Result<()> {
    for (task, _) in &progress.checkpoints {
        let Some(assigned) = parts.tasks.find_mut(*task) else { continue };
        let plan = assigned.plan().clone();
        let Some(task) = assigned.task() else { continue };
        let partition = assigned.id().partition;
        for (index, store) in plan.stores.iter().enumerate() {
            let mut changes = task.changes(index);
            if PlantedBug::ChangelogWithoutDeletes.is_planted() {
                changes.retain(|change| change.value.is_some());
            }
            if PlantedBug::ChangelogForgotten.is_planted() && index == 0 {
                changes.clear();
            }
            if !changes.is_empty() {
                progress.changed.push(TopicPartition::new(store.changelog.clone(), partition));
            }
            for change in changes {
                let key = Some(change.key);
                let timestamp_ms = change.timestamp_ms;
                let record = Record { key, value: change.value, headers: Headers::NONE, timestamp_ms };
                parts.producer.send_change(&store.changelog, partition, &record)?;
            }
        }
    }
    Ok(())
}

fn take_membership(parts: &mut Parts) -> Result<GroupMetadata> {
    let mut group = parts.consumer.group_metadata()?;
    if PlantedBug::NoGroupMetadata.is_planted() {
        (group.generation, group.member_id) = (-1, String::new());
        return Ok(group);
    }
    // A broker does not fence a commit of such a member at all.
    if group.generation < 0 || group.member_id.is_empty() {
        return Err(Error::Migrated("the thread is no member of its group".to_owned()));
    }
    Ok(group)
}

fn send_offsets(parts: &mut Parts, progress: &mut CommitInProgress) -> Result<()> {
    let instance = parts.instance.clone();
    let stamp = instance.agreement.stamp();
    let producer = &mut parts.producer;
    if let Some(unknown) = progress.changed.iter().find(|changelog| producer.last_offset(changelog).is_none()) {
        return Err(Error::Aborted(format!("the offset of the last record of changelog {unknown} is not known")));
    }
    let mut offsets = Vec::with_capacity(progress.checkpoints.len());
    for (id, checkpoint) in &mut progress.checkpoints {
        let Some(assigned) = parts.tasks.find_mut(*id) else { continue };
        let Some(task) = assigned.task() else { continue };
        let plan = assigned.plan();
        let delivered = |index: usize| {
            let changelog = plan.stores[index].changelog.clone();
            let last = producer.last_offset(&TopicPartition::new(changelog, id.partition));
            if PlantedBug::MarkerTakenForPosition.is_planted() { last.map(Offset::next) } else { last }
        };
        *checkpoint = task.checkpoint(delivered);
        let topic = assigned.topic();
        let owner = Some(TaskOwner { instance_id: &instance.config.instance_id, thread: parts.thread });
        let origin = CommitContext { topic, owner, stamp: stamp.as_ref() };
        let metadata = encode_metadata(checkpoint, &plan.store_names(), origin);
        instance.check_metadata(*id, &metadata)?;
        if PlantedBug::OneOffsetCommitted.is_planted() && !offsets.is_empty() {
            continue;
        }
        let partition = assigned.source().clone();
        offsets.push(OffsetCommit { partition, offset: committed_offset(*id, checkpoint)?, metadata });
    }
    let Some(group) = &progress.group else {
        return Err(Error::Bug("offsets are sent before the membership is taken".to_owned()));
    };
    producer.send_offsets(&offsets, group).map_err(as_abort)
}

/// The offset that a commit of a task bears.
///
/// # Errors
/// [`Error::Bug`] where the task has no place in its log yet: it would commit state that no offset
/// belongs to.
fn committed_offset(id: TaskId, checkpoint: &Checkpoint) -> Result<Offset> {
    checkpoint
        .next_offset
        .offset()
        .ok_or_else(|| Error::Bug(format!("task {id} is to be committed before it knows its place in its log")))
}

/// The transaction is committed: whatever happens to one store, the others are written.
fn write_stores(parts: &mut Parts, progress: &mut CommitInProgress) -> Result<()> {
    let mut fatal = None;
    let metrics = parts.instance.metrics();
    for (id, checkpoint) in progress.checkpoints.drain(..) {
        let Some(assigned) = parts.tasks.find_mut(id) else { continue };
        let Some(task) = assigned.task_mut() else { continue };
        parts.producer.forget_refusals(id, committed_offset(id, &checkpoint)?);
        let written = task.apply(checkpoint);
        metrics.add(task.counts());
        task.counts().reset();
        match written {
            Ok(()) => {
                let high = parts.consumer.end_offset(assigned.source());
                assigned.report(&metrics, parts.thread, high);
                note_state(&parts.instance, assigned);
            }
            Err(Error::Bug(what)) => assigned.stop(TaskStop::of_bug(id, &what), &parts.instance)?,
            Err(error) if error.is_fatal() => fatal = Some(error),
            Err(error) => {
                tracing::warn!(
                    code = "HS3002",
                    task = %id,
                    "the transaction was committed, but a local store of the task could not be written, so the task is restored again: {error}"
                );
                assigned.close_dirty(matches!(error, Error::Corrupted { .. }))?;
            }
        }
    }
    fatal.map_or(Ok(()), Err)
}
