//! The routes of one memory: create, read, replace, update, delete, merge, and this node's events.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use http::Problem;
use json::ObjectWriter;
use node::shown::{MemoryStatus, ShownMemory};
use node::write::{Accepted, Fields, Refusal, Seen, WriteError, WriteKind};

use crate::description::Operation;
use crate::listing::ANSWER_BYTES;
use crate::memory_operations::{CREATE, DELETE, EVENTS, MERGE, READ, REPLACE, UPDATE, WITH_UNKNOWN};
use crate::publishing::Acknowledgement;
use crate::request::{Client, MemoryId, Parameters};
use crate::service::{NodeService, Terms};
use crate::{answers, problems};

/// GET /v1/memories/{id}.
pub(crate) async fn read(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &READ)?;
    let session = client.session(&parts.headers)?;
    if session.is_some() && client.users().is_some() {
        // The node would remember that the session has seen it.
        shown(&service, &client, &id, None).await?.ok_or_else(problems::unknown_memory)?;
    }
    let memory = shown(&service, &client, &id, session.as_deref()).await?;
    let memory = memory.ok_or_else(problems::unknown_memory)?;
    if memory.status != MemoryStatus::Active {
        return Err(problems::gone(&memory));
    }
    Ok(answers::of_memory(StatusCode::OK, answers::memory(&memory), &memory))
}

/// GET /v1/memories/{id}/events.
pub(crate) async fn events(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &EVENTS)?;
    let memory = service.node.read(&id, None).await.map_err(|error| problems::of_database(&error))?;
    if memory.as_ref().is_some_and(|memory| !client.may_use(memory.user_id.as_deref())) {
        return Err(problems::unknown_memory());
    }
    let (mut events, mut bytes, mut is_truncated, mut next) = (Vec::new(), 0, false, Some(0));
    while let (Some(after), false) = (next, is_truncated) {
        let page = service.node.events_from(&id, after).await.map_err(|error| problems::of_database(&error))?;
        for event in &page.events {
            // Where all its events have failed, no memory is shown, and they say whose it would be.
            if memory.is_none() && !client.may_use(answers::user_of(event).as_deref()) {
                continue;
            }
            if bytes >= ANSWER_BYTES {
                is_truncated = true;
                break;
            }
            let event = answers::event(event).map_err(problems::damaged_event)?;
            bytes += event.len();
            events.push(event);
        }
        next = page.next;
    }
    if memory.is_none() && events.is_empty() {
        return Err(problems::unknown_memory());
    }
    Ok(answers::json(StatusCode::OK, answers::events(&events, is_truncated)))
}

/// POST /v1/memories.
pub(crate) async fn create(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let change = Change::of(&client, &parts, &CREATE)?;
    if matches!(change.seen, Seen::Token(_)) {
        return Err(problems::malformed("a create has no If-Match; PUT replaces a memory that is there"));
    }
    let body = service.bodies.read(&parts, body, &CREATE).await?;
    let (memory_id, fields) = new_memory(&body.bytes)?;
    if memory_id.is_some() && client.users().is_some() {
        return Err(problems::foreign_user(
            "a token that is bound to users cannot choose the id of a memory, because another user may have one with this id; leave memory_id \
             out, and the node draws an id",
        ));
    }
    let fields = of_client(&client, fields, true)?;
    change.write(&service, &client, memory_id, WriteKind::Create, fields).await
}

/// PUT /v1/memories/{id}.
pub(crate) async fn replace(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let change = Change::of(&client, &parts, &REPLACE)?;
    let fields = read_fields(&service, &client, &parts, body, &REPLACE).await?;
    let memory = shown(&service, &client, &id, None).await?;
    let is_there = memory.as_ref().is_some_and(|memory| memory.status == MemoryStatus::Active);
    if memory.is_none() && client.users().is_some() {
        // Another user may have a memory with this id, of which this node knows nothing yet.
        return Err(problems::unknown_memory());
    }
    // A client may bring a token from another node, whose memory this one does not know yet.
    let is_replaced = is_there || matches!(change.seen, Seen::Token(_));
    let kinds = match is_replaced {
        true => [WriteKind::Replace, WriteKind::Create],
        false => [WriteKind::Create, WriteKind::Replace],
    };
    change.write_either(&service, &client, id, kinds, fields).await
}

/// PATCH /v1/memories/{id}.
pub(crate) async fn update(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let change = Change::of(&client, &parts, &UPDATE)?;
    let fields = read_fields(&service, &client, &parts, body, &UPDATE).await?;
    change.check_active(&service, &client, &id).await?;
    change.write(&service, &client, Some(id), WriteKind::Update, fields).await
}

/// DELETE /v1/memories/{id}.
pub(crate) async fn delete(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let parameters = Parameters::read(&parts, &DELETE)?;
    let change = Change::with(&client, &parts, &parameters)?;
    let memory = shown(&service, &client, &id, None).await?;
    // Of a memory that this node does not know a bound client must not learn whether it exists.
    let is_unknown = memory.is_none() && client.users().is_none() && parameters.flag(&WITH_UNKNOWN)?;
    if !is_unknown {
        change.check_active(&service, &client, &id).await?;
    }
    // Another delete of a deleted memory with a key of its own changes nothing that is shown.
    let is_deleted = memory.is_some_and(|memory| memory.status == MemoryStatus::Deleted);
    change.write_where(&service, &client, Some(id), WriteKind::Delete, Fields::new(), !is_deleted).await
}

/// POST /v1/memories/{id}/merge.
pub(crate) async fn merge(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let mut change = Change::of(&client, &parts, &MERGE)?;
    let body = service.bodies.read(&parts, body, &MERGE).await?;
    let (clocks, fields) = without_member(&body.bytes, "clocks")?;
    change.absorbed_tokens = clocks.map_or_else(|| Ok(BTreeMap::new()), |clocks| clock_tokens(&clocks))?;
    let fields = of_client(&client, fields, false)?;
    check_absorbed(&fields)?;
    change.check_active(&service, &client, &id).await?;
    change.write(&service, &client, Some(id), WriteKind::Merge, fields).await
}

/// The memory as the client may see it; `None` where the node knows none, or one of somebody else.
pub(crate) async fn shown(
    service: &NodeService,
    client: &Client,
    id: &str,
    session: Option<&str>,
) -> Result<Option<ShownMemory>, Problem> {
    let memory = service.node.read(id, session).await.map_err(|error| problems::of_database(&error))?;
    Ok(memory.filter(|memory| client.may_use(memory.user_id.as_deref())))
}

/// The parts of a request that every write of a memory reads before the body.
pub(crate) struct Change {
    /// The memory as the client has seen it.
    pub seen: Seen,
    /// The clock tokens of the memories that a merge absorbs, by their ids.
    absorbed_tokens: BTreeMap<String, String>,
    /// The client's key for a repetition.
    pub idempotency_key: Option<String>,
    acknowledgement: Acknowledgement,
}

impl Change {
    /// Reads them.
    pub fn of(client: &Client, parts: &Parts, operation: &Operation) -> Result<Change, Problem> {
        Change::with(client, parts, &Parameters::read(parts, operation)?)
    }

    /// The same of a request whose query parameters are read.
    fn with(client: &Client, parts: &Parts, parameters: &Parameters) -> Result<Change, Problem> {
        Ok(Change {
            seen: client.seen(&parts.headers)?,
            absorbed_tokens: BTreeMap::new(),
            idempotency_key: client.idempotency_key(&parts.headers)?,
            acknowledgement: Acknowledgement::of(parameters)?,
        })
    }

    /// Looks whether the memory that a write changes is there. A client whose token is bound to no
    /// users may bring a clock token from another node, whose memory this node does not know yet.
    /// The repetition of a write with its key may find a memory that somebody has deleted since: it
    /// is answered as the first one was, so the node itself looks whether a new one may be written.
    pub async fn check_active(&self, service: &NodeService, client: &Client, id: &str) -> Result<(), Problem> {
        match shown(service, client, id, None).await? {
            Some(memory) if memory.status == MemoryStatus::Active => Ok(()),
            Some(_) if self.idempotency_key.is_some() => Ok(()),
            Some(memory) => Err(problems::gone(&memory)),
            None if client.users().is_none() && matches!(self.seen, Seen::Token(_)) => Ok(()),
            None => Err(problems::unknown_memory()),
        }
    }

    /// Writes by the first of two kinds, and answers. The request may repeat one that was written
    /// by the other kind: a repetition of the request that has created something would now update
    /// it. Another request may have created the memory a moment ago, too.
    pub async fn write_either(
        &self,
        service: &NodeService,
        client: &Client,
        memory_id: String,
        [kind, other]: [WriteKind; 2],
        fields: Fields,
    ) -> Result<Response, Problem> {
        let first = self.submit(service, client, Some(memory_id.clone()), kind, fields.clone(), needs_active(kind));
        match first.await {
            Err(WriteError::Refused(Refusal::KeyReused | Refusal::Exists(_))) => {
                let second = self.submit(service, client, Some(memory_id), other, fields, needs_active(other)).await;
                self.answer(service, client, other, second).await
            }
            result => self.answer(service, client, kind, result).await,
        }
    }

    /// Writes and answers.
    pub async fn write(
        &self,
        service: &NodeService,
        client: &Client,
        memory_id: Option<String>,
        kind: WriteKind,
        fields: Fields,
    ) -> Result<Response, Problem> {
        self.write_where(service, client, memory_id, kind, fields, needs_active(kind)).await
    }

    /// The same, where the caller says whether the memory must be active.
    pub async fn write_where(
        &self,
        service: &NodeService,
        client: &Client,
        memory_id: Option<String>,
        kind: WriteKind,
        fields: Fields,
        requires_active: bool,
    ) -> Result<Response, Problem> {
        let result = self.submit(service, client, memory_id, kind, fields, requires_active).await;
        self.answer(service, client, kind, result).await
    }

    async fn submit(
        &self,
        service: &NodeService,
        client: &Client,
        memory_id: Option<String>,
        kind: WriteKind,
        fields: Fields,
        requires_active: bool,
    ) -> Result<Accepted, WriteError> {
        let (seen, idempotency_key) = (self.seen.clone(), self.idempotency_key.clone());
        let absorbed_tokens = self.absorbed_tokens.clone();
        let terms = Terms { seen, absorbed_tokens, idempotency_key, requires_active };
        service.write(client, memory_id, kind, fields, terms).await
    }

    /// Waits for the broker where the request asks for it, and answers.
    async fn answer(
        &self,
        service: &NodeService,
        client: &Client,
        kind: WriteKind,
        result: Result<Accepted, WriteError>,
    ) -> Result<Response, Problem> {
        let may_see = |memory: &ShownMemory| client.may_use(memory.user_id.as_deref());
        let accepted = result.map_err(|error| problems::of_write(&error, may_see))?;
        // The repetition of a write shows the memory as it is now, which may be somebody else's.
        if !may_see(&accepted.memory) {
            return Err(problems::unknown_memory());
        }
        let done = match kind {
            WriteKind::Create | WriteKind::CreateEntity | WriteKind::CreateRelationship => StatusCode::CREATED,
            _ => StatusCode::OK,
        };
        let (status, state) = self.acknowledgement.wait(service, &accepted.event_id, done).await?;
        let body = answers::accepted(&accepted, &state);
        let mut response = answers::of_write(status, body, &accepted);
        if kind == WriteKind::Create
            && let Some(location) = answers::location(&accepted.memory_id)
        {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }
}

/// Whether a write of this kind is refused where the memory is not active. It was looked at before,
/// too; but the memory may have been deleted since.
fn needs_active(kind: WriteKind) -> bool {
    !matches!(kind, WriteKind::Create | WriteKind::Replace)
}

/// The fields of a body, with a user that is the client's where it sets one.
async fn read_fields(
    service: &NodeService,
    client: &Client,
    parts: &Parts,
    body: Body,
    operation: &Operation,
) -> Result<Fields, Problem> {
    let body = service.bodies.read(parts, body, operation).await?;
    let fields = Fields::from_json(&body.bytes).map_err(problems::of_fields)?;
    of_client(client, fields, false)
}

/// Looks whether the user that fields set is the client's. Where a memory `needs_user` and the
/// fields set none, it is that of a client which is bound to one user.
fn of_client(client: &Client, fields: Fields, needs_user: bool) -> Result<Fields, Problem> {
    if client.users().is_none() {
        return Ok(fields);
    }
    let Some(set) = fields.get("user_id") else {
        let user = if needs_user { client.user_of_new(None)? } else { None };
        return user.map_or(Ok(fields.clone()), |user| fields.with_text("user_id", &user)).map_err(problems::of_fields);
    };
    let document = json::parse(set).map_err(|error| problems::not_json(error.to_string()))?;
    client.user_of_new(Some(document.root().as_str().unwrap_or_default().to_owned()))?;
    Ok(fields)
}

/// The id that a new memory is to have, if the client chooses one, and its fields.
fn new_memory(body: &[u8]) -> Result<(Option<String>, Fields), Problem> {
    let (id, fields) = without_member(body, "memory_id")?;
    let Some(id) = id else { return Ok((None, fields)) };
    let document = json::parse(&id).map_err(|error| problems::not_json(error.to_string()))?;
    let id = document.root().as_str().filter(|id| !id.is_empty()).ok_or_else(problems::invalid_memory_id)?;
    Ok((Some(id.to_owned()), fields))
}

/// The fields of a body that has a further member, and the value of that as JSON.
fn without_member(body: &[u8], member: &str) -> Result<(Option<Vec<u8>>, Fields), Problem> {
    let document = json::parse(body).map_err(|error| problems::not_json(format!("the body is not JSON: {error}")))?;
    let root = document.root();
    let Some(value) = root.get(member) else {
        return Ok((None, Fields::from_json(body).map_err(problems::of_fields)?));
    };
    let mut rest = Vec::with_capacity(body.len());
    let mut object = ObjectWriter::new(&mut rest);
    for (name, value) in root.sorted_members().filter(|(name, _)| *name != member) {
        object.raw(name, &value.canonical());
    }
    object.end();
    Ok((Some(value.canonical()), Fields::from_json(&rest).map_err(problems::of_fields)?))
}

/// The clock tokens of absorbed memories, by their ids.
fn clock_tokens(text: &[u8]) -> Result<BTreeMap<String, String>, Problem> {
    let document = json::parse(text).map_err(|error| problems::not_json(error.to_string()))?;
    let root = document.root();
    let tokens = root.members().map(|(id, token)| Some((id.to_owned(), token.as_str()?.to_owned())));
    let tokens = if root.kind() == json::ValueKind::Object { tokens.collect() } else { None };
    tokens.ok_or_else(problems::invalid_clocks)
}

/// Looks whether a merge names the memories that it absorbs. The node looks whose they are.
fn check_absorbed(fields: &Fields) -> Result<(), Problem> {
    let list = fields.get("merged_from").ok_or_else(problems::invalid_merge)?;
    let document = json::parse(list).map_err(|error| problems::not_json(error.to_string()))?;
    let mut ids = document.root().items().peekable();
    let is_one = ids.peek().is_some() && ids.all(|id| id.as_str().is_some_and(|id| !id.is_empty()));
    if is_one { Ok(()) } else { Err(problems::invalid_merge()) }
}
