//! Searches: by words with the parameters of a query, and by words, an embedding or both with a
//! body.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use json::{Number, Value, ValueKind};
use node::search::{Direction, Near, SearchHit, SearchQuery};

use crate::answer_shapes::HITS;
use crate::body::JSON;
use crate::description::{
    AnswerDescription, Component, Member, Operation, Parameter, RequestBody, Shape, Tag, optional,
};
use crate::error_kinds::{BODY, FOREIGN_USER, LARGE_SEARCH, READING};
use crate::request::{Client, Parameters, SESSION, SESSION_ID, USER_ID};
use crate::service::NodeService;
use crate::{answers, problems};

/// Hits of a search where the client does not say how many.
const DEFAULT_HITS: usize = 10;
/// Hits of a search at most.
const MAX_HITS: usize = 100;
/// How much an embedding counts beside words, where the client does not say it.
const DEFAULT_WEIGHT: f64 = 0.5;

static QUERY: Parameter = Parameter::query("query", Shape::Name, "The words.").required();
static TYPE: Parameter = Parameter::query("type", Shape::Name, TYPE_MEMBER.description);
static CATEGORY: Parameter = Parameter::query("category", Shape::Name, CATEGORY_MEMBER.description);
static CREATED_FROM: Parameter = Parameter::query("created_from", Shape::Time, FROM_MEMBER.description);
static CREATED_TO: Parameter = Parameter::query("created_to", Shape::Time, TO_MEMBER.description);
static TOP_K: Parameter = Parameter::query("top_k", HITS_AT_MOST, TOP_K_MEMBER.description);
static MIN_SCORE: Parameter = Parameter::query("min_score", Shape::Number, MIN_SCORE_MEMBER.description);

const HITS_AT_MOST: Shape = Shape::Range { least: 1, most: MAX_HITS, default: Some(DEFAULT_HITS) };
const TYPE_MEMBER: Member =
    optional("type", Shape::Name, "Memories of this HelixAgent type alone: `helixagent.type` of the metadata.");
const CATEGORY_MEMBER: Member = optional(
    "category",
    Shape::Name,
    "Memories of this HelixAgent category alone: `helixagent.category` of the metadata.",
);
const FROM_MEMBER: Member = optional("created_from", Shape::Time, "Memories that were created at this time or later.");
const TO_MEMBER: Member = optional("created_to", Shape::Time, "Memories that were created at this time or before.");
const TOP_K_MEMBER: Member = optional("top_k", HITS_AT_MOST, "Hits at most.");
const MIN_SCORE_MEMBER: Member = optional("min_score", Shape::Number, "Hits with at least this score.");

/// A body.
static SEARCH: Component = Component {
    name: "Search",
    description: "A search has `query`, `embedding`, or both.",
    shape: Shape::WithOneOf(&SEARCH_MEMBERS, &["query", "embedding"]),
};

const SEARCH_MEMBERS: Shape = Shape::Object(&[&[
    optional("query", Shape::Name, "The words."),
    optional(
        "embedding",
        Shape::List { items: &Shape::Number, least: 1 },
        "The embedding to compare with, not all zeros.",
    ),
    optional(
        "weight",
        Shape::Share { default: Some(DEFAULT_WEIGHT) },
        "With both: how much the embedding counts beside the words.",
    ),
    optional("user_id", Shape::Name, USER_ID.description),
    optional("session_id", Shape::Name, SESSION_ID.description),
    TYPE_MEMBER,
    CATEGORY_MEMBER,
    FROM_MEMBER,
    TO_MEMBER,
    TOP_K_MEMBER,
    MIN_SCORE_MEMBER,
]]);

/// GET /v1/memories/search.
pub(crate) static BY_WORDS: Operation = Operation {
    id: "searchMemories",
    tag: Tag::Search,
    summary: "Search by words",
    description: "Active memories that have at least one of the words in their content or tags, by BM25 score, the best \
                  first. The first {MAX_SEARCH_WORDS} different words count, with {MAX_SEARCH_BYTES} together.",
    parameters: &[
        &SESSION,
        &QUERY,
        &USER_ID,
        &SESSION_ID,
        &TYPE,
        &CATEGORY,
        &CREATED_FROM,
        &CREATED_TO,
        &TOP_K,
        &MIN_SCORE,
    ],
    answers: &[AnswerDescription::ok("The hits.", Shape::Component(&HITS))],
    errors: &[READING, &[&FOREIGN_USER]],
    ..Operation::EMPTY
};

/// POST /v1/memories/search.
pub(crate) static BY_BODY: Operation = Operation {
    id: "findMemories",
    tag: Tag::Search,
    summary: "Search by words, an embedding, or both",
    description: "By words as GET does; by an embedding, by the cosine of the angle to the embeddings of memories, all \
                  of which are compared. By both, the score is weight × cosine + (1 − weight) × words / (1 + words), of \
                  the BM25 score of the words. A memory whose embedding has another number of dimensions, or more than \
                  {MAX_DIMENSIONS}, is skipped.",
    is_reading: true,
    parameters: &[&SESSION],
    body: Some(RequestBody { description: "The search.", media_types: JSON, shape: Shape::Component(&SEARCH) }),
    answers: &[AnswerDescription::ok("The hits.", Shape::Component(&HITS))],
    errors: &[READING, BODY, &[&FOREIGN_USER, &LARGE_SEARCH]],
};

/// GET /v1/memories/search.
pub(crate) async fn by_words(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let parameters = Parameters::read(&parts, &BY_WORDS)?;
    let missing = || problems::malformed("the query parameter `query` is missing: the words to search for");
    let query = SearchQuery {
        text: parameters.text(&QUERY)?.ok_or_else(missing)?,
        users: client.users_for(parameters.text(&USER_ID)?)?,
        session_id: parameters.text(&SESSION_ID)?,
        kind: parameters.text(&TYPE)?,
        category: parameters.text(&CATEGORY)?,
        created_from: time("created_from", parameters.text(&CREATED_FROM)?)?,
        created_to: time("created_to", parameters.text(&CREATED_TO)?)?,
        min_score: parameters.fraction(&MIN_SCORE)?,
        limit: parameters.number(&TOP_K)?.unwrap_or(DEFAULT_HITS),
    };
    let found = service.node.search(query).await.map_err(|error| problems::of_database(&error))?;
    let session = client.session(&parts.headers)?;
    answer(&service, &client, session.as_deref(), found.hits, found.is_truncated, None)
}

/// POST /v1/memories/search: an embedding does not fit the parameters of a query.
pub(crate) async fn by_body(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let session = client.session(request.headers())?;
    let session = session.as_deref();
    let (query, near) = {
        let body = service.read_body(request, &BY_BODY).await?;
        read(&client, &body.bytes)?
    };
    let Some(near) = near else {
        let found = service.node.search(query).await.map_err(|error| problems::of_database(&error))?;
        return answer(&service, &client, session, found.hits, found.is_truncated, None);
    };
    let found = service.node.search_near(query, near).await.map_err(|error| problems::of_database(&error))?;
    if found.is_cut {
        return Err(problems::large_search());
    }
    answer(&service, &client, session, found.hits, found.is_truncated, Some((found.compared, found.skipped)))
}

/// The hits, and whether there were too many bytes of them; with a search by an embedding, how many
/// embeddings were compared and how many memories were skipped.
fn answer(
    service: &NodeService,
    client: &Client,
    session: Option<&str>,
    mut hits: Vec<SearchHit>,
    is_truncated: bool,
    counts: Option<(u64, u64)>,
) -> Result<Response, Problem> {
    hits.retain(|hit| client.may_use(hit.memory.user_id.as_deref()));
    service.note_shown(session, hits.iter().map(|hit| &hit.memory))?;
    Ok(answers::json(StatusCode::OK, answers::hits(&hits, is_truncated, counts)))
}

fn wrong(member: &str, expected: &str) -> Problem {
    problems::malformed(format!("`{member}` should be {expected}"))
}

/// A time in nanoseconds since 1970.
fn time(name: &str, text: Option<String>) -> Result<Option<u64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let wrong = |_| wrong(name, "a time in RFC 3339, with a zone, from 1970 on");
    json::rfc3339::parse(&text).map(Some).map_err(wrong)
}

/// Reads a body.
fn read(client: &Client, body: &[u8]) -> Result<(SearchQuery, Option<Near>), Problem> {
    let document = json::parse(body).map_err(|error| problems::not_json(format!("the body is not JSON: {error}")))?;
    let root = document.root();
    if root.kind() != ValueKind::Object {
        return Err(problems::not_json("the body should be a JSON object with the search"));
    }
    let known: Vec<&str> = SEARCH_MEMBERS.members().map(|member| member.name).collect();
    if let Some((name, _)) = root.members().find(|(name, _)| !known.contains(name)) {
        let name: String = name.chars().take(100).collect();
        return Err(problems::malformed(format!("a search has no `{name}`; known: {}", known.join(", "))));
    }
    let member = |name: &str| root.get(name);
    let text = |name: &str| match member(name).map(Value::as_str) {
        None => Ok(None),
        Some(Some(text)) if !text.is_empty() => Ok(Some(text.to_owned())),
        Some(_) => Err(wrong(name, "a text that is not empty")),
    };
    let number = |name: &str| match member(name).map(Value::as_number) {
        None => Ok(None),
        Some(Some(Number::Int(whole))) => Ok(Some(whole as f64)),
        Some(Some(Number::Float(double))) => Ok(Some(double)),
        Some(None) => Err(wrong(name, "a number")),
    };
    let limit = match member("top_k").map(Value::as_number) {
        None => DEFAULT_HITS,
        Some(number) => match number {
            Some(Number::Int(whole)) => usize::try_from(whole).ok().filter(|whole| (1..=MAX_HITS).contains(whole)),
            _ => None,
        }
        .ok_or_else(|| wrong("top_k", &format!("a number from 1 to {MAX_HITS}")))?,
    };
    let query = SearchQuery {
        text: text("query")?.unwrap_or_default(),
        users: client.users_for(text("user_id")?)?,
        session_id: text("session_id")?,
        kind: text("type")?,
        category: text("category")?,
        created_from: time("created_from", text("created_from")?)?,
        created_to: time("created_to", text("created_to")?)?,
        min_score: number("min_score")?,
        limit,
    };
    let weight = number("weight")?;
    let Some(embedding) = member("embedding") else {
        return match weight {
            _ if query.text.is_empty() => Err(problems::malformed("a search has `query`, `embedding`, or both")),
            Some(_) => Err(problems::malformed("`weight` has a meaning with an embedding alone")),
            None => Ok((query, None)),
        };
    };
    let weight = weight.unwrap_or(DEFAULT_WEIGHT);
    if !(0.0..=1.0).contains(&weight) {
        return Err(wrong("weight", "a number from 0 to 1"));
    }
    let direction = Some(embedding).filter(|list| list.kind() == ValueKind::Array).and_then(Direction::of_json);
    let direction = direction.ok_or_else(|| wrong("embedding", "a list of numbers, not all of them zero"))?;
    Ok((query, Some(Near { direction, weight })))
}
