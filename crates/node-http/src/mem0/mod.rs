//! Mem0's API, for HelixAgent's memory client and Mem0's own clients. docs/mem0.md describes it
//! for users.
//!
//! Every path of this API ends with a slash, and none of ours does, so both live on one port: the
//! whole API under [`BASE`], and the calls of HelixAgent also at the root, where its default
//! address finds them.
//!
//! | module | what it is |
//! |---|---|
//! | `fields` | where the fields of these clients lie in a memory of ours |
//! | `body` | members of a body |
//! | `expiration` | the last day on which a memory is shown |
//! | `answer` | the size of answers, and the base path that links in them have |
//! | `identity` | the ids of memories that are added |
//! | `filter`, `scan` | conditions on memories, and all memories that fulfil them |
//! | `parameters`, `shapes` | query parameters that several routes have; the shapes of bodies and answers |
//! | `writing` | a write by a client without a clock token |
//! | `history_entry`, `state_changes` | entries of a history; the resolved states of a memory as entries |
//! | `add`, `search`, `list`, `change`, `history` | the handlers |
//!
//! A client of this API carries no clock token: a write has seen what this node shows when it
//! accepts it.

mod add;
mod answer;
mod body;
mod change;
mod expiration;
mod fields;
mod filter;
mod history;
mod history_entry;
mod identity;
mod list;
mod parameters;
mod scan;
mod search;
mod shapes;
mod state_changes;
mod writing;

pub(crate) use answer::BASE;
pub(crate) use filter::{MOST_CONDITIONS, MOST_TEXT_CONDITIONS};
pub(crate) use search::MOST_FILTERED;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::HttpMethod;

use crate::description::{AnswerDescription, Operation, Shape, Tag, required};
use crate::error_kinds::NOT_OF_MEM0;
use crate::route::Route;
use crate::{answers, problems};

/// The calls of HelixAgent's memory client, with their paths behind `/v1`. They are served below
/// `/v1` at the root, too.
pub(crate) fn calls_of_helixagent() -> Vec<Route> {
    vec![
        Route::at("/health/").get(health, &HEALTH),
        Route::at("/memories/")
            .get(list::list, &list::LIST)
            .post(add::add, &add::ADD)
            .delete(change::delete_all, &change::DELETE_ALL),
        Route::at("/memories/search/").post(search::search, &search::SEARCH),
        Route::at("/memories/{id}/")
            .get(list::read, &list::READ)
            .put(change::update, &change::UPDATE)
            .delete(change::delete, &change::DELETE),
        Route::at("/memories/{id}/history/").get(history::history, &history::HISTORY),
    ]
}

/// Every other route, with its path behind [`BASE`].
pub(crate) fn table() -> Vec<Route> {
    let served = [
        Route::at("/v1/ping/").get(ping, &PING),
        Route::at("/v1/entities/").get(list::entities, &list::ENTITY_LIST),
        Route::at("/v1/batch/")
            .put(change::update_batch, &change::UPDATE_BATCH)
            .delete(change::delete_batch, &change::DELETE_BATCH),
        Route::at("/v2/entities/{type}/{name}/").delete(change::delete_entity, &change::DELETE_ENTITY),
        Route::at("/v3/memories/").post(list::page, &list::PAGE),
        Route::at("/v3/memories/add/").post(add::add_v3, &add::ADD_V3),
        Route::at("/v3/memories/search/").post(search::search_v3, &search::SEARCH_V3),
    ];
    let refused = NOT_IMPLEMENTED.into_iter();
    let refused = refused.map(|(path, method)| Route::for_all_methods(path, method, refuse, &REFUSE));
    served.into_iter().chain(refused).collect()
}

/// Paths of Mem0's API that this node does not have, with a method that Mem0 has there.
const NOT_IMPLEMENTED: [(&str, HttpMethod); 22] = [
    ("/api/v1/{*rest}", HttpMethod::Get),
    ("/v1/agents/", HttpMethod::Get),
    ("/v1/agents/{*rest}", HttpMethod::Get),
    ("/v1/apps/", HttpMethod::Get),
    ("/v1/event/{id}/", HttpMethod::Get),
    ("/v1/events/", HttpMethod::Get),
    ("/v1/exports/", HttpMethod::Post),
    ("/v1/exports/get/", HttpMethod::Post),
    ("/v1/feedback/", HttpMethod::Post),
    ("/v1/memories/events/", HttpMethod::Get),
    ("/v1/runs/", HttpMethod::Get),
    ("/v1/stats/", HttpMethod::Get),
    ("/v1/summary/", HttpMethod::Post),
    ("/v1/users/", HttpMethod::Get),
    ("/v1/users/{*rest}", HttpMethod::Get),
    ("/v1/webhooks/", HttpMethod::Get),
    ("/v1/webhooks/{*rest}", HttpMethod::Get),
    ("/v2/entities/{type}/{name}/profile/", HttpMethod::Get),
    ("/v2/memories/", HttpMethod::Post),
    ("/v2/memories/search/", HttpMethod::Post),
    ("/v2/profiles/", HttpMethod::Get),
    ("/v2/profiles/{*rest}", HttpMethod::Get),
];

static REFUSE: Operation = Operation {
    id: "refuse",
    tag: Tag::Mem0,
    summary: "Not implemented",
    description: "Mem0 has this path, and this node does not: every method is answered with 501.",
    errors: &[&[&NOT_OF_MEM0]],
    ..Operation::EMPTY
};

async fn refuse(request: Request) -> Response {
    // The path is of the client, so it is not repeated.
    drop(request);
    problems::not_of_mem0(
        "this node does not implement this call of Mem0's API; docs/mem0.md lists the calls that it implements",
    )
    .into_response()
}

static PING: Operation = Operation {
    id: "ping",
    tag: Tag::Mem0,
    summary: "Learn that the node answers",
    description: "Mem0's client for Python asks for the names of an organisation and a project, which have no meaning \
                  here.",
    answers: &[AnswerDescription::ok(
        "The node answers.",
        Shape::Object(&[&[
            required("org_id", Shape::Text, ""),
            required("project_id", Shape::Text, ""),
            required("status", Shape::Words(&["ok"]), ""),
        ]]),
    )],
    ..Operation::EMPTY
};

/// GET /v1/ping/. Mem0's client for Python does not begin without an organisation and a project,
/// which a node does not have: it uses them for calls that are answered with 501.
async fn ping() -> Response {
    answers::json(StatusCode::OK, br#"{"org_id":"helixstream","project_id":"node","status":"ok"}"#.to_vec())
}

static HEALTH: Operation = Operation {
    id: "readHealth",
    tag: Tag::Mem0,
    summary: "Learn that the node answers",
    description: "A node that answers accepts writes.",
    answers: &[AnswerDescription::ok(
        "The node answers.",
        Shape::Object(&[&[required("status", Shape::Words(&["ok"]), "")]]),
    )],
    ..Operation::EMPTY
};

/// GET /v1/health/ of HelixAgent.
async fn health() -> Response {
    answers::json(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())
}
