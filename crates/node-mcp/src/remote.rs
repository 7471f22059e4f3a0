//! A node that runs elsewhere, as its HTTP client.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{StatusCode, header};
use reqwest::redirect::Policy;
use secret::{SecretError, SecretSource};

use crate::exchange::{Answer, IDEMPOTENCY_KEY, JSON, MAX_ANSWER, NodeRequest};
use crate::refusals;

/// One request, from the connection to the end of the answer. The node itself ends an answer after
/// 30 seconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// The connection alone.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait before each further try.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// Why a node cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum RemoteNodeError {
    /// The URL is none of a node.
    #[error(
        "the URL of the node should be http:// or https:// with a host, such as http://127.0.0.1:8001, and have no user or query [HS8108]"
    )]
    Url,
    /// The file of authorities cannot be used.
    #[error("the file of authorities {} {why}; name a file with certificates in PEM by --node-ca-file [HS8109]", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The problem.
        why: String,
    },
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] SecretError),
    /// The client cannot be made.
    #[error(
        "the HTTP client cannot be made: {0}; install the system's certificates of authorities (ca-certificates), or name a file of them \
         by --node-ca-file [HS8110]"
    )]
    Client(String),
}

/// A node that runs elsewhere.
#[derive(Debug)]
pub struct RemoteNode {
    /// Without a slash at its end.
    url: String,
    token: Option<SecretSource>,
    client: reqwest::Client,
}

impl RemoteNode {
    /// A node at a URL, such as `http://127.0.0.1:8001`. Its token is read anew for each request.
    /// The authorities of `ca_file` (PEM) are trusted besides the system's.
    ///
    /// # Errors
    /// [`RemoteNodeError`]
    pub fn new(url: &str, token: Option<SecretSource>, ca_file: Option<&Path>) -> Result<RemoteNode, RemoteNodeError> {
        let parsed = reqwest::Url::parse(url).map_err(|_| RemoteNodeError::Url)?;
        let is_open = parsed.username().is_empty() && parsed.password().is_none();
        let is_plain = is_open && parsed.query().is_none() && parsed.fragment().is_none();
        if !is_plain || !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(RemoteNodeError::Url);
        }
        token.as_ref().map(SecretSource::read).transpose()?;
        // Another part of the process may have chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A redirect would send the token elsewhere.
        let mut client = reqwest::Client::builder().timeout(REQUEST_LIMIT).redirect(Policy::none());
        client = client.connect_timeout(CONNECT_LIMIT);
        if let Some(path) = ca_file {
            client = client.tls_certs_merge(authorities(path)?);
        }
        let client = client.build().map_err(|error| RemoteNodeError::Client(whole(&error)))?;
        Ok(RemoteNode { url: parsed.as_str().trim_end_matches('/').to_owned(), token, client })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request, and again where no answer has come: the node recognises a repeated write by
    /// its key.
    pub(crate) async fn ask(&self, request: &NodeRequest) -> Result<Answer, String> {
        let mut pauses = PAUSES.iter();
        loop {
            let (status, body) = match self.send(request).await {
                Ok(answer) => answer,
                Err(Failure::Refused(text)) => return Err(text),
                Err(Failure::NoAnswer(why)) => match pauses.next() {
                    Some(pause) => {
                        tokio::time::sleep(*pause).await;
                        continue;
                    }
                    None => return Err(refusals::unreachable(&self.url, &why)),
                },
            };
            return Ok(Answer::new(status, &body));
        }
    }

    async fn send(&self, request: &NodeRequest) -> Result<(StatusCode, Vec<u8>), Failure> {
        let mut sent = self.client.request(request.method.clone(), format!("{}/v1{}", self.url, request.path));
        if let Some(token) = &self.token {
            let token = token.read().map_err(|error| Failure::Refused(refusals::token(&error)))?;
            sent = sent.bearer_auth(token.expose());
        }
        if let Some(clock) = &request.clock {
            let clock =
                reqwest::header::HeaderValue::try_from(clock).map_err(|_| Failure::Refused(refusals::bad_clock()))?;
            sent = sent.header(header::IF_MATCH, clock);
        }
        if let Some(key) = &request.idempotency_key {
            sent = sent.header(IDEMPOTENCY_KEY, key);
        }
        sent = sent.header(header::CONTENT_TYPE, JSON);
        if let Some(body) = &request.body {
            sent = sent.body(body.to_string());
        }
        let no_answer = |error: reqwest::Error| Failure::NoAnswer(whole(&error.without_url()));
        let mut answer = sent.send().await.map_err(no_answer)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(no_answer)? {
            if body.len() + part.len() > MAX_ANSWER {
                return Err(Failure::Refused(refusals::internal("its answer is too large")));
            }
            body.extend_from_slice(&part);
        }
        Ok((answer.status(), body))
    }
}

/// A request without an answer.
enum Failure {
    /// It was not sent, or its answer cannot be used; another try would end in the same way.
    Refused(String),
    /// The connection failed.
    NoAnswer(String),
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, RemoteNodeError> {
    let wrong = |why: String| RemoteNodeError::Authorities { path: path.to_owned(), why };
    let pem = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let all = reqwest::Certificate::from_pem_bundle(&pem);
    let all = all.map_err(|error| wrong(format!("holds no certificates in PEM: {}", whole(&error))))?;
    if all.is_empty() { Err(wrong("has no block `BEGIN CERTIFICATE`".to_owned())) } else { Ok(all) }
}

/// An error with all its causes.
fn whole(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_node_is_checked() {
        for url in ["", "127.0.0.1:8001", "ftp://a", "http://user:secret@a", "http://a?b", "http://a#b", "file:///a"] {
            let error = RemoteNode::new(url, None, None).unwrap_err().to_string();
            assert!(error.ends_with("[HS8108]") && !error.contains("secret"), "{url}: {error}");
        }
        for (url, shown) in [("http://a:1", "http://a:1"), ("https://a/", "https://a"), ("http://a/b/", "http://a/b")] {
            assert_eq!(RemoteNode::new(url, None, None).unwrap().url(), shown);
        }
    }

    #[test]
    fn files_of_no_use_are_said_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("empty");
        std::fs::write(&file, "").unwrap();
        let token = SecretSource::file(&file, "--token-file");
        let error = RemoteNode::new("http://a", Some(token), None).unwrap_err().to_string();
        assert!(error.contains("is empty"), "{error}");
        let error = RemoteNode::new("http://a", None, Some(&file)).unwrap_err().to_string();
        assert!(error.ends_with("[HS8109]"), "{error}");
    }
}
