//! The snapshot of a user, as `POST /v1/restore` takes it back.
//!
//! A snapshot may be large, so its memories are read once there is room for them, and its parts are
//! written one after the other while the client reads.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::channel::oneshot;
use futures::stream::unfold;
use http::Problem;
use node::taken_snapshot::TakenSnapshot;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

use crate::body::SNAPSHOT_BYTES;
use crate::problems;
use crate::request::{Client, Parameters};
use crate::service::NodeService;

/// The most bytes of a part, as the stream's topics have it for a record.
const PART_BYTES: usize = 16 << 20;
/// Bytes by which the memories may grow between two looks at them.
const SLACK: usize = 1 << 20;
/// Bytes that the client is given at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// A client has so long for the whole; it is in the way of the next one.
const DEADLINE: Duration = Duration::from_secs(120);

/// GET /v1/users/{user}/snapshot.
pub(crate) async fn take(
    State(service): State<Arc<NodeService>>,
    client: Client,
    user: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &[])?;
    let wrong = |_| problems::malformed("the user in the path is not UTF-8 text in percent-encoding");
    let Path(user) = user.map_err(wrong)?;
    if !client.may_use(Some(&user)) {
        return Err(problems::foreign_user("your token may not see the memories of this user"));
    }
    let database = |error| problems::of_database(&error);
    let bytes = service.node.snapshot_bytes(&user).await.map_err(database)?;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let place = service.taken_snapshots.reserve(bytes).await?.ok_or_else(too_large)?;
    // It may have grown meanwhile.
    let most = (bytes + SLACK).min(SNAPSHOT_BYTES) as u64;
    let snapshot = service.node.user_snapshot(&user, most).await.map_err(database)?;
    let snapshot = snapshot.ok_or_else(too_large)?;
    let (begun, is_begun) = oneshot::channel();
    let (sender, chunks) = channel(1);
    let thread = std::thread::Builder::new().name("node-snapshot".to_owned());
    let thread = thread.spawn(move || {
        // The place is free again when the memories are.
        let _place = place;
        write(&snapshot, begun, &sender);
    });
    thread.map_err(|error| {
        problems::internal(format!("the operating system did not start a thread: {error} [HS0008]"))
    })?;
    is_begun.await.map_err(|_| problems::internal("the snapshot was not written"))??;
    let mut response = Response::new(body(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn too_large() -> Problem {
    problems::large_snapshot(SNAPSHOT_BYTES)
}

/// Writes the snapshot to the client: one JSON object, or an array of all parts. It ends early
/// where the client has gone.
fn write(snapshot: &TakenSnapshot, begun: oneshot::Sender<Result<(), Problem>>, chunks: &Sender<Bytes>) {
    let mut begun = Some(begun);
    let mut number = 0;
    let written = snapshot.each_part(PART_BYTES, |part, all| {
        if let Some(begun) = begun.take() {
            let may_be_restored = all.bytes + all.count < SNAPSHOT_BYTES;
            let answer = if may_be_restored { Ok(()) } else { Err(too_large()) };
            if begun.send(answer).is_err() || !may_be_restored {
                return ControlFlow::Break(());
            }
        }
        number += 1;
        let (before, after) = match (number == 1, number == all.count) {
            (true, true) => ("", ""),
            (true, false) => ("[", ","),
            (false, false) => ("", ","),
            (false, true) => ("", "]"),
        };
        let part = Bytes::from(part);
        let cut = (0..part.len()).step_by(CHUNK_BYTES).map(|from| part.slice(from..part.len().min(from + CHUNK_BYTES)));
        let chunks_of_part = [Bytes::from(before)].into_iter().chain(cut).chain([Bytes::from(after)]);
        for chunk in chunks_of_part.filter(|chunk| !chunk.is_empty()) {
            if chunks.blocking_send(chunk).is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    if let (Err(error), Some(begun)) = (written, begun) {
        // A client that has gone needs no answer.
        let _ = begun.send(Err(problems::of_database(&error)));
    }
}

/// The body of these chunks. One that is not read in time breaks off.
fn body(chunks: Receiver<Bytes>) -> Body {
    let deadline = Instant::now() + DEADLINE;
    Body::from_stream(unfold(chunks, move |mut chunks| async move {
        match timeout_at(deadline, chunks.recv()).await {
            Ok(Some(chunk)) => Some((Ok(chunk), chunks)),
            Ok(None) => None,
            Err(_) => Some((Err(io::Error::from(io::ErrorKind::TimedOut)), chunks)),
        }
    }))
}
