//! The nodes that are there, as this one has seen their records come: who deletes a memory that
//! expires, and when.

use std::collections::{BTreeMap, BTreeSet};

use super::{ABSENT_AFTER, GRACE, TURN, nanos};
use crate::actor::Actor;
use crate::registry::{HEARTBEAT_INTERVAL, NodeState, RegisteredNode};

/// The most records of replaced nodes that lead from one to the next.
const MAX_SUCCESSORS: usize = 100;

/// The nodes whose records this one has seen, and when each was last a new one.
#[derive(Debug, Default)]
pub struct NodePresence {
    /// The time of the last record by its own clock, and when this node saw it first, by the clock
    /// here.
    seen: BTreeMap<Actor, (i64, u64)>,
}

/// The terms by which memories expire now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpiryTerms {
    /// The time, in nanoseconds since 1970, which no live node's clock has still before it.
    pub now_ns: u64,
    /// Other nodes that are there, in every incarnation that leads to them: they delete the
    /// memories whose time they have set.
    pub present: BTreeSet<Actor>,
    /// How many live nodes have a lesser id than this one.
    pub rank: u32,
}

impl ExpiryTerms {
    /// When this node is to delete a memory, in nanoseconds since 1970: one that expires at a time
    /// which this node has set itself, or somebody else; `None` where that one does it.
    pub(crate) fn turn(&self, expires_at: u64, is_own: bool, setter: Option<&Actor>) -> Option<u64> {
        let due = expires_at.saturating_add(nanos(GRACE));
        if is_own {
            return Some(due);
        }
        if setter.is_some_and(|setter| self.present.contains(setter)) {
            return None;
        }
        Some(due.saturating_add(nanos(TURN).saturating_mul(u64::from(self.rank))))
    }
}

impl NodePresence {
    /// The terms at a time of this machine's clock, in nanoseconds since 1970. `own_ms` is the time
    /// of the record that this node has last published, in milliseconds.
    pub fn terms(&mut self, own: &Actor, nodes: &[RegisteredNode], own_ms: i64, wall_ns: u64) -> ExpiryTerms {
        self.observe(nodes, wall_ns);
        let by_actor: BTreeMap<&Actor, &RegisteredNode> = nodes.iter().map(|node| (&node.record.actor, node)).collect();
        let silence = |actor: &Actor| self.seen.get(actor).map_or(0, |(_, since)| wall_ns.saturating_sub(*since));
        let is_live = |node: &RegisteredNode| {
            let is_running = node.record.state == NodeState::Running;
            is_running && silence(&node.record.actor) <= nanos(HEARTBEAT_INTERVAL * 3)
        };
        let is_present = |node: &RegisteredNode| {
            let mut last = node;
            for _ in 0..MAX_SUCCESSORS {
                let NodeState::Replaced { successor } = &last.record.state else { break };
                if successor == own {
                    return false;
                }
                let Some(next) = by_actor.get(successor) else { break };
                last = next;
            }
            silence(&last.record.actor) < nanos(ABSENT_AFTER)
        };
        let others = || nodes.iter().filter(|node| node.record.actor != *own);
        let live: Vec<&RegisteredNode> = others().filter(|node| is_live(node)).collect();
        let of_others = live.iter().map(|node| node.record_ms).max();
        let passed = of_others.map_or(own_ms, |ms| ms.min(own_ms));
        let passed = u64::try_from(passed).unwrap_or(0).saturating_mul(1_000_000);
        ExpiryTerms {
            now_ns: wall_ns.min(passed),
            present: others().filter(|node| is_present(node)).map(|node| node.record.actor.clone()).collect(),
            rank: u32::try_from(live.iter().filter(|node| node.record.actor < *own).count()).unwrap_or(u32::MAX),
        }
    }

    fn observe(&mut self, nodes: &[RegisteredNode], wall_ns: u64) {
        let known: BTreeSet<&Actor> = nodes.iter().map(|node| &node.record.actor).collect();
        self.seen.retain(|actor, _| known.contains(actor));
        for node in nodes {
            let seen = self.seen.entry(node.record.actor.clone()).or_insert((node.record_ms, wall_ns));
            // A clock that was set back makes no node silent, and none that is silent present.
            seen.1 = seen.1.min(wall_ns);
            if seen.0 != node.record_ms {
                *seen = (node.record_ms, wall_ns);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Publication;
    use crate::registry::{NodeRecord, NodeRole};

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_800_000_000 * SECOND;

    fn actor(name: &str) -> Actor {
        format!("{name}.00000000000000000001").parse().unwrap()
    }

    fn node(name: &str, record_ns: u64, state: NodeState) -> RegisteredNode {
        let record_ms = i64::try_from(record_ns / 1_000_000).unwrap();
        let record = NodeRecord {
            actor: actor(name),
            role: NodeRole::Primary,
            software_version: String::new(),
            capabilities: Vec::new(),
            counter: 1,
            published: Publication { counter: 1, chain: 0 },
            outbox_depth: 0,
            outbox_since_ms: None,
            joined_ms: 1,
            heartbeat_ms: record_ms,
            state,
        };
        RegisteredNode { record, record_ms }
    }

    /// The terms of the node `b` at a time.
    fn terms(presence: &mut NodePresence, nodes: &[RegisteredNode], wall_ns: u64) -> ExpiryTerms {
        presence.terms(&actor("b"), nodes, i64::try_from(wall_ns / 1_000_000).unwrap(), wall_ns)
    }

    fn running(name: &str, record_ns: u64) -> RegisteredNode {
        node(name, record_ns, NodeState::Running)
    }

    #[test]
    fn a_node_is_absent_once_no_new_record_has_come_for_ten_minutes_and_the_least_live_one_takes_over() {
        let mut presence = NodePresence::default();
        let setter = actor("x");
        let turn = |terms: &ExpiryTerms| terms.turn(START, false, Some(&setter)).map(|at| (at - START) / SECOND);
        // The record of x is from long ago when b starts to watch; that alone says nothing.
        let at = |passed: u64| {
            let time = START + passed * SECOND;
            [running("a", time), running("c", time), running("x", START - 5000 * SECOND)]
        };
        let first = terms(&mut presence, &at(0), START);
        assert_eq!((turn(&first), first.rank), (None, 1));
        assert_eq!(turn(&terms(&mut presence, &at(599), START + 599 * SECOND)), None);
        // a is first, b a minute later.
        assert_eq!(turn(&terms(&mut presence, &at(600), START + 600 * SECOND)), Some(30 + 60));
        // a has gone, too: b is the least of the live ones.
        let gone = [running("a", START + 600 * SECOND), running("c", START + 640 * SECOND)];
        let later = terms(&mut presence, &gone, START + 640 * SECOND);
        assert_eq!((turn(&later), later.rank), (Some(30), 0));
        // What it has set itself is its own all the time.
        assert_eq!(first.turn(START, true, None), Some(START + 30 * SECOND));
    }

    #[test]
    fn a_stopped_node_is_waited_for_and_of_a_replaced_one_its_successor_counts() {
        let mut presence = NodePresence::default();
        let at = |passed: u64| {
            [
                node("s", START, NodeState::Stopped),
                node("r", START, NodeState::Replaced { successor: actor("q") }),
                running("q", START + passed * SECOND),
                node("o", START, NodeState::Replaced { successor: actor("b") }),
                node("g", START, NodeState::Replaced { successor: actor("nobody") }),
            ]
        };
        let names =
            |terms: &ExpiryTerms| -> Vec<String> { terms.present.iter().map(|actor| actor.name.to_string()).collect() };
        assert_eq!(names(&terms(&mut presence, &at(0), START)), ["g", "q", "r", "s"]);
        assert_eq!(names(&terms(&mut presence, &at(600), START + 600 * SECOND)), ["q", "r"]);
    }

    #[test]
    fn a_clock_that_is_ahead_deletes_nothing_early_and_takes_nobody_for_absent() {
        const HOUR: u64 = 3600 * SECOND;
        let mut presence = NodePresence::default();
        for passed in [0, 10, 20, 700] {
            let time = START + passed * SECOND;
            let terms = terms(&mut presence, &[running("a", time), running("b", time + HOUR)], time + HOUR);
            assert_eq!(terms.now_ns, time, "the clock of a has not passed it");
            assert!(terms.present.contains(&actor("a")));
        }
        // Once a is silent, nobody else's clock is there.
        let last = terms(&mut presence, &[running("a", START)], START + 3 * HOUR);
        assert_eq!(last.now_ns, START, "its record has changed now");
        let late = START + 4 * HOUR;
        assert_eq!(terms(&mut presence, &[running("a", START)], late).now_ns, late);
        // A node that does not publish does not go on either.
        assert_eq!(presence.terms(&actor("b"), &[], 5, late).now_ns, 5_000_000);
    }
}
