//! The callers of tools, and their sessions.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use http::Identity;
use rmcp::RoleServer;
use rmcp::service::RequestContext;

use crate::refusals;
use crate::sessions::Session;

/// The header by which a host names the session itself. The node's other routes know it, too.
const NAMED_SESSION: HeaderName = HeaderName::from_static("x-session-id");
/// The header of MCP's own sessions, which versions of the protocol before 2026-07-28 have.
pub(crate) const MCP_SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The longest name of a session, in bytes.
const MAX_NAME: usize = 190;

/// The caller of a tool.
pub(crate) struct Caller {
    /// The client of the HTTP request; `None` on standard streams, where the node's own access
    /// control knows the token that the process sends.
    pub identity: Option<Identity>,
    /// The session, whose clock tokens are kept; `None` where no header names one.
    pub session: Option<Session>,
}

impl Caller {
    /// The caller of a request.
    pub fn of(context: &RequestContext<RoleServer>) -> Result<Caller, String> {
        let Some(parts) = context.extensions.get::<Parts>() else {
            // A process has one agent.
            return Ok(Caller { identity: None, session: Some(Session::default()) });
        };
        let identity = parts.extensions.get::<Identity>().cloned();
        let identity = identity.ok_or_else(|| refusals::internal("the request came by no access control"))?;
        let session = session(&parts.headers)?;
        let client = identity.name().unwrap_or_default().to_owned();
        let session = session.map(|name| Session { client, name });
        Ok(Caller { identity: Some(identity), session })
    }
}

/// The session that headers name.
fn session(headers: &HeaderMap) -> Result<Option<String>, String> {
    for name in [NAMED_SESSION, MCP_SESSION] {
        let Some(value) = headers.get(&name) else { continue };
        let text = value.to_str().ok().map(str::trim).filter(|text| !text.is_empty() && text.len() <= MAX_NAME);
        let text = text.ok_or_else(|| refusals::bad_session(name.as_str(), MAX_NAME))?;
        return Ok(Some(format!("{name}:{text}")));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_session_that_a_host_names_has_precedence() {
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_str(v).unwrap())).collect()
        };
        let named = |pairs: &[(&'static str, &str)]| session(&headers(pairs));
        assert_eq!(named(&[]), Ok(None));
        assert_eq!(named(&[("mcp-session-id", "a")]), Ok(Some("mcp-session-id:a".to_owned())));
        let both = named(&[("mcp-session-id", "a"), ("x-session-id", " b ")]);
        assert_eq!(both, Ok(Some("x-session-id:b".to_owned())));
        for wrong in ["", " ", &"x".repeat(MAX_NAME + 1)] {
            assert!(named(&[("x-session-id", wrong)]).unwrap_err().ends_with("[HS8101]"), "{wrong}");
        }
    }
}
