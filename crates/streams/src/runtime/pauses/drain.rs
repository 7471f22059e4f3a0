//! Drains: each task of a part of the topology is given the offset at which it is paused. A
//! sub-topology gets them once all that feed it are paused, so that what is drained goes through to
//! the outputs. Any instance works a drain on, from the control log and the committed offsets
//! alone: it goes on when the one that was asked for it has ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::control_log::HoldChange;
use super::holds::{Hold, Holds};
use super::task_scope::TaskScope;
use crate::error::Result;
use crate::offset::Offset;
use crate::record::TopicPartition;
use crate::task::{Plan, PlanKind};

/// A sub-topology, and those that feed it, by the topics that they read.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub source: Arc<str>,
    pub upstreams: Vec<Arc<str>>,
}

impl Feed {
    /// Those of a topology.
    pub fn all(plans: &[Arc<Plan>]) -> Vec<Feed> {
        let feeds = |plan: &Plan, topic: &Arc<str>| {
            let sends = |kind: &PlanKind| matches!(kind, PlanKind::Sink(target) if target.topic == *topic);
            plan.source != *topic && plan.nodes.iter().any(|node| sends(&node.kind))
        };
        let of = |plan: &Arc<Plan>| {
            let upstreams = plans.iter().filter(|other| feeds(other, &plan.source));
            Feed { source: plan.source.clone(), upstreams: upstreams.map(|other| other.source.clone()).collect() }
        };
        plans.iter().map(of).collect()
    }
}

/// The number of partitions of each topic, and what is committed of them.
pub(super) struct DrainView {
    pub partitions: BTreeMap<Arc<str>, i32>,
    pub committed: BTreeMap<TopicPartition, Offset>,
}

impl DrainView {
    fn of_topic(&self, topic: &Arc<str>) -> impl Iterator<Item = TopicPartition> {
        let topic = topic.clone();
        (0..self.partitions.get(&topic).copied().unwrap_or(0)).map(move |one| TopicPartition::new(topic.clone(), one))
    }
}

/// The offsets that can be given now; `end` says where the log of a partition ends.
///
/// # Errors
/// Those of `end`.
pub(super) fn next_targets(
    feeds: &[Feed],
    holds: &Holds,
    view: &DrainView,
    mut end: impl FnMut(&TopicPartition) -> Result<Offset>,
) -> Result<Vec<HoldChange>> {
    let mut changes = Vec::new();
    for (scope, hold) in holds.all() {
        let Hold::Draining(drain) = hold else { continue };
        let held = |source: &TopicPartition| holds.all().get(&TaskScope::Partition(source.clone()));
        let has_target = |source: &TopicPartition| match held(source) {
            Some(Hold::DrainTo { drain: of, .. }) => of == drain,
            // It is paused by itself.
            Some(Hold::Paused | Hold::PausedAt(_)) => true,
            _ => false,
        };
        let is_done = |source: &TopicPartition| match held(source) {
            Some(Hold::DrainTo { offset, .. }) => {
                has_target(source) && view.committed.get(source).is_some_and(|committed| committed >= offset)
            }
            _ => has_target(source),
        };
        let belongs = |topic: &Arc<str>| scope.contains(&TaskScope::Topic(topic.clone()));
        for feed in feeds.iter().filter(|feed| belongs(&feed.source)) {
            let upstreams = feed.upstreams.iter().filter(|topic| belongs(topic));
            if !upstreams.flat_map(|topic| view.of_topic(topic)).all(|source| is_done(&source)) {
                continue;
            }
            for source in view.of_topic(&feed.source).filter(|source| !has_target(source)) {
                let hold = Hold::DrainTo { drain: *drain, offset: end(&source)? };
                changes.push((TaskScope::Partition(source), Some(hold)));
            }
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_topology_is_given_its_offsets_once_those_that_feed_it_have_come_to_theirs() {
        let feed = |source: &str, upstreams: &[&str]| Feed {
            source: source.into(),
            upstreams: upstreams.iter().map(|one| Arc::from(*one)).collect(),
        };
        let feeds = [feed("in", &[]), feed("by-word", &["in"])];
        let (at, offset) = (TopicPartition::new, |number| Offset::new(number).unwrap());
        let mut view = DrainView { partitions: [("in".into(), 2), ("by-word".into(), 1)].into(), committed: [].into() };
        let mut holds = Holds::default();
        holds.set(TaskScope::Topology, Some(Hold::Draining(4)));
        // A target of another drain counts for nothing.
        holds.set(TaskScope::Partition(at("in", 1)), Some(Hold::DrainTo { drain: 3, offset: Offset::FIRST }));
        let mut step = |view: &DrainView, end: i64| -> Vec<TopicPartition> {
            let found = next_targets(&feeds, &holds, view, |_| Ok(offset(end))).unwrap();
            found.iter().for_each(|(scope, hold)| holds.set(scope.clone(), *hold));
            let source = |(scope, _)| match scope {
                TaskScope::Partition(source) => source,
                other => panic!("{other}"),
            };
            found.into_iter().map(source).collect()
        };
        assert_eq!(step(&view, 10), [at("in", 0), at("in", 1)]);
        view.committed = [(at("in", 0), offset(10)), (at("in", 1), offset(9))].into();
        assert_eq!(step(&view, 10), []);
        view.committed.insert(at("in", 1), offset(12));
        assert_eq!(step(&view, 7), [at("by-word", 0)]);
        assert_eq!(step(&view, 99), []);
        assert!(
            holds.is_paused(&at("by-word", 0), Offset::new(7)) && !holds.is_paused(&at("by-word", 0), Offset::new(6))
        );
        holds.set(TaskScope::Topology, None);
        assert!(!holds.is_paused(&at("by-word", 0), Offset::new(7)), "the drain has ended");
    }
}
