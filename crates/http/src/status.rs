//! The pages that every server shows of its instance: `/live` and `/ready` for health checks,
//! `/metrics` for Prometheus, `/` for people.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};

use super::access::{Caller, FORM_TOKEN, LOGOUT, wants_page};
use super::connections::ConnectionPermit;
use super::html::escape;
use super::metrics::{self, Family};
use super::tokens::Token;

/// State of an instance that the pages show; it is read anew at each request.
pub trait InstanceStatus: Send + Sync + 'static {
    /// Reasons why the instance is not ready, one line each; empty when it is ready.
    fn waiting(&self) -> Vec<String>;

    /// Facts that one should know of an instance, be it ready or not, one line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// All metrics.
    fn metrics(&self) -> Vec<Family>;
}

/// The routes of a status.
pub(super) fn routes(status: Arc<dyn InstanceStatus>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_page))
        .with_state(status)
}

async fn ready(State(status): State<Arc<dyn InstanceStatus>>) -> Response {
    let mut lines = status.waiting();
    let code = if lines.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if lines.is_empty() {
        lines.push("ready".to_owned());
    }
    lines.extend(status.notes());
    (code, lines.join("\n") + "\n").into_response()
}

async fn metrics_page(
    State(status): State<Arc<dyn InstanceStatus>>,
    Extension(slot): Extension<Arc<ConnectionPermit>>,
    headers: HeaderMap,
) -> Response {
    // Browsers save a type that they do not know to a file in place of showing it.
    let content_type = if wants_page(&headers) { metrics::SHOWN_TYPE } else { metrics::CONTENT_TYPE };
    let mut families = status.metrics();
    families.extend(slot.metrics());
    match metrics::text(families) {
        Ok(text) => ([(header::CONTENT_TYPE, content_type), (header::VARY, "Accept")], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("write the metrics: {e}\n")).into_response(),
    }
}

async fn overview(State(status): State<Arc<dyn InstanceStatus>>, Extension(caller): Extension<Caller>) -> Html<String> {
    let waiting = status.waiting();
    let state = if waiting.is_empty() { "Ready." } else { "Not ready:" };
    let lines: String =
        waiting.iter().chain(&status.notes()).map(|line| format!("<li>{}</li>\n", escape(line))).collect();
    let bearer = caller.token().map(|token| format!("<p>{}</p>\n", escape(&described(token)))).unwrap_or_default();
    let log_out = match &caller {
        Caller::Browser(session) => format!(
            "<form method=\"post\" action=\"{LOGOUT}\"><input type=\"hidden\" name=\"{FORM_TOKEN}\" value=\"{}\">\
             <button>Log out</button></form>\n",
            escape(session.form_token())
        ),
        Caller::Anyone | Caller::Bearer(_) => String::new(),
    };
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>helixstream</title></head>\n<body>\n\
         <h1>helixstream</h1>\n<p>{state}</p>\n<ul>\n{lines}</ul>\n\
         <p><a href=\"/metrics\">Metrics</a> <a href=\"/ready\">Readiness</a></p>\n{bearer}{log_out}</body></html>\n"
    ))
}

/// A token as its bearer reads it.
fn described(token: &Token) -> String {
    let rights: Vec<&str> = token.rights.iter().map(|right| right.name()).collect();
    let users = token.users.as_ref().map_or_else(
        || "all users".to_owned(),
        |users| format!("users {}", users.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
    );
    format!("Token {}: rights {}; {users}.", token.name, rights.join(", "))
}
