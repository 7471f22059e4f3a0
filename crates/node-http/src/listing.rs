//! Lists of memories, and the search by words.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use http::Problem;
use node::shown::{ListQuery, SearchHit, SearchQuery, ShownMemory};

use crate::request::{Client, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// Memories of a page where the client does not say how many.
const DEFAULT_LIMIT: usize = 50;
/// Memories of a page at most.
const MAX_LIMIT: usize = 200;
/// Memories that are read from the database at a time: each may be as large as an event.
const READ_AT_A_TIME: usize = 16;
/// An answer gets no further memory once it has so many bytes of them.
pub(crate) const ANSWER_BYTES: usize = 4 << 20;
/// Hits of a search where the client does not say how many.
const DEFAULT_HITS: usize = 10;
/// Hits of a search at most.
const MAX_HITS: usize = 100;

/// GET /v1/memories.
pub(crate) async fn list(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let (mut query, limit) = list_query(&client, &parts)?;
    let mut memories: Vec<ShownMemory> = Vec::new();
    let mut bytes = 0;
    let mut next = None;
    while memories.len() < limit && bytes < ANSWER_BYTES {
        query.limit = READ_AT_A_TIME.min(limit - memories.len());
        let page = service.node.list(query.clone()).await.map_err(|error| problems::of_database(&error))?;
        bytes += page.memories.iter().map(|memory| memory.json.len()).sum::<usize>();
        memories.extend(page.memories);
        next = page.next;
        if next.is_none() {
            break;
        }
        query.after.clone_from(&next);
    }
    memories.retain(|memory| client.may_use(memory.user_id.as_deref()));
    Ok(answers::json(StatusCode::OK, answers::page(&memories, next.as_deref())))
}

/// The query of a list, without its limit, and the limit.
fn list_query(client: &Client, parts: &Parts) -> Result<(ListQuery, usize), Problem> {
    let known = ["user_id", "session_id", "limit", "cursor", "include_inactive"];
    let parameters = Parameters::read(parts, &known)?;
    let wrong_cursor = || problems::malformed("the query parameter `cursor` should be the `next` of an earlier answer");
    let cursor = parameters.text("cursor")?;
    let after = cursor.map(|text| answers::read_cursor(&text).ok_or_else(wrong_cursor)).transpose()?;
    let query = ListQuery {
        users: client.users_for(parameters.text("user_id")?)?,
        session_id: parameters.text("session_id")?,
        with_inactive: parameters.flag("include_inactive")?,
        after,
        limit: 0,
    };
    Ok((query, parameters.number("limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT)))
}

/// GET /v1/memories/search.
pub(crate) async fn search(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let parameters = Parameters::read(&parts, &["query", "user_id", "session_id", "top_k", "min_score"])?;
    let missing = || problems::malformed("the query parameter `query` is missing: the words to search for");
    let query = SearchQuery {
        text: parameters.text("query")?.ok_or_else(missing)?,
        users: client.users_for(parameters.text("user_id")?)?,
        session_id: parameters.text("session_id")?,
        min_score: parameters.fraction("min_score")?,
        limit: parameters.number("top_k", 1, MAX_HITS)?.unwrap_or(DEFAULT_HITS),
    };
    let mut hits = service.node.search(query).await.map_err(|error| problems::of_database(&error))?;
    hits.retain(|hit| client.may_use(hit.memory.user_id.as_deref()));
    let kept = fitting(&hits);
    Ok(answers::json(StatusCode::OK, answers::hits(&hits[..kept], kept < hits.len())))
}

/// How many of the first hits an answer has.
fn fitting(hits: &[SearchHit]) -> usize {
    let mut bytes = 0;
    let fits = hits.iter().take_while(|hit| {
        let before = bytes;
        bytes += hit.memory.json.len();
        before < ANSWER_BYTES
    });
    fits.count()
}
