//! The shapes of the answers that are about nodes, for the OpenAPI document.

use node::registry::{Liveness, NodeRole};

use crate::answer_shapes::TEXTS;
use crate::description::{Component, Shape, optional, required};

static NODE_STATUS: Component = Component {
    name: "NodeStatus",
    description: "By the time of the node's last record: active; inactive after {MISSED_HEARTBEATS} missed heartbeats, \
                  one of which is due every {HEARTBEAT_INTERVAL}; failed after {FAILED_AFTER}. It has ended in good \
                  order (stopped), or goes on as another incarnation (replaced).",
    shape: Shape::Words(&[
        Liveness::Active.as_str(),
        Liveness::Inactive.as_str(),
        Liveness::Failed.as_str(),
        Liveness::Stopped.as_str(),
        Liveness::Replaced.as_str(),
    ]),
};

/// All nodes.
pub(crate) static NODES: Component = Component {
    name: "Nodes",
    description: "The nodes that this one knows.",
    shape: Shape::Object(&[&[
        required(
            "complete",
            Shape::Boolean,
            "Whether this node has read the nodes topic to its end since its start, and since the topic was last made \
             anew.",
        ),
        required("nodes", Shape::List { items: &Shape::Component(&NODE), least: 0 }, ""),
        required(
            "truncated",
            Shape::Boolean,
            "Whether nodes are left out, since the answer would have more than about {ANSWER_BYTES}.",
        ),
        required(
            "unreadable",
            Shape::Count,
            "Keys of records that this node cannot read and leaves out; at most {MAX_UNREADABLE} are counted.",
        ),
    ]]),
};

const OUTBOX: Shape = Shape::Object(&[&[
    required("depth", Shape::Count, "Its events that wait for Kafka."),
    optional("oldest", Shape::Time, "Since when the oldest of them waits."),
]]);

static NODE: Component = Component {
    name: "Node",
    description: "A node as its last record on the nodes topic says.",
    shape: Shape::Object(&[&[
        required(
            "capabilities",
            TEXTS,
            "The abilities of the node: http, mcp, mem0, search.embedding, search.words. Those of later versions may be \
             others.",
        ),
        required(
            "clock",
            Shape::Object(&[&[
                required("counter", Shape::Count, "The counter of its last accepted event."),
                required("published", Shape::Count, "The counter of its last published event."),
            ]]),
            "",
        ),
        required("incarnation", Shape::Name, ""),
        required("joined_at", Shape::Time, "The time of its first record."),
        required("last_heartbeat", Shape::Time, "The time of its last record."),
        required("name", Shape::Name, ""),
        required("node_id", Shape::Name, "The writer of its events."),
        required("outbox", OUTBOX, ""),
        required("software_version", Shape::Text, ""),
        required("status", Shape::Component(&NODE_STATUS), ""),
        optional("successor", Shape::Name, "Of a replaced node: the one it goes on as."),
        required(
            "type",
            Shape::Words(&[NodeRole::Primary.as_str(), NodeRole::Replica.as_str(), NodeRole::Worker.as_str()]),
            "",
        ),
    ]]),
};

/// The state of the node.
pub(crate) static STATUS: Component = Component {
    name: "Status",
    description: "The state of the node.",
    shape: Shape::Object(&[&[
        required("conflicted", Shape::Count, "Memories with a field in conflict."),
        required(
            "consumed",
            Shape::Count,
            "Records of resolved memories that were applied since the start of the process.",
        ),
        required("counter", Shape::Count, "The counter of the last accepted event."),
        required(
            "dead_letters",
            Shape::Count,
            "Failed events that the stream could not process: they came back as dead letters.",
        ),
        required("failed", Shape::Count, "Events that a broker refuses for ever, or that came back as dead letters."),
        required(
            "former",
            Shape::List { items: &Shape::Component(&FORMER), least: 0 },
            "Earlier incarnations of the node, the oldest first.",
        ),
        required("memories", Shape::Count, "Memories that the node holds, also deleted and merged ones."),
        required("node_id", Shape::Name, "The writer of new events."),
        required("outbox", OUTBOX, ""),
        optional(
            "peers",
            Shape::List { items: &Shape::Component(&PEER), least: 0 },
            "The other nodes, by their ids. A token that is bound to users does not see them.",
        ),
        required("pending", Shape::Count, "Memories with a write of this node that is not resolved yet."),
        required(
            "positions",
            Shape::List { items: &Shape::Component(&POSITION), least: 0 },
            "How far the node has read the topics of resolved memories and of dead letters.",
        ),
        required("published", Shape::Count, "The counter of the last event that Kafka is known to have committed."),
        required("sync_requests", Shape::Count, "Sync requests that wait for Kafka."),
        required("version", Shape::Count, "The greatest version that the node has seen or written."),
    ]]),
};

static FORMER: Component = Component {
    name: "FormerIncarnation",
    description: "An earlier incarnation of the node.",
    shape: Shape::Object(&[&[
        required("ended_at", Shape::Time, ""),
        required("node_id", Shape::Name, ""),
        required("published", Shape::Count, "The greatest counter that it has published."),
        required("reason", Shape::Text, ""),
    ]]),
};

static PEER: Component = Component {
    name: "Peer",
    description: "Another node.",
    shape: Shape::Object(&[&[
        required("last_heartbeat", Shape::Time, ""),
        required("name", Shape::Name, ""),
        required("node_id", Shape::Name, ""),
        required("status", Shape::Component(&NODE_STATUS), ""),
    ]]),
};

static POSITION: Component = Component {
    name: "Position",
    description: "How far the node has read a partition.",
    shape: Shape::Object(&[&[
        optional(
            "lag",
            Shape::Count,
            "Offsets up to the end of the partition, which is looked up every {REFRESH_INTERVAL}; absent until Kafka has \
             answered for the first time since the start. Markers of transactions count.",
        ),
        required("next_offset", Shape::Integer, ""),
        required("partition", Shape::Integer, ""),
        required("topic", Shape::Name, ""),
    ]]),
};
