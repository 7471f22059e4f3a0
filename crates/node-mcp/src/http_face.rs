//! MCP's streamable HTTP, at `/mcp` of the node's port, behind the port's own access control.
//!
//! Each request is served by itself and answered with one JSON document: no stream stays open,
//! which the port would close, and a node that starts again has no session to forget but the clock
//! tokens. To a client of a version of the protocol that has sessions (before 2026-07-28) the
//! answer to its first request names one, under which its tokens are kept.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::{Api, Problem, ProblemKind};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::callers::MCP_SESSION;
use crate::connection::Connection;
use crate::tools::MemoryTools;

/// The path.
const PREFIX: &str = "/mcp";
/// The header with the version of the protocol, which every request but the first has.
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The largest request, in bytes. An agent sends texts, and no embeddings.
const MAX_REQUEST: usize = 1 << 20;

/// The ability of a node that serves [`api`], as a word of its record on the nodes topic.
pub const CAPABILITY: &str = "mcp";

/// The route of MCP, for `http::server::Server::start_with_apis`, over the routes of the node's
/// HTTP/JSON interface, whose paths are without their prefix.
#[must_use]
pub fn api(node_routes: Router) -> Api {
    let tools = MemoryTools::new(Connection::Local(node_routes));
    // The port checks the host itself (docs/http.md).
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(MAX_REQUEST)
        .disable_allowed_hosts();
    let service =
        StreamableHttpService::new(move || Ok(tools.clone()), Arc::new(NeverSessionManager::default()), config);
    let router = Router::new().route_service("/", service).layer(middleware::from_fn(guard));
    // Each request is a POST, which access control lets through to whoever may act, and each tool
    // answers with memories.
    let router = router.layer(middleware::from_fn(http::require_read));
    Api { prefix: PREFIX, router }
}

/// Refuses what a web page sends, and names a session where the client is to have one.
async fn guard(request: Request, next: Next) -> Response {
    // A browser sends the origin of the page. The node has no page that speaks MCP, so a page that
    // does is another site's, which may have found the port by DNS rebinding.
    if request.headers().contains_key(header::ORIGIN) {
        return foreign_origin().into_response();
    }
    let is_first = request.method() == Method::POST
        && !request.headers().contains_key(&MCP_SESSION)
        && !request.headers().contains_key(&PROTOCOL_VERSION);
    let mut response = next.run(request).await;
    let session = HeaderValue::try_from(uuid::Uuid::new_v4().to_string());
    if let (true, true, Ok(session)) = (is_first, response.status().is_success(), session) {
        response.headers_mut().insert(MCP_SESSION, session);
    }
    response
}

fn foreign_origin() -> Problem {
    let detail = "this request was refused: it has the header Origin, so a web page has sent it; an MCP host that is a program sends none";
    Problem::new(ProblemKind::new(StatusCode::FORBIDDEN, "HS8100", "MCP is not for web pages"), detail)
}
