//! The part of a topology that is paused, resumed or drained.

use std::fmt;
use std::sync::Arc;

use crate::record::TopicPartition;

/// A part of a topology. A sub-topology is named by the topic that it reads, since its number may
/// change with the topology.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskScope {
    /// All of it.
    Topology,
    /// The sub-topology that reads this topic.
    Topic(Arc<str>),
    /// The task that reads this partition.
    Partition(TopicPartition),
}

impl TaskScope {
    /// Whether the task that reads a partition belongs to it.
    pub fn covers(&self, source: &TopicPartition) -> bool {
        match self {
            TaskScope::Topology => true,
            TaskScope::Topic(topic) => *topic == source.topic,
            TaskScope::Partition(partition) => partition == source,
        }
    }

    /// Whether each task of the other one belongs to it.
    pub fn contains(&self, other: &TaskScope) -> bool {
        match (self, other) {
            (TaskScope::Topology, _) => true,
            (TaskScope::Topic(topic), TaskScope::Topic(other)) => topic == other,
            (_, TaskScope::Partition(source)) => self.covers(source),
            (TaskScope::Topic(_) | TaskScope::Partition(_), _) => false,
        }
    }

    /// Its topic, if it has one.
    pub fn topic(&self) -> Option<&Arc<str>> {
        match self {
            TaskScope::Topology => None,
            TaskScope::Topic(topic) => Some(topic),
            TaskScope::Partition(source) => Some(&source.topic),
        }
    }
}

impl fmt::Display for TaskScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskScope::Topology => f.write_str("the topology"),
            TaskScope::Topic(topic) => write!(f, "the sub-topology that reads `{topic}`"),
            TaskScope::Partition(source) => write!(f, "partition {source}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_its_partitions_and_contains_what_lies_within_it() {
        let at = TopicPartition::new;
        let (all, topic, one) = (TaskScope::Topology, TaskScope::Topic("in".into()), TaskScope::Partition(at("in", 1)));
        let covered =
            |scope: &TaskScope| [at("in", 1), at("in", 2), at("other", 1)].map(|source| scope.covers(&source));
        assert_eq!([&all, &topic, &one].map(covered), [[true; 3], [true, true, false], [true, false, false]]);
        let other = TaskScope::Partition(at("other", 1));
        let contained = |scope: &TaskScope| [&all, &topic, &one, &other].map(|within| scope.contains(within));
        assert_eq!(contained(&all), [true; 4]);
        assert_eq!(contained(&topic), [false, true, true, false]);
        assert_eq!(contained(&one), [false, false, true, false]);
    }
}
