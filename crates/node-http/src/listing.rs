//! Lists of memories.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use node::shown::{ListQuery, MAX_PAGE_BYTES};

use crate::request::{Client, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// Memories of a page where the client does not say how many.
const DEFAULT_LIMIT: usize = 50;
/// Memories of a page at most.
const MAX_LIMIT: usize = 200;
/// An answer gets no further memory once it has so many bytes of them.
pub(crate) const ANSWER_BYTES: usize = MAX_PAGE_BYTES;

/// GET /v1/memories.
pub(crate) async fn list(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let known = ["user_id", "session_id", "limit", "cursor", "include_inactive"];
    let parameters = Parameters::read(&parts, &known)?;
    let query = ListQuery { with_inactive: parameters.flag("include_inactive")?, ..filters(&client, &parameters)? };
    page(&service, &client, query, &parameters).await
}

/// GET /v1/conflicts.
pub(crate) async fn conflicts(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let parameters = Parameters::read(&parts, &["user_id", "session_id", "limit", "cursor"])?;
    let query = ListQuery { conflicted: true, ..filters(&client, &parameters)? };
    page(&service, &client, query, &parameters).await
}

/// A page of the memories of a query.
async fn page(
    service: &NodeService,
    client: &Client,
    mut query: ListQuery,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    query.limit = parameters.number("limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let mut page = service.node.list(query).await.map_err(|error| problems::of_database(&error))?;
    page.memories.retain(|memory| client.may_use(memory.user_id.as_deref()));
    Ok(answers::json(StatusCode::OK, answers::page(&page.memories, page.next.as_deref())))
}

/// The query of a list with the filters that every list has, without its limit.
fn filters(client: &Client, parameters: &Parameters) -> Result<ListQuery, Problem> {
    let wrong_cursor = || problems::malformed("the query parameter `cursor` should be the `next` of an earlier answer");
    let cursor = parameters.text("cursor")?;
    let after = cursor.map(|text| answers::read_cursor(&text).ok_or_else(wrong_cursor)).transpose()?;
    Ok(ListQuery {
        users: client.users_for(parameters.text("user_id")?)?,
        session_id: parameters.text("session_id")?,
        after,
        ..ListQuery::default()
    })
}
