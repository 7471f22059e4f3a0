//! The routes by which a client asks for memories that the node may have missed, or brings back a
//! user snapshot.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;

use crate::body::{JSON, read_away};
use crate::request::{Client, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

/// POST /v1/sync/force.
pub(crate) async fn force(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let parameters = Parameters::read(&parts, &["user_id"])?;
    // A token that is bound to users cannot make the stream send the memories of all.
    let user = client.user_of_new(parameters.text("user_id")?)?;
    let requested = service.node.request_sync(user).await.map_err(|error| problems::of_sync(&error))?;
    Ok(answers::json(StatusCode::ACCEPTED, answers::sync_requested(&requested)))
}

/// POST /v1/restore.
pub(crate) async fn restore(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, mut body) = request.into_parts();
    Parameters::read(&parts, &[])?;
    // A client may make a snapshot up, with ids and clocks of the memories of other users.
    if client.users().is_some() {
        read_away(&mut body).await;
        return Err(problems::restore_for_users());
    }
    let body = service.snapshots.read(&parts, body, JSON).await?;
    // The snapshot may outlive this request: its place goes with it.
    let restored = service.node.restore(body.bytes, Box::new(body.place)).await;
    let restored = restored.map_err(|error| problems::of_restore(&error))?;
    Ok(answers::json(StatusCode::OK, answers::restored(&restored)))
}
