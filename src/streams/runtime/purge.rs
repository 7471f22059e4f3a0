//! Repartition topics keep only what is not committed yet: what lies below the committed offset is deleted now and then, never beyond it.

use super::thread::StreamThread;
use crate::streams::record::TopicPartition;
use crate::streams::topology::TopicRef;

impl StreamThread {
    /// Deletes the committed records of the repartition topics that the thread reads, if it is time. It waits for the broker, so it runs as a job.
    pub(super) fn purge_if_due(&mut self) {
        let Some(interval) = self.instance.config.purge_interval else { return };
        let now = self.instance.now();
        if now < self.last_purge + interval {
            return;
        }
        self.last_purge = now;
        let ours = self.slots.iter().filter(|slot| matches!(slot.plan.source_ref, TopicRef::Repartition(_)));
        let below: Vec<(TopicPartition, i64)> = ours
            .filter_map(|slot| Some((slot.source.clone(), slot.task.as_ref()?.last_commit().next_offset)))
            .filter(|(_, offset)| *offset > 0)
            .collect();
        if below.is_empty() {
            return;
        }
        let admin = self.instance.ports.admin.clone();
        self.instance.ports.executor.run_at_once(Box::new(move || {
            if let Err(error) = admin.delete_records(&below) {
                tracing::info!("repartition topics are not purged this time: {error}");
            }
        }));
    }
}
