//! Pauses of a topology, of a sub-topology or of a partition.
//!
//! Of a task that is paused no record is fetched or processed, so it does not punctuate, and its
//! background work rests. What was open is committed before. Its thread stays a member of the
//! group and keeps the partition, and standbys go on.

mod holds;
mod task_scope;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use holds::Hold;
use holds::Holds;
pub use task_scope::TaskScope;

use crate::record::TopicPartition;

/// Why a pause or a resumption was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PauseError {
    /// The topology reads no such topic.
    #[error("{0} cannot be paused or resumed: the topology reads no such topic [HS1035]")]
    Unknown(TaskScope),
    /// It is held with a greater part.
    #[error("{scope} is held together with {with}: resume that, or pause its other parts one by one first [HS1036]")]
    HeldWith {
        /// The part that was to be resumed.
        scope: TaskScope,
        /// The greater part.
        with: TaskScope,
    },
}

/// The pauses, as one instance knows them.
pub(super) struct Pauses {
    /// The topics that the topology reads, its own among them.
    topics: BTreeSet<Arc<str>>,
    holds: Mutex<Holds>,
    /// Whether anything is held, so that the threads need not lock.
    is_any: AtomicBool,
}

impl Pauses {
    /// Of a topology that reads these topics. Nothing is paused.
    pub fn new(topics: impl IntoIterator<Item = Arc<str>>) -> Pauses {
        Pauses { topics: topics.into_iter().collect(), holds: Mutex::default(), is_any: AtomicBool::new(false) }
    }

    /// Everything that is held, one sentence each.
    pub fn describe(&self) -> Vec<String> {
        self.holds().all().iter().map(|(scope, hold)| hold.describe(scope)).collect()
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is held.
    pub fn all(&self) -> BTreeMap<TaskScope, Hold> {
        self.holds().all().clone()
    }

    /// Whether anything is held.
    pub fn are_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    /// Whether the task that reads a partition is paused, with this offset committed last, if any.
    pub fn is_paused(&self, source: &TopicPartition, committed: Option<i64>) -> bool {
        self.are_any() && self.holds().is_paused(source, committed)
    }

    /// Pauses a part of the topology.
    ///
    /// # Errors
    /// The topology has no such part.
    pub fn pause(&self, scope: &TaskScope) -> Result<(), PauseError> {
        self.check(scope)?;
        self.apply([(scope.clone(), Some(Hold::Paused))]);
        Ok(())
    }

    /// Ends the pause of a part of the topology, and of all parts within it.
    ///
    /// # Errors
    /// The topology has no such part, or it is paused together with a greater one.
    pub fn resume(&self, scope: &TaskScope) -> Result<(), PauseError> {
        self.check(scope)?;
        let within = self.holds().within(scope);
        let within = within.map_err(|with| PauseError::HeldWith { scope: scope.clone(), with })?;
        self.apply(within.into_iter().map(|scope| (scope, None)));
        Ok(())
    }

    fn check(&self, scope: &TaskScope) -> Result<(), PauseError> {
        match scope.topic() {
            Some(topic) if !self.topics.contains(topic) => Err(PauseError::Unknown(scope.clone())),
            _ => Ok(()),
        }
    }

    fn apply(&self, changes: impl IntoIterator<Item = (TaskScope, Option<Hold>)>) {
        let mut holds = self.holds();
        for (scope, hold) in changes {
            match hold {
                Some(hold) => tracing::info!("{}", hold.describe(&scope)),
                None => tracing::info!("{scope} is no longer paused"),
            }
            holds.set(scope, hold);
        }
        self.is_any.store(!holds.all().is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_topology_does_not_read_is_refused() {
        let pauses = Pauses::new(["in".into()]);
        let other = TaskScope::Topic("other".into());
        assert_eq!(pauses.pause(&other), Err(PauseError::Unknown(other.clone())));
        assert_eq!(pauses.resume(&other), Err(PauseError::Unknown(other)));
        assert!(pauses.pause(&TaskScope::Topology).is_ok() && pauses.are_any());
        let one = TaskScope::Partition(TopicPartition::new("in", 0));
        let with = TaskScope::Topology;
        assert_eq!(pauses.resume(&one), Err(PauseError::HeldWith { scope: one.clone(), with }));
        assert!(pauses.is_paused(&TopicPartition::new("in", 0), None));
        assert!(pauses.resume(&TaskScope::Topology).is_ok() && !pauses.are_any());
    }
}
