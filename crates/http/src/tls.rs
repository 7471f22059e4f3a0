//! The certificate and key that HTTPS is served with. rustls does TLS here (docs/tls.md says which
//! library does what elsewhere).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{Error as RustlsError, ServerConfig};

/// Where the certificate and its key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the server's certificate first, then those between it and the authority.
    pub certificate: PathBuf,
    /// PEM: the certificate's private key, not encrypted.
    pub key: PathBuf,
}

/// Why the certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {why} [HS6505]", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why. Not called `source`: it would be shown twice.
        why: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {what} in PEM form{advice} [HS6505]", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// Content that the file should hold.
        what: &'static str,
        /// The remedy, where it is known.
        advice: &'static str,
    },
    /// rustls refuses the two.
    #[error(
        "the certificate {} and the key {} cannot be used: {why} [HS6505]",
        files.certificate.display(),
        files.key.display()
    )]
    Refused {
        /// The files.
        files: TlsFiles,
        /// Why.
        why: RustlsError,
    },
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|why| TlsError::Io { file: file.to_owned(), why })
}

impl TlsFiles {
    /// Reads both and makes of them how TLS is spoken: TLS 1.2 and 1.3, HTTP/1.1, no client
    /// certificates.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should, or the key is not the certificate's.
    pub(super) fn load(&self) -> Result<ServerConfig, TlsError> {
        let what = "certificate";
        let malformed = |_| TlsError::Pem { file: self.certificate.clone(), what, advice: "" };
        let text = read(&self.certificate)?;
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&text).collect::<Result<_, pem::Error>>().map_err(malformed)?;
        if chain.is_empty() {
            return Err(malformed(pem::Error::NoItemsFound));
        }
        let text = read(&self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
            let is_encrypted = text.windows(9).any(|part| part == b"ENCRYPTED");
            let advice = match is_encrypted {
                true => ": the key is encrypted; write it without a password (openssl pkey -in KEY -out NEW) into a file that only this user reads",
                false => "",
            };
            TlsError::Pem { file: self.key.clone(), what: "private key", advice }
        })?;
        let refused = |why| TlsError::Refused { files: self.clone(), why };
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(refused)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
