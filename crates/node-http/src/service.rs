//! The parts that all handlers share.

use std::sync::Arc;

use axum::routing::MethodRouter;
use node::Node;

use crate::body::BodyLimit;

/// The handlers of a path.
pub(crate) type Handlers = MethodRouter<Arc<NodeService>>;

/// The node as the handlers reach it.
pub(crate) struct NodeService {
    /// The node.
    pub node: Node,
    /// The limit of bodies.
    pub bodies: BodyLimit,
}
