//! The parts that all handlers share.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::extract::Request;
use http::Problem;
use node::Node;
use node::loops::NodeLoops;
use node::shown::ShownMemory;
use node::write::{Accepted, Fields, MemoryWrite, Seen, WriteError, WriteKind};

use crate::body::{BodyLimit, WholeBody};
use crate::description::Operation;
use crate::extractor::Extractor;
use crate::fair_places::FairPlaces;
use crate::problems;
use crate::request::{Client, Parameters};

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
    /// The OpenAPI document of all routes, made when it is asked for first.
    pub openapi: LazyLock<Result<String, String>>,
    /// The places of open streams.
    pub streams: FairPlaces,
}

/// The conditions of a write.
#[derive(Default)]
pub(crate) struct Terms {
    /// The memory as the client has seen it.
    pub seen: Seen,
    /// The clock tokens of the memories that a merge absorbs, by their ids.
    pub absorbed_tokens: BTreeMap<String, String>,
    /// The client's key for a repetition.
    pub idempotency_key: Option<String>,
    /// Whether the memory must be active.
    pub requires_active: bool,
}

impl NodeService {
    /// Reads the body of a request for this operation, and looks at its query parameters.
    pub async fn read_body(&self, request: Request, operation: &Operation) -> Result<WholeBody, Problem> {
        let (parts, body) = request.into_parts();
        Parameters::read(&parts, operation)?;
        self.bodies.read(&parts, body, operation).await
    }

    /// Remembers what a request with a session is shown.
    pub fn note_shown<'m>(
        &self,
        session: Option<&str>,
        memories: impl IntoIterator<Item = &'m ShownMemory>,
    ) -> Result<(), Problem> {
        let Some(session) = session else { return Ok(()) };
        self.node.note_shown(session, memories).map_err(|error| problems::of_database(&error))
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
        let Terms { seen, absorbed_tokens, idempotency_key, requires_active } = terms;
        let allowed_users = client.users().cloned();
        let write = MemoryWrite {
            memory_id,
            kind,
            fields,
            seen,
            absorbed_tokens,
            idempotency_key,
            allowed_users,
            requires_active,
        };
        self.node.write(write).await
    }
}
