//! Reads of one memory, of lists, of pages and of the entities that memories belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use json::ObjectWriter;

use super::answer::{BASE, TRUNCATED_HEADER, cut, write_optional};
use super::body::{Members, SETTINGS, UNSUPPORTED_SETTINGS, parse};
use super::expiration::SHOW_EXPIRED;
use super::fields::Mem0Memory;
use super::filter::{ENTITIES, Filter, OtherKeys};
use super::parameters::{AGENT_ID, APP_ID, OF_ENTITIES, RUN_ID, SESSION_ID, USER_ID};
use super::scan::{Scan, Scope};
use super::shapes::{CHOICE_MEMBERS, ENTITIES as ENTITIES_SHAPE, FILTERS, MEMORIES, MEMORY, PAGE as PAGE_SHAPE};
use super::writing::active;
use crate::body::JSON;
use crate::description::{AnswerDescription, Member, Operation, Parameter, RequestBody, Shape, Tag, optional};
use crate::error_kinds::{FOREIGN_USER, LARGE_MEM0_PAGE, MEM0_BODY, READING, UNKNOWN_MEMORY};
use crate::listing::ANSWER_BYTES;
use crate::request::{Client, MEMORY_ID, MemoryId, Parameters};
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

static LIMIT: Parameter = Parameter::query(
    "limit",
    Shape::Range { least: 1, most: MOST_LISTED, default: Some(DEFAULT_LIMIT) },
    "Memories at most.",
)
.keyed("mem0_limit");
const PAGE_NUMBERS: Shape = Shape::Range { least: 1, most: MOST_PAGES, default: Some(1) };
const PAGE_SIZES: Shape = Shape::Range { least: 1, most: MOST_PAGED, default: Some(DEFAULT_LIMIT) };
static PAGE_NUMBER: Parameter =
    Parameter::query("page", PAGE_NUMBERS, "The number of the page; it goes before the one in the body.");
static PAGE_SIZE: Parameter =
    Parameter::query("page_size", PAGE_SIZES, "Memories of a page; it goes before the one in the body.");

/// GET /v1/memories/{id}/.
pub(super) static READ: Operation = Operation {
    id: "readMemory",
    tag: Tag::Mem0,
    summary: "Read a memory",
    parameters: &[&MEMORY_ID],
    answers: &[AnswerDescription::ok("The memory.", Shape::Component(&MEMORY))],
    errors: &[READING, &[&UNKNOWN_MEMORY]],
    ..Operation::EMPTY
};

/// GET /v1/memories/.
pub(super) static LIST: Operation = Operation {
    id: "listMemories",
    tag: Tag::Mem0,
    summary: "List memories",
    description: "Active memories by the order of their ids.",
    parameters: &[&AGENT_ID, &APP_ID, &LIMIT, &RUN_ID, &SESSION_ID, &USER_ID],
    answers: &[AnswerDescription::ok("The memories.", MEMORIES).with_headers(&[&TRUNCATED_HEADER])],
    errors: &[READING, &[&FOREIGN_USER]],
    ..Operation::EMPTY
};

/// The members of the body of a page beside those of a search.
const PAGE_MEMBERS: &[Member] = &[
    optional("end_date", Shape::Nullable(&Shape::Text), "Memories that were created up to this day."),
    optional("filters", Shape::Nullable(&FILTERS), ""),
    optional("keywords", Shape::Nullable(&Shape::Text), "A part of the text, in any case of letters."),
    optional("page", Shape::Nullable(&PAGE_NUMBERS), "The number of the page."),
    optional("page_size", Shape::Nullable(&PAGE_SIZES), "Memories of a page."),
    optional("start_date", Shape::Nullable(&Shape::Text), "Memories that were created from this day on."),
];

/// POST /v3/memories/.
pub(super) static PAGE: Operation = Operation {
    id: "pageMemories",
    tag: Tag::Mem0,
    summary: "Read a page of memories",
    description: "Active memories that pass the filters, by the order of their ids. A page of more than about \
                  {ANSWER_BYTES} is refused.",
    is_reading: true,
    parameters: &[&PAGE_NUMBER, &PAGE_SIZE],
    body: Some(RequestBody {
        description: "The filters.",
        media_types: JSON,
        shape: Shape::Object(&[PAGE_MEMBERS, CHOICE_MEMBERS, &SETTINGS, &UNSUPPORTED_SETTINGS]),
    }),
    answers: &[AnswerDescription::ok("The page.", Shape::Component(&PAGE_SHAPE))],
    errors: &[READING, MEM0_BODY, &[&FOREIGN_USER, &LARGE_MEM0_PAGE]],
};

/// GET /v1/entities/.
pub(super) static ENTITY_LIST: Operation = Operation {
    id: "listEntities",
    tag: Tag::Mem0,
    summary: "List users, agents, apps and runs",
    description: "Those that have memories. The list ends at about {ANSWER_BYTES}; then it counts the memories of \
                  the names that it has in full.",
    answers: &[
        AnswerDescription::ok("The entities.", Shape::Component(&ENTITIES_SHAPE)).with_headers(&[&TRUNCATED_HEADER])
    ],
    errors: &[READING],
    ..Operation::EMPTY
};

/// GET /v1/memories/{id}/.
pub(super) async fn read(
    State(service): State<Arc<NodeService>>,
    client: Client,
    MemoryId(id): MemoryId,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &READ)?;
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
    for (kind, parameter) in OF_ENTITIES {
        match parameters.text(parameter)? {
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
    let parameters = Parameters::read(&parts, &LIST)?;
    let limit = parameters.number(&LIMIT)?.unwrap_or(DEFAULT_LIMIT);
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
    let parameters = Parameters::read(&parts, &PAGE)?;
    let body = service.bodies.read(&parts, body, &PAGE).await?;
    let document = parse(&body.bytes)?;
    let members = Members::of(&document, &[PAGE_MEMBERS, CHOICE_MEMBERS])?;
    let filter = Filter::read(members.object("filters")?, OtherKeys::Refused)?.and(common(members)?);
    let mut filter = filter.and(Filter::created(members.text("start_date")?, members.text("end_date")?)?);
    filter = filter.and(Filter::unexpired(members.flag(SHOW_EXPIRED)?));
    if let Some(part) = members.text("keywords")? {
        filter = filter.and(Filter::text_in_any_case(part));
    }
    let page = parameters.number(&PAGE_NUMBER)?.or(members.number("page", 1, MOST_PAGES)?).unwrap_or(1);
    let size = parameters.number(&PAGE_SIZE)?.or(members.number("page_size", 1, MOST_PAGED)?);
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
    Parameters::read(&parts, &ENTITY_LIST)?;
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
