//! Reads of one memory, of lists, of pages and of the entities that memories belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use json::ObjectWriter;

use super::answer::{BASE, cut, write_optional};
use super::body::{Members, parse};
use super::expiration::SHOW_EXPIRED;
use super::fields::Mem0Memory;
use super::filter::{ENTITIES, Filter, OtherKeys};
use super::scan::{Scan, Scope};
use super::writing::active;
use crate::body::JSON;
use crate::listing::ANSWER_BYTES;
use crate::request::{Client, MemoryId, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// Memories of a list or a page where the client does not say how many.
const DEFAULT_LIMIT: usize = 100;
/// Memories of a list at most.
const MOST_LISTED: usize = 1000;
/// Memories of a page at most.
const MOST_PAGED: usize = 200;
/// The last page that a client may ask for.
const MOST_PAGES: usize = 1_000_000;

/// GET /v1/memories/{id}/.
pub(super) async fn read(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &[])?;
    let memory = active(&service, &client, &id).await?;
    Ok(of_memory(&Mem0Memory::of(&memory)?))
}

/// The answer of one memory.
pub(super) fn of_memory(memory: &Mem0Memory) -> Response {
    let mut body = Vec::new();
    memory.write(&mut body, None, &BTreeSet::new());
    answers::json(StatusCode::OK, body)
}

/// The filter that query parameters name.
pub(super) fn of_parameters(parameters: &Parameters) -> Result<Filter, Problem> {
    let mut filter = Filter::And(Vec::new());
    for (kind, field) in ENTITIES.into_iter().chain([("run", "session_id")]) {
        match parameters.text(field)? {
            Some(name) if name == "*" => filter = filter.and(Filter::Entity(kind, super::filter::Names::Some)),
            Some(name) => filter = filter.and(Filter::entity(kind, &name)),
            None => {}
        }
    }
    Ok(filter)
}

/// The filter that members beside `filters` name.
pub(super) fn common(members: Members<'_>) -> Result<Filter, Problem> {
    let mut filter = Filter::And(Vec::new());
    let categories = members.texts("categories")?;
    if !categories.is_empty() {
        filter = filter.and(Filter::Categories(categories));
    }
    if let Some(metadata) = members.object("metadata")? {
        filter = filter.and(Filter::with_metadata(metadata)?);
    }
    Ok(filter)
}

/// GET /v1/memories/: the answer is a list.
pub(super) async fn list(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let known = ["agent_id", "app_id", "limit", "run_id", "session_id", "user_id"];
    let parameters = Parameters::read(&parts, &known)?;
    let limit = parameters.number("limit", 1, MOST_LISTED)?.unwrap_or(DEFAULT_LIMIT);
    let filter = of_parameters(&parameters)?.and(Filter::unexpired(None));
    let scope = Scope::of(&client, filter)?;
    let mut scan = Scan::new(&service, &client, &scope);
    let (mut body, mut count, mut is_truncated) = (vec![b'['], 0, false);
    'all: while let Some(memories) = scan.next().await? {
        for memory in memories {
            if count == limit || body.len() >= ANSWER_BYTES {
                is_truncated = true;
                break 'all;
            }
            if count > 0 {
                body.push(b',');
            }
            memory.write(&mut body, None, &BTreeSet::new());
            count += 1;
        }
    }
    body.push(b']');
    Ok(cut(body, is_truncated))
}

/// POST /v3/memories/: a page, with the number of all memories that pass.
pub(super) async fn page(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let parameters = Parameters::read(&parts, &["page", "page_size"])?;
    let body = service.bodies.read(&parts, body, JSON).await?;
    let known = [
        "categories",
        "end_date",
        "fields",
        "filters",
        "keywords",
        "metadata",
        "page",
        "page_size",
        SHOW_EXPIRED,
        "start_date",
    ];
    let document = parse(&body.bytes)?;
    let members = Members::of(&document, &known)?;
    let filter = Filter::read(members.object("filters")?, OtherKeys::Refused)?.and(common(members)?);
    let mut filter = filter.and(Filter::created(members.text("start_date")?, members.text("end_date")?)?);
    filter = filter.and(Filter::unexpired(members.flag(SHOW_EXPIRED)?));
    if let Some(part) = members.text("keywords")? {
        filter = filter.and(Filter::text_in_any_case(part));
    }
    let page = parameters.number("page", 1, MOST_PAGES)?.or(members.number("page", 1, MOST_PAGES)?).unwrap_or(1);
    let size = parameters.number("page_size", 1, MOST_PAGED)?.or(members.number("page_size", 1, MOST_PAGED)?);
    let size = size.unwrap_or(DEFAULT_LIMIT);
    let fields = members.texts("fields")?;
    let scope = Scope::of(&client, filter)?;
    let mut scan = Scan::new(&service, &client, &scope);
    let (first, mut count, mut results) = ((page - 1).saturating_mul(size), 0, vec![b'[']);
    while let Some(memories) = scan.next().await? {
        for memory in memories {
            if (first..first.saturating_add(size)).contains(&count) {
                if results.len() >= ANSWER_BYTES {
                    return Err(problems::large_mem0_page());
                }
                if count > first {
                    results.push(b',');
                }
                memory.write(&mut results, None, &fields);
            }
            count += 1;
        }
    }
    results.push(b']');
    let link = |page: usize| format!("{BASE}/v3/memories/?page={page}&page_size={size}");
    let next = (first.saturating_add(size) < count).then(|| link(page + 1));
    let previous = (page > 1).then(|| link(page - 1));
    let mut out = Vec::with_capacity(results.len() + 100);
    let mut object = ObjectWriter::new(&mut out);
    object.integer("count", count as u64);
    write_optional(object.key("next"), next.as_deref());
    write_optional(object.key("previous"), previous.as_deref());
    object.raw("results", &results);
    object.end();
    Ok(answers::json(StatusCode::OK, out))
}

/// Bytes of an entity in an answer beside its name, which is there twice.
const ENTITY_BYTES: usize = 256;

/// A user, an agent, an app or a run: how many memories it has, and the times of these.
struct Entity {
    memories: u64,
    created_at: u64,
    updated_at: u64,
}

/// GET /v1/entities/: everybody whom a memory that the client may see belongs to.
pub(super) async fn entities(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &[])?;
    let scope = Scope::of(&client, Filter::And(Vec::new()))?;
    let mut scan = Scan::new(&service, &client, &scope);
    let mut all: BTreeMap<(&'static str, String), Entity> = BTreeMap::new();
    let (mut bytes, mut is_truncated) = (0, false);
    while let Some(memories) = scan.next().await? {
        for memory in memories {
            for (kind, _) in ENTITIES {
                let Some(name) = memory.entity(kind) else { continue };
                let key = (kind, name.to_owned());
                if !all.contains_key(&key) {
                    if bytes >= ANSWER_BYTES {
                        is_truncated = true;
                        continue;
                    }
                    bytes += ENTITY_BYTES + 2 * name.len();
                }
                let new = Entity { memories: 0, created_at: memory.created_at, updated_at: memory.updated_at };
                let entity = all.entry(key).or_insert(new);
                entity.memories += 1;
                entity.created_at = entity.created_at.min(memory.created_at);
                entity.updated_at = entity.updated_at.max(memory.updated_at);
            }
        }
    }
    let total = |kind: &str| all.keys().filter(|(of, _)| *of == kind).count() as u64;
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    object.integer("count", all.len() as u64);
    write_optional(object.key("next"), None);
    write_optional(object.key("previous"), None);
    object.array("results", &all, |out, ((kind, name), entity)| {
        let mut object = ObjectWriter::new(out);
        object.time("created_at", entity.created_at);
        object.str("id", name);
        object.str("name", name);
        object.str("owner", client.name());
        object.integer("total_memories", entity.memories);
        object.str("type", kind);
        object.time("updated_at", entity.updated_at);
        object.end();
    });
    for (name, kind) in
        [("total_agents", "agent"), ("total_apps", "app"), ("total_runs", "run"), ("total_users", "user")]
    {
        object.integer(name, total(kind));
    }
    object.end();
    Ok(cut(body, is_truncated))
}
