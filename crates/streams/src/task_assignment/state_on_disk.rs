//! The tasks whose state lies on the disk of an instance: noted by the runtime, told to the leader
//! of the group when a thread joins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::record::TopicPartition;

/// The tasks whose state lies on this instance's disk, by the partitions that they read, and the
/// sum of the changelog offsets that the state has reached.
///
/// Nothing but the assignment depends on it: what a task finds on disk is compared with its commit
/// when it is taken.
#[derive(Clone, Debug, Default)]
pub struct StateOnDisk(Arc<Mutex<BTreeMap<TopicPartition, u64>>>);

impl StateOnDisk {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of the task that reads `source` lies here, and has reached these offsets; with
    /// none it has nothing in it.
    pub fn set(&self, source: TopicPartition, offsets: u64) {
        if offsets > 0 {
            self.lock().insert(source, offsets);
        } else {
            self.remove(&source);
        }
    }

    /// The state of the task that reads `source` is gone.
    pub fn remove(&self, source: &TopicPartition) {
        self.lock().remove(source);
    }

    /// The offsets that the state of the task that reads `source` has reached here.
    pub fn get(&self, source: &TopicPartition) -> Option<u64> {
        self.lock().get(source).copied()
    }

    /// All that lies here.
    pub fn snapshot(&self) -> BTreeMap<TopicPartition, u64> {
        self.lock().clone()
    }
}
