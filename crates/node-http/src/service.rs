//! The parts that all handlers share.

use node::Node;

use crate::body::BodyLimit;

/// The node as the handlers reach it.
pub(crate) struct NodeService {
    /// The node.
    pub node: Node,
    /// The limit of bodies.
    pub bodies: BodyLimit,
}
