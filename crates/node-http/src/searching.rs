//! Searches: by words with the parameters of a query, and by words, an embedding or both with a
//! body.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use json::{Number, Value, ValueKind};
use node::search::{Direction, Near, SearchHit, SearchQuery};

use crate::request::{Client, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// Hits of a search where the client does not say how many.
const DEFAULT_HITS: usize = 10;
/// Hits of a search at most.
const MAX_HITS: usize = 100;
/// How much an embedding counts beside words, where the client does not say it.
const DEFAULT_WEIGHT: f64 = 0.5;
/// The members of a body.
const MEMBERS: [&str; 11] = [
    "category",
    "created_from",
    "created_to",
    "embedding",
    "min_score",
    "query",
    "session_id",
    "top_k",
    "type",
    "user_id",
    "weight",
];

/// GET /v1/memories/search.
pub(crate) async fn by_words(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let known =
        ["query", "user_id", "session_id", "type", "category", "created_from", "created_to", "top_k", "min_score"];
    let parameters = Parameters::read(&parts, &known)?;
    let missing = || problems::malformed("the query parameter `query` is missing: the words to search for");
    let query = SearchQuery {
        text: parameters.text("query")?.ok_or_else(missing)?,
        users: client.users_for(parameters.text("user_id")?)?,
        session_id: parameters.text("session_id")?,
        kind: parameters.text("type")?,
        category: parameters.text("category")?,
        created_from: time("created_from", parameters.text("created_from")?)?,
        created_to: time("created_to", parameters.text("created_to")?)?,
        min_score: parameters.fraction("min_score")?,
        limit: parameters.number("top_k", 1, MAX_HITS)?.unwrap_or(DEFAULT_HITS),
    };
    let found = service.node.search(query).await.map_err(|error| problems::of_database(&error))?;
    Ok(answer(&client, found.hits, found.is_truncated, None))
}

/// POST /v1/memories/search: an embedding does not fit the parameters of a query.
pub(crate) async fn by_body(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (query, near) = {
        let body = service.read_json(request).await?;
        read(&client, &body.bytes)?
    };
    let Some(near) = near else {
        let found = service.node.search(query).await.map_err(|error| problems::of_database(&error))?;
        return Ok(answer(&client, found.hits, found.is_truncated, None));
    };
    let found = service.node.search_near(query, near).await.map_err(|error| problems::of_database(&error))?;
    if found.is_cut {
        return Err(problems::large_search());
    }
    Ok(answer(&client, found.hits, found.is_truncated, Some((found.compared, found.skipped))))
}

/// The hits, and whether there were too many bytes of them; with a search by an embedding, how many
/// embeddings were compared and how many memories were skipped.
fn answer(client: &Client, mut hits: Vec<SearchHit>, is_truncated: bool, counts: Option<(u64, u64)>) -> Response {
    hits.retain(|hit| client.may_use(hit.memory.user_id.as_deref()));
    answers::json(StatusCode::OK, answers::hits(&hits, is_truncated, counts))
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
    if let Some((name, _)) = root.members().find(|(name, _)| !MEMBERS.contains(name)) {
        let name: String = name.chars().take(100).collect();
        return Err(problems::malformed(format!("a search has no `{name}`; known: {}", MEMBERS.join(", "))));
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
