//! Writes by a client that carries no clock token.

use http::Problem;
use node::shown::{MemoryStatus, ShownMemory};
use node::write::{Accepted, Fields, Refusal, Seen, WriteError, WriteKind};

use super::fields::Metadata;
use crate::memories::shown;
use crate::problems;
use crate::request::Client;
use crate::service::{NodeService, Terms};

/// How often a write looks at a memory again, because somebody has changed it meanwhile.
pub(super) const MOST_LOOKS: usize = 10;

/// Fields and metadata beside them.
pub(super) fn with_metadata(fields: Fields, metadata: &Metadata) -> Result<Fields, Refusal> {
    if metadata.is_empty() { Ok(fields) } else { fields.with_json("metadata", &metadata.json()) }
}

/// A memory that is there for the client.
pub(super) async fn active(service: &NodeService, client: &Client, id: &str) -> Result<ShownMemory, Problem> {
    let memory = shown(service, client, id, None).await?;
    memory.filter(|memory| memory.status == MemoryStatus::Active).ok_or_else(problems::unknown_memory)
}

/// Writes as a client which has seen this. What is updated or deleted is there.
pub(super) async fn write(
    service: &NodeService,
    client: &Client,
    memory_id: Option<String>,
    kind: WriteKind,
    fields: Fields,
    seen: Seen,
) -> Result<Accepted, WriteError> {
    let requires_active = matches!(kind, WriteKind::Update | WriteKind::Delete);
    let terms = Terms { seen, requires_active, ..Terms::default() };
    service.write(client, memory_id, kind, fields, terms).await
}

/// Why a write was not accepted. These clients know "not found", and no deleted or merged memories.
pub(super) fn write_problem(error: &WriteError) -> Problem {
    match error {
        WriteError::Refused(Refusal::Inactive(_)) => problems::unknown_memory(),
        other => problems::of_write(other, |_| false),
    }
}
