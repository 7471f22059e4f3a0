//! The HTTP edge: `/live`, `/ready` and `/metrics`, for health checks and Prometheus. It knows no engine: it asks a [`Status`].

mod metrics;

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

pub use metrics::{Family, Kind, Sample, Value};

/// What the pages show, asked anew at each request.
pub trait Status: Send + Sync + 'static {
    /// What is not running yet, one line each; empty when all is ready.
    fn waiting(&self) -> Vec<String>;

    /// All metrics.
    fn metrics(&self) -> Vec<Family>;
}

/// Serves until `stop` resolves.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    status: Arc<dyn Status>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let app = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_page))
        .with_state(status);
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

async fn ready(State(status): State<Arc<dyn Status>>) -> Response {
    let waiting = status.waiting();
    if waiting.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, waiting.join("\n") + "\n").into_response()
}

async fn metrics_page(State(status): State<Arc<dyn Status>>) -> Response {
    match metrics::text(status.metrics()) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("write the metrics: {e}\n")).into_response(),
    }
}
