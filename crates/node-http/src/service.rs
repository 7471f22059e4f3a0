//! The parts that all handlers share.

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::from_fn;
use axum::routing::MethodRouter;
use http::Problem;
use node::Node;
use node::loops::NodeLoops;
use node::write::{Accepted, Fields, MemoryWrite, Seen, WriteError, WriteKind};

use crate::body::{BodyLimit, JSON, WholeBody};
use crate::extractor::Extractor;
use crate::fair_places::FairPlaces;
use crate::request::{Client, Parameters};

/// The handlers of a path.
pub(crate) type Handlers = MethodRouter<Arc<NodeService>>;

/// Handlers that read, although by POST: a token needs the right `read` besides `act`.
pub(crate) fn reading(handlers: Handlers) -> Handlers {
    handlers.layer(from_fn(http::require_read))
}

/// The node as the handlers reach it.
pub(crate) struct NodeService {
    /// The node.
    pub node: Node,
    /// Its threads.
    pub loops: NodeLoops,
    /// The limit of bodies.
    pub bodies: BodyLimit,
    /// The limit of user snapshots that are brought back.
    pub snapshots: BodyLimit,
    /// The limit of user snapshots that are in memory while they are taken.
    pub taken_snapshots: BodyLimit,
    /// The places of clients that read one.
    pub snapshot_readers: FairPlaces,
    /// The model that finds facts in the conversations of Mem0's API, if there is one.
    pub extractor: Option<Extractor>,
    /// The places of open streams.
    pub streams: FairPlaces,
}

/// The conditions of a write.
pub(crate) struct Terms {
    /// The memory as the client has seen it.
    pub seen: Seen,
    /// The client's key for a repetition.
    pub idempotency_key: Option<String>,
    /// Whether the memory must be active.
    pub requires_active: bool,
}

impl NodeService {
    /// Reads the JSON body of a request that has no query parameters.
    pub async fn read_json(&self, request: Request) -> Result<WholeBody, Problem> {
        let (parts, body) = request.into_parts();
        Parameters::read(&parts, &[])?;
        self.bodies.read(&parts, body, JSON).await
    }

    /// Writes for a client, within its users.
    pub async fn write(
        &self,
        client: &Client,
        memory_id: Option<String>,
        kind: WriteKind,
        fields: Fields,
        terms: Terms,
    ) -> Result<Accepted, WriteError> {
        let Terms { seen, idempotency_key, requires_active } = terms;
        let allowed_users = client.users().cloned();
        let write = MemoryWrite { memory_id, kind, fields, seen, idempotency_key, allowed_users, requires_active };
        self.node.write(write).await
    }
}
