//! Access control. With a token file every request but `/live`, `/ready` and the login form needs a
//! bearer token or a session; GET and HEAD need its right `read`, everything else `act`. Routes of
//! an API that read by another method need `read` besides ([`require_read`]). A form that a session
//! sends needs the session's form token as well.
//!
//! A refusal is a line of text for a page, and a problem document for a route of an API.
//!
//! A token in a URL is never looked at: URLs end up in logs and histories.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Extensions, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::connections::ConnectionPermit;
use super::hosts::Hosts;
use super::identity::Identity;
use super::problem::{Problem, ProblemKind};
use super::sessions::{Session, Sessions};
use super::throttle::Throttle;
use super::tokens::{Right, Token, Tokens};
use super::watched::Watched;

/// Paths that ask for nothing. `/login` is where one shows a token.
const OPEN: [&str; 3] = ["/live", "/ready", "/login"];
/// Ends a session; any session may.
pub(super) const LOGOUT: &str = "/logout";
/// The field of a form that holds the form token.
pub(super) const FORM_TOKEN: &str = "csrf_token";
/// The header that a script sends the form token in.
const FORM_TOKEN_HEADER: &str = "x-csrf-token";
/// How long a refused token keeps its bearer waiting.
pub(super) const REFUSAL_DELAY: Duration = Duration::from_millis(500);
const CHALLENGE: &str = "Bearer realm=\"helixstream\"";

/// The answer to a request without a token that is in the token file.
pub const NO_VALID_TOKEN: ProblemKind =
    ProblemKind::new(StatusCode::UNAUTHORIZED, "HS6511", "The request has no valid token");
/// The answer to a request whose token lacks the right that it needs.
pub const MISSING_RIGHT: ProblemKind = ProblemKind::new(StatusCode::FORBIDDEN, "HS6512", "The token lacks a right");
/// The answer to a request that a browser has sent from a page of another site.
pub const OTHER_SITE: ProblemKind =
    ProblemKind::new(StatusCode::FORBIDDEN, "HS6513", "The request was not sent by a page of this server");
/// The answer to a form of a browser that is too large to look for its form token.
pub const LARGE_FORM: ProblemKind =
    ProblemKind::new(StatusCode::PAYLOAD_TOO_LARGE, "HS6515", "The body is incomplete or too large");

/// Caller of a request.
#[derive(Clone)]
pub(super) enum Caller {
    /// There is no token file: everybody who can connect.
    Anyone,
    /// A program that showed this token.
    Bearer(Arc<Token>),
    /// A browser that has logged in.
    Browser(Session),
}

impl Caller {
    /// The token that it showed, now or when it logged in.
    pub fn token(&self) -> Option<&Arc<Token>> {
        match self {
            Caller::Anyone => None,
            Caller::Bearer(token) => Some(token),
            Caller::Browser(session) => Some(&session.token),
        }
    }
}

/// Access rules of a server.
pub(super) struct Access {
    /// The token file; `None` when everybody who can connect may ask.
    pub tokens: Option<Arc<Watched<Tokens>>>,
    /// The hosts that requests may name.
    pub hosts: Hosts,
    /// Browsers that have logged in.
    pub sessions: Sessions,
    /// The cookie's name, with the port: browsers send cookies to every port of a host.
    pub cookie: String,
    /// Whether we serve TLS, so that the cookie never goes over anything else.
    pub secure: bool,
    /// Bytes of a body at most.
    pub body_bytes: usize,
    /// Lines about refused tokens.
    pub refusals: Throttle,
    /// The prefixes of the paths of APIs, which answer with problem documents.
    pub apis: Vec<&'static str>,
}

impl Access {
    fn is_of_api(&self, path: &str) -> bool {
        let mut rests = self.apis.iter().filter_map(|prefix| path.strip_prefix(prefix));
        rests.any(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The access of the client of a stream, which may end before the stream does.
#[derive(Clone)]
pub(super) struct ContinuedAccess {
    access: Arc<Access>,
    token: Option<Arc<Token>>,
    /// The id of the session of a browser.
    session: Option<String>,
}

impl ContinuedAccess {
    fn of(access: &Arc<Access>, request: &Request) -> ContinuedAccess {
        let caller = request.extensions().get::<Caller>();
        let is_browser = matches!(caller, Some(Caller::Browser(_)));
        let session = cookie(request.headers(), &access.cookie).filter(|_| is_browser);
        ContinuedAccess {
            access: Arc::clone(access),
            token: caller.and_then(Caller::token).cloned(),
            session: session.map(str::to_owned),
        }
    }

    /// Whether the token stands in the file as it did, and the session has not ended.
    pub fn holds(&self) -> bool {
        let (Some(token), Some(tokens)) = (&self.token, &self.access.tokens) else { return true };
        let tokens = tokens.current();
        let now = match &self.session {
            Some(id) => self.access.sessions.find(id, &tokens).map(|session| session.token),
            None => tokens.same(token),
        };
        now.as_ref() == Some(token)
    }
}

/// Why a request does not reach its route.
pub(super) enum Refusal {
    /// A browser is sent to this path, where it logs in.
    LogIn(String),
    /// Anyone else learns this.
    Problem(Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal::Problem(problem)
    }
}

/// Lets a request through, or says why not; adds what a browser is to know of every answer.
pub(super) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let is_of_api = access.is_of_api(request.uri().path());
    let admitted = match access.hosts.refusal(&request) {
        Some(problem) => Err(problem.into()),
        None => admit(&access, request).await,
    };
    let mut response = match admitted {
        Ok(request) => {
            let continued = ContinuedAccess::of(&access, &request);
            let mut response = next.run(request).await;
            if response.body().size_hint().exact().is_none() {
                response.extensions_mut().insert(continued);
            }
            response
        }
        Err(Refusal::LogIn(path)) => Redirect::to(&path).into_response(),
        Err(Refusal::Problem(problem)) if is_of_api => problem.into_response(),
        Err(Refusal::Problem(problem)) => problem.into_text(),
    };
    // Pages hold no scripts and nothing of other sites, and nobody keeps or frames them.
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn admit(access: &Access, mut request: Request) -> Result<Request, Refusal> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if OPEN.contains(&request.uri().path()) {
        return if is_safe || is_same_origin(request.headers()) { Ok(request) } else { Err(cross_site().into()) };
    }
    let Some(tokens) = &access.tokens else {
        if !is_safe && !is_same_origin(request.headers()) {
            return Err(cross_site().into());
        }
        request.extensions_mut().insert(Caller::Anyone);
        request.extensions_mut().insert(Identity::new(None));
        return Ok(request);
    };
    let (mut parts, mut body) = request.into_parts();
    let caller = caller(access, &tokens.current(), &parts).await?;
    let needed = if is_safe { Right::Read } else { Right::Act };
    if parts.uri.path() != LOGOUT && !caller.token().is_some_and(|token| token.rights.contains(&needed)) {
        return Err(forbidden(needed).into());
    }
    if let (Caller::Browser(session), false) = (&caller, is_safe) {
        body = with_form_token(access, session, &parts.headers, body).await?;
    }
    parts.extensions.insert(Identity::new(caller.token().cloned()));
    parts.extensions.insert(caller);
    Ok(Request::from_parts(parts, body))
}

/// A layer of routes of an API that answer with what belongs to users by another method than GET:
/// whoever asks needs the right `read`, too.
pub async fn require_read(request: Request, next: Next) -> Response {
    match request.extensions().get::<Identity>() {
        Some(identity) if identity.may_read() => next.run(request).await,
        _ => forbidden(Right::Read).into_response(),
    }
}

async fn caller(access: &Access, tokens: &Tokens, request: &Parts) -> Result<Caller, Refusal> {
    let headers = &request.headers;
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        if let Some(token) = value.to_str().ok().and_then(bearer).and_then(|shown| tokens.find(shown)) {
            return Ok(Caller::Bearer(token));
        }
        refuse(access, &request.extensions).await;
        return Err(unauthorized("the token is not in the token file", ", error=\"invalid_token\"").into());
    }
    if let Some(session) = cookie(headers, &access.cookie).and_then(|id| access.sessions.find(id, tokens)) {
        return Ok(Caller::Browser(session));
    }
    if let Some(slot) = request.extensions.get::<Arc<ConnectionPermit>>() {
        slot.count_unauthorized();
    }
    if wants_page(headers) && request.method == Method::GET {
        let whole = request.uri.path_and_query().map_or("/", |path| path.as_str());
        let next: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", whole).finish();
        return Err(Refusal::LogIn(format!("/login?{next}")));
    }
    Err(unauthorized("send a token: `Authorization: Bearer TOKEN`; a browser logs in at /login", "").into())
}

/// Whether a browser asks, which shows what it gets to somebody: only such a client asks for HTML.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("text/html"))
}

/// Counts a wrong token, logs it at intervals, and delays the answer.
pub(super) async fn refuse(access: &Access, request: &Extensions) {
    if let Some(count) = access.refusals.count() {
        let peer = request.get::<SocketAddr>();
        let from = peer.map_or_else(|| "an unknown address".to_owned(), ToString::to_string);
        tracing::warn!(
            code = "HS6059",
            "HTTP: a token that is not in the token file was refused, from {from} ({count} since the last such line)"
        );
    }
    if let Some(slot) = request.get::<Arc<ConnectionPermit>>() {
        slot.count_unauthorized();
        slot.hold_back(REFUSAL_DELAY).await;
    }
}

/// The token of an `Authorization` header. Clients of Mem0's API send theirs under the scheme
/// `Token`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let is_known = ["bearer", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    is_known.then_some(token.trim())
}

/// A cookie of the request.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Whether a request that changes something was sent by a page of ours, or by no page at all.
/// Browsers say where a request comes from; a program that is no browser need not.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return matches!(site, "same-origin" | "none");
    }
    // Browsers leave Sec-Fetch-Site out where the page came by plain HTTP from another machine.
    let Some(origin) = text(header::ORIGIN) else { return true };
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    host.is_some() && host == text(header::HOST)
}

/// Looks for the form token in the header or the form, and returns the body back for whom it is
/// for.
async fn with_form_token(access: &Access, session: &Session, headers: &HeaderMap, body: Body) -> Result<Body, Problem> {
    let refusal = || of_another_site("the form token is missing or wrong: load the page again");
    if let Some(shown) = headers.get(FORM_TOKEN_HEADER) {
        let is_right = shown.to_str().is_ok_and(|shown| session.is_form_token(shown));
        return if is_right { Ok(body) } else { Err(refusal()) };
    }
    let bytes = read_body(access, body).await?;
    let field = form_urlencoded::parse(&bytes).find(|(key, _)| key == FORM_TOKEN);
    let is_right = field.is_some_and(|(_, shown)| session.is_form_token(&shown));
    if is_right { Ok(Body::from(bytes)) } else { Err(refusal()) }
}

/// The whole body of a request.
pub(super) async fn read_body(access: &Access, body: Body) -> Result<axum::body::Bytes, Problem> {
    let most = access.body_bytes;
    to_bytes(body, most).await.map_err(|_| {
        let detail = format!("the body is incomplete or has more than {most} bytes");
        Problem::new(LARGE_FORM, detail)
    })
}

fn unauthorized(detail: &'static str, error: &str) -> Problem {
    challenged(Problem::new(NO_VALID_TOKEN, detail), error)
}

fn forbidden(needed: Right) -> Problem {
    let needed = needed.name();
    let detail = format!("this token lacks the right `{needed}`");
    challenged(Problem::new(MISSING_RIGHT, detail), &format!(", error=\"insufficient_scope\", scope=\"{needed}\""))
}

/// Adds the challenge of a bearer token (RFC 6750, section 3).
fn challenged(problem: Problem, error: &str) -> Problem {
    match HeaderValue::try_from(format!("{CHALLENGE}{error}")) {
        Ok(challenge) => problem.with_header(header::WWW_AUTHENTICATE, challenge),
        // Both parts are text of ours, which a header can hold.
        Err(_) => problem,
    }
}

fn cross_site() -> Problem {
    of_another_site("this request was refused: a page of another site sent it")
}

fn of_another_site(detail: &'static str) -> Problem {
    Problem::new(OTHER_SITE, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn a_page_of_another_site_is_known() {
        for (pairs, expected) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            // Another port of this host is the same site, and not the same origin.
            (&[("sec-fetch-site", "same-site")], false),
            (&[("origin", "http://a:1"), ("host", "a:1")], true),
            (&[("origin", "https://a"), ("host", "a")], true),
            (&[("origin", "http://a:2"), ("host", "a:1")], false),
            (&[("origin", "null"), ("host", "a:1")], false),
            (&[("origin", "null")], false),
        ] {
            assert_eq!(is_same_origin(&headers(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn cookies_and_bearer_tokens_are_read() {
        let all = headers(&[("cookie", "a=1; name=x=y ;b=2")]);
        assert_eq!((cookie(&all, "name"), cookie(&all, "am")), (Some("x=y"), None));
        for (value, expected) in [
            ("Bearer t", Some("t")),
            ("bearer  t ", Some("t")),
            ("Token t", Some("t")),
            ("Basic t", None),
            ("Bearer", None),
            ("t", None),
        ] {
            assert_eq!(bearer(value), expected, "{value}");
        }
    }
}
