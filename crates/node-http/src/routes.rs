//! The table of routes.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::Api;
use node::Node;
use node::loops::NodeLoops;

use crate::body::BodyLimit;
use crate::document::{self, DescribedApi};
use crate::events::{MOST_STREAMS, MOST_STREAMS_OF_TENANT};
use crate::extractor::Extractor;
use crate::fair_places::FairPlaces;
use crate::route::Route;
use crate::service::NodeService;
use crate::user_snapshots::{MOST_READERS, MOST_READERS_OF_TENANT};
use crate::{
    events, history, listing, mem0, memories, memory_operations, node_pages, nodes, parts, problems, searching, sync,
    user_snapshots,
};

/// The beginning of all paths of our own interface.
pub const PREFIX: &str = "/v1";

/// Every route of our own interface.
fn table() -> Vec<Route> {
    vec![
        Route::at("/memories").get(listing::list, &listing::LIST).post(memories::create, &memory_operations::CREATE),
        Route::at("/memories/search")
            .get(searching::by_words, &searching::BY_WORDS)
            .post(searching::by_body, &searching::BY_BODY),
        Route::at("/memories/{id}")
            .get(memories::read, &memory_operations::READ)
            .put(memories::replace, &memory_operations::REPLACE)
            .patch(memories::update, &memory_operations::UPDATE)
            .delete(memories::delete, &memory_operations::DELETE),
        Route::at("/memories/{id}/entities").get(parts::entities, &parts::ENTITIES),
        Route::at("/memories/{id}/entities/{part_id}").put(parts::put_entity, &parts::PUT_ENTITY),
        Route::at("/memories/{id}/events").get(memories::events, &memory_operations::EVENTS),
        Route::at("/memories/{id}/history").get(history::history, &history::HISTORY),
        Route::at("/memories/{id}/merge").post(memories::merge, &memory_operations::MERGE),
        Route::at("/memories/{id}/relationships").get(parts::relationships, &parts::RELATIONSHIPS),
        Route::at("/memories/{id}/relationships/{part_id}")
            .put(parts::put_relationship, &parts::PUT_RELATIONSHIP)
            .delete(parts::delete_relationship, &parts::DELETE_RELATIONSHIP),
        Route::at("/conflicts").get(listing::conflicts, &listing::CONFLICTS),
        Route::at("/events").get(events::stream, &events::STREAM),
        Route::at("/nodes").get(nodes::list, &nodes::LIST),
        Route::at("/restore").post(sync::restore, &sync::RESTORE),
        Route::at("/sync/force").post(sync::force, &sync::FORCE),
        Route::at("/sync/status").get(node_pages::sync_status, &node_pages::SYNC_STATUS),
        Route::at("/users/{user}/snapshot").get(user_snapshots::take, &user_snapshots::TAKE),
        Route::at("/openapi.json").get(node_pages::openapi, &node_pages::OPENAPI),
    ]
}

/// The abilities of a node that serves [`apis`], as words of its record on the nodes topic.
pub const CAPABILITIES: [&str; 4] = ["http", "mem0", "search.embedding", "search.words"];

/// The routes as they are served: each with the prefix of its paths. The words before the ids of
/// operations tell those of Mem0's API at its two places apart from our own.
fn described() -> [DescribedApi; 4] {
    [
        DescribedApi { prefix: PREFIX.to_owned(), ids: "", routes: table() },
        DescribedApi { prefix: PREFIX.to_owned(), ids: "helixagent_", routes: mem0::calls_of_helixagent() },
        DescribedApi { prefix: format!("{}{PREFIX}", mem0::BASE), ids: "mem0_", routes: mem0::calls_of_helixagent() },
        DescribedApi { prefix: mem0::BASE.to_owned(), ids: "mem0_", routes: mem0::table() },
    ]
}

/// The OpenAPI document of all routes, as `GET /v1/openapi.json` answers it.
///
/// # Errors
/// The text of the failure where it cannot be written as JSON, which is a fault of the program.
pub fn openapi() -> Result<String, String> {
    document::generate(&described())
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
        openapi: LazyLock::new(openapi),
        streams: FairPlaces::new(MOST_STREAMS, MOST_STREAMS_OF_TENANT),
    });
    [PREFIX, mem0::BASE].map(|base| {
        let mut router = Router::new();
        for DescribedApi { prefix, routes, .. } in described() {
            let Some(rest) = prefix.strip_prefix(base) else { continue };
            for route in routes {
                router = router.route(&format!("{rest}{}", route.path), route.into_handlers());
            }
        }
        let router = router.fallback(no_route).method_not_allowed_fallback(wrong_method);
        Api { prefix: base, router: router.with_state(Arc::clone(&service)) }
    })
}

async fn no_route() -> Response {
    problems::no_route().into_response()
}

async fn wrong_method(request: Request) -> Response {
    problems::wrong_method(request.method().as_str()).into_response()
}
