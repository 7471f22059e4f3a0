//! Writes by a client that carries no clock token.

use http::Problem;
use node::write::{Accepted, Fields, MemoryWrite, Refusal, Seen, WriteError, WriteKind};

use super::fields::Metadata;
use crate::problems;
use crate::request::Client;
use crate::service::NodeService;

/// Fields and metadata beside them.
pub(super) fn with_metadata(fields: Fields, metadata: &Metadata) -> Result<Fields, Refusal> {
    if metadata.is_empty() { Ok(fields) } else { fields.with_json("metadata", &metadata.json()) }
}

/// Writes as a client which has seen what the node shows.
pub(super) async fn write(
    service: &NodeService,
    client: &Client,
    memory_id: Option<String>,
    kind: WriteKind,
    fields: Fields,
) -> Result<Accepted, WriteError> {
    let write = MemoryWrite {
        memory_id,
        kind,
        fields,
        seen: Seen::Present,
        idempotency_key: None,
        allowed_users: client.users().cloned(),
        requires_active: kind == WriteKind::Update,
    };
    service.node.write(write).await
}

/// Why a write was not accepted. These clients know "not found", and no deleted or merged memories.
pub(super) fn of_write(error: &WriteError) -> Problem {
    match error {
        WriteError::Refused(Refusal::Inactive(_)) => problems::unknown_memory(),
        other => problems::of_write(other, |_| false),
    }
}
