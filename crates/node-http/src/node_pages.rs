//! The status of the node, and the description of the routes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;

use crate::description::{AnswerDescription, Operation, Shape, Tag};
use crate::error_kinds::READING;
use crate::node_shapes::STATUS;
use crate::request::{Client, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// GET /v1/sync/status.
pub(crate) static SYNC_STATUS: Operation = Operation {
    id: "readSyncStatus",
    tag: Tag::Sync,
    summary: "Read the state of the node",
    answers: &[AnswerDescription::ok("The state.", Shape::Component(&STATUS))],
    errors: &[READING],
    ..Operation::EMPTY
};

/// GET /v1/openapi.json.
pub(crate) static OPENAPI: Operation = Operation {
    id: "readOpenApi",
    tag: Tag::Node,
    summary: "Read this document",
    answers: &[AnswerDescription::ok("This document.", Shape::Map(&Shape::Any))],
    ..Operation::EMPTY
};

/// GET /v1/sync/status.
pub(crate) async fn sync_status(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &SYNC_STATUS)?;
    let status = service.node.status().await.map_err(|error| problems::of_database(&error))?;
    // The other nodes may belong to other tenants.
    let peers = client.users().is_none().then(|| service.loops.directory.nodes());
    Ok(answers::json(StatusCode::OK, answers::status(&status, &service.loops, peers)))
}

/// GET /v1/openapi.json.
pub(crate) async fn openapi(State(service): State<Arc<NodeService>>) -> Result<Response, Problem> {
    let document = service.openapi.as_ref().map_err(problems::internal)?;
    Ok(answers::json(StatusCode::OK, document.as_bytes().to_vec()))
}
