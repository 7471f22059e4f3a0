//! The two ways to the HTTP/JSON interface of a node: within its own process, and over the network.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Extensions, HeaderValue, Request, header};
use http::Identity;
use tower_service::Service as _;

use crate::exchange::{Answer, IDEMPOTENCY_KEY, JSON, MAX_ANSWER, NodeRequest};
use crate::refusals;
use crate::remote::RemoteNode;

/// A way to a node.
#[derive(Clone)]
pub(crate) enum Connection {
    /// Its routes, in this process; their paths are without `/v1`.
    Local(Router),
    /// Its URL.
    Remote(Arc<RemoteNode>),
}

impl Connection {
    /// Asks the node.
    ///
    /// # Errors
    /// The node has not answered; the text is for the agent.
    pub async fn ask(&self, identity: Option<Identity>, request: NodeRequest) -> Result<Answer, String> {
        match self {
            Connection::Remote(node) => node.ask(&request).await,
            Connection::Local(routes) => ask_routes(routes.clone(), identity, &request).await,
        }
    }
}

async fn ask_routes(mut routes: Router, identity: Option<Identity>, request: &NodeRequest) -> Result<Answer, String> {
    let wrong = |what: String| refusals::internal(&what);
    let body = match &request.body {
        Some(body) => Body::from(body.to_string()),
        None => Body::empty(),
    };
    let mut asked = Request::new(body);
    *asked.method_mut() = request.method.clone();
    *asked.uri_mut() = request.path.parse().map_err(|error| wrong(format!("{error}: {}", request.path)))?;
    asked.extensions_mut().extend(identity.map(with_identity).unwrap_or_default());
    let headers = asked.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    if let Some(clock) = &request.clock {
        headers.insert(header::IF_MATCH, HeaderValue::try_from(clock).map_err(|_| refusals::bad_clock())?);
    }
    if let Some(key) = &request.idempotency_key {
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(key).map_err(|error| wrong(error.to_string()))?);
    }
    let answered = routes.call(asked).await;
    let (parts, body) = match answered {
        Ok(response) => response.into_parts(),
        Err(never) => match never {},
    };
    let bytes = to_bytes(body, MAX_ANSWER).await.map_err(|error| wrong(error.to_string()))?;
    Ok(Answer::new(parts.status, &bytes))
}

fn with_identity(identity: Identity) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(identity);
    extensions
}
