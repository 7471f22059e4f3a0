//! The table of routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use http::Api;
use node::Node;

use crate::body::BodyLimit;
use crate::service::NodeService;
use crate::{listing, memories, node_pages, problems};

/// The beginning of all paths.
pub const PREFIX: &str = "/v1";

type Handlers = MethodRouter<Arc<NodeService>>;

/// Every route: its path behind the prefix, and its handlers.
fn table() -> Vec<(&'static str, Handlers)> {
    vec![
        ("/memories", get(listing::list).post(memories::create)),
        ("/memories/search", get(listing::search)),
        ("/memories/{id}", get(memories::read).put(memories::replace).patch(memories::update).delete(memories::delete)),
        ("/memories/{id}/events", get(memories::events)),
        ("/memories/{id}/merge", post(memories::merge)),
        ("/sync/status", get(node_pages::sync_status)),
        ("/openapi.json", get(node_pages::openapi)),
    ]
}

/// The paths of all routes.
#[must_use]
pub fn paths() -> Vec<String> {
    table().iter().map(|(path, _)| format!("{PREFIX}{path}")).collect()
}

/// The routes of a node, for `http::server::Server::start_with_api`. `event_bytes` is how large an
/// event may be; a body may have a little more.
#[must_use]
pub fn api(node: Node, event_bytes: usize) -> Api {
    let service = Arc::new(NodeService { node, bodies: BodyLimit::for_events(event_bytes) });
    let router = table().into_iter().fold(Router::new(), |router, (path, handlers)| router.route(path, handlers));
    let router = router.fallback(no_route).method_not_allowed_fallback(wrong_method).with_state(service);
    Api { prefix: PREFIX, router }
}

async fn no_route() -> Response {
    problems::no_route().into_response()
}

async fn wrong_method(request: Request) -> Response {
    problems::wrong_method(request.method().as_str()).into_response()
}
