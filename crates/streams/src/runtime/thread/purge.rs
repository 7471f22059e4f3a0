//! Repartition topics keep only what is not committed yet: what lies below the committed offset is
//! deleted now and then, never beyond it.

use std::sync::PoisonError;

use super::super::instance::Instance;
use super::parts::Parts;
use crate::offset::Offset;
use crate::planted::PlantedBug;
use crate::ports::Deletion;
use crate::record::TopicPartition;
use crate::topology::TopicRef;

/// Deletes the committed records of the repartition topics that the thread reads. It waits for the
/// broker, so it runs as a job. A purge that is not allowed ends the instance; one that the server
/// cannot do is left out.
pub(super) fn purge(parts: &Parts) {
    let ours = parts.tasks.iter().filter(|assigned| matches!(assigned.plan().source_ref, TopicRef::Repartition(_)));
    let below: Vec<(TopicPartition, Offset)> = ours
        .filter_map(|assigned| {
            let task = assigned.task()?;
            if PlantedBug::PurgeBeyondCommit.is_planted() {
                return Some((assigned.source().clone(), parts.consumer.end_offset(assigned.source())?));
            }
            Some((assigned.source().clone(), task.last_checkpoint().next_offset.offset()?))
        })
        .filter(|(_, offset)| *offset > Offset::FIRST)
        .collect();
    if below.is_empty() {
        return;
    }
    let instance = parts.instance.clone();
    let admin = instance.ports.admin.clone();
    parts.instance.ports.executor.run_at_once(Box::new(move || match admin.delete_records(&below) {
        Ok(Deletion::Done) => {}
        Ok(Deletion::Unsupported(what)) => log_unsupported_purge(&instance, &what),
        Err(error) if error.is_fatal() => instance.fail(error),
        Err(error) => tracing::info!(
            "could not purge processed records from the repartition topics; the next purge tries again: {error}"
        ),
    }));
}

/// Logs that nothing is purged, once a minute at most however many threads find it out.
fn log_unsupported_purge(instance: &Instance, what: &str) {
    let now = instance.now();
    if instance.no_purge.lock().unwrap_or_else(PoisonError::into_inner).is_due(now) {
        tracing::warn!(
            code = "HS1008",
            "repartition topics are not purged, since the server does not support DeleteRecords ({what}): they keep all their records and take more \
             and more disk space, and nothing else is affected. Use brokers of Kafka 0.11 or later and let a proxy in front of them pass \
             DeleteRecords on, or set `purge = false` to go on without"
        );
    }
}
