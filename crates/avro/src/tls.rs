//! The HTTP clients of the schema registry and of its token endpoint, with the certificates that
//! they trust and show. The files are read for each request, so that a renewed certificate needs no
//! restart.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::settings::{RegistrySettings, SettingsError};

/// One request to one address, from the connection to the end of the answer.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(10);
/// The connection alone, so that a dead address leaves time for the next one.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Peer of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// The registry: `ca_file` replaces the system's authorities, and our certificate is shown.
    Registry,
    /// The token endpoint: `ca_file` is trusted besides the system's authorities, since a public
    /// authority often signs for it.
    TokenEndpoint,
}

/// The files that say whom we trust and who we are.
pub(super) struct Certificates {
    ca_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

/// Content of the files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Files {
    authorities: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

impl Certificates {
    pub fn new(settings: &RegistrySettings) -> Certificates {
        // Another part of the process may have chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Certificates {
            ca_file: settings.ca_file.clone(),
            certificate_file: settings.certificate_file.clone(),
            key_file: settings.key_file.clone(),
        }
    }

    /// Reads the content of the files.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn read(&self, peer: Peer) -> Result<Files, SettingsError> {
        let authorities = self.ca_file.as_deref().map(read).transpose()?;
        let mut identity = None;
        if peer == Peer::Registry
            && let Some(certificate) = &self.certificate_file
        {
            let mut pem = read(certificate)?;
            if let Some(key) = &self.key_file {
                pem.push(b'\n');
                pem.extend_from_slice(&read(key)?);
            }
            identity = Some(pem);
        }
        Ok(Files { authorities, identity })
    }

    /// Builder of the HTTP clients for a peer.
    ///
    /// # Errors
    /// A file does not hold what it should.
    pub fn builder(&self, peer: Peer, files: &Files) -> Result<reqwest::ClientBuilder, SettingsError> {
        let shown = |path: &Option<PathBuf>| path.as_deref().map_or_else(String::new, |p| p.display().to_string());
        let mut http = reqwest::Client::builder().timeout(CALL_LIMIT).connect_timeout(CONNECT_LIMIT);
        if let Some(pem) = &files.authorities {
            let wrong = |why: &dyn std::fmt::Display| {
                SettingsError(format!(
                    "the ca_file {} holds no certificates in PEM: {why} [HS5508]",
                    shown(&self.ca_file)
                ))
            };
            let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(|e| wrong(&e))?;
            if authorities.is_empty() {
                return Err(wrong(&"it has no block `BEGIN CERTIFICATE`"));
            }
            http = match peer {
                Peer::Registry => http.tls_certs_only(authorities),
                Peer::TokenEndpoint => http.tls_certs_merge(authorities),
            };
        }
        if let Some(pem) = &files.identity {
            let identity = reqwest::Identity::from_pem(pem).map_err(|e| {
                SettingsError(format!(
                    "{} must hold the client's certificate and {} its private key, both in PEM and the key without a passphrase: {e} [HS5508]",
                    shown(&self.certificate_file),
                    self.key_file.as_ref().map_or_else(|| "the same file".to_owned(), |key| key.display().to_string()),
                ))
            })?;
            http = http.identity(identity);
        }
        Ok(http)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|e| SettingsError(format!("the file {} cannot be read: {e} [HS0027]", path.display())))
}

/// Why a request had no answer, and what to do where that is known. The address, which may hold a
/// password, stands in the outermost error alone, and is left out with it.
pub(super) fn explained(error: &reqwest::Error, host: &str) -> String {
    let Some(cause) = error.source() else { return "the request failed".to_owned() };
    let mut next: Option<&(dyn StdError + 'static)> = Some(cause);
    while let Some(cause) = next {
        if let Some(tls) = tls_in(cause) {
            return tls_explained(tls, host);
        }
        next = cause.source();
    }
    let text = whole(cause);
    // What a TLS server answers to a request without TLS is no HTTP; hyper says so in words alone.
    let hint = if text.contains("invalid HTTP") || text.contains("connection closed before message completed") {
        ", so it may speak TLS on this port: is the URL meant to begin with https://?"
    } else {
        ""
    };
    format!("{text}{hint}")
}

/// An error of TLS, or one that an I/O error wraps, which does not count as its source.
fn tls_in<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e TlsError> {
    let io = || error.downcast_ref::<std::io::Error>()?.get_ref();
    error.downcast_ref().or_else(|| tls_in(io()?))
}

/// An error with all its causes.
pub(super) fn whole(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

fn tls_explained(error: &TlsError, host: &str) -> String {
    match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => format!(
            "we refused its TLS certificate ({error}): no authority that we trust has signed it. Name the authority's certificate (PEM) as \
             `ca_file` in [schema_registry]"
        ),
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "we refused its TLS certificate ({error}): it was not made for the host name {host}. Use a name that the certificate holds \
             in the URL, or have a certificate made for {host}"
        ),
        TlsError::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => {
            format!(
                "we refused its TLS certificate ({error}): renew it on the server, or set this machine's clock right"
            )
        }
        TlsError::InvalidCertificate(_) => {
            format!(
                "we refused its TLS certificate ({error}): docs/tls.md says which certificates are accepted and what to do"
            )
        }
        TlsError::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure,
        ) => format!(
            "it refused our side of the TLS handshake ({error}): where it asks for a client certificate, set `certificate_file` and \
             `key_file` in [schema_registry] to one that it trusts"
        ),
        TlsError::InvalidMessage(_) => {
            format!("it does not speak TLS on this port ({error}): is the URL meant to begin with http://?")
        }
        other => format!("the TLS connection failed: {other}"),
    }
}
