//! A certificate authority of the test's own, made with the `openssl` command, and the certificates
//! that it signs.

use super::process::temp_dir;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `openssl` in a folder; panics with its message when it fails.
fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output().expect("run openssl");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
}

/// Variation of a certificate.
#[derive(Debug, Clone, Copy)]
pub struct CertificateRequest<'a> {
    /// The common name of its subject.
    pub name: &'a str,
    /// The host name that it is good for.
    pub host: &'a str,
    /// Days from now until it expires; below 0 it has expired already.
    pub days: i32,
}

/// A certificate with its private key, in PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key (PKCS #8, not encrypted).
    pub key: PathBuf,
}

impl Authority {
    /// A new authority; `name` is its common name.
    pub fn new(name: &str) -> Authority {
        let dir = temp_dir("authority");
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-x509", "-days", "2", "-subj", &subject];
        arguments.extend(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]);
        openssl(&dir, &[&arguments[..], &["-keyout", "ca.key", "-out", "ca.pem"]].concat());
        Authority { dir }
    }

    /// Its own certificate, which those who trust it are given.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Signs a certificate for `name` on `localhost`.
    pub fn sign(&self, name: &str) -> Identity {
        self.sign_request(CertificateRequest { name, host: "localhost", days: 2 })
    }

    /// Signs a certificate.
    pub fn sign_request(&self, request: CertificateRequest<'_>) -> Identity {
        let dir = temp_dir("certificate");
        let subject = format!("/CN={}", request.name);
        let host = format!("subjectAltName=DNS:{}", request.host);
        let mut arguments = vec!["req", "-new", "-subj", &subject, "-addext", &host];
        arguments.extend(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]);
        openssl(&dir, &[&arguments[..], &["-keyout", "key.pem", "-out", "request.pem"]].concat());
        let (ca, key, days) = (self.certificate(), self.dir.join("ca.key"), request.days.to_string());
        let mut arguments = vec!["x509", "-req", "-in", "request.pem", "-copy_extensions", "copyall", "-days", &days];
        arguments.extend(["-CA", ca.to_str().unwrap(), "-CAkey", key.to_str().unwrap()]);
        openssl(&dir, &[&arguments[..], &["-out", "certificate.pem"]].concat());
        Identity { certificate: dir.join("certificate.pem"), key: dir.join("key.pem") }
    }
}

impl Identity {
    /// Key and certificate as the one text that a Java server's PEM key store is made of.
    pub fn key_store(&self) -> String {
        [&self.key, &self.certificate].map(|path| std::fs::read_to_string(path).unwrap()).concat()
    }

    /// Writes certificate and key to the places of another identity, as a rotation does: each file
    /// is replaced whole.
    pub fn replace(&self, other: &Identity) {
        for (from, to) in [(&self.certificate, &other.certificate), (&self.key, &other.key)] {
            let next = to.with_extension("next");
            std::fs::copy(from, &next).unwrap();
            std::fs::rename(next, to).unwrap();
        }
    }
}
