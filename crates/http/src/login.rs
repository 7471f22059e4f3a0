//! The login form, which turns a token into a cookie: a browser that follows a link sends no bearer
//! token. And its end, `/logout`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Redirect, Response};

use super::access::{self, Access};
use super::html::escape;
use super::sessions::LIFE;

/// The longest path that a login leads to.
const MAX_NEXT: usize = 2048;

/// GET /login.
pub(super) async fn form(State(access): State<Arc<Access>>, request: Request) -> Response {
    let next = field(request.uri().query().unwrap_or_default().as_bytes(), "next");
    if access.tokens.is_none() {
        return Redirect::to(local(&next)).into_response();
    }
    page(StatusCode::OK, &next, "")
}

/// POST /login.
pub(super) async fn log_in(State(access): State<Arc<Access>>, request: Request) -> Response {
    let Some(tokens) = &access.tokens else { return Redirect::to("/").into_response() };
    let (parts, body) = request.into_parts();
    let body = match access::read_body(&access, body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_text(),
    };
    let next = field(&body, "next");
    let Some(token) = tokens.current().find(field(&body, "token").trim()) else {
        access::refuse(&access, &parts.extensions).await;
        return page(
            StatusCode::UNAUTHORIZED,
            &next,
            "<p role=\"alert\">This token is not in the token file [HS6511].</p>\n",
        );
    };
    tracing::info!("HTTP: {} logged in", token.name);
    match access.sessions.begin(token) {
        Ok(id) => with_cookie(&access, local(&next), &id, LIFE.as_secs()),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot begin a session: {e}\n")).into_response(),
    }
}

/// POST /logout: the form token was looked at before.
pub(super) async fn log_out(State(access): State<Arc<Access>>, headers: HeaderMap) -> Response {
    if let Some(id) = access::cookie(&headers, &access.cookie) {
        access.sessions.end(id);
    }
    with_cookie(&access, "/login", "", 0)
}

/// Sends the browser on, with a cookie of this life in seconds.
fn with_cookie(access: &Access, next: &str, value: &str, life: u64) -> Response {
    let secure = if access.secure { "; Secure" } else { "" };
    let cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life}{secure}", access.cookie);
    ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response()
}

/// A field of a form.
fn field(form: &[u8], name: &str) -> String {
    form_urlencoded::parse(form).find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The path to go to after a login: only one of this server. Browsers take `//host`, `/\host` and
/// the same with a tab in it for another host's address.
fn local(next: &str) -> &str {
    let is_plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if next.starts_with('/') && !next.starts_with("//") && is_plain && next.len() <= MAX_NEXT { next } else { "/" }
}

fn page(status: StatusCode, next: &str, message: &str) -> Response {
    let next = escape(local(next));
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>helixstream: log in</title></head>\n<body>\n\
         <h1>helixstream</h1>\n{message}<form method=\"post\" action=\"/login\">\n\
         <input type=\"hidden\" name=\"next\" value=\"{next}\">\n\
         <label>Token <input type=\"password\" name=\"token\" autocomplete=\"current-password\" required autofocus></label>\n\
         <button>Log in</button>\n</form>\n</body></html>\n"
    );
    (status, Html(text)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_this_server_only() {
        for good in ["/", "/metrics", "/a?b=c&d=/e", "/a//b"] {
            assert_eq!(local(good), good);
        }
        let long = format!("/{}", "a".repeat(MAX_NEXT));
        for bad in ["", "metrics", "//evil", "/\\evil", "/\t/evil", "\t//evil", "https://evil", "/a\r\nb", "/é", &long]
        {
            assert_eq!(local(bad), "/", "{bad:?}");
        }
    }
}
