//! The status of the node, and the description of the routes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;

use crate::request::{Client, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// The description of all routes (OpenAPI 3.1).
const OPENAPI: &str = include_str!("../../../schemas/node-api.openapi.json");

/// GET /v1/sync/status.
pub(crate) async fn sync_status(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &[])?;
    let status = service.node.status().await.map_err(|error| problems::of_database(&error))?;
    // The other nodes may belong to other tenants.
    let peers = client.users().is_none().then(|| service.loops.directory.nodes());
    Ok(answers::json(StatusCode::OK, answers::status(&status, &service.loops, peers)))
}

/// GET /v1/openapi.json.
pub(crate) async fn openapi() -> Response {
    answers::json(StatusCode::OK, OPENAPI.as_bytes().to_vec())
}
