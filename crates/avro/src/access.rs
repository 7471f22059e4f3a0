//! How a request to the schema registry is authenticated: with a user and password, a fixed token,
//! or a token of OAuth that is renewed before it expires. Secrets in files are read for each
//! request.

use std::time::{Duration, Instant};

use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::settings::{Authentication, OAuth, SettingsError};
use super::tls::{Certificates, Peer, explained, whole};
use secret::{Secret, SecretSource};

/// How long a token is used whose issuer does not say how long it lives.
const UNSAID_LIFETIME: Duration = Duration::from_secs(300);
/// The share of its lifetime, in percent, after which a token is replaced.
const RENEWED_AFTER_PERCENT: u32 = 80;
/// Longest part of an issuer's answer that a message repeats, in characters.
const LONGEST_WORDS: usize = 200;

/// Our identity towards the registry.
pub(super) struct Access {
    authentication: Authentication,
    token: Mutex<Option<Token>>,
}

struct Token {
    secret: Secret,
    until: Instant,
}

/// Credentials of a request.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    None,
    Basic(String, Option<Secret>),
    Bearer(Secret),
}

/// Answer of a token endpoint (RFC 6749, sections 5.1 and 5.2).
#[derive(Deserialize)]
struct Issued {
    access_token: Option<String>,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
}

impl Access {
    /// # Errors
    /// A secret cannot be read, or the token endpoint's address is no URL.
    pub fn new(authentication: &Authentication) -> Result<Access, SettingsError> {
        let readable = |source: &SecretSource| source.read().map_err(|e| SettingsError(e.to_string()));
        match authentication {
            Authentication::None | Authentication::Basic { password: None, .. } => {}
            Authentication::Basic { password: Some(secret), .. } | Authentication::Bearer(secret) => {
                _ = readable(secret)?
            }
            Authentication::OAuth(oauth) => {
                token_url(oauth)?;
                readable(&oauth.client_secret)?;
            }
        }
        Ok(Access { authentication: authentication.clone(), token: Mutex::default() })
    }

    /// Whether another token can be had once the registry has refused one.
    pub fn is_renewable(&self) -> bool {
        matches!(self.authentication, Authentication::OAuth(_))
    }

    /// Forgets the token, so that the next request gets another.
    pub async fn forget_token(&self) {
        *self.token.lock().await = None;
    }

    /// Whether a request carries a secret.
    pub fn has_secret(&self) -> bool {
        !matches!(self.authentication, Authentication::None)
    }

    /// The credentials as they are now.
    ///
    /// # Errors
    /// A secret cannot be read, or no token is to be had: why, and what to do.
    pub async fn credential(&self, certificates: &Certificates) -> Result<Credential, String> {
        Ok(match &self.authentication {
            Authentication::None => Credential::None,
            Authentication::Basic { user, password } => {
                let password = password.as_ref().map(SecretSource::read).transpose().map_err(|e| e.to_string())?;
                Credential::Basic(user.clone(), password)
            }
            Authentication::Bearer(token) => Credential::Bearer(token.read().map_err(|e| e.to_string())?),
            Authentication::OAuth(oauth) => Credential::Bearer(self.token(oauth, certificates).await?),
        })
    }

    async fn token(&self, oauth: &OAuth, certificates: &Certificates) -> Result<Secret, String> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.until) {
            return Ok(token.secret.clone());
        }
        let token = issued(oauth, certificates).await?;
        let secret = token.secret.clone();
        *kept = Some(token);
        Ok(secret)
    }

    /// The remedy for a registry that does not know us (401).
    pub fn remedy(&self) -> String {
        match &self.authentication {
            Authentication::None => "it requires authentication, and none is set: set `user` and `password_file`, `token_file`, or \
                `oauth_token_url` with `oauth_client_id` and `oauth_client_secret_file`, in [schema_registry]"
                .to_owned(),
            Authentication::Basic { user, .. } => {
                format!("check `user` ({user}) and `password` or `password_file` in [schema_registry]")
            }
            Authentication::Bearer(_) => {
                "check `token` or `token_file` in [schema_registry]: the token may have expired, or be meant for another service".to_owned()
            }
            Authentication::OAuth(oauth) => format!(
                "it refuses the tokens that {} issues for client {}: check `oauth_scope` in [schema_registry], and which issuer and audience \
                 the registry accepts",
                shown(&oauth.token_url),
                oauth.client_id
            ),
        }
    }

    /// The token endpoint, where it is asked over plain HTTP: everyone on the way can read the
    /// client's secret.
    pub fn plain_token_url(&self) -> Option<Url> {
        let Authentication::OAuth(oauth) = &self.authentication else { return None };
        token_url(oauth).ok().filter(|url| url.scheme() == "http")
    }

    /// Our identity, as messages name it.
    pub fn name(&self) -> String {
        match &self.authentication {
            Authentication::None => "this client".to_owned(),
            Authentication::Basic { user, .. } => format!("user {user}"),
            Authentication::Bearer(_) => "the owner of the token".to_owned(),
            Authentication::OAuth(oauth) => format!("client {}", oauth.client_id),
        }
    }
}

fn token_url(oauth: &OAuth) -> Result<Url, SettingsError> {
    let url = Url::parse(&oauth.token_url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| {
        SettingsError(
            "`oauth_token_url` is not a URL such as https://login.example.com/oauth2/token [HS5501]".to_owned(),
        )
    })
}

/// An address without what may be secret in it.
pub(super) fn shown(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "(no URL)".to_owned() };
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Asks the token endpoint for a token.
async fn issued(oauth: &OAuth, certificates: &Certificates) -> Result<Token, String> {
    let url = token_url(oauth).map_err(|e| e.to_string())?;
    let asked = Instant::now();
    let at = shown(&oauth.token_url);
    let begin = format!("cannot get an OAuth token from {at}");
    // What is wrong with a file or a setting has a code of its own.
    let coded = |why: &dyn std::fmt::Display| format!("{begin}: {why}");
    let failed = |why: &dyn std::fmt::Display| format!("{begin}: {why} [HS5507]");
    let secret = oauth.client_secret.read().map_err(|e| coded(&e))?;
    // RFC 6749, section 2.3.1: both are form-encoded before they become user and password of basic
    // authentication.
    let encoded = |text: &str| form(&[("", text)]).trim_start_matches('=').to_owned();
    let mut fields = vec![("grant_type", "client_credentials")];
    fields.extend(oauth.scope.as_deref().map(|scope| ("scope", scope)));
    let files = certificates.read(Peer::TokenEndpoint).map_err(|e| coded(&e))?;
    let client = certificates.builder(Peer::TokenEndpoint, &files).map_err(|e| coded(&e))?;
    let client = client.build().map_err(|e| failed(&whole(&e)))?;
    let request = client.post(url.clone()).basic_auth(encoded(&oauth.client_id), Some(encoded(secret.expose())));
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").header(ACCEPT, "application/json");
    let host = url.host_str().unwrap_or_default();
    let reply = request.body(form(&fields)).send().await.map_err(|e| failed(&explained(&e, host)))?;
    let status = reply.status();
    let body = reply.bytes().await.map_err(|e| failed(&e.without_url()))?;
    let issued: Option<Issued> = serde_json::from_slice(&body).ok();
    match issued {
        Some(Issued { access_token: Some(token), token_type, expires_in, .. }) if status.is_success() => {
            if let Some(other) = token_type.filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
                return Err(failed(&format!("its tokens are of type {}, not Bearer", cut(&other))));
            }
            let lives =
                expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(UNSAID_LIFETIME);
            let lives = lives.min(Duration::from_secs(86_400));
            Ok(Token { secret: Secret::new(token), until: asked + lives * RENEWED_AFTER_PERCENT / 100 })
        }
        Some(Issued { error: Some(error), error_description, .. }) => {
            let more = error_description.map_or(String::new(), |more| format!(" ({})", cut(&more)));
            let what = format!(
                "it answers {status}, {}{more}: check `oauth_client_id` ({}), `oauth_client_secret_file` and `oauth_scope` in \
                 [schema_registry]",
                cut(&error),
                oauth.client_id
            );
            Err(failed(&what))
        }
        _ => Err(failed(&format!(
            "it answers {status}, which is not an answer of an OAuth token endpoint: check `oauth_token_url`"
        ))),
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form/").map(|mut url| {
        url.query_pairs_mut().extend_pairs(fields);
        url
    });
    url.as_mut().ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// Whether one of the registry's addresses, separated by commas, holds a password.
pub fn url_holds_password(addresses: &str) -> bool {
    let urls = addresses.split(',').filter_map(|text| Url::parse(text.trim()).ok());
    urls.into_iter().any(|url| url.password().is_some_and(|password| !password.is_empty()))
}

/// Text of another program, cut and without control characters.
pub(super) fn cut(words: &str) -> String {
    escape::cell(words, LONGEST_WORDS).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_form_are_encoded() {
        assert_eq!(form(&[("scope", "a b&c"), ("x", "ü")]), "scope=a+b%26c&x=%C3%BC");
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(shown("https://u:p@host:8443/path?token=x"), "https://host:8443");
    }
}
