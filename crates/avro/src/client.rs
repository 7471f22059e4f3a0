//! The client of the schema registry's REST API (Confluent's): the choice of the address, and the
//! answers that concern our access.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use reqwest::Url;
use schema_registry_converter::async_impl::schema_registry as library;
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RawError, RawRegisteredSchema, SrCall};

use super::access::{Access, Credential, cut, shown};
use super::settings::{Authentication, RegistrySettings, SettingsError};
use super::tls::{CALL_LIMIT, Certificates, Files, Peer, explained, whole};

/// The library's words before the status of an answer that is no success; it keeps the status
/// nowhere else.
const STATUS: &str = "failed with status ";
/// Its words for a successful answer that it cannot read.
const UNREADABLE: &str = "could not parse";

/// Asks a registry that has one address or several.
pub(super) struct Client {
    addresses: Vec<Address>,
    /// The address that answered last; it is asked first.
    current: AtomicUsize,
    access: Access,
    certificates: Certificates,
}

struct Address {
    /// Without a slash at its end.
    url: Url,
    /// The library's settings, and what they were made of.
    made: Mutex<Option<(Files, Credential, library::SrSettings)>>,
}

/// An answer of the registry that does not give what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The status of HTTP; 200 where what came with it cannot be read.
    pub status: u16,
    /// The registry's own code of an error, such as 40403; 0 where it gives none.
    pub code: u32,
    message: String,
    /// The address that gave it.
    at: String,
}

/// A request to an address.
#[derive(Clone, Copy)]
enum RegistryQuery<'a> {
    Schema(SrCall<'a>),
    Subjects,
}

/// Its answer.
enum Found {
    Schema(Box<RawRegisteredSchema>),
    Subjects(Vec<String>),
}

/// Outcome of a request that has no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The registry has answered, and not with what was asked for.
    Refused(Refusal),
    /// It gave no answer that says anything about what was asked.
    Outage(Outage),
}

/// The registry is not to be had, or does not serve us.
#[derive(Debug)]
pub(super) struct Outage {
    /// Why, and what to do.
    pub why: String,
    /// Whether it answered with a fault of its own (5xx), rather than not at all.
    pub is_server_fault: bool,
    /// The code of the kind; none where `why` ends with one.
    code: Option<&'static str>,
}

/// The code of a registry that does not answer.
const UNREACHABLE: &str = "HS5052";

impl Outage {
    fn new(why: String) -> Outage {
        Outage { why, is_server_fault: false, code: Some(UNREACHABLE) }
    }

    /// An outage whose reason ends with its code.
    fn coded(why: String) -> Outage {
        Outage { why, is_server_fault: false, code: None }
    }

    /// The reason with its code, for a person.
    pub fn shown(&self) -> String {
        match self.code {
            Some(code) => format!("{} [{code}]", self.why),
            None => self.why.clone(),
        }
    }
}

impl Refusal {
    /// The status, and what the registry says.
    pub fn words(&self) -> String {
        match (self.status, self.code) {
            (200, _) => "200 with what no schema registry says".to_owned(),
            (status, 0) => format!("HTTP {status}"),
            (status, code) if code == u32::from(status) => format!("{status}, {}", cut(&self.message)),
            (status, code) => format!("{status}, code {code}, {}", cut(&self.message)),
        }
    }

    /// Whether the same request may be answered otherwise later, or by another address.
    fn may_pass(&self) -> bool {
        self.status >= 500 || matches!(self.status, 408 | 429)
    }
}

impl Client {
    /// # Errors
    /// An address is no URL, or a file of the settings cannot be used.
    pub fn new(settings: &RegistrySettings) -> Result<Client, SettingsError> {
        let mut addresses = Vec::new();
        for text in settings.url.split(',').map(str::trim) {
            let url = Url::parse(text.trim_end_matches('/')).ok();
            let url =
                url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none());
            let url = url.ok_or_else(|| {
                let what = "the address of the schema registry is not a URL such as http://localhost:8081; several addresses are \
                     separated by commas [HS5501]";
                SettingsError(what.to_owned())
            })?;
            addresses.push(Address { url, made: Mutex::default() });
        }
        if settings.key_file.is_some() && settings.certificate_file.is_none() {
            return Err(SettingsError("`key_file` is set without `certificate_file`: set both [HS0006]".to_owned()));
        }
        let has_user = |a: &Address| !a.url.username().is_empty() || a.url.password().is_some();
        if addresses.iter().any(has_user) && settings.authentication != Authentication::None {
            let what = "the URL of the schema registry contains a user, and another way to authenticate is set as well: remove one of \
                        the two [HS0021]";
            return Err(SettingsError(what.to_owned()));
        }
        let access = Access::new(&settings.authentication)?;
        let certificates = Certificates::new(settings);
        let mut peers = vec![Peer::Registry];
        if matches!(settings.authentication, Authentication::OAuth(_)) {
            peers.push(Peer::TokenEndpoint);
        }
        for peer in peers {
            let made = certificates.builder(peer, &certificates.read(peer)?)?.build();
            made.map_err(|e| {
                SettingsError(format!("cannot create the HTTP client for the schema registry: {} [HS5502]", whole(&e)))
            })?;
        }
        let is_open = |a: &&Address| a.url.scheme() == "http" && !is_loopback(&a.url);
        let open = addresses.iter().find(is_open).filter(|a| access.has_secret() || has_user(a));
        if let Some(url) = access.plain_token_url().filter(|url| !is_loopback(url)) {
            tracing::warn!(
                code = "HS5050",
                "the token endpoint of the schema registry at {} is asked over plain HTTP, so everyone on the way can read the client secret: use https://",
                shown(url.as_str())
            );
        }
        if let Some(open) = open {
            tracing::warn!(
                code = "HS5050",
                "the schema registry at {} is asked over plain HTTP, so everyone on the way can read the credentials: use https://",
                shown(open.url.as_str())
            );
        }
        Ok(Client { addresses, current: AtomicUsize::new(0), access, certificates })
    }

    /// The address that is asked first, without a password.
    pub fn address(&self) -> String {
        self.addresses.get(self.current.load(Ordering::Relaxed)).map_or_else(String::new, |a| shown(a.url.as_str()))
    }

    /// Makes one call for a schema or an id.
    ///
    /// # Errors
    /// The registry refuses it, or no address answers.
    pub async fn call(&self, call: SrCall<'_>) -> Result<RawRegisteredSchema, Failed> {
        match self.at_each(RegistryQuery::Schema(call)).await? {
            Found::Schema(found) => Ok(*found),
            Found::Subjects(_) => {
                Err(Failed::Outage(Outage::coded("subjects were answered for a schema [HS9000]".to_owned())))
            }
        }
    }

    /// Asks the addresses in turn, from the one that answered last.
    async fn at_each(&self, ask: RegistryQuery<'_>) -> Result<Found, Failed> {
        let first = self.current.load(Ordering::Relaxed);
        let mut whys = Vec::new();
        let mut is_server_fault = false;
        let mut code = Some(UNREACHABLE);
        for step in 0..self.addresses.len() {
            let number = (first + step) % self.addresses.len();
            let Some(address) = self.addresses.get(number) else { continue };
            let at = shown(address.url.as_str());
            let asked = self.at_one(address, ask).await;
            match asked {
                Err(Failed::Outage(outage)) => {
                    code = outage.code;
                    whys.push(format!("{at}: {}", outage.why));
                }
                Err(Failed::Refused(refusal)) if refusal.may_pass() => {
                    is_server_fault = is_server_fault || refusal.status >= 500;
                    code = Some(UNREACHABLE);
                    whys.push(format!("{at} answers {}", refusal.words()));
                }
                Ok(_) | Err(Failed::Refused(_)) => {
                    if step > 0 {
                        self.current.store(number, Ordering::Relaxed);
                        tracing::warn!(
                            code = "HS5051",
                            "the schema registry is asked at {at} from now on, since the address before it failed: {}",
                            whys.join("; ")
                        );
                    }
                    return asked;
                }
            }
        }
        Err(Failed::Outage(Outage { why: whys.join("; "), is_server_fault, code }))
    }

    async fn at_one(&self, address: &Address, ask: RegistryQuery<'_>) -> Result<Found, Failed> {
        let mut has_renewed = false;
        loop {
            let settings = self.settings(address).await.map_err(|why| Failed::Outage(Outage::coded(why)))?;
            let asked = match ask {
                RegistryQuery::Schema(call) => {
                    library::perform_sr_call(&settings, call).await.map(|found| Found::Schema(Box::new(found)))
                }
                RegistryQuery::Subjects => library::get_all_subjects(&settings).await.map(Found::Subjects),
            };
            let failed = match asked {
                Ok(found) => return Ok(found),
                Err(e) => failed(&e, &address.url),
            };
            let is_over = matches!(&failed, Failed::Refused(Refusal { status: 401, .. }));
            if !is_over || !self.access.is_renewable() || has_renewed {
                return Err(failed);
            }
            has_renewed = true;
            self.access.forget_token().await;
        }
    }

    /// The library's settings for one address, made anew where a secret or a certificate has
    /// changed.
    async fn settings(&self, address: &Address) -> Result<library::SrSettings, String> {
        let files = self.certificates.read(Peer::Registry).map_err(|e| e.to_string())?;
        let credential = self.access.credential(&self.certificates).await?;
        let mut made = address.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, by, settings)) = made.as_ref()
            && (from, by) == (&files, &credential)
        {
            return Ok(settings.clone());
        }
        let http = self.certificates.builder(Peer::Registry, &files).map_err(|e| e.to_string())?;
        let mut builder = library::SrSettings::new_builder(address.url.as_str().trim_end_matches('/').to_owned());
        builder.set_timeout(CALL_LIMIT);
        match &credential {
            Credential::None => {}
            Credential::Basic(user, password) => {
                builder.set_basic_authorization(user, password.as_ref().map(secret::Secret::expose));
            }
            Credential::Bearer(token) => _ = builder.set_token_authorization(token.expose().trim()),
        }
        let settings =
            builder.build_with(http).map_err(|e| format!("cannot create the HTTP client: {} [HS5502]", e.error))?;
        *made = Some((files, credential, settings.clone()));
        Ok(settings)
    }

    /// Whether the registry serves us at all. It is asked after it has refused one request, so that
    /// a refusal which concerns what was asked for can be told from one which concerns us: every
    /// registry lists its subjects, to everyone whom it knows.
    ///
    /// # Errors
    /// It does not: why, and what to do.
    pub async fn serves_us(&self, refused: Option<&Refusal>) -> Result<(), Outage> {
        match self.at_each(RegistryQuery::Subjects).await {
            Err(Failed::Outage(outage)) => Err(outage),
            Err(Failed::Refused(refusal)) => Err(self.refusal(&refusal)),
            Ok(Found::Schema(_)) => {
                Err(Outage::coded("a schema was answered for the list of subjects [HS9000]".to_owned()))
            }
            // One that shows nobody's subjects to us has not denied this one request.
            Ok(Found::Subjects(subjects)) => {
                match refused.filter(|refused| subjects.is_empty() && refused.status == 403) {
                    Some(refused) => Err(self.refusal(refused)),
                    None => Ok(()),
                }
            }
        }
    }

    /// Meaning of an answer that refuses us.
    pub fn refusal(&self, refusal: &Refusal) -> Outage {
        let at = &refusal.at;
        let words = refusal.words();
        let who = self.access.name();
        Outage::coded(match refusal.status {
            401 => format!("{at} does not accept our authentication ({words}): {} [HS5504]", self.access.remedy()),
            403 => format!(
                "{at} knows {who} and denies the request ({words}): grant {who} the right to read schemas and subjects there, and to \
                 write the subjects of our outputs unless `schemas = \"look_up\"` is set [HS5505]"
            ),
            _ => format!(
                "{at} answers {words}, so it is no schema registry: check `url` in [schema_registry] (the URL of Apicurio ends with \
                 /apis/ccompat/v7) [HS5506]"
            ),
        })
    }
}

/// Meaning of an error of the library.
fn failed(error: &SRCError, url: &Url) -> Failed {
    let at = shown(url.as_str());
    let http = error.source().and_then(|source| source.downcast_ref::<reqwest::Error>());
    if error.error.contains(UNREADABLE) {
        return Failed::Refused(Refusal { status: 200, code: 0, message: String::new(), at });
    }
    if let Some(http) = http {
        return Failed::Outage(Outage::new(explained(http, url.host_str().unwrap_or_default())));
    }
    let status = error.error.split_once(STATUS).and_then(|(_, rest)| rest.get(..3)?.parse().ok());
    let Some(status) = status else { return Failed::Outage(Outage::new(error.error.clone())) };
    let said = error.source().and_then(|source| source.downcast_ref::<RawError>());
    let (code, message) = said.map_or((0, String::new()), |said| (said.error_code, said.message.clone()));
    Failed::Refused(Refusal { status, code, message, at })
}

/// A subject as it stands in a path. The library itself writes out the slash alone.
pub(super) fn in_path(subject: &str) -> String {
    let url = Url::parse("http://path/").map(|mut url| {
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(subject);
        }
        url
    });
    url.map_or_else(|_| subject.to_owned(), |url| url.path().trim_start_matches('/').to_owned())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, SettingsError> {
        Client::new(&RegistrySettings { url: url.to_owned(), ..RegistrySettings::default() })
    }

    #[test]
    fn several_addresses_are_taken_and_none_that_is_no_url() {
        assert_eq!(client("http://a:1/x/, https://b").unwrap().addresses.len(), 2);
        for wrong in ["localhost:8081", "http://a,", "ftp://a", "http://"] {
            assert!(client(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_subject_is_one_part_of_a_path() {
        assert_eq!(in_path("a/b?c#d e%20-value"), "a%2Fb%3Fc%23d%20e%2520-value");
    }
}
