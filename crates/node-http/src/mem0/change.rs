//! Updates and deletes: of one memory, of a batch, of all that pass a filter.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use json::{ObjectWriter, Value};
use node::shown::MemoryStatus;
use node::write::{Fields, Refusal, WriteError, WriteKind};
use tokio::task::JoinSet;

use super::body::{Members, parse};
use super::fields::{Mem0Memory, Metadata};
use super::filter::{ENTITIES, Filter, OtherKeys};
use super::list::{of_memory, of_parameters};
use super::scan::{Scan, Scope};
use super::writing::{of_write, with_metadata, write};
use crate::body::JSON;
use crate::memories::shown;
use crate::request::{Client, MemoryId, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// Memories of a batch at most.
const MOST_OF_BATCH: usize = 1000;

/// PUT /v1/memories/{id}/: writes the text, the metadata keys that the body has, or both.
pub(super) async fn update(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts, &[])?;
    let body = service.bodies.read(&parts, body, JSON).await?;
    let document = parse(&body.bytes)?;
    let members = Members::of(&document, &["memory", "memory_id", "metadata", "text"])?;
    if members.text("memory_id")?.is_some_and(|named| named != id) {
        return Err(problems::mem0_request("`memory_id` names another memory than the path"));
    }
    let fields = written(members)?;
    active(&service, &client, &id).await?;
    let accepted = write(&service, &client, Some(id), WriteKind::Update, fields).await;
    let accepted = accepted.map_err(|error| of_write(&error))?;
    if !client.may_use(accepted.memory.user_id.as_deref()) {
        return Err(problems::unknown_memory());
    }
    Ok(of_memory(&Mem0Memory::of(&accepted.memory)?))
}

/// The fields that an update writes; HelixAgent calls the text `memory`.
fn written(members: Members<'_>) -> Result<Fields, Problem> {
    let text = members.text("text")?.or(members.text("memory")?);
    let metadata = Metadata::of_client(members.object("metadata")?)?;
    if text.is_none() && metadata.is_empty() {
        return Err(problems::mem0_request("the body should have the new text in `text`, or `metadata`"));
    }
    let fields = text.map_or(Ok(Fields::new()), |text| Fields::new().with_text("content", text));
    fields.and_then(|fields| with_metadata(fields, &metadata)).map_err(problems::of_fields)
}

/// Looks whether a memory is there for the client.
async fn active(service: &NodeService, client: &Client, id: &str) -> Result<(), Problem> {
    let memory = shown(service, client, id, None).await?;
    let is_there = memory.is_some_and(|memory| memory.status == MemoryStatus::Active);
    if is_there { Ok(()) } else { Err(problems::unknown_memory()) }
}

/// DELETE /v1/memories/{id}/.
pub(super) async fn delete(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    // A memory is linked to no older ones here: there are none that it has superseded.
    let is_linked = Parameters::read(&parts, &["delete_linked"])?.flag("delete_linked")?;
    active(&service, &client, &id).await?;
    let deleted = write(&service, &client, Some(id), WriteKind::Delete, Fields::new()).await;
    deleted.map_err(|error| of_write(&error))?;
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    if is_linked {
        object.integer("cascade_count", 0);
    }
    object.str("message", "Memory deleted successfully!");
    object.end();
    Ok(answers::json(StatusCode::OK, body))
}

/// DELETE /v1/memories/: all that belong to the entities of the query.
pub(super) async fn delete_all(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let known = ["agent_id", "app_id", "filters", "run_id", "session_id", "user_id"];
    let parameters = Parameters::read(&parts, &known)?;
    let mut filter = of_parameters(&parameters)?;
    if let Some(text) = parameters.text("filters")? {
        let not_json = |_| {
            problems::mem0_request(
                "`filters` is not JSON (Mem0's client for Python writes a dictionary in a form of its own); name user_id, \
                 agent_id, app_id or run_id instead",
            )
        };
        let document = json::parse(text.as_bytes()).map_err(not_json)?;
        filter = filter.and(Filter::read(Some(document.root()), OtherKeys::Refused)?);
    }
    if !filter.names_entity() {
        return Err(problems::delete_of_all());
    }
    delete_those(service, &client, filter).await
}

/// DELETE /v2/entities/{type}/{name}/: all memories that belong to the entity.
pub(super) async fn delete_entity(
    State(service): State<Arc<NodeService>>,
    client: Client,
    Path((kind, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &[])?;
    let known = ENTITIES.into_iter().find(|(of, _)| *of == kind);
    let (kind, _) = known.ok_or_else(|| problems::mem0_request("an entity is a user, an agent, an app or a run"))?;
    delete_those(service, &client, Filter::entity(kind, &name)).await
}

/// Deletes all memories that pass a filter, some at a time.
async fn delete_those(service: Arc<NodeService>, client: &Client, filter: Filter) -> Result<Response, Problem> {
    let scope = Scope::of(client, filter)?;
    let mut scan = Scan::new(&service, client, &scope);
    let mut count = 0;
    while let Some(memories) = scan.next().await? {
        let ids: Vec<String> = memories.into_iter().map(|memory| memory.id).collect();
        count += ids.len();
        let deletes = ids.into_iter().map(|id| (id, WriteKind::Delete, Fields::new()));
        write_together(&service, client, deletes.collect()).await?;
    }
    Ok(message(&format!("{count} memories deleted successfully!")))
}

fn message(text: &str) -> Response {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.str("message", text);
    object.end();
    answers::json(StatusCode::OK, body)
}

/// Makes writes that do not wait for one another, so that the node commits many at a time. A memory
/// that somebody has deleted or moved meanwhile is left as it is.
async fn write_together(
    service: &Arc<NodeService>,
    client: &Client,
    writes: Vec<(String, WriteKind, Fields)>,
) -> Result<(), Problem> {
    let mut tasks = JoinSet::new();
    for (id, kind, fields) in writes {
        let (service, client) = (Arc::clone(service), client.clone());
        tasks.spawn(async move { write(&service, &client, Some(id), kind, fields).await });
    }
    let mut failure = None;
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(Ok(_) | Err(WriteError::Refused(Refusal::Inactive(_) | Refusal::ForbiddenUser))) => {}
            Ok(Err(error)) => failure = Some(of_write(&error)),
            Err(error) => failure = Some(problems::internal(format!("a task of the node has ended: {error}"))),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The items of a batch, each a memory's id and an object.
fn batch<'d>(members: Members<'d>, known: &[&str]) -> Result<Vec<(String, Members<'d>)>, Problem> {
    let items = members.list("memories")?.unwrap_or_default();
    if !(1..=MOST_OF_BATCH).contains(&items.len()) {
        return Err(problems::mem0_request(format!("`memories` should be a list of 1 to {MOST_OF_BATCH} memories")));
    }
    let item = |item: Value<'d>| {
        let item = Members::of_part(item, "a memory of the batch", known)?;
        Ok((item.required("memory_id")?.to_owned(), item))
    };
    items.into_iter().map(item).collect()
}

/// PUT /v1/batch/. Nothing is written unless all memories are there.
pub(super) async fn update_batch(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts, &[])?;
    let body = service.bodies.read(&parts, body, JSON).await?;
    let writes = {
        let document = parse(&body.bytes)?;
        let items = batch(Members::of(&document, &["memories"])?, &["memory_id", "metadata", "text"])?;
        let write = |(id, item): (String, Members<'_>)| Ok((id, WriteKind::Update, written(item)?));
        items.into_iter().map(write).collect::<Result<Vec<_>, Problem>>()?
    };
    let ids: BTreeSet<&String> = writes.iter().map(|(id, ..)| id).collect();
    if ids.len() < writes.len() {
        return Err(problems::mem0_request("a batch should name each memory once"));
    }
    for id in ids {
        active(&service, &client, id).await?;
    }
    let count = writes.len();
    write_together(&service, &client, writes).await?;
    Ok(message(&format!("Successfully updated {count} memories")))
}

/// DELETE /v1/batch/. A memory that is deleted already stays so, and nothing is written unless all
/// others are there.
pub(super) async fn delete_batch(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts, &[])?;
    let body = service.bodies.read(&parts, body, JSON).await?;
    let ids: BTreeSet<String> = {
        let document = parse(&body.bytes)?;
        let items = batch(Members::of(&document, &["memories"])?, &["memory_id"])?;
        items.into_iter().map(|(id, _)| id).collect()
    };
    let count = ids.len();
    let mut deletes = Vec::with_capacity(count);
    for id in ids {
        let memory = shown(&service, &client, &id, None).await?.ok_or_else(problems::unknown_memory)?;
        if memory.status == MemoryStatus::Active {
            deletes.push((id, WriteKind::Delete, Fields::new()));
        }
    }
    write_together(&service, &client, deletes).await?;
    Ok(message(&format!("Successfully deleted {count} memories")))
}
