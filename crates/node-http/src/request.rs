//! The parts of a request besides its body: the client, its session, its keys, the clock
//! token, the path and the query parameters.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http::{Identity, Problem};
use node::write::Seen;

use crate::description::{Operation, Parameter, Shape};
use crate::problems;

/// The longest session and the longest idempotency key, in bytes. The node allows 255, of which the
/// name of the token takes up to 64 and a colon.
const MAX_KEY: usize = 190;

/// The header that names the caller's session.
pub(crate) static SESSION: Parameter = Parameter::header(
    "X-Session-Id",
    Shape::NameUpTo(MAX_KEY),
    "The session of the caller. The node remembers what it last showed a session of a memory; a write of the session \
     without If-Match has seen that.",
);
/// The header with a key of the caller's choice, by which a repeated write is recognised
/// (draft-ietf-httpapi-idempotency-key-header).
pub(crate) static IDEMPOTENCY_KEY: Parameter = Parameter::header(
    "Idempotency-Key",
    Shape::NameUpTo(MAX_KEY),
    "A key of the caller's choice. A second request with the same key and the same content is answered as the first \
     was, for {PUBLISHED_KEPT}, and writes nothing.",
);
/// The header with the clock token of a write.
pub(crate) static CLOCK: Parameter = Parameter::header(
    "If-Match",
    Shape::Text,
    "The clock token of the memory as the caller has seen it: the ETag or `clock` of an earlier answer.",
);
/// The id of a memory in a path.
pub(crate) static MEMORY_ID: Parameter = Parameter::path(
    "id",
    Shape::Name,
    "The id of the memory, in percent-encoding. The memory with the id `search` has the path /v1/memories/%73earch.",
);
/// The user whose memories are asked for.
pub(crate) static USER_ID: Parameter = Parameter::query("user_id", Shape::Name, "Memories of this user alone.");
/// The session whose memories are asked for.
pub(crate) static SESSION_ID: Parameter =
    Parameter::query("session_id", Shape::Name, "Memories of this session alone.");
/// The place at which a page begins.
pub(crate) static CURSOR: Parameter = Parameter::query("cursor", Shape::Name, "The `next` of the page before.");

/// The client of a request.
#[derive(Clone)]
pub(crate) struct Client(Identity);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Client, Problem> {
        let identity = parts.extensions.get::<Identity>();
        let missing = || problems::internal("the request came by a server without access control");
        identity.cloned().map(Client).ok_or_else(missing)
    }
}

impl Client {
    /// Whether it may see and write what belongs to a user, or, for `None`, to no user.
    pub fn may_use(&self, user: Option<&str>) -> bool {
        self.0.may_use(user)
    }

    /// The name of its token; empty where it needs none.
    pub fn name(&self) -> &str {
        self.0.name().unwrap_or_default()
    }

    /// The users that it is bound to; `None` is all.
    pub fn users(&self) -> Option<&BTreeSet<String>> {
        self.0.users()
    }

    /// The users whose memories a list or a search is to have: those that the client may see, or
    /// the one that it asks for.
    pub fn users_for(&self, asked: Option<String>) -> Result<Option<BTreeSet<String>>, Problem> {
        let Some(user) = asked else { return Ok(self.users().cloned()) };
        if !self.may_use(Some(&user)) {
            return Err(problems::foreign_user("your token may not see the memories of this user"));
        }
        Ok(Some(BTreeSet::from([user])))
    }

    /// The user of a memory that the client writes: the one that it names, or the one to whom it is
    /// bound.
    pub fn user_of_new(&self, named: Option<String>) -> Result<Option<String>, Problem> {
        let Some(users) = self.users() else { return Ok(named) };
        match (named, users.first(), users.len()) {
            (Some(user), ..) if users.contains(&user) => Ok(Some(user)),
            (None, Some(user), 1) => Ok(Some(user.clone())),
            (Some(_), ..) => Err(problems::foreign_user("user_id should be a user to whom your token is bound")),
            (None, ..) => {
                Err(problems::foreign_user("your token is bound to several users: set user_id to one of them"))
            }
        }
    }

    /// The session that a request names.
    pub fn session(&self, headers: &HeaderMap) -> Result<Option<String>, Problem> {
        self.own_key(headers, &SESSION)
    }

    /// The idempotency key that a request has.
    pub fn idempotency_key(&self, headers: &HeaderMap) -> Result<Option<String>, Problem> {
        self.own_key(headers, &IDEMPOTENCY_KEY)
    }

    /// A key of the client's choice. The name of its token stands before it, so that equal keys of
    /// two tokens are two keys.
    fn own_key(&self, headers: &HeaderMap, header: &Parameter) -> Result<Option<String>, Problem> {
        let Some(key) = single(headers, header)? else { return Ok(None) };
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(problems::malformed(format!("the header {} should have 1 to {MAX_KEY} bytes", header.name)));
        }
        Ok(Some(format!("{}:{key}", self.0.name().unwrap_or_default())))
    }

    /// The state of the memory that the client has seen before it writes.
    pub fn seen(&self, headers: &HeaderMap) -> Result<Seen, Problem> {
        if let Some(name) =
            [header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE].iter().find(|name| headers.contains_key(*name))
        {
            let detail = format!("a write cannot depend on the header {name}; send the clock token in If-Match");
            return Err(problems::malformed(detail));
        }
        match single(headers, &CLOCK)? {
            Some(etag) => token(etag).map(|token| Seen::Token(token.to_owned())),
            None => Ok(self.session(headers)?.map_or(Seen::Present, Seen::Session)),
        }
    }
}

/// The token of an entity tag: `"token"`, or `W/"token"` where a proxy has compressed the answer,
/// or the token by itself.
fn token(etag: &str) -> Result<&str, Problem> {
    let tag = etag.strip_prefix("W/").unwrap_or(etag);
    let token = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
    let is_one = !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    is_one.then_some(token).ok_or_else(|| {
        problems::malformed("the header If-Match should have one clock token: the ETag or `clock` of an earlier answer")
    })
}

/// The value of a header that a request may have once.
pub(crate) fn single<'h>(headers: &'h HeaderMap, header: &Parameter) -> Result<Option<&'h str>, Problem> {
    let name = header.name;
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let wrong = || problems::malformed(format!("the header {name} should be there once, with ASCII characters alone"));
    text.map(|text| Some(text.trim())).ok_or_else(wrong)
}

/// The id of a memory in a path.
pub(crate) struct MemoryId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for MemoryId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<MemoryId, Problem> {
        let id: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let wrong = |_| problems::malformed("the id of the memory in the path is not UTF-8 text in percent-encoding");
        id.map(|Path(id)| MemoryId(id)).map_err(wrong)
    }
}

/// The query parameters of a request. Each is there once, and is one of those that the description
/// of the route has, so that a misspelt filter is an error and not a filter less.
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads the query parameters of a route.
    pub fn read(parts: &Parts, operation: &Operation) -> Result<Parameters, Problem> {
        let known: Vec<&str> = operation.query_names().collect();
        let query = parts.uri.query().unwrap_or_default();
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let all = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let name: String = name.chars().take(100).collect();
                return Err(problems::malformed(format!("there is no query parameter `{name}` here; known: {all}")));
            }
            if value.contains('\u{FFFD}') {
                return Err(problems::malformed(format!("the query parameter `{name}` is not UTF-8 text")));
            }
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(problems::malformed(format!("the query parameter `{name}` is there twice")));
            }
        }
        Ok(Parameters(parameters))
    }

    /// A text, which is not empty.
    pub fn text(&self, parameter: &Parameter) -> Result<Option<String>, Problem> {
        let name = parameter.name;
        match self.0.get(name) {
            Some(value) if value.is_empty() => {
                Err(problems::malformed(format!("the query parameter `{name}` has no value")))
            }
            value => Ok(value.cloned()),
        }
    }

    /// A whole number of the range that the parameter has.
    pub fn number(&self, parameter: &Parameter) -> Result<Option<usize>, Problem> {
        let (name, range) = (parameter.name, parameter.shape.range());
        let (least, most) = (*range.start(), *range.end());
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let number = value.parse().ok().filter(|number| range.contains(number));
        let wrong =
            || problems::malformed(format!("the query parameter `{name}` should be a number from {least} to {most}"));
        number.map(Some).ok_or_else(wrong)
    }

    /// `true` or `false`, which is also what an absent one means.
    pub fn flag(&self, parameter: &Parameter) -> Result<bool, Problem> {
        let name = parameter.name;
        match self.0.get(name).map(String::as_str) {
            Some("true") => Ok(true),
            Some("false") | None => Ok(false),
            Some(_) => Err(problems::malformed(format!("the query parameter `{name}` should be true or false"))),
        }
    }

    /// A number with a fraction.
    pub fn fraction(&self, parameter: &Parameter) -> Result<Option<f64>, Problem> {
        let name = parameter.name;
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let number = value.parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| problems::malformed(format!("the query parameter `{name}` should be a number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_every_form_of_an_entity_tag() {
        for (etag, expected) in [
            ("\"aB-_9\"", Some("aB-_9")),
            ("W/\"a\"", Some("a")),
            ("a", Some("a")),
            ("*", None),
            ("", None),
            ("\"\"", None),
            ("\"a\", \"b\"", None),
            ("\"a", None),
        ] {
            assert_eq!(token(etag).ok(), expected, "{etag}");
        }
    }
}
