//! `/ready` and `/metrics` of a node.

use http::{Family, InstanceStatus, MetricKind, Value};
use node::loops::NodeLoops;
use node::node::Node;
use node::registry::{Liveness, now_ms};

/// The figures of a node, under Prometheus' names.
pub struct NodeFigures {
    node: Node,
    loops: NodeLoops,
}

impl NodeFigures {
    /// Those of a node and of its loops.
    pub fn new(node: Node, loops: NodeLoops) -> NodeFigures {
        NodeFigures { node, loops }
    }
}

impl InstanceStatus for NodeFigures {
    /// A node accepts writes and answers reads without Kafka, so it is ready as soon as it serves.
    fn waiting(&self) -> Vec<String> {
        Vec::new()
    }

    fn metrics(&self) -> Vec<Family> {
        let loops = &self.loops;
        let (publisher, follower) = (loops.publisher_status(), loops.follower_status());
        let dead_letters = loops.dead_letters_status().dead_letters;
        let (registry, nodes, now) = (loops.nodes_status(), loops.directory.nodes(), now_ms());
        let active = nodes.iter().filter(|node| node.liveness(now) == Liveness::Active).count();
        let mut families = vec![
            counter("node_published_events", "Events published", publisher.events),
            counter("node_sync_requests", "Sync requests sent", publisher.sync_requests),
            counter("node_transactions", "Transactions committed, heartbeats included", publisher.transactions),
            counter("node_publisher_failures", "Sessions of the publisher that failed", publisher.failures),
            counter("node_refused_events", "Events that a broker has refused for ever", publisher.refused),
            counter("node_dead_letters", "Events of this node that came back as dead letters", dead_letters),
            counter("node_incarnations", "New incarnations begun", publisher.incarnations),
            gauge("node_connected", "Whether the last transaction was committed", u64::from(publisher.is_connected)),
            counter("node_followed_records", "Records of resolved memories applied", follower.followed),
            counter(
                "node_catch_ups",
                "Partitions of which unread records were gone, so that all memories were asked for",
                follower.catch_ups,
            ),
            counter(
                "node_expired_memories",
                "Expired memories that this node has deleted",
                loops.expiry_status().deleted,
            ),
            counter("node_follower_failures", "Failures to read or apply records", follower.failures),
            gauge("node_lag", "Offsets of the snapshots topic that are not read yet", follower.lag()),
            counter("node_registry_failures", "Failures to read the nodes topic", registry.failures),
            gauge("node_active_nodes", "Nodes whose heartbeats come, this one included", active as u64),
        ];
        // While the node stops, its database has no more to say.
        if let Ok(status) = self.node.blocking_status() {
            families.extend([
                gauge("node_outbox_events", "Accepted events that wait to be published", status.outbox_depth),
                gauge(
                    "node_failed_events",
                    "Events that a broker refuses or that came back as dead letters",
                    status.failed,
                ),
                gauge("node_memories", "Memories held, deleted and merged ones included", status.memories),
                gauge("node_conflicted_memories", "Memories with a field in conflict", status.conflicted),
                gauge("node_pending_memories", "Memories with an event that is not resolved yet", status.pending),
            ]);
        }
        families
    }
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Family {
    Family::one(name, help, MetricKind::Counter, Value::Count(value))
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Family {
    Family::one(name, help, MetricKind::Gauge, Value::Level(value as f64))
}
