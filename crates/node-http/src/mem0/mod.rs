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
//! | `writing` | a write by a client without a clock token |
//! | `history_entry`, `state_changes` | entries of a history; the resolved states of a memory as
//! such |
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
mod scan;
mod search;
mod state_changes;
mod writing;

pub(crate) use answer::BASE;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, delete, get, post, put};

use crate::service::{Handlers, reading};
use crate::{answers, problems};

/// The calls of HelixAgent's memory client, with their paths behind `/v1`. They are served below
/// `/v1` at the root, too.
pub(crate) fn calls_of_helixagent() -> Vec<(&'static str, Handlers)> {
    vec![
        ("/health/", get(health)),
        ("/memories/", get(list::list).post(add::add).delete(change::delete_all)),
        ("/memories/search/", reading(post(search::search))),
        ("/memories/{id}/", get(list::read).put(change::update).delete(change::delete)),
        ("/memories/{id}/history/", get(history::history)),
    ]
}

/// Every other route: its path behind [`BASE`], and its handlers.
pub(crate) fn table() -> Vec<(&'static str, Handlers)> {
    vec![
        ("/v1/ping/", get(ping)),
        ("/v1/entities/", get(list::entities)),
        ("/v1/batch/", put(change::update_batch).delete(change::delete_batch)),
        ("/v2/entities/{type}/{name}/", delete(change::delete_entity)),
        ("/v3/memories/", reading(post(list::page))),
        ("/v3/memories/add/", post(add::add_v3)),
        ("/v3/memories/search/", reading(post(search::search_v3))),
    ]
}

/// Paths of Mem0's API that this node does not have.
const NOT_IMPLEMENTED: [&str; 22] = [
    "/api/v1/{*rest}",
    "/v1/agents/",
    "/v1/agents/{*rest}",
    "/v1/apps/",
    "/v1/event/{id}/",
    "/v1/events/",
    "/v1/exports/",
    "/v1/exports/get/",
    "/v1/feedback/",
    "/v1/memories/events/",
    "/v1/runs/",
    "/v1/stats/",
    "/v1/summary/",
    "/v1/users/",
    "/v1/users/{*rest}",
    "/v1/webhooks/",
    "/v1/webhooks/{*rest}",
    "/v2/entities/{type}/{name}/profile/",
    "/v2/memories/",
    "/v2/memories/search/",
    "/v2/profiles/",
    "/v2/profiles/{*rest}",
];

/// The routes that answer that this node does not have what Mem0 has there.
pub(crate) fn not_implemented() -> Vec<(&'static str, Handlers)> {
    NOT_IMPLEMENTED.into_iter().map(|path| (path, any(refuse))).collect()
}

async fn refuse(request: Request) -> Response {
    // The path is of the client, so it is not repeated.
    drop(request);
    problems::not_of_mem0(
        "this node does not implement this call of Mem0's API; docs/mem0.md lists the calls that it implements",
    )
    .into_response()
}

/// GET /v1/ping/. Mem0's client for Python does not begin without an organisation and a project,
/// which a node does not have: it uses them for calls that are answered with 501.
async fn ping() -> Response {
    answers::json(StatusCode::OK, br#"{"org_id":"helixstream","project_id":"node","status":"ok"}"#.to_vec())
}

/// GET /v1/health/ of HelixAgent. A node that answers accepts writes.
async fn health() -> Response {
    answers::json(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())
}
