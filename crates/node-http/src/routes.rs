//! The table of routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use http::Api;
use node::Node;
use node::loops::NodeLoops;

use crate::body::BodyLimit;
use crate::events::{MOST_STREAMS, MOST_STREAMS_OF_TENANT};
use crate::extractor::Extractor;
use crate::fair_places::FairPlaces;
use crate::service::{Handlers, NodeService, reading};
use crate::user_snapshots::{MOST_READERS, MOST_READERS_OF_TENANT};
use crate::{
    events, history, listing, mem0, memories, node_pages, nodes, parts, problems, searching, sync, user_snapshots,
};

/// The beginning of all paths.
pub const PREFIX: &str = "/v1";

/// Every route: its path behind the prefix, and its handlers.
fn table() -> Vec<(&'static str, Handlers)> {
    vec![
        ("/memories", get(listing::list).post(memories::create)),
        ("/memories/search", get(searching::by_words).merge(reading(post(searching::by_body)))),
        ("/memories/{id}", get(memories::read).put(memories::replace).patch(memories::update).delete(memories::delete)),
        ("/memories/{id}/entities", get(parts::entities)),
        ("/memories/{id}/entities/{part_id}", put(parts::put_entity)),
        ("/memories/{id}/events", get(memories::events)),
        ("/memories/{id}/history", get(history::history)),
        ("/memories/{id}/merge", post(memories::merge)),
        ("/memories/{id}/relationships", get(parts::relationships)),
        ("/memories/{id}/relationships/{part_id}", put(parts::put_relationship).delete(parts::delete_relationship)),
        ("/conflicts", get(listing::conflicts)),
        ("/events", get(events::stream)),
        ("/nodes", get(nodes::list)),
        ("/restore", post(sync::restore)),
        ("/sync/force", post(sync::force)),
        ("/sync/status", get(node_pages::sync_status)),
        ("/users/{user}/snapshot", get(user_snapshots::take)),
        ("/openapi.json", get(node_pages::openapi)),
    ]
}

/// The abilities of a node that serves [`apis`], as words of its record on the nodes topic.
pub const CAPABILITIES: [&str; 4] = ["http", "mem0", "search.embedding", "search.words"];

/// The paths of all routes.
#[must_use]
pub fn paths() -> Vec<String> {
    table().iter().map(|(path, _)| format!("{PREFIX}{path}")).collect()
}

/// The routes of a node, for `http::server::Server::start_with_apis`: our own interface, with
/// HelixAgent's calls beside it, and Mem0's API. `loops` are the threads of the node, whose state
/// pages show. `event_bytes` is how large an event may be; a body may have a little more. With an
/// extractor, adds of Mem0's API store the facts that it finds in messages.
#[must_use]
pub fn apis(node: Node, loops: NodeLoops, event_bytes: usize, extractor: Option<Extractor>) -> [Api; 2] {
    let service = Arc::new(NodeService {
        node,
        loops,
        bodies: BodyLimit::for_events(event_bytes),
        snapshots: BodyLimit::for_snapshots(),
        taken_snapshots: BodyLimit::for_snapshots(),
        snapshot_readers: FairPlaces::new(MOST_READERS, MOST_READERS_OF_TENANT),
        extractor,
        streams: FairPlaces::new(MOST_STREAMS, MOST_STREAMS_OF_TENANT),
    });
    let own = table().into_iter().chain(mem0::calls_of_helixagent());
    let own = own.fold(Router::new(), |router, (path, handlers)| router.route(path, handlers));
    let of_mem0 = mem0::table().into_iter().chain(mem0::not_implemented());
    let of_mem0 = of_mem0.fold(Router::new(), |router, (path, handlers)| router.route(path, handlers));
    let of_mem0 = mem0::calls_of_helixagent()
        .into_iter()
        .fold(of_mem0, |router, (path, handlers)| router.route(&format!("{PREFIX}{path}"), handlers));
    let api = |prefix: &'static str, router: Router<Arc<NodeService>>| {
        let router = router.fallback(no_route).method_not_allowed_fallback(wrong_method);
        Api { prefix, router: router.with_state(Arc::clone(&service)) }
    };
    [api(PREFIX, own), api(mem0::BASE, of_mem0)]
}

async fn no_route() -> Response {
    problems::no_route().into_response()
}

async fn wrong_method(request: Request) -> Response {
    problems::wrong_method(request.method().as_str()).into_response()
}
