//! The bodies of requests. A body may be as large as an event, so the bytes of all bodies that are
//! being read together have a limit, too: further requests wait for their turn.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::description::Operation;
use crate::problems;

/// Bytes that a body may have beyond an event: white space and escapes, which the event does not
/// have.
pub(crate) const SLACK: usize = 64 << 10;
/// How many of the largest bodies are read at a time.
const BODIES_AT_A_TIME: usize = 6;
/// Bytes of a user snapshot with all its parts, each of which may be as large as a record can be.
pub(crate) const SNAPSHOT_BYTES: usize = 64 << 20;
/// Bytes of one permit of the semaphore.
const UNIT: usize = 1024;
/// How many bytes of a body that is too large are read away, so that the client, which may not look
/// at the answer before it has sent everything, gets it.
const READ_AWAY: usize = 64 << 20;

/// Media types of a body.
pub(crate) const JSON: &[&str] = &["application/json"];
/// Media types of a body that changes what it names (RFC 7396).
pub(crate) const PATCH: &[&str] = &["application/json", "application/merge-patch+json"];

/// The limit of bodies.
pub(crate) struct BodyLimit {
    bytes: usize,
    free: Arc<Semaphore>,
}

/// A whole body.
pub(crate) struct WholeBody {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its place among the bodies, which is free again when this is dropped.
    pub place: OwnedSemaphorePermit,
}

impl BodyLimit {
    /// The limit for events of so many bytes.
    pub fn for_events(event_bytes: usize) -> BodyLimit {
        let bytes = event_bytes.saturating_add(SLACK);
        BodyLimit { bytes, free: Arc::new(Semaphore::new(BODIES_AT_A_TIME * units(bytes) as usize)) }
    }

    /// The limit of user snapshots that are brought back or taken: so many bytes for one, and for
    /// all at a time.
    pub fn for_snapshots() -> BodyLimit {
        BodyLimit { bytes: SNAPSHOT_BYTES, free: Arc::new(Semaphore::new(units(SNAPSHOT_BYTES) as usize)) }
    }

    /// Bytes that a body may have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A place for so many bytes, once it is free; `None` where they are more than the limit.
    pub async fn reserve(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        if bytes > self.bytes {
            return Ok(None);
        }
        let place = Arc::clone(&self.free).acquire_many_owned(units(bytes)).await;
        place.map(Some).map_err(|_| problems::internal("the node reads no bodies any more"))
    }

    /// Reads the body of a request for this operation, which has one.
    pub async fn read(&self, parts: &Parts, mut body: Body, operation: &Operation) -> Result<WholeBody, Problem> {
        let accepted = operation.body.as_ref().map_or(JSON, |body| body.media_types);
        if !accepted.contains(&media_type(&parts.headers).as_str()) {
            return Err(problems::wrong_content_type(accepted.first().copied().unwrap_or_default()));
        }
        let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        if announced.is_some_and(|bytes| bytes > self.bytes) {
            read_away(&mut body).await;
            return Err(problems::large_body(self.bytes));
        }
        let place = self.reserve(announced.unwrap_or(self.bytes)).await?;
        let place = place.ok_or_else(|| problems::large_body(self.bytes))?;
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0));
        while let Some(part) = next_part(&mut body).await {
            let part = part.map_err(|()| problems::not_json("the body ended before all of it had come"))?;
            if bytes.len() + part.len() > self.bytes {
                read_away(&mut body).await;
                return Err(problems::large_body(self.bytes));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(WholeBody { bytes, place })
    }
}

/// Permits for so many bytes.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// The media type without its parameters, in small letters; empty where there is none.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The next bytes of a body; an error where the connection broke.
async fn next_part(body: &mut Body) -> Option<Result<axum::body::Bytes, ()>> {
    loop {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(bytes)) => return Some(Ok(bytes)),
            // Trailers are not looked at.
            Ok(Err(_)) => {}
            Err(_) => return Some(Err(())),
        }
    }
}

/// Reads the rest of a body that is refused.
pub(crate) async fn read_away(body: &mut Body) {
    let mut left = READ_AWAY;
    while let Some(Ok(part)) = next_part(body).await {
        left = left.saturating_sub(part.len());
        if left == 0 {
            return;
        }
    }
}
