//! Repartition topics keep only what is not committed yet: what lies below the committed offset is deleted now and then, never beyond it.

use super::thread::StreamThread;
use crate::streams::error::{Error, Result};
use crate::streams::record::TopicPartition;
use crate::streams::topology::TopicRef;

impl StreamThread {
    /// Deletes the committed records of the repartition topics that the thread reads, if it is time. It waits for the broker, so it runs as a job.
    ///
    /// # Errors
    /// [`Error::Fatal`] where the last purge found that it is not allowed.
    pub(super) fn purge_if_due(&mut self) -> Result<()> {
        let Some(interval) = self.instance.config.purge_interval else { return Ok(()) };
        if let Some(error) = self.instance.failure() {
            return Err(error);
        }
        let now = self.instance.now();
        if now < self.last_purge + interval {
            return Ok(());
        }
        self.last_purge = now;
        let ours = self.slots.iter().filter(|slot| matches!(slot.plan.source_ref, TopicRef::Repartition(_)));
        let below: Vec<(TopicPartition, i64)> = ours
            .filter_map(|slot| Some((slot.source.clone(), slot.task.as_ref()?.last_commit().next_offset)))
            .filter(|(_, offset)| *offset > 0)
            .collect();
        if below.is_empty() {
            return Ok(());
        }
        let (instance, admin) = (self.instance.clone(), self.instance.ports.admin.clone());
        self.instance.ports.executor.run_at_once(Box::new(move || match admin.delete_records(&below) {
            Ok(()) => {}
            Err(error @ Error::Fatal(_)) => instance.fail(error),
            Err(error) => tracing::info!("repartition topics are not purged this time: {error}"),
        }));
        Ok(())
    }
}
