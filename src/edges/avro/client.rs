//! Calls the schema registry by Confluent's REST API: which of its addresses is asked, and what an answer says about us.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::access::{Access, cut, shown};
use super::settings::{Authentication, RegistrySettings, SettingsError};
use super::tls::{Clients, Peer, explained};

/// The most that an answer may hold, in bytes: the list of all subjects is the longest.
const MAX_ANSWER_BYTES: usize = 64 << 20;
const CONTENT: &str = "application/vnd.schemaregistry.v1+json";

/// Asks a registry that has one address or several.
pub(super) struct Client {
    urls: Vec<Url>,
    /// The address that answered last; it is asked first.
    current: AtomicUsize,
    access: Access,
    clients: Clients,
}

/// An answer of the registry, of whatever status below 500.
pub(super) struct Reply {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// The address that gave it.
    pub at: String,
}

/// The registry gave no answer that says anything about what was asked.
#[derive(Debug)]
pub(super) struct Outage {
    /// Why, and what to do.
    pub why: String,
    /// Whether it answered with a fault of its own (5xx), rather than not at all.
    pub is_server_fault: bool,
}

impl Outage {
    fn new(why: String) -> Outage {
        Outage { why, is_server_fault: false }
    }
}

/// What the registry says with an error (Confluent's API).
#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    error_code: u32,
    #[serde(default)]
    message: String,
}

impl Reply {
    /// The registry's own code of an error, such as 40403; 0 where it gives none.
    pub fn code(&self) -> u32 {
        self.said().error_code
    }

    /// The status, and what the registry says.
    pub fn words(&self) -> String {
        let said = self.said();
        let status = self.status.as_u16();
        if said.error_code == 0 && said.message.is_empty() {
            return self.status.to_string();
        }
        let code =
            if said.error_code == u32::from(status) { String::new() } else { format!(", code {}", said.error_code) };
        format!("{status}{code}, {}", cut(&said.message))
    }

    fn said(&self) -> Said {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Client {
    /// # Errors
    /// An address is no URL, or a file of the settings cannot be used.
    pub fn new(settings: &RegistrySettings) -> Result<Client, SettingsError> {
        let mut urls = Vec::new();
        for text in settings.url.split(',').map(str::trim) {
            let url = Url::parse(text.trim_end_matches('/')).ok();
            let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            urls.push(url.ok_or_else(|| {
                let what = "the schema registry's address is no URL such as http://localhost:8081; several stand with commas between them";
                SettingsError(what.to_owned())
            })?);
        }
        if settings.key_file.is_some() && settings.certificate_file.is_none() {
            return Err(SettingsError("`key_file` is set without `certificate_file`: set both".to_owned()));
        }
        let has_user_in_url = urls.iter().any(|url| !url.username().is_empty() || url.password().is_some());
        if has_user_in_url && settings.authentication != Authentication::None {
            let what = "a user stands in the schema registry's URL, and another way to authenticate is set: leave one of them out";
            return Err(SettingsError(what.to_owned()));
        }
        let (access, clients) = (Access::new(&settings.authentication)?, Clients::new(settings));
        clients.client(Peer::Registry)?;
        if matches!(settings.authentication, Authentication::OAuth(_)) {
            clients.client(Peer::TokenEndpoint)?;
        }
        let is_open = |url: &&Url| url.scheme() == "http" && !is_loopback(url);
        if (access.has_secret() || has_user_in_url)
            && let Some(url) = urls.iter().find(is_open)
        {
            tracing::warn!(
                "the schema registry at {} is asked over plain HTTP, so everyone on the way can read the credentials: use https://",
                shown(url.as_str())
            );
        }
        Ok(Client { urls, current: AtomicUsize::new(0), access, clients })
    }

    /// The address that is asked first, without a password.
    pub fn address(&self) -> String {
        self.urls.get(self.current.load(Ordering::Relaxed)).map_or_else(String::new, |url| shown(url.as_str()))
    }

    /// Gets what stands at a path.
    ///
    /// # Errors
    /// No address answers.
    pub async fn get(&self, path: &[&str], query: &str) -> Result<Reply, Outage> {
        self.call(path, query, None).await
    }

    /// Posts a body.
    ///
    /// # Errors
    /// No address answers.
    pub async fn post(&self, path: &[&str], query: &str, body: &str) -> Result<Reply, Outage> {
        self.call(path, query, Some(body)).await
    }

    /// Asks the addresses in turn, from the one that answered last.
    async fn call(&self, path: &[&str], query: &str, body: Option<&str>) -> Result<Reply, Outage> {
        let first = self.current.load(Ordering::Relaxed);
        let (mut whys, mut is_server_fault) = (Vec::new(), false);
        for step in 0..self.urls.len() {
            let at = (first + step) % self.urls.len();
            let Some(url) = self.urls.get(at) else { continue };
            match self.call_one(url, path, query, body).await {
                Ok(reply) if !may_pass(reply.status) => {
                    if step > 0 {
                        self.current.store(at, Ordering::Relaxed);
                        tracing::warn!(
                            "the schema registry is asked at {} from now on: {}",
                            shown(url.as_str()),
                            whys.join("; ")
                        );
                    }
                    return Ok(reply);
                }
                Ok(reply) => {
                    is_server_fault = is_server_fault || reply.status.is_server_error();
                    whys.push(format!("{} answers {}", shown(url.as_str()), reply.words()));
                }
                Err(why) => whys.push(format!("{}: {why}", shown(url.as_str()))),
            }
        }
        Err(Outage { why: whys.join("; "), is_server_fault })
    }

    async fn call_one(&self, base: &Url, path: &[&str], query: &str, body: Option<&str>) -> Result<Reply, String> {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let host = base.host_str().unwrap_or_default();
        let mut has_renewed = false;
        loop {
            let client = self.clients.client(Peer::Registry).map_err(|e| e.to_string())?;
            let request = match body {
                None => client.get(url.clone()),
                Some(body) => client.post(url.clone()).header(CONTENT_TYPE, CONTENT).body(body.to_owned()),
            };
            let request = self.access.authenticate(request.header(ACCEPT, CONTENT), &self.clients).await?;
            let reply = request.send().await.map_err(|e| explained(e, host))?;
            let status = reply.status();
            if status == StatusCode::UNAUTHORIZED && self.access.is_renewable() && !has_renewed {
                has_renewed = true;
                self.access.forget_token().await;
                continue;
            }
            let body = bounded(reply).await?;
            return Ok(Reply { status, body, at: shown(base.as_str()) });
        }
    }

    /// Whether the registry serves us at all. It is asked after it has refused one request, so that a refusal which concerns what
    /// was asked for can be told from one which concerns us: every registry lists its subjects, to everyone whom it knows.
    ///
    /// # Errors
    /// It does not: why, and what to do.
    pub async fn serves_us(&self, refused: &Reply) -> Result<(), Outage> {
        let reply = self.get(&["subjects"], "").await?;
        if !reply.status.is_success() {
            return Err(self.refusal(&reply));
        }
        match serde_json::from_slice::<Vec<String>>(&reply.body) {
            Err(_) => Err(Outage::new(format!(
                "{} answers, but not as a schema registry does: check the path of `url` in [schema_registry] (of Apicurio it ends with \
                 /apis/ccompat/v7)",
                reply.at
            ))),
            // One that shows nobody's subjects to us has not denied this one request.
            Ok(subjects) if subjects.is_empty() && refused.status == StatusCode::FORBIDDEN => {
                Err(self.refusal(refused))
            }
            Ok(_) => Ok(()),
        }
    }

    /// What an answer that refuses us means.
    pub fn refusal(&self, reply: &Reply) -> Outage {
        let (at, words, who) = (&reply.at, reply.words(), self.access.name());
        Outage::new(match reply.status {
            StatusCode::UNAUTHORIZED => format!("{at} does not know us ({words}): {}", self.access.remedy()),
            StatusCode::FORBIDDEN => format!(
                "{at} knows {who} and denies the request ({words}): give {who} the right to read schemas and subjects there, and to write \
                 the subjects of our outputs unless `schemas = \"look_up\"` is set"
            ),
            _ => format!("{at} answers {words}, which no schema registry does: check `url` in [schema_registry]"),
        })
    }
}

/// Whether the same request may be answered otherwise later, or by another address.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The body of an answer.
///
/// # Errors
/// It breaks off, or is too long.
pub(super) async fn bounded(mut reply: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = reply.chunk().await.map_err(|e| format!("its answer breaks off: {}", e.without_url()))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(format!("its answer is longer than {} MiB", MAX_ANSWER_BYTES >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, SettingsError> {
        Client::new(&RegistrySettings { url: url.to_owned(), ..RegistrySettings::default() })
    }

    #[test]
    fn several_addresses_are_taken_and_none_that_is_no_url() {
        assert_eq!(client("http://a:1/x/, https://b").unwrap().urls.len(), 2);
        for wrong in ["localhost:8081", "http://a,", "ftp://a", "http://"] {
            assert!(client(wrong).is_err(), "{wrong}");
        }
    }
}
