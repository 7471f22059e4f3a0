//! The parts of a topology that are held: pure state, of which the stream threads ask whether a
//! task is paused.

use std::collections::BTreeMap;

use super::task_scope::TaskScope;
use crate::offset::Offset;
use crate::record::TopicPartition;

/// How a part of a topology is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// No record of it is fetched or processed.
    Paused,
    /// Of a partition: its task is paused once it has committed this offset.
    PausedAt(Offset),
    /// It is being drained, under this number: each of its tasks is given the offset at which it is
    /// paused.
    Draining(i64),
    /// Of a partition: while the drain of this number lasts, its task is paused once it has
    /// committed this offset.
    DrainTo {
        /// The number of the drain.
        drain: i64,
        /// The next offset behind what is to be processed.
        offset: Offset,
    },
}

impl Hold {
    /// Says of a part that it is held.
    pub fn describe(self, scope: &TaskScope) -> String {
        match self {
            Hold::Paused => format!("{scope} is paused"),
            Hold::PausedAt(offset) => format!("{scope} is paused as soon as offset {offset} is committed"),
            Hold::Draining(_) => format!("{scope} is being drained, and paused where it is"),
            Hold::DrainTo { offset, .. } => format!("{scope} is drained to offset {offset}"),
        }
    }
}

/// All parts that are held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holds(BTreeMap<TaskScope, Hold>);

impl Holds {
    /// Sets how a part is held; `None`: it is not.
    pub fn set(&mut self, scope: TaskScope, hold: Option<Hold>) {
        match hold {
            Some(hold) => self.0.insert(scope, hold),
            None => self.0.remove(&scope),
        };
    }

    /// All of them.
    pub fn all(&self) -> &BTreeMap<TaskScope, Hold> {
        &self.0
    }

    /// Whether the task that reads a partition is paused, with this offset committed last, if any.
    pub fn is_paused(&self, source: &TopicPartition, committed: Option<Offset>) -> bool {
        let pauses = |hold: &Hold| match hold {
            Hold::Paused => true,
            Hold::PausedAt(offset) => committed.is_some_and(|committed| committed >= *offset),
            Hold::Draining(_) => false,
            Hold::DrainTo { drain, offset } => {
                committed.is_some_and(|committed| committed >= *offset) && self.is_draining(source, *drain)
            }
        };
        self.0.iter().any(|(scope, hold)| scope.covers(source) && pauses(hold))
    }

    fn is_draining(&self, source: &TopicPartition, drain: i64) -> bool {
        self.0.iter().any(|(scope, hold)| scope.covers(source) && *hold == Hold::Draining(drain))
    }

    /// Whether anything is being drained.
    pub fn has_drain(&self) -> bool {
        self.0.values().any(|hold| matches!(hold, Hold::Draining(_)))
    }

    /// The parts within this one that are held: those that a resumption of it sets free.
    ///
    /// # Errors
    /// The greater part that this one is held with.
    pub fn within(&self, scope: &TaskScope) -> Result<Vec<TaskScope>, TaskScope> {
        let greater = |held: &&TaskScope| *held != scope && held.contains(scope);
        match self.0.keys().find(greater) {
            Some(held) => Err(held.clone()),
            None => Ok(self.0.keys().filter(|held| scope.contains(held)).cloned().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(holds: &[(TaskScope, Hold)]) -> Holds {
        Holds(holds.iter().cloned().collect())
    }

    fn one(partition: i32) -> TaskScope {
        TaskScope::Partition(TopicPartition::new("in", partition))
    }

    #[test]
    fn a_task_is_paused_with_any_part_that_it_belongs_to() {
        let topic = TaskScope::Topic("in".into());
        for scope in [TaskScope::Topology, topic, one(1)] {
            let holds = held(&[(scope, Hold::Paused)]);
            assert!(holds.is_paused(&TopicPartition::new("in", 1), None), "{holds:?}");
        }
        assert!(!held(&[(one(1), Hold::Paused)]).is_paused(&TopicPartition::new("in", 2), None));
        assert!(
            !held(&[(TaskScope::Topology, Hold::Draining(1))]).is_paused(&TopicPartition::new("in", 1), Offset::new(5))
        );
    }

    #[test]
    fn a_task_is_paused_once_it_has_committed_its_offset() {
        let holds = held(&[(one(1), Hold::PausedAt(Offset::new(7).unwrap()))]);
        let paused = [-1, 6, 7, 8].map(Offset::new).map(|at| holds.is_paused(&TopicPartition::new("in", 1), at));
        assert_eq!(paused, [false, false, true, true]);
    }

    #[test]
    fn a_part_is_resumed_with_all_within_it_and_not_out_of_a_greater_one() {
        let topic = TaskScope::Topic("in".into());
        let mut holds = held(&[(topic.clone(), Hold::Paused), (one(1), Hold::PausedAt(Offset::FIRST))]);
        assert_eq!(holds.within(&one(1)), Err(topic.clone()));
        assert_eq!(holds.within(&topic), Ok(vec![topic.clone(), one(1)]));
        assert_eq!(holds.within(&TaskScope::Topology), Ok(vec![topic.clone(), one(1)]));
        assert_eq!(holds.within(&TaskScope::Topic("other".into())), Ok(Vec::new()));
        holds.set(topic, None);
        assert_eq!(holds.within(&one(1)), Ok(vec![one(1)]));
    }
}
