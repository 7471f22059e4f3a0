//! HTTPS with certificates made by the very commands of docs/tls.md: who is trusted, what a plain
//! client is told, new files without a restart.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use http::TlsFiles;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::http::{Site, curl, make_token};
use crate::support::Helix;
use testkit::process::temp_dir;
use testkit::{repo_path, wait_for};

/// A folder in which the commands of docs/tls.md were run: `ca.pem`, `server.pem`, `server.key`,
/// `client.pem`, `client.key`.
pub fn certificates() -> PathBuf {
    let page = std::fs::read_to_string(repo_path("docs/tls.md")).unwrap();
    let blocks: Vec<&str> = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "docs/tls.md shows no commands");
    let dir = temp_dir("certificates");
    let script = format!("set -e\n{}", blocks.join("\n"));
    let done = Command::new("sh").args(["-c", &script]).current_dir(&dir).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    dir
}

fn files(dir: &Path) -> TlsFiles {
    TlsFiles { certificate: dir.join("server.pem"), key: dir.join("server.key") }
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

#[test]
fn pages_come_over_tls_by_a_certificate_that_is_replaced_without_a_restart() {
    let (dir, next) = (certificates(), certificates());
    let tokens = dir.join("tokens");
    let token = make_token(&tokens, "me", &[]);
    let site = Site::start(Some(tokens), Some(files(&dir)));
    assert!(site.url.starts_with("https://localhost:"), "{}", site.url);
    let trusts = |ca: &str, more: &[&str]| site.curl("/live", &[&["--cacert", ca], more].concat());
    let (ca, next_ca) = (path(&dir, "ca.pem"), path(&next, "ca.pem"));
    assert_eq!(trusts(&ca, &[]).body, "live\n");
    assert!(trusts(&next_ca, &[]).body.contains("certificate"), "another authority");
    assert_eq!(trusts(&ca, &["--tls-max", "1.2"]).code, 200);
    // Debian's curl refuses TLS 1.1 on its own; by a lower security level it asks for it, and we
    // refuse.
    let old = trusts(&ca, &["--tls-max", "1.1", "--tlsv1.0", "--ciphers", "DEFAULT@SECLEVEL=0"]);
    assert!(old.code == 0 && old.body.contains("SSL"), "{old:?}");
    let login = ["--cacert", &ca, "--data-urlencode", &format!("token={token}")];
    let cookie = site.curl("/login", &login);
    assert!(cookie.header("Set-Cookie").unwrap().ends_with("; Secure"), "{cookie:?}");

    // Plain HTTP, and no HTTP at all.
    let plain = curl(&site.url.replace("https", "http"), &[]);
    assert!(plain.code == 400 && plain.body.contains("https://"), "{plain:?}");
    let address = site.url.trim_start_matches("https://").to_owned();
    for bytes in [&b"\x16\x03\x01\xff\xffnonsense"[..], b"\x16", b"\0", b""] {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(bytes).unwrap();
        // It is told, or cut off before that; the server goes on.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(trusts(&ca, &[]).code, 200);

    // The certificate first, which alone does not go with the key: the former pair stays until the
    // other half is there.
    for name in ["server.pem", "server.key"] {
        std::fs::copy(next.join(name), dir.join("new")).unwrap();
        std::fs::rename(dir.join("new"), dir.join(name)).unwrap();
        assert!(trusts(&ca, &[]).code == 200 || trusts(&next_ca, &[]).code == 200);
    }
    wait_for("the new certificate", || (trusts(&next_ca, &[]).code == 200).then_some(()));
    assert_eq!(trusts(&ca, &[]).code, 0);
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_at_the_start() {
    let (dir, other) = (certificates(), certificates());
    let topology = repo_path("topologies/memory.toml").display().to_string();
    let run = |certificate: &str, key: &str| {
        let fixed = ["run", "--no-mirror", "--topology", &topology, "--http-listen", "0"];
        Helix::run(&[&fixed[..], &["--http-tls-cert", certificate, "--http-tls-key", key]].concat())
    };
    let (certificate, key) = (path(&dir, "server.pem"), path(&dir, "server.key"));
    run(&certificate, &path(&other, "server.key")).assert_failed(2, &[&certificate, "server.key", "KeyMismatch"]);
    run("/nowhere", &key)
        .assert_failed(2, &["--http-tls-cert, --http-tls-key: cannot read /nowhere: No such file", "[HS6505]"]);
    run(&key, &key).assert_failed(2, &[&format!("{key} holds no certificate in PEM form")]);
    run(&certificate, &certificate).assert_failed(2, &[&format!("{certificate} holds no private key in PEM form")]);
    let locked = path(&dir, "locked.key");
    let mut encrypt = Command::new("openssl");
    encrypt.args(["pkcs8", "-topk8", "-passout", "pass:geheim", "-in", &key, "-out", &locked]);
    assert!(encrypt.status().unwrap().success());
    run(&certificate, &locked).assert_failed(2, &["the key is encrypted", "openssl pkey"]);
}

/// What rustls says of a server's certificate `name` in `dir`, with the authority `ca`.
fn verify(dir: &Path, certificate: &str, ca: &str, host: &str) -> Result<(), String> {
    let read = |name: &str| CertificateDer::from_pem_file(dir.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(read(ca)).map_err(|e| e.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let verified = verifier.verify_server_cert(&read(certificate), &[], &host, &[], UnixTime::now());
    verified.map(|_| ()).map_err(|e| format!("{e:?}"))
}

#[test]
fn what_the_page_says_of_rustls_is_so() {
    let dir = certificates();
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(&dir).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(verify(&dir, "server.pem", "ca.pem", host), Ok(()));
    }
    assert_error(&verify(&dir, "server.pem", "ca.pem", "example.org"), "NotValidForName");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -keyout x.key";
    let san = "-addext subjectAltName=DNS:localhost";
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=localhost {san} -out bare.pem"));
    assert_error(&verify(&dir, "bare.pem", "bare.pem", "localhost"), "CaUsedAsEndEntity");
    assert_error(&verify(&dir, "bare.pem", "ca.pem", "localhost"), "CaUsedAsEndEntity");
    let leaf = "-addext basicConstraints=critical,CA:FALSE";
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=localhost {san} {leaf} -out self.pem"));
    assert_eq!(verify(&dir, "self.pem", "self.pem", "localhost"), Ok(()));
    assert_error(&verify(&dir, "self.pem", "ca.pem", "localhost"), "UnknownIssuer");
    // The name in CN alone does not count.
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=localhost {leaf} -CA ca.pem -CAkey ca.key -out unnamed.pem"));
    assert_error(&verify(&dir, "unnamed.pem", "ca.pem", "localhost"), "NotValidForName");
    openssl(&format!("req -new {key} -subj /CN=localhost -out x.csr"));
    openssl("x509 -req -in x.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out old.pem");
    assert_error(&verify(&dir, "old.pem", "ca.pem", "localhost"), "UnsupportedCertVersion");
    // OpenSSL takes both.
    openssl("verify -CAfile bare.pem -purpose sslserver bare.pem");
    openssl("verify -CAfile ca.pem -purpose sslserver old.pem");
}

#[track_caller]
fn assert_error(verified: &Result<(), String>, expected: &str) {
    assert!(verified.as_ref().is_err_and(|e| e.contains(expected)), "{verified:?}");
}
