//! Lists of memories.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;
use node::shown::{ListQuery, MAX_PAGE_BYTES};

use crate::answer_shapes::PAGE;
use crate::description::{AnswerDescription, Operation, Parameter, Shape, Tag};
use crate::error_kinds::{FOREIGN_USER, READING};
use crate::request::{CURSOR, Client, Parameters, SESSION, SESSION_ID, USER_ID};
use crate::service::NodeService;
use crate::{answers, problems};

/// Memories of a page where the client does not say how many.
const DEFAULT_LIMIT: usize = 50;
/// Memories of a page at most.
const MAX_LIMIT: usize = 200;
/// An answer gets no further memory once it has so many bytes of them.
pub(crate) const ANSWER_BYTES: usize = MAX_PAGE_BYTES;

static LIMIT: Parameter = Parameter::query(
    "limit",
    Shape::Range { least: 1, most: MAX_LIMIT, default: Some(DEFAULT_LIMIT) },
    "Memories of a page at most.",
);
static INCLUDE_INACTIVE: Parameter =
    Parameter::query("include_inactive", Shape::Flag, "Whether deleted and merged memories are listed, too.");

/// GET /v1/memories.
pub(crate) static LIST: Operation = Operation {
    id: "listMemories",
    tag: Tag::Memories,
    summary: "List memories",
    description: "Active memories by the order of their ids, in pages. A page may have fewer memories than `limit`, \
                  since an answer ends at about {ANSWER_BYTES}; the last one has no `next`.",
    parameters: &[&SESSION, &USER_ID, &SESSION_ID, &LIMIT, &CURSOR, &INCLUDE_INACTIVE],
    answers: &[AnswerDescription::ok("A page.", Shape::Component(&PAGE))],
    errors: &[READING, &[&FOREIGN_USER]],
    ..Operation::EMPTY
};

/// GET /v1/conflicts.
pub(crate) static CONFLICTS: Operation = Operation {
    id: "listConflicts",
    tag: Tag::Changes,
    summary: "List memories in conflict",
    description: "Active memories with a field in conflict, which `conflicted_fields` names, by the order of their \
                  ids, in pages as those of all memories.",
    parameters: &[&SESSION, &USER_ID, &SESSION_ID, &LIMIT, &CURSOR],
    answers: &[AnswerDescription::ok("A page.", Shape::Component(&PAGE))],
    errors: &[READING, &[&FOREIGN_USER]],
    ..Operation::EMPTY
};

/// GET /v1/memories.
pub(crate) async fn list(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let parameters = Parameters::read(&parts, &LIST)?;
    let query = ListQuery { with_inactive: parameters.flag(&INCLUDE_INACTIVE)?, ..filters(&client, &parameters)? };
    page(&service, &client, query, &parameters, client.session(&parts.headers)?).await
}

/// GET /v1/conflicts.
pub(crate) async fn conflicts(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let parameters = Parameters::read(&parts, &CONFLICTS)?;
    let query = ListQuery { conflicted: true, ..filters(&client, &parameters)? };
    page(&service, &client, query, &parameters, client.session(&parts.headers)?).await
}

/// A page of the memories of a query.
async fn page(
    service: &NodeService,
    client: &Client,
    mut query: ListQuery,
    parameters: &Parameters,
    session: Option<String>,
) -> Result<Response, Problem> {
    query.limit = parameters.number(&LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let mut page = service.node.list(query).await.map_err(|error| problems::of_database(&error))?;
    page.memories.retain(|memory| client.may_use(memory.user_id.as_deref()));
    service.note_shown(session.as_deref(), &page.memories)?;
    Ok(answers::json(StatusCode::OK, answers::page(&page.memories, page.next.as_deref())))
}

/// The query of a list with the filters that every list has, without its limit.
fn filters(client: &Client, parameters: &Parameters) -> Result<ListQuery, Problem> {
    let wrong_cursor = || problems::malformed("the query parameter `cursor` should be the `next` of an earlier answer");
    let cursor = parameters.text(&CURSOR)?;
    let after = cursor.map(|text| answers::read_cursor(&text).ok_or_else(wrong_cursor)).transpose()?;
    Ok(ListQuery {
        users: client.users_for(parameters.text(&USER_ID)?)?,
        session_id: parameters.text(&SESSION_ID)?,
        after,
        ..ListQuery::default()
    })
}
