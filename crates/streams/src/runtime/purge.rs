//! Repartition topics keep only what is not committed yet: what lies below the committed offset is
//! deleted now and then, never beyond it.

use std::sync::PoisonError;

use super::instance::Instance;
use super::thread::StreamThread;
use crate::planted::PlantedBug;
use crate::ports::Deletion;
use crate::record::TopicPartition;
use crate::topology::TopicRef;

impl StreamThread {
    /// Deletes the committed records of the repartition topics that the thread reads, if it is
    /// time. It waits for the broker, so it runs as a job. A purge that is not allowed ends the
    /// instance; one that the server cannot do is left out.
    pub(super) fn purge_if_due(&mut self) {
        let Some(interval) = self.instance.config.purge_interval else { return };
        let now = self.instance.now();
        if now < self.last_purge + interval {
            return;
        }
        self.last_purge = now;
        let ours = self.tasks.iter().filter(|assigned| matches!(assigned.plan.source_ref, TopicRef::Repartition(_)));
        let below: Vec<(TopicPartition, i64)> = ours
            .filter_map(|assigned| {
                let task = assigned.task.as_ref()?;
                if PlantedBug::PurgeBeyondCommit.is_planted() {
                    return Some((assigned.source.clone(), self.fetching.end_offset(&assigned.source)?));
                }
                Some((assigned.source.clone(), task.last_checkpoint().next_offset))
            })
            .filter(|(_, offset)| *offset > 0)
            .collect();
        if below.is_empty() {
            return;
        }
        let instance = self.instance.clone();
        let admin = self.instance.ports.admin.clone();
        self.instance.ports.executor.run_at_once(Box::new(move || match admin.delete_records(&below) {
            Ok(Deletion::Done) => {}
            Ok(Deletion::Unsupported(what)) => instance.log_unsupported_purge(&what),
            Err(error) if error.is_fatal() => instance.fail(error),
            Err(error) => tracing::info!(
                "could not purge processed records from the repartition topics; the next purge tries again: {error}"
            ),
        }));
    }
}

impl Instance {
    /// Logs that nothing is purged, once a minute at most however many threads find it out.
    fn log_unsupported_purge(&self, what: &str) {
        let now = self.now();
        if self.no_purge.lock().unwrap_or_else(PoisonError::into_inner).is_due(now) {
            tracing::warn!(
                code = "HS1008",
                "repartition topics are not purged, since the server does not support DeleteRecords ({what}): they keep all their records and take more \
                 and more disk space, and nothing else is affected. Use brokers of Kafka 0.11 or later and let a proxy in front of them pass \
                 DeleteRecords on, or set `purge = false` to go on without"
            );
        }
    }
}
