//! The routes of the parts of a memory that have ids of their own: entities and relationships.
//!
//! A part is written by an event of its memory that carries nothing else (docs/semantics.md,
//! section 3). Events can clear a relationship, and not an entity.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use http::Problem;
use json::{ObjectWriter, Value, ValueKind};
use node::shown::{MemoryStatus, ShownMemory};
use node::write::{Fields, Seen, WriteKind};

use crate::answer_shapes::{ENTITY_LIST, ETAG, RELATIONSHIP_LIST, WRITTEN_AND_WAITING, written};
use crate::body::JSON;
use crate::description::{AnswerDescription, Operation, Parameter, RequestBody, Shape, Tag};
use crate::error_kinds::{BODY, EXISTS, GONE, READING, UNKNOWN_MEMORY, UNKNOWN_PART, WRITING};
use crate::field_shapes::{NEW_ENTITY, NEW_RELATIONSHIP};
use crate::memories::{Change, shown};
use crate::publishing::{ACK, ACK_TIMEOUT};
use crate::request::{CLOCK, Client, IDEMPOTENCY_KEY, MEMORY_ID, MemoryId, Parameters, SESSION};
use crate::service::NodeService;
use crate::{answers, problems};

/// The id of a part in a path.
static PART_ID: Parameter =
    Parameter::path("part_id", Shape::Name, "The id of the entity or the relationship, in percent-encoding.");

const WRITE_PARAMETERS: &[&Parameter] = &[&MEMORY_ID, &PART_ID, &CLOCK, &SESSION, &IDEMPOTENCY_KEY, &ACK, &ACK_TIMEOUT];

/// GET /v1/memories/{id}/entities.
pub(crate) static ENTITIES: Operation = Operation {
    id: "listEntities",
    tag: Tag::Parts,
    summary: "List the entities of a memory",
    parameters: &[&MEMORY_ID],
    answers: &[
        AnswerDescription::ok("All of them, by their ids.", Shape::Component(&ENTITY_LIST)).with_headers(&[&ETAG])
    ],
    errors: &[READING, &[&UNKNOWN_MEMORY, &GONE]],
    ..Operation::EMPTY
};

/// GET /v1/memories/{id}/relationships.
pub(crate) static RELATIONSHIPS: Operation = Operation {
    id: "listRelationships",
    tag: Tag::Parts,
    summary: "List the relationships of a memory",
    parameters: &[&MEMORY_ID],
    answers: &[AnswerDescription::ok("All of them, by their ids.", Shape::Component(&RELATIONSHIP_LIST))
        .with_headers(&[&ETAG])],
    errors: &[READING, &[&UNKNOWN_MEMORY, &GONE]],
    ..Operation::EMPTY
};

/// PUT /v1/memories/{id}/entities/{part_id}.
pub(crate) static PUT_ENTITY: Operation = Operation {
    id: "writeEntity",
    summary: "Write an entity of a memory",
    body: Some(RequestBody {
        description: "Its members. `id` may be absent; otherwise it is the one in the path.",
        media_types: JSON,
        shape: Shape::Component(&NEW_ENTITY),
    }),
    ..PUT_PART
};

/// PUT /v1/memories/{id}/relationships/{part_id}.
pub(crate) static PUT_RELATIONSHIP: Operation = Operation {
    id: "writeRelationship",
    summary: "Write a relationship of a memory",
    body: Some(RequestBody {
        description: "Its members. `id` may be absent; otherwise it is the one in the path.",
        media_types: JSON,
        shape: Shape::Component(&NEW_RELATIONSHIP),
    }),
    ..PUT_PART
};

const PUT_PART: Operation = Operation {
    tag: Tag::Parts,
    description: "Replaces it where the memory has one with this id. Other fields of the memory stay.",
    parameters: WRITE_PARAMETERS,
    answers: &[written(200, "It is replaced."), written(201, "It is new."), WRITTEN_AND_WAITING],
    errors: &[WRITING, BODY, &[&EXISTS, &GONE]],
    ..Operation::EMPTY
};

/// DELETE /v1/memories/{id}/relationships/{part_id}.
pub(crate) static DELETE_RELATIONSHIP: Operation = Operation {
    id: "deleteRelationship",
    tag: Tag::Parts,
    summary: "Clear a relationship of a memory",
    parameters: WRITE_PARAMETERS,
    answers: &[written(200, "It is cleared."), WRITTEN_AND_WAITING],
    errors: &[WRITING, &[&UNKNOWN_PART, &GONE]],
    ..Operation::EMPTY
};

/// Kinds of parts.
#[derive(Clone, Copy)]
enum PartKind {
    Entity,
    Relationship,
}

impl PartKind {
    /// The field of a memory that has the parts of this kind.
    fn field(self) -> &'static str {
        match self {
            PartKind::Entity => "entities",
            PartKind::Relationship => "relationships",
        }
    }

    fn create(self) -> WriteKind {
        match self {
            PartKind::Entity => WriteKind::CreateEntity,
            PartKind::Relationship => WriteKind::CreateRelationship,
        }
    }

    fn update(self) -> WriteKind {
        match self {
            PartKind::Entity => WriteKind::UpdateEntity,
            PartKind::Relationship => WriteKind::UpdateRelationship,
        }
    }

    /// The description of its list.
    fn list(self) -> &'static Operation {
        match self {
            PartKind::Entity => &ENTITIES,
            PartKind::Relationship => &RELATIONSHIPS,
        }
    }

    /// The description of its write.
    fn put(self) -> &'static Operation {
        match self {
            PartKind::Entity => &PUT_ENTITY,
            PartKind::Relationship => &PUT_RELATIONSHIP,
        }
    }

    /// Whether a memory has the part with this id.
    fn is_in(self, memory: &ShownMemory, id: &str) -> Result<bool, Problem> {
        let document = json::parse(&memory.json).map_err(|error| damaged(&error))?;
        let mut parts = document.root().get(self.field()).into_iter().flat_map(Value::items);
        Ok(parts.any(|part| part.get("id").and_then(Value::as_str) == Some(id)))
    }
}

fn damaged(error: &json::JsonError) -> Problem {
    problems::internal(format!("a memory in the database of the node is not JSON: {error}"))
}

/// The ids of a memory and of a part of it in a path.
pub(crate) struct PartId {
    memory: String,
    part: String,
}

impl<S: Send + Sync> FromRequestParts<S> for PartId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PartId, Problem> {
        let ids: Result<Path<(String, String)>, PathRejection> = Path::from_request_parts(parts, state).await;
        let wrong = |_| problems::malformed("an id in the path is not UTF-8 text in percent-encoding");
        ids.map(|Path((memory, part))| PartId { memory, part }).map_err(wrong)
    }
}

/// GET /v1/memories/{id}/entities.
pub(crate) async fn entities(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    list(&service, &client, &id, PartKind::Entity, request).await
}

/// GET /v1/memories/{id}/relationships.
pub(crate) async fn relationships(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    list(&service, &client, &id, PartKind::Relationship, request).await
}

/// PUT /v1/memories/{id}/entities/{part_id}.
pub(crate) async fn put_entity(
    State(service): State<Arc<NodeService>>,
    client: Client,
    id: PartId,
    request: Request,
) -> Result<Response, Problem> {
    put(&service, &client, id, PartKind::Entity, request).await
}

/// PUT /v1/memories/{id}/relationships/{part_id}.
pub(crate) async fn put_relationship(
    State(service): State<Arc<NodeService>>,
    client: Client,
    id: PartId,
    request: Request,
) -> Result<Response, Problem> {
    put(&service, &client, id, PartKind::Relationship, request).await
}

/// DELETE /v1/memories/{id}/relationships/{part_id}.
pub(crate) async fn delete_relationship(
    State(service): State<Arc<NodeService>>,
    client: Client,
    id: PartId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let change = Change::of(&client, &parts, &DELETE_RELATIONSHIP)?;
    change.check_active(&service, &client, &id.memory).await?;
    let memory = shown(&service, &client, &id.memory, None).await?;
    let is_there = match &memory {
        Some(memory) => PartKind::Relationship.is_in(memory, &id.part)?,
        None => false,
    };
    // The repetition of a delete with its idempotency key finds the relationship cleared, and is
    // answered as the first one was. A client with a clock token may have seen it on another node.
    if !is_there && change.idempotency_key.is_none() && !matches!(change.seen, Seen::Token(_)) {
        return Err(problems::unknown_part());
    }
    let fields = of_part(PartKind::Relationship, &id.part, None)?;
    change.write(&service, &client, Some(id.memory), WriteKind::DeleteRelationship, fields).await
}

async fn list(
    service: &NodeService,
    client: &Client,
    id: &str,
    kind: PartKind,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, kind.list())?;
    let memory = shown(service, client, id, None).await?.ok_or_else(problems::unknown_memory)?;
    if memory.status != MemoryStatus::Active {
        return Err(problems::gone(&memory));
    }
    let document = json::parse(&memory.json).map_err(|error| damaged(&error))?;
    let all = document.root().get(kind.field()).map_or_else(|| b"[]".to_vec(), Value::canonical);
    let body = answers::parts(&memory, kind.field(), &all);
    Ok(answers::of_memory(StatusCode::OK, body, &memory))
}

async fn put(
    service: &NodeService,
    client: &Client,
    id: PartId,
    kind: PartKind,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let change = Change::of(client, &parts, kind.put())?;
    let body = service.bodies.read(&parts, body, kind.put()).await?;
    let fields = of_part(kind, &id.part, Some(&body.bytes))?;
    change.check_active(service, client, &id.memory).await?;
    let is_there = match shown(service, client, &id.memory, None).await? {
        Some(memory) => kind.is_in(&memory, &id.part)?,
        None => false,
    };
    let kinds = if is_there { [kind.update(), kind.create()] } else { [kind.create(), kind.update()] };
    change.write_either(service, client, id.memory, kinds, fields).await
}

/// The field of a memory with one part, which has the id of the path, and the members of a body.
fn of_part(kind: PartKind, id: &str, body: Option<&[u8]>) -> Result<Fields, Problem> {
    let not_json = |error: json::JsonError| problems::not_json(format!("the body is not JSON: {error}"));
    let document = json::parse(body.unwrap_or(b"{}")).map_err(not_json)?;
    let root = document.root();
    if root.kind() != ValueKind::Object {
        return Err(problems::not_json("the body should be a JSON object with the members of the part"));
    }
    if root.get("id").is_some_and(|named| named.as_str() != Some(id)) {
        return Err(problems::invalid_part("`id` in the body should be the one in the path, or absent"));
    }
    let mut own = Vec::new();
    json::write_string(&mut own, id);
    let mut members: Vec<(&str, Vec<u8>)> = vec![("id", own)];
    let others = root.sorted_members().filter(|(name, _)| *name != "id");
    members.extend(others.map(|(name, value)| (name, value.canonical())));
    members.sort_by(|one, other| one.0.cmp(other.0));
    let mut part = vec![b'['];
    let mut object = ObjectWriter::new(&mut part);
    members.iter().for_each(|(name, value)| object.raw(name, value));
    object.end();
    part.push(b']');
    Fields::new().with_json(kind.field(), &part).map_err(problems::of_fields)
}
