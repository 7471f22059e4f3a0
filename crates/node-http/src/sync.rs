//! The routes by which a client asks for memories that the node may have missed, or brings back a
//! user snapshot.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use http::Problem;

use crate::answer_shapes::{RESTORED, SYNC_REQUESTED, USER_SNAPSHOT};
use crate::body::{JSON, read_away};
use crate::description::{AnswerDescription, Operation, Parameter, RequestBody, Shape, Tag};
use crate::error_kinds::{BAD_SNAPSHOT, BODY, BOUND_TO_USERS, FOREIGN_USER, INVALID, LARGE_EVENT, READING, TOO_SOON};
use crate::request::{Client, Parameters};
use crate::service::NodeService;
use crate::{answers, problems};

static USER_ID: Parameter = Parameter::query(
    "user_id",
    Shape::Name,
    "Ask for the memories of this user alone. A token that is bound to users asks for those of one of its users.",
)
.keyed("user_id_of_request");

/// POST /v1/sync/force.
pub(crate) static FORCE: Operation = Operation {
    id: "forceSync",
    tag: Tag::Sync,
    summary: "Ask the stream for resolved memories once more",
    parameters: &[&USER_ID],
    answers: &[AnswerDescription::ok(
        "The request is durable on the node and is sent as soon as Kafka is there. The memories come as others do.",
        Shape::Component(&SYNC_REQUESTED),
    )
    .with_status(202)],
    errors: &[READING, &[&FOREIGN_USER, &TOO_SOON, &INVALID, &LARGE_EVENT]],
    ..Operation::EMPTY
};

/// POST /v1/restore.
pub(crate) static RESTORE: Operation = Operation {
    id: "restoreSnapshot",
    tag: Tag::Sync,
    summary: "Bring a user snapshot back",
    description: "A memory that the node has as new or newer stays. The memories are restored in several transactions, \
                  and other writes are served between. Then the node asks the stream for what has changed since. The \
                  node believes what a whole snapshot says, so a token that is bound to users is answered with 403.",
    body: Some(RequestBody {
        description: "The snapshot, or an array of all its parts; at most {SNAPSHOT_BYTES}.",
        media_types: JSON,
        shape: Shape::Either(&[
            Shape::Component(&USER_SNAPSHOT),
            Shape::List { items: &Shape::Component(&USER_SNAPSHOT), least: 1 },
        ]),
    }),
    answers: &[AnswerDescription::ok(
        "The memories are restored, and the request for what has changed since is durable on the node.",
        Shape::Component(&RESTORED),
    )],
    errors: &[READING, BODY, &[&BOUND_TO_USERS, &BAD_SNAPSHOT, &TOO_SOON, &INVALID, &LARGE_EVENT]],
    ..Operation::EMPTY
};

/// POST /v1/sync/force.
pub(crate) async fn force(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let parameters = Parameters::read(&parts, &FORCE)?;
    // A token that is bound to users cannot make the stream send the memories of all.
    let user = client.user_of_new(parameters.text(&USER_ID)?)?;
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
    Parameters::read(&parts, &RESTORE)?;
    // A client may make a snapshot up, with ids and clocks of the memories of other users.
    if client.users().is_some() {
        read_away(&mut body).await;
        return Err(problems::restore_for_users());
    }
    let body = service.snapshots.read(&parts, body, &RESTORE).await?;
    // The snapshot may outlive this request: its place goes with it.
    let restored = service.node.restore(body.bytes, Box::new(body.place)).await;
    let restored = restored.map_err(|error| problems::of_restore(&error))?;
    Ok(answers::json(StatusCode::OK, answers::restored(&restored)))
}
