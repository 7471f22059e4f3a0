//! Answers that are written part by part: streams of events, whose end nobody knows when they
//! begin, and snapshots of users. Such an answer is written as fast as its client reads it, and it
//! ends when the server stops or its client loses its access.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;

use super::access::ContinuedAccess;
use super::connections::ConnectionPermit;

/// Follows an answer to its end: one whose length is known is noted, and a stream is watched.
pub(super) fn follow(response: Response, slot: &Arc<ConnectionPermit>, stopped: &watch::Receiver<bool>) -> Response {
    if let Some(bytes) = response.body().size_hint().exact() {
        slot.answered(bytes);
        return response;
    }
    let (parts, body) = response.into_parts();
    let access = parts.extensions.get::<ContinuedAccess>().cloned();
    let mut stopped = stopped.clone();
    let stop = async move {
        // An error means that the handle is gone, which stops the server as well.
        let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
    };
    let slot = Arc::clone(slot);
    slot.streamed(0);
    let body = StreamedBody { body, slot, access, stop: Box::pin(stop), has_ended: false };
    Response::from_parts(parts, Body::new(body))
}

/// The body of a stream. The connection asks it for the next part when it has room for one, so a
/// client that reads nothing costs one part and the buffers of its connection.
struct StreamedBody {
    body: Body,
    slot: Arc<ConnectionPermit>,
    /// None where the routes are served without access control.
    access: Option<ContinuedAccess>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    has_ended: bool,
}

impl StreamedBody {
    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.has_ended = true;
        // Whatever the stream holds is free before the connection is.
        self.body = Body::empty();
        self.slot.answered(0);
        Poll::Ready(None)
    }
}

impl HttpBody for StreamedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.has_ended || self.stop.as_mut().poll(context).is_ready() {
            return self.end();
        }
        self.slot.streamed(0);
        let part = ready!(Pin::new(&mut self.body).poll_frame(context));
        if self.access.as_ref().is_some_and(|access| !access.holds()) {
            return self.end();
        }
        match part {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.slot.streamed(u64::try_from(bytes).unwrap_or(u64::MAX));
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.has_ended = true;
                Poll::Ready(Some(Err(error)))
            }
            None => self.end(),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::connections::{Connections, Limits};
    use super::*;

    /// A body that has one part, and then waits for ever.
    struct Endless(Option<Bytes>);

    impl HttpBody for Endless {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            self.0.take().map_or(Poll::Pending, |part| Poll::Ready(Some(Ok(Frame::data(part)))))
        }
    }

    #[test]
    fn the_stop_of_the_server_ends_a_stream() {
        let slot = Arc::new(Arc::new(Connections::new(Limits::default())).admit().unwrap());
        let (stop, stopped) = watch::channel(false);
        let response = Response::new(Body::new(Endless(Some(Bytes::from_static(b"part")))));
        let mut body = follow(response, &slot, &stopped).into_body();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut next = || runtime.block_on(poll_fn(|context| Pin::new(&mut body).poll_frame(context)));
        assert_eq!(next().unwrap().unwrap().into_data().unwrap(), "part");
        stop.send(true).unwrap();
        assert!(next().is_none());
    }
}
