//! Updates and deletes: of one memory, of a batch, of all that pass a filter.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use json::{ObjectWriter, Value};
use node::shown::MemoryStatus;
use node::write::{Fields, Refusal, Seen, WriteError, WriteKind};
use tokio::task::JoinSet;

use super::body::{Members, SETTINGS, UNSUPPORTED_SETTINGS, parse};
use super::expiration;
use super::fields::{Mem0Memory, Metadata};
use super::filter::{ENTITIES, Filter, OtherKeys};
use super::list::{of_memory, of_parameters};
use super::parameters::{AGENT_ID, APP_ID, RUN_ID, SESSION_ID, USER_ID};
use super::scan::{Scan, Scope};
use super::shapes::{
    BATCH_DELETE_MEMBERS, BATCH_UPDATE_MEMBERS, ENTITY_TYPE, MEMORY, MESSAGE, UPDATE as UPDATE_SHAPE, UPDATE_MEMBERS,
};
use super::writing::{MOST_LOOKS, active, with_metadata, write, write_problem};
use crate::body::JSON;
use crate::description::{AnswerDescription, Member, Operation, Parameter, RequestBody, Shape, Tag, required};
use crate::error_kinds::{DELETE_OF_ALL, FOREIGN_USER, MEM0_BODY, MEM0_REQUEST, MEM0_WRITING};
use crate::memories::shown;
use crate::request::{Client, MEMORY_ID, MemoryId, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// Memories of a batch at most.
const MOST_OF_BATCH: usize = 1000;
/// Writes of a request that are under way at a time: the answer of each holds a memory.
const WRITES_AT_A_TIME: usize = 32;

/// PUT /v1/memories/{id}/.
pub(super) static UPDATE: Operation = Operation {
    id: "updateMemory",
    tag: Tag::Mem0,
    summary: "Update a memory",
    description: "Writes the text, the keys of `metadata` that the body has, and `expiration_date`, as far as the body has them.",
    parameters: &[&MEMORY_ID],
    body: Some(RequestBody {
        description: "At least one of the new text, metadata and `expiration_date`.",
        media_types: JSON,
        shape: Shape::Component(&UPDATE_SHAPE),
    }),
    answers: &[AnswerDescription::ok("The memory.", Shape::Component(&MEMORY))],
    errors: &[MEM0_WRITING, MEM0_BODY],
    ..Operation::EMPTY
};

static DELETE_LINKED: Parameter = Parameter::query(
    "delete_linked",
    Shape::Flag,
    "Whether older memories that this one has superseded are deleted, too; there are none here.",
);

/// DELETE /v1/memories/{id}/.
pub(super) static DELETE: Operation = Operation {
    id: "deleteMemory",
    tag: Tag::Mem0,
    summary: "Delete a memory",
    parameters: &[&MEMORY_ID, &DELETE_LINKED],
    answers: &[AnswerDescription::ok("It is deleted.", Shape::Component(&MESSAGE))],
    errors: &[MEM0_WRITING],
    ..Operation::EMPTY
};

static FILTERS: Parameter = Parameter::query("filters", Shape::Name, "Further conditions, as JSON.");

/// DELETE /v1/memories/.
pub(super) static DELETE_ALL: Operation = Operation {
    id: "deleteMemories",
    tag: Tag::Mem0,
    summary: "Delete the memories of entities",
    description: "At least one entity is named. Each memory is deleted as it was seen; one that changes meanwhile is \
                  looked at again, and stays where it does not fit any more.",
    parameters: &[&AGENT_ID, &APP_ID, &FILTERS, &RUN_ID, &SESSION_ID, &USER_ID],
    answers: &[AnswerDescription::ok("How many were deleted.", Shape::Component(&MESSAGE))],
    errors: &[MEM0_WRITING, &[&FOREIGN_USER, &MEM0_REQUEST, &DELETE_OF_ALL]],
    ..Operation::EMPTY
};

static TYPE: Parameter = Parameter::path("type", ENTITY_TYPE, "The type of the entity.").keyed("entity_type");
static NAME: Parameter =
    Parameter::path("name", Shape::Name, "The name of the entity, in percent-encoding.").keyed("entity_name");

/// DELETE /v2/entities/{type}/{name}/.
pub(super) static DELETE_ENTITY: Operation = Operation {
    id: "deleteEntity",
    tag: Tag::Mem0,
    summary: "Delete the memories of an entity",
    parameters: &[&TYPE, &NAME],
    answers: &[AnswerDescription::ok("How many were deleted.", Shape::Component(&MESSAGE))],
    errors: &[MEM0_WRITING, &[&FOREIGN_USER, &MEM0_REQUEST]],
    ..Operation::EMPTY
};

/// The member of a batch.
const UPDATES: Member = required(
    "memories",
    Shape::ListUpTo { items: &Shape::Object(&[BATCH_UPDATE_MEMBERS, &UNSUPPORTED_SETTINGS]), most: MOST_OF_BATCH },
    "",
);
const DELETES: Member = required(
    "memories",
    Shape::ListUpTo { items: &Shape::Object(&[BATCH_DELETE_MEMBERS, &UNSUPPORTED_SETTINGS]), most: MOST_OF_BATCH },
    "",
);

/// PUT /v1/batch/.
pub(super) static UPDATE_BATCH: Operation = Operation {
    id: "updateBatch",
    tag: Tag::Mem0,
    summary: "Update many memories",
    description: "Nothing is written where one of them is unknown.",
    body: Some(RequestBody {
        description: "The memories, each once.",
        media_types: JSON,
        shape: Shape::Object(&[&[UPDATES], &SETTINGS, &UNSUPPORTED_SETTINGS]),
    }),
    answers: &[AnswerDescription::ok("How many were updated.", Shape::Component(&MESSAGE))],
    errors: &[MEM0_WRITING, MEM0_BODY],
    ..Operation::EMPTY
};

/// DELETE /v1/batch/.
pub(super) static DELETE_BATCH: Operation = Operation {
    id: "deleteBatch",
    tag: Tag::Mem0,
    summary: "Delete many memories",
    description: "Nothing is written where one of them is unknown. One that is deleted already stays so.",
    body: Some(RequestBody {
        description: "The memories.",
        media_types: JSON,
        shape: Shape::Object(&[&[DELETES], &SETTINGS, &UNSUPPORTED_SETTINGS]),
    }),
    answers: &[AnswerDescription::ok("How many were deleted.", Shape::Component(&MESSAGE))],
    errors: &[MEM0_WRITING, MEM0_BODY],
    ..Operation::EMPTY
};

/// PUT /v1/memories/{id}/: writes the text, the metadata keys and the expiration date that the body
/// has.
pub(super) async fn update(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let body = service.read_body(request, &UPDATE).await?;
    let document = parse(&body.bytes)?;
    let members = Members::of(&document, &[UPDATE_MEMBERS])?;
    if members.text("memory_id")?.is_some_and(|named| named != id) {
        return Err(problems::mem0_request("`memory_id` names another memory than the path"));
    }
    let fields = written(members)?;
    active(&service, &client, &id).await?;
    let accepted = write(&service, &client, Some(id), WriteKind::Update, fields, Seen::Present).await;
    let accepted = accepted.map_err(|error| write_problem(&error))?;
    if !client.may_use(accepted.memory.user_id.as_deref()) {
        return Err(problems::unknown_memory());
    }
    Ok(of_memory(&Mem0Memory::of(&accepted.memory)?))
}

/// The fields that an update writes; HelixAgent calls the text `memory`.
fn written(members: Members<'_>) -> Result<Fields, Problem> {
    let text = members.text("text")?.or(members.text("memory")?);
    let mut metadata = Metadata::of_client(members.object("metadata")?)?;
    expiration::of_body(members)?.into_iter().for_each(|time| metadata.set(expiration::STORED, time));
    if text.is_none() && metadata.is_empty() {
        let detail = "the body should have the new text in `text`, or `metadata`, or `expiration_date`";
        return Err(problems::mem0_request(detail));
    }
    let fields = text.map_or(Ok(Fields::new()), |text| Fields::new().with_text("content", text));
    fields.and_then(|fields| with_metadata(fields, &metadata)).map_err(problems::of_fields)
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
    let is_linked = Parameters::read(&parts, &DELETE)?.flag(&DELETE_LINKED)?;
    active(&service, &client, &id).await?;
    let deleted = write(&service, &client, Some(id), WriteKind::Delete, Fields::new(), Seen::Present).await;
    deleted.map_err(|error| write_problem(&error))?;
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
    let parameters = Parameters::read(&parts, &DELETE_ALL)?;
    let mut filter = of_parameters(&parameters)?;
    if let Some(text) = parameters.text(&FILTERS)? {
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
    delete_matching(service, &client, filter).await
}

/// DELETE /v2/entities/{type}/{name}/: all memories that belong to the entity.
pub(super) async fn delete_entity(
    State(service): State<Arc<NodeService>>,
    client: Client,
    entity: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &DELETE_ENTITY)?;
    let wrong = |_| problems::malformed("the entity in the path is not UTF-8 text in percent-encoding");
    let Path((kind, name)) = entity.map_err(wrong)?;
    let known = ENTITIES.into_iter().find(|(of, _)| *of == kind);
    let (kind, _) = known.ok_or_else(|| problems::mem0_request("an entity is a user, an agent, an app or a run"))?;
    delete_matching(service, &client, Filter::entity(kind, &name)).await
}

/// Deletes all memories that pass a filter, some at a time.
async fn delete_matching(service: Arc<NodeService>, client: &Client, filter: Filter) -> Result<Response, Problem> {
    let scope = Arc::new(Scope::of(client, filter)?);
    let mut scan = Scan::new(&service, client, &scope);
    let mut count = 0;
    while let Some(memories) = scan.next().await? {
        let seen: Vec<(String, String)> =
            memories.into_iter().map(|memory| (memory.id, memory.token.encode())).collect();
        let deletes = seen.into_iter().map(|(id, token)| {
            let (service, client, scope) = (Arc::clone(&service), client.clone(), Arc::clone(&scope));
            async move { delete_seen(&service, &client, &scope, &id, token).await }
        });
        count += write_concurrently(deletes).await?;
    }
    Ok(message(&format!("{count} memories deleted successfully!")))
}

/// Deletes a memory as it was seen to be in the scope. Where it has changed since, it is deleted if
/// it is in the scope still. Says whether it was deleted.
async fn delete_seen(
    service: &NodeService,
    client: &Client,
    scope: &Scope,
    id: &str,
    mut token: String,
) -> Result<bool, Problem> {
    for _ in 0..MOST_LOOKS {
        let seen = Seen::Token(token);
        match write(service, client, Some(id.to_owned()), WriteKind::Delete, Fields::new(), seen).await {
            Err(WriteError::Refused(Refusal::Stale(shown))) => {
                if !scope.has(client, &Mem0Memory::of(&shown)?) {
                    return Ok(false);
                }
                token = shown.token.encode();
            }
            written => return was_written(written.map(drop)),
        }
    }
    Ok(false)
}

/// Whether a write was accepted. A memory that somebody has deleted or moved meanwhile is left as
/// it is.
fn was_written(written: Result<(), WriteError>) -> Result<bool, Problem> {
    match written {
        Ok(()) => Ok(true),
        Err(WriteError::Refused(Refusal::Inactive(_) | Refusal::ForbiddenUser)) => Ok(false),
        Err(error) => Err(write_problem(&error)),
    }
}

fn message(text: &str) -> Response {
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.str("message", text);
    object.end();
    answers::json(StatusCode::OK, body)
}

/// Makes writes that do not wait for one another, so that the node commits many at a time. Returns
/// how many were accepted.
async fn write_concurrently<W>(writes: impl Iterator<Item = W>) -> Result<usize, Problem>
where
    W: Future<Output = Result<bool, Problem>> + Send + 'static,
{
    let (mut tasks, mut ended, mut count, mut failure) = (JoinSet::new(), Vec::new(), 0, None);
    for write in writes {
        if tasks.len() == WRITES_AT_A_TIME {
            ended.extend(tasks.join_next().await);
        }
        tasks.spawn(write);
    }
    while let Some(end) = tasks.join_next().await {
        ended.push(end);
    }
    for end in ended {
        match end {
            Ok(Ok(is_written)) => count += usize::from(is_written),
            Ok(Err(problem)) => failure = Some(problem),
            Err(error) => failure = Some(problems::internal(format!("a task of the node has ended: {error}"))),
        }
    }
    failure.map_or(Ok(count), Err)
}

/// The writes of a batch, by a client that has seen what the node shows.
async fn write_batch(
    service: &Arc<NodeService>,
    client: &Client,
    writes: Vec<(String, WriteKind, Fields)>,
) -> Result<usize, Problem> {
    let writes = writes.into_iter().map(|(id, kind, fields)| {
        let (service, client) = (Arc::clone(service), client.clone());
        async move { was_written(write(&service, &client, Some(id), kind, fields, Seen::Present).await.map(drop)) }
    });
    write_concurrently(writes).await
}

/// The items of a batch, each a memory's id and an object.
fn batch<'d>(members: Members<'d>, known: &[Member]) -> Result<Vec<(String, Members<'d>)>, Problem> {
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
    let body = service.read_body(request, &UPDATE_BATCH).await?;
    let writes = {
        let document = parse(&body.bytes)?;
        let items = batch(Members::of(&document, &[&[UPDATES]])?, BATCH_UPDATE_MEMBERS)?;
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
    let count = write_batch(&service, &client, writes).await?;
    Ok(message(&format!("Successfully updated {count} memories")))
}

/// DELETE /v1/batch/. A memory that is deleted already stays so, and nothing is written unless all
/// others are there.
pub(super) async fn delete_batch(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let body = service.read_body(request, &DELETE_BATCH).await?;
    let ids: BTreeSet<String> = {
        let document = parse(&body.bytes)?;
        let items = batch(Members::of(&document, &[&[DELETES]])?, BATCH_DELETE_MEMBERS)?;
        items.into_iter().map(|(id, _)| id).collect()
    };
    let mut deletes = Vec::with_capacity(ids.len());
    for id in ids {
        let memory = shown(&service, &client, &id, None).await?.ok_or_else(problems::unknown_memory)?;
        if memory.status == MemoryStatus::Active {
            deletes.push((id, WriteKind::Delete, Fields::new()));
        }
    }
    let count = write_batch(&service, &client, deletes).await?;
    Ok(message(&format!("Successfully deleted {count} memories")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{WRITES_AT_A_TIME, write_concurrently};
    use crate::problems;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn few_writes_are_under_way_at_a_time_and_those_that_were_made_are_counted() {
        let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let writes = (0..200).map(|n| {
            let (under_way, most) = (Arc::clone(&under_way), Arc::clone(&most));
            async move {
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                Ok(n % 4 != 0)
            }
        });
        assert_eq!(run(write_concurrently(writes)).unwrap(), 150);
        assert_eq!(most.load(Ordering::SeqCst), WRITES_AT_A_TIME);
    }

    #[test]
    fn a_write_that_fails_is_the_answer_and_the_others_are_made() {
        let made = Arc::new(AtomicUsize::new(0));
        let writes = (0..100).map(|n| {
            let made = Arc::clone(&made);
            async move {
                made.fetch_add(1, Ordering::SeqCst);
                if n == 3 { Err(problems::unknown_memory()) } else { Ok(true) }
            }
        });
        assert!(run(write_concurrently(writes)).is_err());
        assert_eq!(made.load(Ordering::SeqCst), 100);
    }
}
