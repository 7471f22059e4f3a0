//! The snapshot of a user, as `POST /v1/restore` takes it back.
//!
//! A snapshot may be large, so its memories are read once there is room for them, and are written
//! into a file on the disk at once. The client reads that, at its own pace: one that is slow keeps
//! a place among those who read, and no memory that others wait for.

use std::fs::File;
use std::io::{self, BufWriter, IntoInnerError, Read as _, Seek as _, Write as _};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::stream::unfold;
use http::Problem;
use node::taken_snapshot::TakenSnapshot;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

use crate::answer_shapes::USER_SNAPSHOT;
use crate::body::SNAPSHOT_BYTES;
use crate::description::{AnswerDescription, Operation, Parameter, Shape, Tag};
use crate::error_kinds::{FOREIGN_USER, LARGE_SNAPSHOT, READING, TOO_MANY_READERS};
use crate::fair_places::{Place, Tenant};
use crate::problems;
use crate::request::{Client, Parameters};
use crate::service::NodeService;

/// The most bytes of a part, as the stream's topics have it for a record.
pub(crate) const PART_BYTES: usize = 16 << 20;
/// Bytes by which the memories may grow between two looks at them.
const SLACK: usize = 1 << 20;
/// Bytes that are written to the file, and given to the client, at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// A client has so long for the whole.
const DEADLINE: Duration = Duration::from_secs(120);
/// Snapshots that are read at a time, each a file on the disk of the node.
pub(crate) const MOST_READERS: usize = 16;
/// Snapshots that one tenant reads at a time.
pub(crate) const MOST_READERS_OF_TENANT: usize = 4;

static USER: Parameter = Parameter::path("user", Shape::Name, "The user, in percent-encoding.");

/// GET /v1/users/{user}/snapshot.
pub(crate) static TAKE: Operation = Operation {
    id: "takeSnapshot",
    tag: Tag::Sync,
    summary: "Take a snapshot of a user",
    description: "All active memories of the user as this node has them resolved, in the form that restoreSnapshot \
                  takes: one snapshot, or an array of numbered parts where it has more than {PART_BYTES}. Writes of \
                  this node that are not resolved yet are not in it. `node_id` is the actor of this node, and \
                  `timestamp` the time of the request by its clock. A snapshot of more than {SNAPSHOT_BYTES} is \
                  refused.",
    parameters: &[&USER],
    answers: &[AnswerDescription::ok(
        "The snapshot, or all its parts. An answer that breaks off is no JSON.",
        Shape::Either(&[
            Shape::Component(&USER_SNAPSHOT),
            Shape::List { items: &Shape::Component(&USER_SNAPSHOT), least: 2 },
        ]),
    )],
    errors: &[READING, &[&FOREIGN_USER, &LARGE_SNAPSHOT, &TOO_MANY_READERS]],
    ..Operation::EMPTY
};

/// GET /v1/users/{user}/snapshot.
pub(crate) async fn take(
    State(service): State<Arc<NodeService>>,
    client: Client,
    user: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Parameters::read(&parts, &TAKE)?;
    let wrong = |_| problems::malformed("the user in the path is not UTF-8 text in percent-encoding");
    let Path(user) = user.map_err(wrong)?;
    if !client.may_use(Some(&user)) {
        return Err(problems::foreign_user("your token may not see the memories of this user"));
    }
    let reader = service.snapshot_readers.take(Tenant::of(&client)).ok_or_else(problems::too_many_snapshots)?;
    let database = |error| problems::of_database(&error);
    let bytes = service.node.snapshot_bytes(&user).await.map_err(database)?;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let place = service.taken_snapshots.reserve(bytes).await?.ok_or_else(too_large)?;
    // It may have grown meanwhile.
    let most = (bytes + SLACK).min(SNAPSHOT_BYTES) as u64;
    let snapshot = service.node.user_snapshot(&user, most).await.map_err(database)?;
    let snapshot = snapshot.ok_or_else(too_large)?;
    let node = service.node.clone();
    let written = tokio::task::spawn_blocking(move || {
        // The place is free again when the memories are.
        let _place = place;
        write(&snapshot, || node.scratch_file())
    });
    let (file, length) = written.await.map_err(|error| problems::internal(format!("a task has ended: {error}")))??;
    let (sender, chunks) = channel(1);
    let thread = std::thread::Builder::new().name("node-snapshot".to_owned());
    thread.spawn(move || send(file, &sender)).map_err(|error| {
        problems::internal(format!("the operating system did not start a thread: {error} [HS0008]"))
    })?;
    let mut response = Response::new(body(chunks, reader));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

fn too_large() -> Problem {
    problems::large_snapshot(SNAPSHOT_BYTES)
}

/// Writes the snapshot into a file: one JSON object, or an array of all parts. Returns the file, at
/// its beginning, and its length in bytes.
fn write(snapshot: &TakenSnapshot, make: impl FnOnce() -> io::Result<File>) -> Result<(File, u64), Problem> {
    let mut file = BufWriter::with_capacity(CHUNK_BYTES, make().map_err(|error| of_file(&error))?);
    let (mut number, mut result) = (0, Ok(()));
    let written = snapshot.each_part(PART_BYTES, |part, all| {
        if all.bytes + all.count >= SNAPSHOT_BYTES {
            result = Err(too_large());
            return ControlFlow::Break(());
        }
        number += 1;
        let (before, after) = match (number == 1, number == all.count) {
            (true, true) => ("", ""),
            (true, false) => ("[", ","),
            (false, false) => ("", ","),
            (false, true) => ("", "]"),
        };
        let texts = [before.as_bytes(), &part, after.as_bytes()];
        result = texts.into_iter().try_for_each(|text| file.write_all(text)).map_err(|error| of_file(&error));
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    written.map_err(|error| problems::of_database(&error))?;
    result?;
    let rewound = file.into_inner().map_err(IntoInnerError::into_error).and_then(|mut file| {
        let length = file.stream_position()?;
        file.rewind()?;
        Ok((file, length))
    });
    rewound.map_err(|error| of_file(&error))
}

fn of_file(error: &io::Error) -> Problem {
    problems::full_disk(format!(
        "the snapshot cannot be written to a file in the folder of the node: {error}; make room on that disk, and try again"
    ))
}

/// Sends the file to the client, as it reads. It ends early where the client has gone.
fn send(mut file: File, chunks: &Sender<io::Result<Bytes>>) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
        let is_last = !matches!(read, Ok(bytes) if bytes > 0);
        if matches!(read, Ok(0)) || chunks.blocking_send(read.map(|_| Bytes::from(chunk))).is_err() || is_last {
            return;
        }
    }
}

/// The body of these chunks. One that is not read in time, or whose place another tenant takes
/// over, breaks off.
fn body(chunks: Receiver<io::Result<Bytes>>, place: Place) -> Body {
    let deadline = Instant::now() + DEADLINE;
    Body::from_stream(unfold((chunks, place), move |(mut chunks, place)| async move {
        let withdrawn = place.withdrawn();
        let chunk = tokio::select! {
            biased;
            () = withdrawn => Some(Err(io::Error::other("another tenant has taken over the place"))),
            chunk = timeout_at(deadline, chunks.recv()) => {
                chunk.unwrap_or_else(|_| Some(Err(io::Error::from(io::ErrorKind::TimedOut))))
            }
        };
        chunk.map(|chunk| (chunk, (chunks, place)))
    }))
}
